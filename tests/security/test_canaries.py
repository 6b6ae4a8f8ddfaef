"""Nothing that users, mailboxes, orgs and issuers tell us can be read in store, keyring, log or any problem."""

import re
from collections.abc import Iterator

import pytest

from tests.security.canary_fixtures import Journeys
from tests.security.journey_fixtures import serving, slug
from tests.security.traces_fixtures import (
    MAIL,
    OURS,
    SECRETS,
    STORED,
    Traces,
    digests,
    disguises,
    found,
    whole,
)

ASKED_WRONGLY = {"malformed-request", "idempotency-key-needed", "not-json", "invalid-input", "headers-too-large"}
ASKED_IN_VAIN = {"not-found", "method-not-allowed", "connection-not-found", "flow-not-found", "attempt-spent"}
TURNED_AWAY = {"not-signed-in", "not-allowed", "flow-forbidden", "body-too-large", "too-many-attempts"}
BROKEN = {"internal", "salesforce-unusable", "salesforce-unavailable", "store-unavailable"}
LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z [a-z_]+( [a-z_]+=[A-Za-z0-9_.-]+)*")


@pytest.fixture(scope="module")
def traces(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traces]:
    with serving(tmp_path_factory.mktemp("canaries"), {"SF_RUN_S": "2"}) as world:
        yield Journeys(world).traces()


@pytest.mark.parametrize("name", SECRETS)
def test_it_was_really_said(traces: Traces, name: str) -> None:
    assert found(traces.secrets[name], traces.said)


@pytest.mark.parametrize("name", STORED)
def test_it_cannot_be_read_in_the_database_s_bytes(traces: Traces, name: str) -> None:
    assert not found(traces.secrets[name], traces.store)


@pytest.mark.parametrize("name", SECRETS)
def test_it_cannot_be_read_in_the_keyring(traces: Traces, name: str) -> None:
    assert not found(traces.secrets[name], traces.keyring)


@pytest.mark.parametrize("name", SECRETS)
def test_it_was_never_printed(traces: Traces, name: str) -> None:
    assert not found(traces.secrets[name], traces.printed)


@pytest.mark.parametrize("name", SECRETS)
def test_it_is_in_no_problem(traces: Traces, name: str) -> None:
    assert not found(traces.secrets[name], traces.problems)


@pytest.mark.parametrize("name", OURS)
def test_what_is_between_us_and_salesforce_is_in_no_answer(traces: Traces, name: str) -> None:
    assert not found(traces.secrets[name], b"".join(whole(answer) for answer in traces.answers))


@pytest.mark.parametrize("name", MAIL)
def test_no_digest_of_a_mail_is_stored(traces: Traces, name: str) -> None:
    assert not [digest for digest in digests(traces.secrets[name]) if digest in traces.store]


@pytest.mark.parametrize("name", ["output", "fault"])
def test_the_user_is_shown_it_in_the_one_answer(traces: Traces, name: str) -> None:
    shown = [answer for answer in traces.answers if found(traces.secrets[name], whole(answer))]
    assert [(answer.status_code, answer.json()["replayed"]) for answer in shown] == [(200, False)]


def test_every_line_that_was_printed_is_of_the_closed_form(traces: Traces) -> None:
    lines = traces.printed.decode().splitlines()
    assert [line for line in lines if not LINE.fullmatch(line)] == []
    assert len(lines) > len(traces.answers)


# --- that all this can fail


def test_every_kind_of_trouble_was_met(traces: Traces) -> None:
    problems = [answer for answer in traces.answers if "problem" in answer.headers["Content-Type"] and answer.content]
    assert {slug(answer) for answer in problems} >= ASKED_WRONGLY | ASKED_IN_VAIN | TURNED_AWAY | BROKEN


def test_something_unforeseen_was_met_and_told_by_its_type_alone(traces: Traces) -> None:
    assert b"error_code=internal exception=TypeError module=shared.model.connections line=" in traces.printed


def test_every_outcome_was_met(traces: Traces) -> None:
    runs = [answer.json() for answer in traces.answers if b'"replayed":' in answer.content]
    assert {run["outcome"] for run in runs} == {"success", "error", "unknown"}
    assert {run["finished"] for run in runs if run["outcome"] == "success"} == {True, False}


def test_the_store_is_where_the_search_looks(traces: Traces) -> None:
    refs = {answer.json()["tenant"]["ref"] for answer in traces.answers if b'"tenant":{"ref":' in answer.content}
    assert refs
    assert [ref for ref in refs if not found(ref, traces.store)] == []
    looked_at = {f"{moment} store.sqlite{kind}" for moment in ("full", "killed") for kind in ("", "-wal", "-shm")}
    assert traces.files.keys() == looked_at


def test_the_keyring_is_where_the_search_looks(traces: Traces) -> None:
    tenants_and_pepper = 1 + len(set(re.findall(rb'"ref":"([0-9a-f]{32})"', traces.said)))
    assert len(traces.keyring) >= 32 * tenants_and_pepper


@pytest.mark.parametrize("shape", range(len(list(disguises("a secret of some length")))))
def test_the_search_sees_through_every_disguise(shape: int) -> None:
    secret = "a secret/of some length?"
    assert found(secret, b"before " + list(disguises(secret))[shape] + b" after")
