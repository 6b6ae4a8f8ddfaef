"""How a host starts, what stops it from starting, and how it ends."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shared.devkit.host import Host, HostFailed, fire
from tests.worker.host_fixtures import (
    HEAD_LINES,
    ONE_ROUTE,
    connected,
    get,
    sent,
    until,
    until_end,
    write_app,
)

NEVER = "0 0 0 1 1 *"
ROOT = Path(__file__).resolve().parents[2]
SURROUNDINGS = (
    HEAD_LINES
    + """
import json, os, sys

print("the app's own line")

@app.route(route="surroundings", methods=["GET"])
def surroundings(req: func.HttpRequest) -> func.HttpResponse:
    facts = {"environment": dict(os.environ), "cwd": os.getcwd(), "path": sys.path, "modules": sorted(sys.modules)}
    return func.HttpResponse(json.dumps(facts))
"""
)
WAITING = (
    HEAD_LINES
    + """
import os

@app.route(route="wait", methods=["GET"])
def wait(req: func.HttpRequest) -> func.HttpResponse:
    with open(os.environ["ENTERED"], "w"):
        pass
    with open(os.environ["RELEASED"]) as released:
        released.read()
    return func.HttpResponse("waited")

@app.timer_trigger("timer", schedule="0 0 0 1 1 *", use_monitor=False)
def tick(timer: func.TimerRequest) -> None:
    with open(os.environ["ENTERED"], "w"):
        pass
    with open(os.environ["RELEASED"]) as released:
        released.read()
"""
)
PARENT = """
import sys
from pathlib import Path
from shared.devkit.host import Host
host = Host(Path(sys.argv[1]), dict([sys.argv[2].split("=")]))
host.start()
print(host.base_url, flush=True)
sys.stdin.read()
"""
LISTENING = """
import os, socket
listener = socket.create_connection(("127.0.0.1", int(os.environ["LISTENER"])))
listener.recv(1)
"""


class Gate:
    """Two named pipes: a function says that it has entered, and waits to be released."""

    def __init__(self, folder: Path) -> None:
        self._entered, self._released = folder / "entered", folder / "released"
        os.mkfifo(self._entered)
        os.mkfifo(self._released)
        self.environment = {"ENTERED": str(self._entered), "RELEASED": str(self._released)}

    def wait(self) -> None:
        self._entered.read_text()

    def release(self) -> None:
        self._released.write_text("go")


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path)


@pytest.fixture
def waiting(tmp_path: Path, gate: Gate) -> Iterator[Host]:
    with Host(write_app(tmp_path / "app", WAITING), gate.environment) as host:
        yield host


@contextmanager
def served_by_itself(options: list[str]) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The host as a command: its process and its port; ended by a signal unless it has ended before."""
    command = [sys.executable, "-m", "shared.devkit.host", *options]
    with subprocess.Popen(  # noqa: S603 - our own interpreter
        command, cwd=ROOT, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        try:
            assert line.startswith("Serving on http://127.0.0.1:")
            yield process, int(line.rpartition(":")[2])
        finally:
            process.terminate()


def parent_of(app: Path, setting: str) -> subprocess.Popen[str]:
    """A process of its own that starts a host and waits."""
    command = [sys.executable, "-c", PARENT, str(app), setting]
    return subprocess.Popen(  # noqa: S603 - our own interpreter
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def failure_of(app: Path, *, port: int = 0) -> str:
    with pytest.raises(HostFailed) as failed, Host(app, {}, port=port):
        pass
    return str(failed.value)


def refuses_connections(host: Host) -> bool:
    try:
        with connected(host):
            return False
    except ConnectionError:
        return True


def test_the_functions_are_known_once_it_serves(tmp_path: Path) -> None:
    source = ONE_ROUTE + (
        '@app.timer_trigger("t", schedule="%EVERY%", use_monitor=False)\ndef tick(t: func.TimerRequest) -> None: ...\n'
    )
    with Host(write_app(tmp_path / "app", source), {"EVERY": "0 */5 * * * *"}) as host:
        ping, tick = host.functions
    assert (ping.name, ping.route, ping.methods, ping.auth_level, ping.schedule) == (
        "ping",
        "ping",
        ("GET",),
        "ANONYMOUS",
        None,
    )
    assert (tick.name, tick.route, tick.methods, tick.schedule) == ("tick", None, (), "0 */5 * * * *")


@pytest.mark.parametrize(
    ("prefix", "path"), [("", "/ping"), ("v9", "/v9/ping"), ("/a/b/", "/a/b/ping"), (None, "/api/ping")]
)
def test_the_route_prefix_comes_from_host_json(tmp_path: Path, prefix: str | None, path: str) -> None:
    with Host(write_app(tmp_path / "app", ONE_ROUTE, prefix=prefix), {}) as host:
        assert sent(host, get(path)).endswith(b"pong")


def test_the_app_finds_its_settings_and_none_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY", "ours")
    app = write_app(tmp_path / "app", SURROUNDINGS)
    (app / "shared").mkdir()
    (app / "shared" / "__init__.py").touch()
    with Host(app, {"GIVEN": "theirs"}) as host:
        facts = json.loads(sent(host, get("/surroundings")).partition(b"\r\n\r\n")[2])
    assert facts["environment"]["GIVEN"] == "theirs"
    assert facts["environment"]["PYTHON_THREADPOOL_THREAD_COUNT"] == "128"
    assert "CANARY" not in facts["environment"]
    assert facts["cwd"] == facts["path"][0] == str(app)
    assert str(ROOT) not in facts["path"]
    assert not [name for name in facts["modules"] if name.startswith("shared")]


def test_a_thread_count_that_is_given_is_kept(tmp_path: Path) -> None:
    with Host(write_app(tmp_path / "app", SURROUNDINGS), {"PYTHON_THREADPOOL_THREAD_COUNT": "3"}) as host:
        facts = json.loads(sent(host, get("/surroundings")).partition(b"\r\n\r\n")[2])
    assert facts["environment"]["PYTHON_THREADPOOL_THREAD_COUNT"] == "3"


def test_what_the_app_writes_reaches_the_output_of_every_start(tmp_path: Path) -> None:
    host = Host(write_app(tmp_path / "app", SURROUNDINGS), {}, output=tmp_path / "log")
    for _ in range(2):
        with host:
            pass
    assert (tmp_path / "log").read_text() == "the app's own line\n" * 2


def test_the_engine_stays_out_of_the_parent() -> None:
    code = "import shared.devkit.host, sys; print([name for name in sys.modules if 'azure' in name])"
    asked = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert asked.stdout == "[]\n"


def test_a_level_other_than_anonymous_is_refused_by_name(tmp_path: Path) -> None:
    source = ONE_ROUTE + (
        '@app.route(route="locked", auth_level=func.AuthLevel.FUNCTION)\n'
        "def locked(req: func.HttpRequest) -> func.HttpResponse: ...\n"
    )
    sentence = "locked has the auth level FUNCTION; every function must be ANONYMOUS."
    assert failure_of(write_app(tmp_path / "app", source)) == sentence


def test_a_level_left_unsaid_is_refused_too(tmp_path: Path) -> None:
    source = ONE_ROUTE.replace("http_auth_level=func.AuthLevel.ANONYMOUS", "")
    assert "ping has the auth level FUNCTION" in failure_of(write_app(tmp_path / "app", source))


@pytest.mark.parametrize(
    ("added", "sentence"),
    [
        (
            '@app.route(route="PING", methods=["GET"])\ndef other(req: func.HttpRequest) -> func.HttpResponse: ...\n',
            "ping and other both answer GET on one route.",
        ),
        (
            '@app.route(route="b", methods=["GET"])\ndef Ping(req: func.HttpRequest) -> func.HttpResponse: ...\n',
            "Two functions are named Ping.",
        ),
        (
            '@app.route(route="{a:int}")\ndef other(req: func.HttpRequest) -> func.HttpResponse: ...\n',
            "The route of other has a form that this host does not serve.",
        ),
        (
            '@app.route(route="b")\nasync def other(req: func.HttpRequest) -> func.HttpResponse: ...\n',
            "other is async; every function must be synchronous.",
        ),
        (
            '@app.queue_trigger("m", "queue", "CONNECTION")\ndef other(m: func.QueueMessage) -> None: ...\n',
            "other has neither an HTTP nor a timer trigger.",
        ),
        (
            '@app.timer_trigger("t", schedule="%EVERY%")\ndef other(t: func.TimerRequest) -> None: ...\n',
            "EVERY is missing: it holds the schedule of other.",
        ),
        (
            '@app.timer_trigger("t", schedule="*/5 * * * *")\ndef other(t: func.TimerRequest) -> None: ...\n',
            "The schedule of other is not six NCRONTAB fields.",
        ),
        (
            '@app.route(route="b")\ndef other(req: func.HttpRequest, more: str) -> func.HttpResponse: ...\n',
            "cannot load the other function",
        ),
        ("class BadSettings(Exception): ...\nraise BadSettings('STORE_PATH is missing.')\n", "STORE_PATH is missing."),
        ("import sys\nsys.exit('STORE_PATH is missing.')\n", "STORE_PATH is missing."),
        ("import sys\nsys.exit(3)\n", "function_app.py ended the process."),
        ("import os\nos._exit(3)\n", "The app's process ended before it was served."),
        ("import nowhere_to_be_found\n", "ModuleNotFoundError: No module named 'nowhere_to_be_found'"),
        ("other = func.FunctionApp()\n", "ValueError: More than one FunctionApp"),
        ("def broken(:\n", "SyntaxError: "),
    ],
)
def test_an_app_that_cannot_be_served_says_why_in_its_own_words(tmp_path: Path, added: str, sentence: str) -> None:
    assert failure_of(write_app(tmp_path / "app", ONE_ROUTE + added)).startswith(sentence)


def test_two_functions_of_one_name_are_refused(tmp_path: Path) -> None:
    twin = '@app.route(route="b", methods=["GET"])\ndef ping(req: func.HttpRequest) -> func.HttpResponse: ...\n'
    assert "ping" in failure_of(write_app(tmp_path / "app", ONE_ROUTE + twin))


def test_a_folder_without_an_app_is_refused(tmp_path: Path) -> None:
    assert failure_of(tmp_path) == "There is no function_app.py in the app's folder."


def test_an_app_without_functions_is_refused(tmp_path: Path) -> None:
    assert failure_of(write_app(tmp_path / "app", HEAD_LINES)) == "The app declares no function."


@pytest.mark.parametrize("content", ["{", "[]", '{"extensions": {"http": 1}}'])
def test_a_host_json_that_cannot_be_read_is_refused(tmp_path: Path, content: str) -> None:
    app = write_app(tmp_path / "app", ONE_ROUTE)
    (app / "host.json").write_text(content)
    assert failure_of(app) == "host.json cannot be read."


def test_a_port_that_is_taken_is_refused(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert failure_of(write_app(tmp_path / "app", ONE_ROUTE), port=port) == f"Port {port} is taken."


def test_a_start_that_takes_too_long_is_given_up(tmp_path: Path, gate: Gate) -> None:
    source = ONE_ROUTE + 'import os\nopen(os.environ["RELEASED"]).read()\n'
    host = Host(write_app(tmp_path / "app", source), gate.environment)
    with pytest.raises(HostFailed, match=r"The app did not start within 0\.5 seconds"):
        host.start(timeout_s=0.5)
    with pytest.raises(HostFailed, match="The host was not started"):
        _ = host.pid


def test_an_instance_is_one_process_group(waiting: Host) -> None:
    assert os.getpgid(waiting.pid) == waiting.pid != os.getpgrp()


def test_stop_lets_a_request_under_way_end_and_hangs_up_on_the_idle(waiting: Host, gate: Gate) -> None:
    with connected(waiting) as idle, connected(waiting) as busy:
        busy.sendall(get("/wait", close=False))
        gate.wait()
        stopping = threading.Thread(target=waiting.stop)
        stopping.start()
        assert until_end(idle) == b""
        assert refuses_connections(waiting)
        gate.release()
        assert until_end(busy).endswith(b"waited")
        stopping.join(20)


def test_kill_ends_it_with_a_request_under_way(waiting: Host, gate: Gate) -> None:
    with connected(waiting) as busy:
        busy.sendall(get("/wait"))
        gate.wait()
        waiting.kill()
        assert until_end(busy) == b""
    assert refuses_connections(waiting)


def test_a_timer_of_a_killed_host_did_not_end_well(waiting: Host, gate: Gate) -> None:
    results: list[bool] = []
    firing = threading.Thread(target=lambda: results.append(waiting.fire("tick")))
    firing.start()
    gate.wait()
    waiting.kill()
    firing.join(20)
    assert results == [False]
    assert waiting.fire("tick") is False


def test_a_killed_host_starts_again_on_its_port(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    host = Host(write_app(tmp_path / "app", ONE_ROUTE), {}, port=port)
    assert host.base_url == f"http://127.0.0.1:{port}"
    with host:
        with connected(host) as connection:
            connection.sendall(get("/ping", close=False))
            until(connection, lambda got: got.endswith(b"pong"))
            host.kill()
        host.start()
        assert sent(host, get("/ping")).endswith(b"pong")


def test_stop_and_kill_are_harmless_twice(tmp_path: Path) -> None:
    host = Host(write_app(tmp_path / "app", ONE_ROUTE), {})
    host.start()
    for end in (host.stop, host.stop, host.kill, host.kill):
        end()


def test_the_death_of_the_parent_ends_it(tmp_path: Path) -> None:
    app = write_app(tmp_path / "app", ONE_ROUTE)
    with parent_of(app, "NOTHING=0") as parent:
        assert parent.stdout is not None
        orphan = Host(app, {}, port=int(parent.stdout.readline().rpartition(":")[2]))
        with connected(orphan) as connection:
            parent.kill()
            assert until_end(connection) == b""
    assert refuses_connections(orphan)


def test_the_death_of_the_parent_ends_it_even_when_the_app_never_finishes_starting(tmp_path: Path) -> None:
    app = write_app(tmp_path / "app", ONE_ROUTE + LISTENING)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)
        with parent_of(app, f"LISTENER={server.getsockname()[1]}") as parent:
            connection, _ = server.accept()
            connection.settimeout(20)
            parent.kill()
            with connection:
                assert until_end(connection) == b""


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
def test_it_runs_by_itself_and_ends_on_a_signal(tmp_path: Path, signal_number: signal.Signals) -> None:
    app = write_app(tmp_path / "app", ONE_ROUTE)
    with served_by_itself(["--app", str(app), "--port", "0"]) as (process, port):
        assert sent(Host(app, {}, port=port), get("/ping")).endswith(b"pong")
        process.send_signal(signal_number)
        assert process.wait(20) == 0


def test_a_control_socket_that_an_earlier_process_left_behind_is_replaced(tmp_path: Path) -> None:
    source = ONE_ROUTE + (f'@app.timer_trigger("t", schedule="{NEVER}")\ndef tick(t: func.TimerRequest) -> None: ...\n')
    control = tmp_path / "control"
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(control))
    options = ["--app", str(write_app(tmp_path / "app", source)), "--port", "0", "--control", str(control)]
    with served_by_itself(options):
        assert fire(control, "tick") is True
    assert not control.exists()


def test_by_itself_it_says_why_it_cannot_serve(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "shared.devkit.host", "--app", str(tmp_path)]
    ended = subprocess.run(  # noqa: S603 - our own interpreter
        command, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (1, "There is no function_app.py in the app's folder.\n")
