"""Whatever goes wrong, no error of ours can tell a token, a secret, an input or an answer, not even by its frames."""

import json
from collections.abc import Callable, Mapping

import pytest

from shared.errors import FlowRunnerError, SessionExpired
from shared.model.flows import FlowInputs, flow_name
from shared.model.refreshing import RefreshFailed
from shared.model.runs import FlowResult
from tests.salesforce.salesforce_fixtures import (
    CLIENT_SECRET,
    OTHER_SECRET,
    SIGNING_SECRET,
    Wired,
    raised,
    token_answer,
    told,
)

CANARY = "canary-7f3a"
NAME = flow_name("Create_Case")
INPUTS = FlowInputs({"subject": CANARY, "senderEmail": f"{CANARY}@acme.example"}, {"subject": "subject"})

ANSWERS: Mapping[str, Mapping[str, object]] = {
    "html": {"status": 503, "body": f"<html>{CANARY}</html>"},
    "page at 200": {"status": 200, "body": f"<html>{CANARY}</html>"},
    "rest list": {"status": 400, "body": json.dumps([{"errorCode": "INVALID_FIELD", "message": CANARY}])},
    "code": {"status": 403, "body": json.dumps([{"errorCode": CANARY, "message": CANARY}])},
    "session": {"status": 401, "body": json.dumps([{"errorCode": "INVALID_SESSION_ID", "message": CANARY}])},
    "not found": {"status": 404, "body": json.dumps([{"errorCode": "NOT_FOUND", "message": CANARY}])},
    "oauth": {"status": 400, "body": json.dumps({"error": "invalid_grant", "error_description": CANARY})},
    "oauth word": {"status": 400, "body": json.dumps({"error": CANARY, "error_description": CANARY})},
    "text": {"status": 400, "body": CANARY},
    "number": {"status": 200, "body": f'"{CANARY}"'},
    "object": {"status": 200, "body": json.dumps({"actions": CANARY, "inputs": CANARY})},
    "dropped": {"drop": "before"},
    "half": {"drop": "after"},
    "held": {"hold": "for-ever"},
}


def secrets_of(wired: Wired) -> list[str]:
    """Every token and secret that went over the wire, and the canary."""
    wanted = ("access_token", "refresh_token", "client_secret", "code_verifier", "token")
    found = [CANARY, CLIENT_SECRET, OTHER_SECRET]
    for call in wired.calls():
        found += [part.partition("=")[2] for part in call.body.split("&") if part.partition("=")[0] in wanted]
        found += [(call.header("Authorization") or "").removeprefix("Bearer ")]
    return [secret for secret in found if secret]


def leaks(wired: Wired, call: Callable[[], object]) -> list[str]:
    error = raised(call)
    assert isinstance(error, FlowRunnerError | SessionExpired | RefreshFailed)
    assert (error.__cause__, error.__context__) == (None, None)
    everything = told(error)
    return [secret for secret in secrets_of(wired) if secret in everything]


@pytest.mark.parametrize("how", ANSWERS.values(), ids=list(ANSWERS))
@pytest.mark.parametrize("question", ["list", "describe"])
def test_a_failed_question_leaks_nothing(wired: Wired, question: str, how: Mapping[str, object]) -> None:
    org = wired.org(metadata_s=0.5)
    wired.plan(question, **how)
    if question == "describe" and how.get("status") == 200 and str(how["body"]).startswith("{"):
        assert CANARY not in repr(org.flow(NAME))
    else:
        assert leaks(wired, org.flows if question == "list" else lambda: org.flow(NAME)) == []


@pytest.mark.parametrize("how", ANSWERS.values(), ids=list(ANSWERS))
def test_a_failed_run_leaks_nothing(wired: Wired, how: Mapping[str, object]) -> None:
    org = wired.org(run_s=0.5)
    wired.plan("run", **how)
    outcome: list[FlowResult] = []

    def run() -> None:
        outcome.append(org.run(NAME, INPUTS))
        raise SessionExpired

    assert leaks(wired, run) == []
    assert CANARY not in repr(outcome)


def test_a_run_that_never_left_leaks_nothing(wired: Wired) -> None:
    org = wired.org()
    wired.server.stop()
    assert leaks(wired, lambda: org.run(NAME, INPUTS)) == []


@pytest.mark.parametrize("how", ANSWERS.values(), ids=list(ANSWERS))
def test_a_failed_refresh_leaks_nothing(wired: Wired, how: Mapping[str, object]) -> None:
    grant, facts = wired.exchange()
    wired.plan("token", **how)
    client = wired.oauth_client(CLIENT_SECRET, OTHER_SECRET, deadline_s=0.5)
    assert leaks(wired, lambda: client.refresh(facts, grant)) == []


@pytest.mark.parametrize("first", [CLIENT_SECRET, OTHER_SECRET], ids=["somebody else's", "secret refused"])
def test_a_refused_refresh_leaks_nothing(wired: Wired, first: str) -> None:
    grant, facts = wired.exchange()
    wired.switch(id_url=f"https://{CANARY}.example/id/{facts.org_id}/0055gK0000002AbABI")
    client = wired.oauth_client(first, CLIENT_SECRET)
    assert leaks(wired, lambda: client.refresh(facts, grant)) == []


def test_a_token_that_cannot_be_used_is_not_told(wired: Wired) -> None:
    grant, facts = wired.exchange()
    tokens = {"access_token": f"{CANARY} x", "refresh_token": f"{CANARY}-r"}
    identity = f"https://login.salesforce.com/id/{facts.org_id}/{facts.salesforce_user}"
    for answer in (tokens | {"id": identity}, tokens):
        wired.plan("token", status=200, body=token_answer(facts.instance_url, **answer))
    assert leaks(wired, lambda: wired.oauth.refresh(facts, grant)) == []
    assert leaks(wired, lambda: wired.oauth_client(SIGNING_SECRET).exchange(wired.asked(), "code")) == []


@pytest.mark.parametrize("how", ANSWERS.values(), ids=list(ANSWERS))
def test_a_failed_exchange_leaks_nothing(wired: Wired, how: Mapping[str, object]) -> None:
    asked = wired.asked()
    code = wired.code(asked)
    wired.plan("token", **how)
    client = wired.oauth_client(deadline_s=0.5)
    assert leaks(wired, lambda: client.exchange(asked, code)) == []


@pytest.mark.parametrize(
    "switches",
    [
        {"signature": CANARY},
        {"scope": CANARY},
        {"instance_url": "https://evil.example"},
        {"omit": ["id"]},
        {"omit": ["refresh_token"]},
    ],
    ids=str,
)
def test_a_refused_exchange_leaks_nothing(wired: Wired, switches: dict[str, object]) -> None:
    wired.switch(**switches)
    assert leaks(wired, wired.exchange) == []
