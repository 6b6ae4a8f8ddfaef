"""Running a Flow: the record first, the one call, the record's end, and what the caller is told."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Never

import pytest
from pydantic import JsonValue

from shared.errors import (
    FieldError,
    FlowForbidden,
    FlowNotFound,
    FlowNotRunnable,
    FlowRunnerError,
    InputRefused,
    NextAction,
    OrgLimit,
    OrgSetup,
    ReconnectNeeded,
    SalesforceUnavailable,
    StoreUnavailable,
)
from shared.model.answers import RunView
from shared.model.connections import Grant, OrgFacts
from shared.model.events import Event, EventName
from shared.model.flows import Flow, FlowInputs, FlowName, FlowSummary
from shared.model.identity import Principal
from shared.model.runs import Outcome, RunAnswer
from shared.ports import Org, Orgs
from shared.usecases.end_stale_runs import STALE_AFTER_MS
from shared.usecases.refresh_failures import REFUSED_MS
from tests.usecases.world_fixtures import FLOOR_MS, MINUTE, SECOND, World, a_key


@pytest.fixture
def connection(world: World, ada: Principal) -> str:
    return world.connect(ada).row.id


def outputs(answer: RunAnswer) -> Mapping[str, JsonValue] | None:
    return answer.result.outputs.values if answer.result and answer.result.outputs else None


# The record


def test_the_record_stands_before_the_flow_is_called(world: World, ada: Principal, connection: str) -> None:
    key = a_key()
    with world.held("run", lambda: world.run(ada, connection, "Daily_Digest", key)) as running:
        record = world.record(ada, key)
        assert record is not None
        assert (record.outcome, record.finished_at, record.started_at) == (Outcome.STARTED, None, world.clock())
        world.clock.move(3 * SECOND)
    ended = world.record(ada, key)
    assert ended == running.result().run
    assert (ended.connection, ended.user) == (connection, world.user(ada).id)
    assert ended is not None
    assert (ended.outcome, ended.finished_at) == (Outcome.SUCCESS, record.started_at + 3 * SECOND)


# The four outcomes, and the pause


def test_a_success_brings_its_outputs(world: World, ada: Principal, connection: str) -> None:
    answer = world.run(ada, connection, "Create_Case", a_key(), {"subject": "Hello"})
    assert answer.run.outcome is Outcome.SUCCESS
    assert answer.result is not None
    assert answer.result.finished
    assert [*(outputs(answer) or {})] == ["caseId"]
    assert answer.next_action is NextAction.NONE
    assert answer.inputs is not None
    assert answer.inputs.sources == {"subject": "user", "senderEmail": "none", "priority": "none"}


def test_a_fault_is_an_error_with_salesforce_s_words(world: World, ada: Principal, connection: str) -> None:
    key = a_key()
    answer = world.run(ada, connection, "Faulty_Flow", key)
    assert answer.result is not None
    assert answer.result.fault is not None
    assert (answer.run.outcome, outputs(answer)) == (Outcome.ERROR, None)
    assert answer.run == world.record(ada, key)
    assert answer.run.finished_at == world.clock()


@pytest.mark.parametrize("weather", [{"drop": "after"}, {"answer": "html"}, {"answer": "empty-200"}])
def test_a_lost_answer_is_an_unknown_outcome_and_nothing_is_repeated(
    world: World, ada: Principal, connection: str, weather: dict[str, str]
) -> None:
    key = a_key()
    world.plan("run", **weather)
    answer = world.run(ada, connection, "Daily_Digest", key)
    assert (answer.run.outcome, answer.next_action) == (Outcome.UNKNOWN, NextAction.CHECK_SALESFORCE)
    assert (answer.run.finished_at, outputs(answer)) == (world.clock(), None)
    assert answer.run == world.record(ada, key)
    assert world.asked()["run"] == 1


def test_a_paused_flow_is_a_success_without_an_end(world: World, ada: Principal, connection: str) -> None:
    key = a_key()
    answer = world.run(ada, connection, "Wait_For_Approval", key)
    assert answer.result is not None
    assert (answer.run.outcome, answer.run.finished_at, answer.result.finished) == (Outcome.SUCCESS, None, False)
    assert outputs(answer) == {"requestedFrom": "manager"}
    assert answer.run == world.record(ada, key)
    world.clock.move(STALE_AFTER_MS + 1)
    assert world.cases.end_stale_runs() == 0


def test_a_call_that_breaks_is_an_unknown_outcome_and_no_invitation_to_try_again(
    world: World, ada: Principal, connection: str
) -> None:
    key = a_key()
    here = world.cases.run_flow
    broken = replace(here.sessions, orgs=BrokenOrgs(here.sessions.orgs))
    world.cases = replace(world.cases, run_flow=replace(here, sessions=broken))
    answer = world.run(ada, connection, "Daily_Digest", key)
    assert answer.run == world.record(ada, key)
    assert (answer.run.outcome, answer.next_action) == (Outcome.UNKNOWN, NextAction.CHECK_SALESFORCE)
    assert EventName.RUN_CALL_BROKE in [event.name for event in world.events]


# Problems before the record


@pytest.mark.parametrize(
    ("weather", "refusal"),
    [
        ({"answer": "not-found"}, FlowNotFound),
        ({"answer": "no-access"}, FlowForbidden),
        ({"answer": "html"}, SalesforceUnavailable),
        ({"drop": "before"}, SalesforceUnavailable),
        ({"answer": "session-expired", "times": 2}, OrgSetup),
    ],
)
def test_a_problem_before_the_record_leaves_the_key_free(
    world: World, ada: Principal, connection: str, weather: dict[str, object], refusal: type[FlowRunnerError]
) -> None:
    key = a_key()
    world.clock.move(FLOOR_MS)
    world.plan("describe", **weather)
    with pytest.raises(refusal) as told:
        world.run(ada, connection, "Daily_Digest", key)
    world.clock.move(REFUSED_MS)
    assert "run" not in told.value.members
    assert world.record(ada, key) is None
    assert outputs(world.run(ada, connection, "Daily_Digest", key)) == {"message": "Sent"}


def test_undeclared_and_missing_inputs_are_named_and_nothing_is_stored_or_run(
    world: World, ada: Principal, connection: str
) -> None:
    key = a_key()
    with pytest.raises(InputRefused) as told:
        world.run(ada, connection, "Create_Case", key, {"Subject": "x", "ownerId": "005"})
    assert set(told.value.errors) == {
        FieldError("/inputs/Subject", "is not an input of this Flow"),
        FieldError("/inputs/ownerId", "is not an input of this Flow"),
        FieldError("/inputs/subject", "is required"),
    }
    assert (world.record(ada, key), world.asked()) == (None, {"describe": 1})
    assert outputs(world.run(ada, connection, "Create_Case", key, {"subject": "x"}))


def test_a_flow_that_cannot_be_run_from_here_is_not_run(world: World, ada: Principal, connection: str) -> None:
    key = a_key()
    with pytest.raises(FlowNotRunnable):
        world.run(ada, connection, "Score_Lead", key)
    assert (world.record(ada, key), world.asked()) == (None, {"describe": 1})


def test_without_a_grant_nothing_is_recorded(world: World, ada: Principal, connection: str) -> None:
    key = a_key()
    world.end_approvals()
    for _ in range(2):
        with pytest.raises(ReconnectNeeded):
            world.run(ada, connection, "Daily_Digest", key)
    assert world.record(ada, key) is None
    assert "run" not in world.asked()


def test_without_a_record_nothing_is_run(world: World, ada: Principal, connection: str) -> None:
    key = a_key()
    world.interruptions.fail("save_run", StoreUnavailable())
    with pytest.raises(StoreUnavailable) as told:
        world.run(ada, connection, "Daily_Digest", key)
    assert "run" not in told.value.members
    assert "run" not in world.asked()
    assert outputs(world.run(ada, connection, "Daily_Digest", key))


# Problems after the record


@pytest.mark.parametrize(
    ("weather", "refusal"),
    [
        ({"answer": "not-found"}, FlowNotFound),
        ({"answer": "no-access"}, FlowForbidden),
        ({"answer": "daily-limit"}, OrgLimit),
        ({"answer": "session-expired", "times": 2}, OrgSetup),
    ],
)
def test_a_problem_after_the_record_carries_the_run_and_spends_the_key(
    world: World, ada: Principal, connection: str, weather: dict[str, object], refusal: type[FlowRunnerError]
) -> None:
    key = a_key()
    world.plan("run", **weather)
    with pytest.raises(refusal) as told:
        world.run(ada, connection, "Daily_Digest", key)
    record = world.record(ada, key)
    assert record is not None
    assert (record.outcome, record.finished_at) == (Outcome.ERROR, world.clock())
    assert told.value.members["run"] == RunView.of(record)
    assert world.run(ada, connection, "Daily_Digest", key) == RunAnswer(record)


def test_a_run_on_an_old_session_is_repeated_once_with_a_fresh_one(
    world: World, ada: Principal, connection: str
) -> None:
    world.cases.describe_flow(ada, connection, "Count_Runs")
    world.expire_sessions()
    assert outputs(world.run(ada, connection, "Count_Runs", a_key())) == {"runs": 1.0}
    assert world.asked() == {"describe": 1, "run": 2, "token": 1}


def test_a_grant_that_dies_at_the_run_is_a_problem_with_the_run(world: World, ada: Principal, connection: str) -> None:
    key = a_key()
    world.cases.describe_flow(ada, connection, "Daily_Digest")
    world.end_approvals()
    with pytest.raises(ReconnectNeeded) as told:
        world.run(ada, connection, "Daily_Digest", key)
    record = world.record(ada, key)
    assert record is not None
    assert record.outcome is Outcome.ERROR
    assert told.value.members["run"] == RunView.of(record)


def test_a_store_that_fails_at_a_refresh_ends_the_run_before_it_began(
    world: World, ada: Principal, connection: str
) -> None:
    key = a_key()
    world.cases.describe_flow(ada, connection, "Count_Runs")
    world.expire_sessions()
    world.interruptions.fail("save_connection", StoreUnavailable())
    with pytest.raises(StoreUnavailable) as told:
        world.run(ada, connection, "Count_Runs", key)
    assert "run" in told.value.members
    assert "ran:Count_Runs" not in world.salesforce.recorder.events()


def test_a_salesforce_that_cannot_be_reached_has_run_nothing(world: World, ada: Principal, connection: str) -> None:
    key = a_key()
    world.cases.describe_flow(ada, connection, "Daily_Digest")
    with world.unreachable(), pytest.raises(SalesforceUnavailable) as told:
        world.run(ada, connection, "Daily_Digest", key)
    record = world.record(ada, key)
    assert record is not None
    assert record.outcome is Outcome.ERROR
    assert told.value.members["run"] == RunView.of(record)


# The store at the finish


@pytest.mark.parametrize("flow", ["Daily_Digest", "Faulty_Flow", "Wait_For_Approval"])
def test_a_store_that_is_away_at_the_finish_costs_nobody_the_answer(
    world: World, ada: Principal, connection: str, flow: str
) -> None:
    key = a_key()
    world.interruptions.fail("save_run", StoreUnavailable(), call=2)
    answer = world.run(ada, connection, flow, key)
    assert answer.result is not None
    assert answer.run.outcome is answer.result.outcome is not Outcome.STARTED
    facts = {"tenant_id": world.inside(ada).tenant.ref, "run_id": answer.run.id}
    assert world.events == [Event(EventName.RUN_RECORD_LEFT_OPEN, facts)]
    left = world.record(ada, key)
    assert left is not None
    assert left.outcome is Outcome.STARTED


def test_a_record_that_was_left_open_ends_as_unknown(world: World, ada: Principal, connection: str) -> None:
    key = a_key()
    world.interruptions.fail("save_run", StoreUnavailable(), call=2)
    world.run(ada, connection, "Daily_Digest", key)
    world.clock.move(16 * MINUTE)
    assert world.cases.end_stale_runs() == 1
    repeat = world.run(ada, connection, "Daily_Digest", key)
    assert (repeat.run.outcome, repeat.next_action) == (Outcome.UNKNOWN, NextAction.CHECK_SALESFORCE)


@dataclass(frozen=True)
class BrokenOrgs:
    """The way to orgs that break at a run in a way that nobody foresaw."""

    real: Orgs

    def org(self, facts: OrgFacts, grant: Grant) -> Org:
        return BrokenOrg(self.real.org(facts, grant))


@dataclass(frozen=True)
class BrokenOrg:
    real: Org

    def flows(self) -> Sequence[FlowSummary]:
        return self.real.flows()

    def flow(self, name: FlowName) -> Flow:
        return self.real.flow(name)

    def run(self, name: FlowName, inputs: FlowInputs) -> Never:
        raise ZeroDivisionError(name, inputs)
