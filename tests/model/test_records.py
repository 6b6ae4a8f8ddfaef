"""What is counted at a user, how a run ends, and the names that clients read."""

from dataclasses import replace

import pytest

from shared.errors import NextAction
from shared.model import answers
from shared.model.answers import Answer, ConnectionList, FlowDetail, MeView, RunResultView
from shared.model.connections import Connection, ConnectionId, ConnectionState, OrgFacts, Reason
from shared.model.flows import Flow, FlowId, FlowInput, FlowInputs, FlowName, FlowOutput, FlowOutputs
from shared.model.identity import (
    OpenAttempt,
    OwnerDigest,
    Principal,
    Provider,
    Role,
    Tenant,
    TenantId,
    TenantRef,
    TenantState,
    User,
    UserId,
)
from shared.model.inputs import InputType
from shared.model.runs import FlowFault, FlowResult, Outcome, Run, RunAnswer, RunId
from shared.model.sealed import Place, Sealed

SEALED = Sealed("1.7.nonce.text")
USER = User(OwnerDigest("5" * 32), UserId("2" * 32), SEALED, created_at=0)
RUN = Run(RunId("1" * 32), UserId("2" * 32), ConnectionId("3" * 32), FlowId("4" * 32), 10)


# A user's attempts and changes


def test_an_attempt_is_open_until_the_instant_it_lapses() -> None:
    user = USER.beginning(OpenAttempt("a", 100), 0)
    assert [len(user.open_attempts(at)) for at in (0, 99, 100, 101)] == [1, 1, 0, 0]


def test_a_new_attempt_drops_those_that_have_lapsed() -> None:
    user = USER.beginning(OpenAttempt("a", 100), 0).beginning(OpenAttempt("b", 200), 100)
    assert [a.id for a in user.attempts] == ["b"]


def test_an_attempt_that_ends_leaves_the_others_open() -> None:
    user = USER.beginning(OpenAttempt("a", 100), 0).beginning(OpenAttempt("b", 100), 0)
    assert [a.id for a in user.ending("a", 0).attempts] == ["b"]


def test_changes_are_counted_by_the_day() -> None:
    user = USER.changing(7).changing(7)
    assert [user.changes_on(day) for day in (6, 7, 8)] == [0, 2, 0]


def test_a_new_day_begins_at_one() -> None:
    assert USER.changing(7).changing(7).changing(8).changes_on(8) == 1


# A connection


CONNECTED = ConnectionState.CONNECTED
ROW = Connection(RUN.connection, USER.owner, USER.id, 2, 3, CONNECTED, None, SEALED, SEALED, 4, 0, 0, "e")
FACTS = OrgFacts(
    "00D000000000001AAA", "005000000000001AAA", "https://acme.my.salesforce.com", "https://x", sandbox=True
)


def test_a_connection_that_ended_keeps_all_but_its_grant() -> None:
    ended = ROW.ended()
    assert (ended.state, ended.reason, ended.grant) == (ConnectionState.NEEDS_RECONNECT, Reason.GRANT_ENDED, None)
    assert (ended.org, ended.link, ended.etag) == (ROW.org, ROW.link, ROW.etag)


def test_a_grant_is_bound_to_connection_consent_commit_owner_and_user() -> None:
    owner = OwnerDigest("6" * 32)
    assert ROW.link.grant_place(owner) == Place("grant", f"{'3' * 32}.2", 3, owner, ROW.user)
    assert ROW.link.org_place(owner) == Place("org", "3" * 32, 4, owner, ROW.user)


# A run's end

FAULTED = FlowResult(Outcome.ERROR, True, next_action=NextAction.ASK_ADMIN)


@pytest.mark.parametrize(
    ("run", "result", "action"),
    [
        pytest.param(RUN.ended(Outcome.SUCCESS, 20), None, "none", id="a repeat of a success"),
        pytest.param(RUN.ended(Outcome.ERROR, 20), None, "none", id="a repeat of an error"),
        pytest.param(RUN, None, "none", id="a repeat of one under way"),
        pytest.param(RUN.ended(Outcome.UNKNOWN, 20), None, "check-salesforce", id="a repeat of an unknown end"),
        pytest.param(RUN.ended(Outcome.ERROR, 20), FAULTED, "ask-admin", id="a fault, as its result says"),
    ],
)
def test_the_answer_to_a_run_says_what_to_do(run: Run, result: FlowResult | None, action: str) -> None:
    assert RunAnswer(run, result).next_action == action


@pytest.mark.parametrize(
    ("run", "finished"),
    [
        pytest.param(RUN.ended(Outcome.SUCCESS, 20), True, id="success"),
        pytest.param(RUN.ended(Outcome.ERROR, 20), True, id="error"),
        pytest.param(RUN.ended(Outcome.SUCCESS, None), False, id="paused"),
        pytest.param(RUN.ended(Outcome.UNKNOWN, 20), False, id="unknown"),
        pytest.param(RUN, False, id="under way"),
    ],
)
def test_a_repeat_says_whether_the_flow_is_known_to_have_ended(run: Run, *, finished: bool) -> None:
    view = RunResultView.of(RunAnswer(run))
    assert (view.finished, view.replayed, view.outputs) == (finished, True, None)


def test_two_runs_aim_at_the_same_only_with_the_same_flow_and_connection() -> None:
    flow, connection = replace(RUN, flow=FlowId("9" * 32)), replace(RUN, connection=ConnectionId("9" * 32))
    assert [RUN.same_target(other) for other in (RUN.ended(Outcome.ERROR, 5), flow, connection)] == [True, False, False]


# Names on the wire (design.md, section 4)

CONNECTION = {"id", "state", "reason", "orgId", "instanceHost", "sandbox", "salesforceUser", "warning", "idleEndsAt"}
LISTED_FLOW = {"id", "flowId", "label", "kind", "runnable", "reason"}
INPUT = {"recordType", "name", "label", "description", "type", "collection", "required", "source", "choices"}
DECISION_10 = {"run", "outcome", "finished", "outputs", "replayed", "nextAction"}
MEMBERS: dict[type[Answer], set[str]] = {
    answers.HealthView: {"status"},
    answers.ReadinessView: {"status", "parts"},
    answers.TenantView: {"ref", "provider", "state", "generation", "runRetentionDays"},
    answers.MeView: {"tenant", "roles", "connections"},
    answers.BegunView: {"id", "authorizeUrl", "expiresAt"},
    answers.ConnectionView: CONNECTION,
    answers.ConnectionList: {"items", "nextCursor"},
    answers.DisconnectedView: {"revoked", "nextAction"},
    answers.FlowView: LISTED_FLOW,
    answers.FlowList: {"items", "nextCursor"},
    answers.FlowDetail: LISTED_FLOW | {"description", "inputs", "outputs"},
    answers.InputView: INPUT,
    answers.OutputView: {"name", "label", "type", "collection"},
    answers.RunView: {"id", "flow", "connection", "startedAt", "finishedAt", "outcome"},
    answers.FaultView: {"code", "message"},
    answers.RunResultView: {*DECISION_10, "sources", "fault"},
}


def kinds(root: type[Answer]) -> set[type[Answer]]:
    return {kind for sub in root.__subclasses__() for kind in {sub, *kinds(sub)} if kind.__module__ == answers.__name__}


@pytest.mark.parametrize("view", MEMBERS, ids=lambda view: str(view.__name__))
def test_an_answer_has_exactly_the_members_that_clients_were_promised(view: type[Answer]) -> None:
    assert set(view.model_json_schema(mode="serialization")["properties"]) == MEMBERS[view]


def test_no_answer_is_without_a_promise() -> None:
    assert kinds(Answer) == set(MEMBERS)


def shown(view: Answer) -> dict[str, object]:
    return view.model_dump(mode="json", by_alias=True)


def test_a_list_of_connections_shows_org_host_and_user_and_no_secret() -> None:
    row = ROW.held(Reason.OUTCOME_UNKNOWN, 7).ended()
    item = {
        "id": "3" * 32,
        "state": "needs-reconnect",
        "reason": "refresh-outcome-unknown",
        "orgId": "00D000000000001AAA",
        "instanceHost": "acme.my.salesforce.com",
        "sandbox": True,
        "salesforceUser": "005000000000001AAA",
        "warning": None,
        "idleEndsAt": None,
    }
    assert shown(ConnectionList.of([(row, FACTS)])) == {"items": [item], "nextCursor": None}


def test_the_callers_own_record_names_the_tenant_by_its_ref_alone() -> None:
    tenant = Tenant(TenantRef("7" * 32), 3, TenantState.ACTIVE, SEALED, SEALED, 0)
    caller = Principal(TenantId(Provider.GOOGLE, "acme.example"), "sub-1", frozenset({Role.OPERATOR, Role.ADMIN}))
    assert shown(MeView.of(caller, tenant, [])) == {
        "tenant": {"ref": "7" * 32, "provider": "google", "state": "active", "generation": 3, "runRetentionDays": 365},
        "roles": ["admin", "operator"],
        "connections": [],
    }


def test_a_described_flow_says_whence_each_input_would_come_and_why_it_cannot_run() -> None:
    inputs = (
        FlowInput("Subject", "Subject", "The subject", InputType.STRING, "STRING", False, True, ("a", "b")),
        FlowInput("thing", "Thing", None, InputType("APEX"), "APEX", True, False),
    )
    flow = Flow(FlowName("Log"), "Log", None, inputs, (FlowOutput("caseId", "Case", "STRING", False),))
    view = FlowDetail.described(FlowId("4" * 32), flow)
    assert (view.runnable, view.reason) == (False, "input-type-unsupported")
    assert [(i.name, i.type, i.source, i.choices) for i in view.inputs] == [
        ("Subject", "STRING", "email.subject", ["a", "b"]),
        ("thing", "APEX", "none", []),
    ]
    assert [o.name for o in view.outputs] == ["caseId"]


def test_the_answer_to_a_run_shows_outputs_sources_and_what_salesforce_said() -> None:
    result = FlowResult(Outcome.ERROR, False, FlowOutputs({"a": [1]}), FlowFault("CODE", "why"), NextAction.ASK_ADMIN)
    inputs = FlowInputs({"subject": "x"}, {"subject": "email.subject", "due": "none"})
    found = shown(RunResultView.of(RunAnswer(RUN.ended(Outcome.ERROR, 20), result, inputs)))
    assert found.pop("run")
    assert found == {
        "outcome": "error",
        "finished": False,
        "outputs": {"a": [1]},
        "replayed": False,
        "nextAction": "ask-admin",
        "sources": {"subject": "email.subject", "due": "none"},
        "fault": {"code": "CODE", "message": "why"},
    }
