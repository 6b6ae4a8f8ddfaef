"""The app as Microsoft's engine indexes it: the golden list of routes, timers and auth levels."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from shared.devkit.host import Host, HostFailed
from shared.devkit.routing import shadowed
from shared.devkit.tls import free_port
from shared.devkit.workbench import Workbench

ROOT = Path(__file__).resolve().parents[2]

GOLDEN = {
    ("GET", "health", "health"),
    ("GET", "ready", "ready"),
    ("GET", "v1/me", "me"),
    ("GET", "v1/connections", "list_connections"),
    ("POST", "v1/connections", "begin_connection"),
    ("GET", "v1/oauth/salesforce/callback", "auth_callback"),
    ("POST", "v1/connections/{c}/completion", "complete_connection"),
    ("GET", "v1/connections/{c}", "read_connection"),
    ("DELETE", "v1/connections/{c}", "end_connection"),
    ("GET", "v1/connections/{c}/flows", "list_flows"),
    ("GET", "v1/connections/{c}/flows/{f}", "describe_flow"),
    ("POST", "v1/connections/{c}/flows/{f}/runs", "run_flow"),
    ("POST", "v1/tenants", "enrol_tenant"),
} | {(method, "{*path}", "zz_fallback") for method in ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")}
TIMERS = {("stale_run_timer", "0 */5 * * * *")}


@dataclass(frozen=True)
class World:
    bench: Workbench
    host: Host


@pytest.fixture(scope="module", name="world")
def _world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("app")
    port = free_port()
    with (
        Workbench(folder, port=port) as bench,
        Host(ROOT, bench.environment, port=port, output=folder / "host.log") as host,
    ):
        yield World(bench, host)


def test_the_routes_are_those_of_the_golden_list(world: World) -> None:
    found = {(method, f.route, f.name) for f in world.host.functions if f.route is not None for method in f.methods}
    assert found == GOLDEN


def test_the_timers_are_those_of_the_golden_list_on_schedules_from_settings(world: World) -> None:
    assert {(f.name, f.schedule) for f in world.host.functions if f.route is None} == TIMERS


def test_every_route_is_open_to_the_app_itself_which_asks_for_a_token(world: World) -> None:
    assert {f.auth_level for f in world.host.functions if f.route is not None} == {"ANONYMOUS"}


def test_no_route_would_be_shadowed_where_names_decide_the_order(world: World) -> None:
    assert shadowed(world.host.functions) == []


def test_the_app_answers_within_its_own_headers(world: World) -> None:
    answer = requests.get(f"{world.host.base_url}/health", timeout=10)
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    assert answer.headers["Strict-Transport-Security"].startswith("max-age=63072000")


def test_the_stale_run_timer_runs(world: World) -> None:
    assert world.host.fire("stale_run_timer")


def test_a_ready_app_says_so_and_tells_operators_of_its_parts(world: World) -> None:
    asked = f"{world.host.base_url}/ready"
    assert requests.get(asked, timeout=10).json() == {"status": "ready", "parts": None}
    by_operator = {"Authorization": f"Bearer {world.bench.token(operator=True)}"}
    assert requests.get(asked, headers=by_operator, timeout=10).json()["parts"] == {"store": True, "keys": True}


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("TOKEN_LEEWAY_S", "301", "TOKEN_LEEWAY_S must be 0 to 300 seconds."),
        ("CA_BUNDLE", __file__, "CA_BUNDLE names no file that holds certificates."),
        ("STORE_PATH", __file__, "STORE_PATH names something that is no store of this version."),
        ("CLOCK_FILE", __file__, "CLOCK_FILE must name a file that holds a number of seconds."),
        ("STALE_RUN_SCHEDULE", "", "STALE_RUN_SCHEDULE is missing."),
    ],
)
def test_a_broken_setting_stops_the_start_with_one_sentence_that_names_it(
    world: World, tmp_path: Path, name: str, value: str, sentence: str
) -> None:
    host = Host(ROOT, dict(world.bench.environment) | {name: value}, output=tmp_path / "host.log")
    with pytest.raises(HostFailed) as failed:
        host.start()
    assert str(failed.value) == sentence
