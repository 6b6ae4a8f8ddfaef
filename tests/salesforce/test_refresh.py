"""Refresh: what is kept of the answer, and what each failure says of the grant (salesforce-contract 2.5, 2.7)."""

import json
from dataclasses import replace
from time import monotonic

import pytest

from shared.model.connections import Reason
from shared.model.events import EventName
from shared.model.refreshing import Again, FailureClass, RefreshFailed
from shared.salesforce.client_secrets import ClientSecrets
from shared.salesforce.pool import BODY_MAX, Pool
from shared.salesforce.refresh_failures import failure_of
from shared.salesforce.replies import Reply
from tests.salesforce.salesforce_fixtures import (
    CLIENT_ID,
    CLIENT_SECRET,
    LOOK_ALIKE,
    OTHER_SECRET,
    Wired,
    failed,
    form,
    http,
    raw_server,
    token_answer,
)

K, C = FailureClass, Reason
Verdict = tuple[FailureClass, Reason | None, int | None, Again | None]


def verdict(found: RefreshFailed | None) -> Verdict:
    assert found is not None
    return found.kind, found.cause, found.retry_after, found.again


# What is kept


def test_a_refresh_sends_token_and_secret_in_the_body(wired: Wired) -> None:
    grant, facts = wired.exchange()
    wired.oauth.refresh(facts, grant)
    assert form(wired.calls("token")[-1].body) == {
        "grant_type": "refresh_token",
        "refresh_token": grant.refresh_token,
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
    }


@pytest.mark.parametrize(
    ("switches", "new_access", "new_refresh"),
    [({}, True, True), ({"rotation": False}, True, False), ({"same_access_token": True}, False, True)],
    ids=str,
)
def test_what_salesforce_gives_is_taken_and_what_it_leaves_out_is_kept(
    wired: Wired, switches: dict[str, object], *, new_access: bool, new_refresh: bool
) -> None:
    grant, facts = wired.exchange()
    wired.switch(**switches)
    fresh, same = wired.oauth.refresh(facts, grant)
    assert same == facts
    assert (fresh.access_token != grant.access_token) is new_access
    assert (fresh.refresh_token != grant.refresh_token) is new_refresh
    assert wired.orgs.org(same, fresh).flows()


def test_an_org_that_moved_is_followed_within_salesforce(wired: Wired) -> None:
    grant, facts = wired.exchange()
    moved = "https://acme-new.my.salesforce.com"
    for identity in ("", f"{moved}/id/{facts.org_id}/{facts.salesforce_user}"):
        wired.switch(instance_url=moved, id_url=identity)
        grant, found = wired.oauth.refresh(facts, grant)
        assert found == replace(facts, instance_url=moved)


@pytest.mark.parametrize("switches", [{"instance_url": LOOK_ALIKE}, {"omit": ["instance_url"]}])
def test_a_foreign_address_is_not_followed_and_the_rotated_token_is_kept(
    wired: Wired, switches: dict[str, object]
) -> None:
    grant, facts = wired.exchange()
    wired.switch(**switches)
    fresh, same = wired.oauth.refresh(facts, grant)
    assert same == facts
    assert fresh.refresh_token != grant.refresh_token
    assert wired.revoked() == 0


def test_the_kind_of_an_org_follows_its_host(wired: Wired) -> None:
    grant, facts = wired.exchange()
    wired.switch(instance_url="https://acme.my.salesforce.com")
    assert wired.oauth.refresh(replace(facts, sandbox=True), grant)[1].sandbox is False


def test_a_changed_client_secret_of_the_signature_ends_nobodys_grant(wired: Wired) -> None:
    grant, facts = wired.exchange()
    wired.switch(signature="AAAA", omit=["scope", "issued_at"])
    assert wired.oauth.refresh(facts, grant)[0].refresh_token != grant.refresh_token


@pytest.mark.parametrize("rotation", [True, False])
@pytest.mark.parametrize(
    "identity",
    [
        "https://login.salesforce.com/id/00D5gK0000001AbEBI/0055gK0000002AbABI",
        "https://login.salesforce.com/id/00D5gK0000002AbEBI/0055gK0000001AbABI",
    ],
)
def test_a_session_of_somebody_else_ends_the_grant_which_is_revoked(
    wired: Wired, identity: str, *, rotation: bool
) -> None:
    grant, facts = wired.exchange()
    wired.switch(id_url=identity, rotation=rotation)
    assert verdict(failed(lambda: wired.oauth.refresh(facts, grant))) == (K.GRANT_DEAD, None, None, None)
    assert wired.revoked() == 1
    assert (wired.sent("revoke", "token") == [grant.refresh_token]) is not rotation


@pytest.mark.parametrize("identity", ["https://evil.example/id/{}/{}", "https://login.salesforce.com/id/{}", "x", ""])
def test_an_identity_that_names_nobody_else_keeps_the_grant(wired: Wired, identity: str) -> None:
    grant, facts = wired.exchange()
    omit = ["instance_url"] if identity else ["instance_url", "id"]
    wired.switch(id_url=identity.format(facts.org_id, facts.salesforce_user), omit=omit)
    fresh, org = wired.oauth.refresh(facts, grant)
    assert (fresh.refresh_token != grant.refresh_token, org, wired.revoked()) == (True, facts, 0)


# What a failure says


@pytest.mark.parametrize("status", [400, 401, 403])
@pytest.mark.parametrize(
    ("error", "description", "expected"),
    [
        ("invalid_grant", "expired access/refresh token", (K.GRANT_DEAD, None, None, None)),
        ("invalid_grant", "token request is already being processed", (K.TRANSIENT, None, 2, Again.LATER)),
        ("invalid_grant", "Expired Authorization Code", (K.TRANSIENT, None, 2, Again.LATER)),
        ("invalid_grant", "inactive user", (K.ORG_SETUP, C.USER_BLOCKED, None, None)),
        ("invalid_grant", "inactive organization", (K.ORG_SETUP, C.USER_BLOCKED, None, None)),
        ("invalid_grant", "user is locked", (K.ORG_SETUP, C.USER_BLOCKED, None, None)),
        ("invalid_grant", "user is frozen", (K.ORG_SETUP, C.USER_BLOCKED, None, None)),
        ("invalid_grant", "ip restricted", (K.ORG_SETUP, C.IP_RESTRICTED, None, None)),
        ("invalid_grant", "ip restricted by app developer", (K.OPERATOR, C.OUR_ADDRESS, None, None)),
        ("invalid_grant", "authentication failure", (K.ORG_SETUP, C.UNEXPLAINED, None, None)),
        ("invalid_grant", "activation secret invalid", (K.ORG_SETUP, C.UNEXPLAINED, None, None)),
        ("invalid_grant", "something that nobody has seen", (K.ORG_SETUP, C.UNEXPLAINED, None, None)),
        ("invalid_grant", None, (K.ORG_SETUP, C.UNEXPLAINED, None, None)),
        ("invalid_client_id", "client identifier invalid", (K.OPERATOR, C.OUR_CREDENTIALS, None, None)),
        ("invalid_client", "invalid client credentials", (K.OPERATOR, C.OUR_CREDENTIALS, None, None)),
        ("invalid_client_credentials", None, (K.OPERATOR, C.OUR_CREDENTIALS, None, None)),
        ("unsupported_grant_type", "x", (K.OPERATOR, C.OUR_REQUEST, None, None)),
        ("invalid_request", None, (K.OPERATOR, C.OUR_REQUEST, None, None)),
        ("redirect_uri_mismatch", "x", (K.OPERATOR, C.OUR_REQUEST, None, None)),
        ("invalid_scope", "x", (K.OPERATOR, C.OUR_REQUEST, None, None)),
        ("rate_limit_exceeded", None, (K.TRANSIENT, C.LOGIN_LIMIT, 3_600, None)),
        ("invalid_grant", "login rate exceeded", (K.TRANSIENT, C.LOGIN_LIMIT, 3_600, None)),
        ("server_error", None, (K.UNCERTAIN, None, 30, None)),
        ("OAUTH_APP_BLOCKED", "x", (K.ORG_SETUP, C.APP_BLOCKED, None, None)),
        ("OAUTH_EC_APP_NOT_FOUND", None, (K.ORG_SETUP, C.APP_NOT_INSTALLED, None, None)),
        ("OAUTH_APP_ACCESS_DENIED", None, (K.ORG_SETUP, C.APP_NOT_ALLOWED, None, None)),
        ("unheard_of", "expired access/refresh token", (K.ORG_SETUP, C.UNEXPLAINED, None, None)),
    ],
)
def test_a_refusal_means(status: int, error: str, description: str | None, expected: Verdict) -> None:
    body = {"error": error} if description is None else {"error": error, "error_description": description}
    assert verdict(failure_of(Reply(status, {}, json.dumps(body), "/services/oauth2/token"))) == expected


def test_how_long_to_wait_is_salesforces_word() -> None:
    busy = Reply(503, {"Retry-After": "7"}, "", "/services/oauth2/token")
    assert verdict(failure_of(busy)) == (K.UNCERTAIN, None, 7, None)


@pytest.mark.parametrize(
    ("how", "expected", "retry_after"),
    [
        ({"answer": "oauth-object"}, K.GRANT_DEAD, None),
        ({"answer": "html"}, K.UNCERTAIN, 30),
        ({"answer": "too-busy"}, K.UNCERTAIN, 30),
        ({"status": 429, "body": '{"error":"invalid_grant"}'}, K.TRANSIENT, 30),
        ({"answer": "empty"}, K.UNCERTAIN, 30),
        ({"status": 502, "body": '{"error":"invalid_grant"}'}, K.UNCERTAIN, 30),
        ({"status": 504, "body": "x"}, K.UNCERTAIN, 30),
        ({"answer": "html-200"}, K.UNCERTAIN, 30),
        ({"answer": "empty-200"}, K.UNCERTAIN, None),
        ({"status": 408, "body": ""}, K.UNCERTAIN, None),
        ({"answer": "plain-text"}, K.ORG_SETUP, None),
        ({"answer": "rest-list"}, K.ORG_SETUP, None),
        ({"status": 302, "body": ""}, K.ORG_SETUP, None),
        ({"status": 200, "body": "x" * (BODY_MAX * 2)}, K.UNCERTAIN, None),
        ({"drop": "before"}, K.UNCERTAIN, None),
        ({"drop": "after"}, K.UNCERTAIN, None),
        ({"hold_after": "for-ever"}, K.UNCERTAIN, None),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_refresh_without_a_fresh_grant_is_sent_once_and_means(
    wired: Wired, how: dict[str, object], expected: FailureClass, retry_after: int | None
) -> None:
    grant, facts = wired.exchange()
    wired.plan("token", **how)
    client = wired.oauth_client(deadline_s=0.6)
    cause = C.UNEXPLAINED if expected is K.ORG_SETUP else None
    assert verdict(failed(lambda: client.refresh(facts, grant))) == (expected, cause, retry_after, None)
    assert len(wired.calls("token")) == 2


@pytest.mark.parametrize("value", ["a b", "a\nb", "\u00e9", "x" * 16_385])
@pytest.mark.parametrize("name", ["access_token", "refresh_token"])
def test_tokens_that_no_header_can_carry_are_uncertain(wired: Wired, name: str, value: str) -> None:
    grant, facts = wired.exchange()
    identity = f"https://login.salesforce.com/id/{facts.org_id}/{facts.salesforce_user}"
    wired.plan("token", status=200, body=token_answer(facts.instance_url, id=identity, **{name: value}))
    assert failed(lambda: wired.oauth.refresh(facts, grant)).kind is K.UNCERTAIN


def test_an_answer_without_what_it_is_asked_for_is_uncertain(wired: Wired) -> None:
    grant, facts = wired.exchange()
    wired.switch(omit=["access_token"])
    assert failed(lambda: wired.oauth.refresh(facts, grant)).kind is K.UNCERTAIN
    assert wired.calls("revoke") == []


def test_a_refresh_that_never_left_may_go_out_again_at_once(wired: Wired) -> None:
    grant, facts = wired.exchange()
    with Pool() as without_our_authority:
        client = replace(wired.oauth, pool=without_our_authority)
        over_tls = replace(facts, login_origin=wired.server.instance_url)
        not_sent = [failed(lambda: client.refresh(over_tls, grant))]
    wired.server.stop()
    not_sent.append(failed(lambda: wired.oauth.refresh(facts, grant)))
    wired.server.start()
    assert [verdict(each) for each in not_sent] == [(K.TRANSIENT, None, 30, Again.AT_ONCE)] * 2
    assert wired.oauth.refresh(facts, grant)


def test_a_dripping_answer_ends_at_the_deadline_however_soon_each_byte_comes(wired: Wired) -> None:
    grant, facts = wired.exchange()
    wired.plan("token", drip=0.05)
    began = monotonic()
    dripped = failed(lambda: wired.oauth_client(deadline_s=1.0).refresh(facts, grant))
    assert 0.9 < monotonic() - began < 2.0
    assert verdict(dripped) == (K.UNCERTAIN, None, None, None)


def test_a_refresh_token_is_never_sent_to_a_host_that_is_not_salesforces(wired: Wired) -> None:
    grant, facts = wired.exchange()
    with raw_server(lambda c: c.sendall(http())) as stranger:
        moved = replace(facts, login_origin=stranger.url)
        assert verdict(failed(lambda: wired.oauth.refresh(moved, grant))) == (K.OPERATOR, C.OUR_REQUEST, None, None)
        assert wired.oauth.revoke(moved, grant) is False
        assert stranger.accepted == 0


# The second client secret


def test_a_refused_secret_gives_way_to_the_second_which_is_preferred_from_then_on(wired: Wired) -> None:
    kept, client = wired.exchange(), wired.oauth_client(OTHER_SECRET, CLIENT_SECRET)
    for _ in range(2):
        kept = client.refresh(*kept[::-1])
    assert wired.sent("token", "client_secret")[1:] == [OTHER_SECRET, CLIENT_SECRET, CLIENT_SECRET]
    assert [event.name for event in wired.emitted] == [EventName.CREDENTIALS_REFUSED]


@pytest.mark.parametrize("answer", ["ip-restricted-by-app", "oauth-object", "inactive-user"])
def test_no_other_refusal_is_answered_with_the_second_secret(wired: Wired, answer: str) -> None:
    (grant, facts), client = wired.exchange(), wired.oauth_client(CLIENT_SECRET, OTHER_SECRET)
    wired.plan("token", answer=answer)
    assert failed(lambda: client.refresh(facts, grant)).again is None
    assert list(client.secrets) == [CLIENT_SECRET, OTHER_SECRET]


def test_both_secrets_share_one_deadline(wired: Wired) -> None:
    (grant, facts), client = wired.exchange(), wired.oauth_client(OTHER_SECRET, CLIENT_SECRET, deadline_s=1.0)
    wired.plan("token", answer="invalid-client", delay=0.7)
    wired.plan("token", hold_after="for-ever-too")
    began = monotonic()
    assert failed(lambda: client.refresh(facts, grant)).kind is K.UNCERTAIN
    assert 0.9 < monotonic() - began < 1.5


def test_a_host_that_takes_neither_secret_changes_nothing_for_others(wired: Wired) -> None:
    (grant, facts), client = wired.exchange(), wired.oauth_client(OTHER_SECRET, "third")
    assert verdict(failed(lambda: client.refresh(facts, grant))) == (K.OPERATOR, C.OUR_CREDENTIALS, None, None)
    assert (list(client.secrets), wired.emitted) == ([OTHER_SECRET, "third"], [])
    assert wired.sent("token", "client_secret")[1:] == [OTHER_SECRET, "third"]
    assert list(ClientSecrets("a", "", wired.emitted.append)) == ["a"]
