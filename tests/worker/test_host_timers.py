"""Timers: schedules, and functions fired by hand and by schedule."""

import json
import secrets
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.devkit.host import Host, fire
from shared.devkit.schedule import ScheduleRefused, next_after, resolve
from tests.worker.host_fixtures import HEAD_LINES, write_app

APP = (
    HEAD_LINES
    + """
import json, os, socket, threading

two_at_once = threading.Barrier(2)

def tell(fact: object) -> None:
    with socket.create_connection(("127.0.0.1", int(os.environ["LISTENER"]))) as connection:
        connection.sendall(json.dumps(fact).encode())

@app.timer_trigger("timer", schedule="%EVERY%", use_monitor=False)
def told(timer: func.TimerRequest) -> None:
    tell([timer.past_due, timer.schedule, timer.schedule_status])

@app.timer_trigger("timer", schedule="0 0 0 1 1 *", use_monitor=False)
def raising(timer: func.TimerRequest) -> None:
    raise ValueError(os.environ["SECRET"])

@app.timer_trigger("timer", schedule="0 0 0 1 1 *", use_monitor=False)
def alone(timer: func.TimerRequest) -> None:
    try:
        two_at_once.wait(0.3)
    except threading.BrokenBarrierError:
        two_at_once.reset()
    else:
        raise RuntimeError

@app.route(route="ping", methods=["GET"])
def ping(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("pong")
"""
)
NEVER = "0 0 0 1 1 *"
START = datetime(2026, 11, 24, 22, 30, 15, tzinfo=UTC)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)
        yield server


def settings(listener: socket.socket, every: str = NEVER) -> dict[str, str]:
    return {"LISTENER": str(listener.getsockname()[1]), "EVERY": every, "SECRET": secrets.token_hex(16)}


def heard(listener: socket.socket) -> list[object]:
    connection, _ = listener.accept()
    with connection, connection.makefile("rb") as stream:
        facts: list[object] = json.loads(stream.read())
        return facts


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("* * * * * *", START + timedelta(seconds=1)),
        ("0 */5 * * * *", datetime(2026, 11, 24, 22, 35, tzinfo=UTC)),
        ("15 30 22 * * *", START + timedelta(days=1)),
        ("0 0 3 * * *", datetime(2026, 11, 25, 3, tzinfo=UTC)),
        ("0 30 9-17 * * Mon-Fri", datetime(2026, 11, 25, 9, 30, tzinfo=UTC)),
        ("0 0 0 * * 0", datetime(2026, 11, 29, tzinfo=UTC)),
        ("0 0 0 13 * 5", datetime(2027, 8, 13, tzinfo=UTC)),
    ],
)
def test_a_schedule_has_six_fields_the_first_being_seconds(schedule: str, expected: datetime) -> None:
    assert next_after(schedule, START) == expected


@given(st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001 - as asked for
def test_the_next_occurrence_is_always_later_and_no_more_than_one_away(instant: datetime) -> None:
    following = next_after("0 */5 * * * *", instant)
    assert timedelta(0) < following - instant <= timedelta(minutes=5)
    assert (following.second, following.minute % 5) == (0, 0)


def test_a_setting_is_put_in_its_place() -> None:
    assert resolve("tick", "0 %MINUTES% * * * *", {"MINUTES": " */7 "}) == "0 */7 * * * *"


@pytest.mark.parametrize("schedule", ["", "* * * * *", "* * * * * * *", "00:05:00", "61 * * * * *", "a b c d e f"])
def test_what_is_no_schedule_is_refused_by_the_timers_name(schedule: str) -> None:
    with pytest.raises(ScheduleRefused, match="tick"):
        resolve("tick", schedule, {})


@pytest.mark.parametrize("environment", [{}, {"EVERY": ""}, {"EVERY": "  "}])
def test_a_schedule_whose_setting_is_missing_is_refused_by_both_names(environment: dict[str, str]) -> None:
    with pytest.raises(ScheduleRefused, match=r"EVERY.*tick"):
        resolve("tick", "%EVERY%", environment)


def test_a_timer_fired_by_hand_is_told_what_the_platform_tells(tmp_path: Path, listener: socket.socket) -> None:
    with Host(write_app(tmp_path / "app", APP), settings(listener)) as host:
        assert host.fire("told") is True
        past_due, schedule, first = heard(listener)
        assert host.fire("told") is True
        _, _, second = heard(listener)
    assert past_due is False
    assert schedule == {"AdjustForDST": True}
    assert isinstance(first, dict)
    assert isinstance(second, dict)
    assert first["Last"].startswith("0001-01-01T00:00:00")
    assert datetime.fromisoformat(first["Next"]).month == 1
    assert datetime.now(UTC) - datetime.fromisoformat(second["Last"]) < timedelta(minutes=1)


def test_a_schedule_fires_by_itself_again_and_again(tmp_path: Path, listener: socket.socket) -> None:
    with Host(write_app(tmp_path / "app", APP), settings(listener, "* * * * * *"), schedules=True):
        _, _, first = heard(listener)
        _, _, second = heard(listener)
    assert isinstance(first, dict)
    assert isinstance(second, dict)
    assert first["Next"] != second["Next"]


def test_without_schedules_nothing_fires_by_itself(tmp_path: Path, listener: socket.socket) -> None:
    with Host(write_app(tmp_path / "app", APP), settings(listener, "* * * * * *")):
        listener.settimeout(1.5)
        with pytest.raises(TimeoutError):
            heard(listener)


def test_a_timer_that_raises_did_not_end_well_and_leaves_its_type_alone(
    tmp_path: Path, listener: socket.socket
) -> None:
    environment = settings(listener)
    with Host(write_app(tmp_path / "app", APP), environment, output=tmp_path / "log") as host:
        assert host.fire("raising") is False
        assert host.fire("told") is True
    written = (tmp_path / "log").read_text()
    assert written == "raising failed: ValueError\n"


def test_one_timer_never_runs_twice_at_once(tmp_path: Path, listener: socket.socket) -> None:
    with Host(write_app(tmp_path / "app", APP), settings(listener)) as host, ThreadPoolExecutor(3) as hands:
        assert list(hands.map(host.fire, ["alone"] * 3)) == [True, True, True]


@pytest.mark.parametrize("name", ["ping", "unknown", ""])
def test_only_a_timer_can_be_fired(tmp_path: Path, listener: socket.socket, name: str) -> None:
    with Host(write_app(tmp_path / "app", APP), settings(listener)) as host:
        with pytest.raises(ValueError, match="There is no timer named"):
            host.fire(name)
        assert fire(host.control, name) is False


def test_a_timer_can_be_fired_through_the_control_socket_alone(tmp_path: Path, listener: socket.socket) -> None:
    with Host(write_app(tmp_path / "app", APP), settings(listener)) as host:
        assert fire(host.control, "told") is True
        assert heard(listener)
        control = host.control
    assert fire(control, "told") is False
