"""What must not be seen shows nothing of itself, however it is printed."""

import json
import secrets
from collections.abc import Callable

import pytest
from pydantic import JsonValue

from shared.errors import NextAction
from shared.model.answers import BegunView, ConnectionView, FaultView, RunResultView
from shared.model.body import Body
from shared.model.connections import Connection as Row
from shared.model.connections import ConnectionId, ConnectionState, Consent, Grant, OpenConnection, OrgFacts
from shared.model.email import Address, EmailContext
from shared.model.flows import FlowId, FlowInputs, FlowOutputs
from shared.model.identity import BearerToken, OwnerDigest, Principal, Provider, TenantId, UserId
from shared.model.requests import BeginConnection, CompleteConnection, EnrolTenant, RunFlowBody
from shared.model.runs import FlowFault, FlowResult, Outcome, Run, RunAnswer, RunId
from shared.model.sealed import Sealed

RUN = Run(RunId("1" * 32), UserId("2" * 32), ConnectionId("3" * 32), FlowId("4" * 32), 0, Outcome.SUCCESS, 1)


def sent(model: type[Body], **members: JsonValue) -> Body:
    return model.model_validate_json(json.dumps(members))


def mail(s: str) -> dict[str, JsonValue]:
    return {"sender": {"address": s, "name": s}, "to": [s], "cc": [{"name": s}], "subject": s, "threadId": s}


def answer(s: str) -> RunAnswer:
    result = FlowResult(Outcome.ERROR, True, FlowOutputs({s: s}), FlowFault(s, s), NextAction.NONE)
    return RunAnswer(RUN, result, FlowInputs({s: s}, {s: "user"}))


def facts(s: str) -> OrgFacts:
    return OrgFacts(s, s, s, s, sandbox=False)


def opened(s: str) -> OpenConnection:
    owner, user, state = OwnerDigest("5" * 32), UserId("2" * 32), ConnectionState.CONNECTED
    row = Row(ConnectionId("3" * 32), owner, user, 1, 1, state, None, None, Sealed("a.1.b.c"), 1, 0, 0)
    return OpenConnection(row, facts(s), Grant(s, s))


SECRETIVE: dict[str, Callable[[str], object]] = {
    "a bearer token": lambda s: [BearerToken(s)],
    "a tenant's id": lambda s: TenantId(Provider.ENTRA, s),
    "a principal": lambda s: Principal(TenantId(Provider.GOOGLE, s), s),
    "a grant": lambda s: Grant(s, s),
    "the facts of an org": facts,
    "an open connection": opened,
    "a consent": lambda s: Consent(s, sandbox=False, channel=s, verifier=s),
    "an address": lambda s: Address(address=s, name=s),
    "an e-mail": lambda s: sent(EmailContext, **mail(s)),
    "a run's body": lambda s: sent(RunFlowBody, email=mail(s), inputs={s: s}),
    "a begin's body": lambda s: sent(BeginConnection, environment="sandbox", channel=s, myDomain=s),
    "a completion's body": lambda s: sent(CompleteConnection, completion=s),
    "an enrolment's body": lambda s: sent(EnrolTenant, provider="entra", id=s),
    "a Flow's inputs": lambda s: FlowInputs({s: s}, {s: "user"}),
    "a Flow's outputs": lambda s: FlowOutputs({s: s}),
    "a Flow's fault": lambda s: FlowFault(s, s),
    "a Flow's result": lambda s: answer(s).result,
    "a run's answer": answer,
    "a run as the client gets it": lambda s: RunResultView.of(answer(s)),
    "a fault as the client gets it": lambda s: FaultView(code=s, message=s),
    "an attempt as the client gets it": lambda s: BegunView(id=s, authorize_url=s, expires_at=0),
    "a connection as the client gets it": lambda s: ConnectionView.of(opened(s).row, facts(s)),
}


@pytest.mark.parametrize("made", SECRETIVE.values(), ids=SECRETIVE)
@pytest.mark.parametrize("printed", [repr, str, "{}".format, "{!r}".format], ids=["repr", "str", "format", "format r"])
def test_a_printed_value_shows_nothing_of_what_it_holds(
    made: Callable[[str], object], printed: Callable[[object], str]
) -> None:
    canary = secrets.token_hex(16)
    value = made(canary)
    assert canary not in printed(value)
    assert canary not in printed([value, {"x": value}])


def test_a_sealed_fact_comes_back_as_it_was() -> None:
    kept = facts("x"), Grant("a", "r"), Consent("o", sandbox=True, channel="outlook", verifier="v")
    assert tuple(type(value).from_bytes(value.to_bytes()) for value in kept) == kept
