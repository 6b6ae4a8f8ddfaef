"""The same Idempotency-Key again: the record as it stands, and nothing sent."""

import json

import pytest

from shared.errors import FlowRunnerError, IdempotencyKeyReused, InputRefused, NextAction, OrgLimit, OrgNotAllowed
from shared.model.identity import Principal
from shared.model.runs import Outcome, RunAnswer
from tests.usecases.world_fixtures import FLOW_CACHE_S, SECOND, World, a_key, identity_of, race


@pytest.fixture
def connection(world: World, ada: Principal) -> str:
    return world.connect(ada).row.id


@pytest.fixture(params=["fresh", "old"])
def description(request: pytest.FixtureRequest) -> str:
    """Whether the Flow's description is still kept when the key comes again."""
    return str(request.param)


def later(world: World, description: str) -> None:
    if description == "old":
        world.clock.move(FLOW_CACHE_S * SECOND)
    world.salesforce.recorder.clear()


def first(world: World, caller: Principal, connection: str, state: str, key: str) -> str:
    """Run a Flow that ends so, and give its name."""
    if state == "unknown":
        world.plan("run", drop="after")
    if state == "refused":
        world.plan("run", answer="daily-limit")
    flow = {"error": "Faulty_Flow", "paused": "Wait_For_Approval"}.get(state, "Count_Runs")
    try:
        world.run(caller, connection, flow, key)
    except OrgLimit:
        assert state == "refused"
    return flow


@pytest.mark.parametrize(
    ("state", "outcome", "action"),
    [
        ("success", Outcome.SUCCESS, NextAction.NONE),
        ("error", Outcome.ERROR, NextAction.NONE),
        ("refused", Outcome.ERROR, NextAction.NONE),
        ("unknown", Outcome.UNKNOWN, NextAction.CHECK_SALESFORCE),
        ("paused", Outcome.SUCCESS, NextAction.NONE),
    ],
)
def test_a_key_seen_before_gets_the_record_as_it_stands_and_nothing_is_sent(
    world: World, ada: Principal, connection: str, description: str, state: str, outcome: Outcome, action: NextAction
) -> None:
    key = a_key()
    flow = first(world, ada, connection, state, key)
    record = world.record(ada, key)
    later(world, description)
    again = world.run(ada, connection, flow, key)
    assert record is not None
    assert again == RunAnswer(record)
    assert (again.run.outcome, again.next_action) == (outcome, action)
    assert again.run.ended_surely is (state in {"success", "error", "refused"})
    assert world.calls() == []


def test_a_key_whose_run_is_under_way_gets_its_record(
    world: World, ada: Principal, connection: str, description: str
) -> None:
    key = a_key()
    with world.held("run", lambda: world.run(ada, connection, "Count_Runs", key)) as running:
        later(world, description)
        again = world.run(ada, connection, "Count_Runs", key)
        assert (again.run.outcome, again.result, again.run) == (Outcome.STARTED, None, world.record(ada, key))
        assert world.calls() == []
    assert running.result().run.outcome is Outcome.SUCCESS


def test_a_key_counts_for_one_user_only(world: World, ada: Principal, ben: Principal, connection: str) -> None:
    key = a_key()
    theirs = world.connect(ben, "ben@acme.example").row.id
    world.run(ada, connection, "Count_Runs", key)
    assert world.run(ben, theirs, "Count_Runs", key).result
    assert world.salesforce.recorder.events()["ran:Count_Runs"] == 2


def test_the_slower_of_two_with_one_key_gets_the_faster_one_s_record(
    world: World, ada: Principal, connection: str
) -> None:
    key, faster = a_key(), list[RunAnswer]()
    world.interruptions.before("save_run", lambda: faster.append(world.run(ada, connection, "Count_Runs", key)))
    slower = world.run(ada, connection, "Count_Runs", key)
    assert (slower.run, slower.result) == (faster[0].run, None)
    assert world.salesforce.recorder.events() == {"ran:Count_Runs": 1}


def test_one_key_pressed_many_times_at_once_runs_once(
    world: World, ada: Principal, connection: str, description: str
) -> None:
    key = a_key()
    if description == "fresh":
        world.cases.describe_flow(ada, connection, "Count_Runs")
    answers = race(*[lambda: world.run(ada, connection, "Count_Runs", key)] * 6)
    ran = [a for a in answers if isinstance(a, RunAnswer) and a.result]
    assert [a for a in answers if isinstance(a, FlowRunnerError)] == []
    assert (len(ran), len({a.run.id for a in answers if isinstance(a, RunAnswer)})) == (1, 1)
    assert world.salesforce.recorder.events() == {"ran:Count_Runs": 1}


# The key for something else


def test_a_key_of_another_flow_is_refused(world: World, ada: Principal, connection: str, description: str) -> None:
    key = a_key()
    world.cases.describe_flow(ada, connection, "Daily_Digest")
    world.run(ada, connection, "Count_Runs", key)
    later(world, description)
    with pytest.raises(IdempotencyKeyReused):
        world.run(ada, connection, "Daily_Digest", key)
    assert world.calls() == []


def test_a_key_of_another_connection_is_refused(
    world: World, ada: Principal, connection: str, description: str
) -> None:
    key = a_key()
    world.switch(id_url=identity_of(5))
    other = world.connect(ada).row.id
    world.cases.describe_flow(ada, other, "Count_Runs")
    world.run(ada, connection, "Count_Runs", key)
    later(world, description)
    with pytest.raises(IdempotencyKeyReused):
        world.run(ada, other, "Count_Runs", key)
    assert world.calls() == []


# Whatever else has changed


def test_a_repeat_is_a_repeat_whatever_it_carries(
    world: World, ada: Principal, connection: str, description: str
) -> None:
    key = a_key()
    world.run(ada, connection, "Create_Case", key, {"subject": "x"})
    later(world, description)
    again = world.run(ada, connection, "Create_Case", key, {"undeclared": "y"})
    assert (again.run, again.result) == (world.record(ada, key), None)
    assert world.calls() == []


def test_a_flow_that_asks_for_more_by_now_does_not_hide_that_it_ran(
    world: World, ada: Principal, connection: str
) -> None:
    key = a_key()
    world.run(ada, connection, "Create_Case", key, {"subject": "x"})
    world.clock.move(FLOW_CACHE_S * SECOND)
    described = {"inputs": [{"name": "secret", "type": "APEX", "maxOccurs": 1, "required": True}], "outputs": []}
    world.plan("describe", status=200, body=json.dumps(described))
    assert world.cases.describe_flow(ada, connection, "Create_Case").flow.reason
    assert world.run(ada, connection, "Create_Case", key, {"subject": "x"}).run == world.record(ada, key)
    with pytest.raises(FlowRunnerError) as fresh:
        world.run(ada, connection, "Create_Case", a_key(), {"subject": "x"})
    assert fresh.value.slug == "flow-not-runnable"


def test_a_key_with_refused_inputs_stays_free(world: World, ada: Principal, connection: str) -> None:
    key = a_key()
    for _ in range(2):
        with pytest.raises(InputRefused):
            world.run(ada, connection, "Create_Case", key)
    assert world.run(ada, connection, "Create_Case", key, {"subject": "x"}).result


@pytest.mark.parametrize("ended", ["refresh", "reconnect", "dead grant"])
def test_a_repeat_needs_no_grant(world: World, ada: Principal, connection: str, description: str, ended: str) -> None:
    key = a_key()
    world.run(ada, connection, "Count_Runs", key)
    if ended == "reconnect":
        world.connect(ada)
    else:
        (world.expire_sessions if ended == "refresh" else world.end_approvals)()
        try:
            world.cases.list_flows(ada, connection)
        except FlowRunnerError:
            assert ended == "dead grant"
    later(world, description)
    again = world.run(ada, connection, "Count_Runs", key)
    assert (again.run, again.result) == (world.record(ada, key), None)
    assert world.calls() == []


def test_a_repeat_over_an_org_that_the_tenant_allows_no_more_is_refused_too(
    world: World, ada: Principal, connection: str
) -> None:
    key = a_key()
    world.run(ada, connection, "Count_Runs", key)
    world.allow(ada, "00D000000000001AAA")
    world.salesforce.recorder.clear()
    with pytest.raises(OrgNotAllowed):
        world.run(ada, connection, "Count_Runs", key)
    assert world.calls() == []
