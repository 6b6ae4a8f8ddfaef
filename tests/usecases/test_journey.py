"""The use cases as the deployed app composes them, with nothing replaced."""

from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from shared.compose import UseCases, build
from shared.devkit.salesforce import consent
from shared.devkit.workbench import Workbench
from shared.errors import AttemptSpent, TenantNotEnrolled
from shared.model.connections import OpenConnection
from shared.model.identity import BearerToken, Principal
from shared.model.requests import BeginConnection, CompleteConnection, EnrolTenant, RunFlowBody
from shared.settings import load
from tests.usecases.world_fixtures import a_key

Compose = Callable[..., UseCases]
ASKED = BeginConnection.model_validate_json('{"environment": "production", "channel": "outlook"}')


@pytest.fixture
def clock_file(tmp_path: Path) -> Path:
    """What moves the composed clock, in seconds."""
    path = tmp_path / "clock"
    path.write_text("0")
    return path


@pytest.fixture
def compose(bench: Workbench, tmp_path: Path, clock_file: Path) -> Compose:
    """Composes the app over a store of its own, with settings by their environment names."""
    own = {
        "STORE_PATH": str(tmp_path / "store.sqlite"),
        "KEYS_PATH": str(tmp_path / "keys"),
        "CLOCK_FILE": str(clock_file),
    }
    return lambda **given: build(load(bench.environment | own | given))


def sign_in(app: UseCases, bench: Workbench, user: str = "ada", *, operator: bool = False) -> Principal:
    return app.sign_in(BearerToken(f"Bearer {bench.token(user, operator=operator)}"))


def connect(app: UseCases, caller: Principal) -> OpenConnection:
    begun = app.begin_connect(caller, ASKED)
    back = parse_qs(urlsplit(consent(begun.authorize_url)).query)
    parked = app.park_code(back["state"][0], back["code"][0], None)
    return app.complete_connect(caller, begun.id, CompleteConnection(completion=parked.completion))


def test_a_user_connects_sees_describes_runs_repeats_and_leaves(compose: Compose, bench: Workbench) -> None:
    app, key = compose(), a_key()
    ada = sign_in(app, bench)
    connection = connect(app, ada).row.id
    assert [row.id for row, _ in app.read_me(ada).connections] == [connection]
    (flow_id,) = [i for i, flow in app.list_flows(ada, connection) if flow.name == "Daily_Digest"]
    assert app.describe_flow(ada, connection, "Daily_Digest").id == flow_id
    answer = app.run_flow(ada, connection, "Daily_Digest", key, RunFlowBody())
    assert answer.run.flow == flow_id
    assert answer.result
    repeat = app.run_flow(ada, connection, "Daily_Digest", key, RunFlowBody())
    assert (repeat.run, repeat.result) == (answer.run, None)
    assert app.end_stale_runs() == 0
    assert app.end_connection(ada, connection)
    assert app.read_me(ada).connections == []


def test_a_second_instance_on_the_same_store_and_keys_serves_the_same_user(compose: Compose, bench: Workbench) -> None:
    ada = sign_in(compose(), bench)
    connection, key = connect(compose(), ada).row.id, a_key()
    first = compose().run_flow(ada, connection, "Count_Runs", key, RunFlowBody())
    assert compose().run_flow(ada, connection, "Count_Runs", key, RunFlowBody()).run == first.run


def test_a_description_is_kept_for_describing_and_running_alike(compose: Compose, bench: Workbench) -> None:
    app = compose()
    ada = sign_in(app, bench)
    connection = connect(app, ada).row.id
    assert bench.salesforce is not None
    bench.salesforce.recorder.clear()
    app.describe_flow(ada, connection, "Daily_Digest")
    app.run_flow(ada, connection, "Daily_Digest", a_key(), RunFlowBody())
    assert bench.salesforce.recorder.counters() == {"describe": 1, "run": 1}


def test_the_composed_clock_moves_every_part(compose: Compose, bench: Workbench, clock_file: Path) -> None:
    app = compose()
    ada = sign_in(app, bench)
    begun = app.begin_connect(ada, ASKED)
    back = parse_qs(urlsplit(consent(begun.authorize_url)).query)
    clock_file.write_text("600.5")
    with pytest.raises(AttemptSpent):
        app.park_code(back["state"][0], back["code"][0], None)


def test_where_settings_say_so_only_an_operator_brings_a_tenant_in(compose: Compose, bench: Workbench) -> None:
    app = compose(ENROLMENT="operator")
    ada = sign_in(app, bench)
    with pytest.raises(TenantNotEnrolled):
        app.begin_connect(ada, ASKED)
    asked = EnrolTenant(provider=ada.tenant.provider, id=ada.tenant.value)
    app.enrol(sign_in(app, bench, operator=True), asked)
    assert connect(app, ada)


# Readiness


def test_the_app_is_ready_when_store_and_keys_answer(compose: Compose) -> None:
    assert compose().readiness() == {"store": True, "keys": True}


def test_a_part_that_is_away_is_told_within_ten_seconds(compose: Compose, tmp_path: Path, clock_file: Path) -> None:
    app = compose()
    assert app.readiness() == {"store": True, "keys": True}
    (tmp_path / "keys" / "pepper").rename(tmp_path / "elsewhere")
    clock_file.write_text("9")
    assert app.readiness()["keys"]
    clock_file.write_text("10.5")
    assert app.readiness() == {"store": True, "keys": False}
