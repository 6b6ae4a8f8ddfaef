"""What leaves us for Salesforce: the declared inputs of one Flow, one user's session, our name, and nothing else."""

import base64
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from shared.devkit.salesforce.flows import CATALOGUE
from shared.devkit.salesforce.recording import Call
from shared.devkit.tls import Answer, DevelopmentCA, Listener, Request
from shared.devkit.workbench import Workbench
from tests.security.journey_fixtures import ADA, BEN, CLEO, Pane, World, serving, slug

MAIL = {
    "sender": {"address": "grace@customer.example", "name": "Grace Hopper"},
    "to": [{"address": "sales@acme.example", "name": "Sales"}, {"address": "ops@acme.example"}],
    "cc": ["legal@acme.example"],
    "subject": "A broken pump",
    "threadId": "thread-4711",
}
GRACE, TO, CC = "grace@customer.example", ["sales@acme.example", "ops@acme.example"], ["legal@acme.example"]
SENDER: Mapping[str, object] = {"senderEmail": GRACE}
READ = {**SENDER, "senderName": "Grace Hopper", "subject": "A broken pump", "threadId": "thread-4711"}
NOTHING: Mapping[str, object] = {}

SENT: Mapping[str, Mapping[str, object] | None] = {
    "Create_Case": {**SENDER, "subject": "A broken pump"},
    "Daily_Digest": NOTHING,
    "Every_Type": NOTHING,
    "Log_Recipients": {"recipientEmails": TO, "ccEmails": CC, "recipients": [*TO, *CC]},
    "Echo_Mail": {**READ, "recipientEmails": ";".join(TO), "recipients": [*TO, *CC]},
    "Alias_Mail": {
        "fromAddress": GRACE,
        "fromName": "Grace Hopper",
        "toAddresses": TO,
        "ccAddresses": CC,
        "conversationId": "thread-4711",
        "Subject": "A broken pump",
    },
    "Odd_Names": {"ThreadID": "thread-4711"},
    "Find_Contact": SENDER,
    "Faulty_Flow": SENDER,
    "Handled_Fault": NOTHING,
    "Wait_For_Approval": NOTHING,
    "FLR__Log_Mail": {**READ, "recipientEmails": TO},
    "Slow_Import": {"seconds": 0},
    "Nothing_Back": NOTHING,
    "Score_Lead": None,
    "Assign_Owner": NOTHING,
    "Count_Runs": NOTHING,
    "Approve_Discount": NOTHING,
    "Guided_Sale": None,
    "Old_Flow": None,
}
"""The one element that each Flow of the devkit gets for MAIL; None where nothing may be run at all."""

TYPED = {"Slow_Import": {"seconds": 0}}


@pytest.fixture(scope="module")
def connected(shared_world: World) -> tuple[Pane, str]:
    """Somebody with a connection."""
    pane = shared_world.pane()
    return pane, pane.connect()


def run_calls(calls: list[Call]) -> list[Call]:
    return [call for call in calls if call.endpoint == "run"]


def everything(calls: list[Call]) -> str:
    """All that calls carried, query, headers and body."""
    return "\n".join(f"{c.path}?{c.query}\n{c.headers}\n{c.body}" for c in calls)


# --- only what is declared


def test_every_flow_of_the_devkit_is_checked_here() -> None:
    assert SENT.keys() == CATALOGUE.keys()


@pytest.mark.parametrize("flow", [name for name, sent in SENT.items() if sent is not None])
def test_a_flow_gets_exactly_what_it_declares_in_one_element(connected: tuple[Pane, str], flow: str) -> None:
    pane, connection = connected
    body = {"email": MAIL, "inputs": TYPED.get(flow, {})}
    with pane.world.overheard() as calls:
        assert pane.run(connection, flow, body=body).ok
    (call,) = run_calls(calls)
    assert json.loads(call.body) == {"inputs": [SENT[flow]]}
    assert (call.query, call.path.rpartition("/")[2]) == ("", flow)


@pytest.mark.parametrize("flow", [name for name, sent in SENT.items() if sent is None])
def test_a_flow_that_cannot_be_run_from_here_gets_nothing(connected: tuple[Pane, str], flow: str) -> None:
    pane, connection = connected
    with pane.world.overheard() as calls:
        answer = pane.run(connection, flow, body={"email": MAIL})
    assert answer.status_code in {404, 409}
    assert run_calls(calls) == []
    assert GRACE not in everything(calls)


def test_what_a_flow_does_not_declare_is_in_no_call_in_any_form(connected: tuple[Pane, str]) -> None:
    pane, connection = connected
    with pane.world.overheard() as calls:
        pane.ask("GET", f"/v1/connections/{connection}/flows")
        pane.run(connection, "Create_Case", body={"email": MAIL})
    said = everything(calls)
    assert GRACE in said
    for undeclared in ("Grace Hopper", *TO, *CC, "thread-4711"):
        for form in (undeclared, undeclared.partition("@")[0], base64.b64encode(undeclared.encode()).decode()[:-2]):
            assert form not in said


@pytest.mark.parametrize("name", ["body", "attachments", "bcc", "headers"])
def test_an_add_in_cannot_hand_over_more_of_a_mail(connected: tuple[Pane, str], name: str) -> None:
    pane, connection = connected
    with pane.world.untouched():
        answer = pane.run(connection, "Echo_Mail", body={"email": {**MAIL, name: "the whole mail"}})
    assert (answer.status_code, slug(answer)) == (422, "invalid-input")


@pytest.mark.parametrize("name", ["Subject", "undeclared", "subject ", ""])
def test_a_typed_input_that_is_not_declared_is_refused(connected: tuple[Pane, str], name: str) -> None:
    pane, connection = connected
    with pane.world.overheard() as calls, pane.world.unwritten():
        answer = pane.run(connection, "Create_Case", body={"inputs": {"subject": "x", name: "y"}})
    assert (answer.status_code, slug(answer)) == (422, "invalid-input")
    assert run_calls(calls) == []


NAMES = ("a%2F..%2Flimits", "%2e%2e%2f%2e%2e%2flimits", "Count_Runs%3Fx", "Count_Runs%23", "Count_Runs%00", "a__b__c")


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_no_flow_has_reaches_no_address(connected: tuple[Pane, str], name: str) -> None:
    pane, connection = connected
    with pane.world.untouched():
        statuses = [
            pane.world.undressed(method, f"/v1/connections/{connection}/flows/{name}{rest}", pane.token)
            for method, rest in (("GET", ""), ("POST", "/runs"))
        ]
    assert statuses == [404, 404]


# --- one user's session, and nothing of ours


def test_no_bearer_token_of_ours_reaches_salesforce(world: World) -> None:
    pane = world.pane()
    with world.overheard() as calls:
        connection = pane.connect()
        pane.run(connection, "Echo_Mail", body={"email": MAIL})
        world.salesforce.grants.expire_sessions(None)
        pane.run(connection)
        pane.ask("DELETE", f"/v1/connections/{connection}")
    said = everything(calls)
    assert {"token", "describe", "run", "revoke"} <= {call.endpoint for call in calls}
    assert not [part for part in pane.token.split(".") if part in said]
    assert not [name for name in (pane.user, pane.tenant, pane.tenant_ref()) if name in said]


def test_no_cookie_of_salesforce_s_ever_comes_back(world: World) -> None:
    panes = [(world.pane(), name) for name in (ADA, BEN, CLEO)]
    joined = [(pane, pane.connect(name)) for pane, name in panes]
    with world.overheard() as calls:
        for _ in range(2):
            for pane, connection in joined:
                assert pane.run(connection).ok
    assert len(run_calls(calls)) == 6
    assert world.salesforce.recorder.cookies() == []
    assert world.salesforce.recorder.events().get("refused-as-unknown", 0) == 0


def test_each_user_s_calls_carry_that_user_s_own_session(world: World) -> None:
    sessions: list[set[str | None]] = []
    for name in (ADA, BEN, ADA):
        pane = world.pane()
        with world.overheard() as calls:
            pane.run(pane.connect(name))
        sessions.append({call.header("Authorization") for call in calls if call.endpoint in {"describe", "run"}})
    assert [len(each) for each in sessions] == [1, 1, 1]
    assert len(set().union(*sessions)) == 3


def test_every_rest_call_names_us_to_the_org_s_audit_trail(world: World) -> None:
    pane = world.pane()
    with world.overheard() as calls:
        connection = pane.connect()
        pane.ask("GET", f"/v1/connections/{connection}/flows")
        pane.ask("GET", f"/v1/connections/{connection}/flows/Create_Case")
        pane.run(connection)
    rest = [call for call in calls if call.path.startswith("/services/data")]
    assert [call.endpoint for call in rest] == ["list", "describe", "describe", "run"]
    assert {call.header("Sforce-Call-Options") for call in rest} == {"client=FlowRunner"}
    assert {call.secure for call in rest} == {True}


def test_the_client_secret_goes_to_the_login_host_s_token_endpoint_alone(world: World) -> None:
    secret = world.bench.environment["SALESFORCE_CLIENT_SECRET"]
    pane = world.pane()
    with world.overheard() as calls:
        connection = pane.connect()
        pane.run(connection)
        pane.ask("DELETE", f"/v1/connections/{connection}")
    assert {call.endpoint for call in calls if secret in everything([call])} == {"token"}


def test_a_refresh_token_goes_to_token_and_revoke_alone(world: World) -> None:
    pane = world.pane()
    connection = pane.connect()
    world.salesforce.grants.expire_sessions(None)
    with world.overheard() as calls:
        pane.run(connection)
        pane.ask("DELETE", f"/v1/connections/{connection}")
    given = [
        parse_qs(call.body)[name][0]
        for call in calls
        for name in ("refresh_token", "token")
        if name in parse_qs(call.body)
    ]
    assert len(given) == 2
    carrying = {call.endpoint for call in calls for token in given if token in everything([call]).replace("%21", "!")}
    assert carrying == {"token", "revoke"}


# --- redirects


class Decoy:
    """An org that sends its callers on to another address, and what both were asked; it can describe a Flow."""

    def __init__(self) -> None:
        self.asked: list[Request] = []
        self.followed: list[Request] = []
        self.describes = False
        self.origin = ""
        self._elsewhere = Listener(self._found)

    def start(self, bench: Workbench) -> None:
        """Stand there as one more org of the app's list, under the authority that it trusts."""
        pems = Path(bench.environment["CA_BUNDLE"]).parent
        org = Listener(self._sent_on, context=DevelopmentCA(pems / "ca.pem", pems / "server.pem").server_context())
        for listener in (self._elsewhere, org):
            listener.start()
        self.origin = f"https://127.0.0.1:{org.port}"
        bench.environment["SF_EXTRA_ORIGINS"] += f" {self.origin}"

    def _sent_on(self, request: Request) -> Answer:
        self.asked.append(request)
        if self.describes and request.method == "GET":
            return Answer(200, b"{}", (("Content-Type", "application/json"),))
        place = f"http://127.0.0.1:{self._elsewhere.port}{request.path}"
        return Answer(307, headers=(("Location", place),))

    def _found(self, request: Request) -> Answer:
        self.followed.append(request)
        return Answer(200, b"{}", (("Content-Type", "application/json"),))


@pytest.fixture(scope="module")
def decoyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, Decoy]]:
    decoy = Decoy()
    with serving(tmp_path_factory.mktemp("decoy"), prepare=decoy.start) as world:
        world.salesforce.steering.switch({"instance_url": decoy.origin})
        yield world, decoy


def test_a_question_that_is_redirected_is_not_asked_elsewhere(decoyed: tuple[World, Decoy]) -> None:
    world, decoy = decoyed
    pane = world.pane()
    answer = pane.ask("GET", f"/v1/connections/{pane.connect()}/flows")
    assert (answer.status_code, slug(answer)) == (502, "salesforce-unusable")
    assert decoy.asked
    assert decoy.followed == []


def test_a_run_that_is_redirected_runs_nowhere_else_and_its_outcome_is_unknown(decoyed: tuple[World, Decoy]) -> None:
    world, decoy = decoyed
    decoy.describes = True
    pane = world.pane()
    answer = pane.run(pane.connect())
    assert (answer.status_code, answer.json()["outcome"]) == (200, "unknown")
    assert decoy.asked[-1].method == "POST"
    assert decoy.followed == []
