"""Consent, exchange and revoke against a strict Salesforce: what is believed, kept, refused and given back."""

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import pytest

from shared.errors import (
    AttemptSpent,
    FlowRunnerError,
    InputRefused,
    NextAction,
    OrgLimit,
    OrgSetup,
    SalesforceTimedOut,
    SalesforceUnavailable,
    SalesforceUnusable,
    ScopeMissing,
)
from shared.model.connections import SCOPES, Consent, Environment, Grant
from shared.model.events import EventName
from shared.salesforce.pool import BODY_MAX, Pool, Wait
from shared.salesforce.replies import Reply, Unanswered
from tests.salesforce.salesforce_fixtures import (
    ADA,
    CLIENT_ID,
    CLIENT_SECRET,
    LOOK_ALIKE,
    OTHER_SECRET,
    REDIRECT_URI,
    SIGNING_SECRET,
    Wired,
    form,
    http,
    raised,
    raw_server,
    token_answer,
)

CLEO = "cleo@acme.example.uat"


# Consent


def test_the_authorize_address_asks_for_exactly_what_is_needed(wired: Wired) -> None:
    asked = wired.asked()
    url = urlsplit(wired.oauth.authorize_url(asked, "the state"))
    challenge = base64.urlsafe_b64encode(hashlib.sha256(asked.verifier.encode()).digest()).decode().rstrip("=")
    assert f"{url.scheme}://{url.netloc}{url.path}" == f"{wired.server.base_url}/services/oauth2/authorize"
    assert parse_qs(url.query, strict_parsing=True) == {
        "response_type": ["code"],
        "client_id": [CLIENT_ID],
        "redirect_uri": [REDIRECT_URI],
        "scope": ["api lightning offline_access refresh_token web"],
        "state": ["the state"],
        "code_challenge": [challenge],
        "code_challenge_method": ["S256"],
        "prompt": ["login consent"],
    }
    assert asked.verifier not in url.query


def test_the_scopes_that_are_asked_for_are_the_models(wired: Wired) -> None:
    (asked,) = parse_qs(urlsplit(wired.oauth.authorize_url(wired.asked(), "s")).query)["scope"]
    assert set(asked.split(" ")) == SCOPES


def test_the_challenge_is_that_of_rfc_7636(wired: Wired) -> None:
    verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    url = wired.oauth.authorize_url(replace(wired.asked(), verifier=verifier), "s")
    assert "code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&" in url


def test_nobody_is_sent_to_a_host_that_is_not_salesforces(wired: Wired) -> None:
    with pytest.raises(SalesforceUnusable):
        wired.oauth.authorize_url(replace(wired.asked(), login_origin=LOOK_ALIKE), "state")


def test_a_wrong_my_domain_is_refused_where_it_was_typed(wired: Wired) -> None:
    with pytest.raises(InputRefused) as refused:
        wired.oauth.login_origin(Environment.PRODUCTION, "acme.lightning.force.com")
    assert refused.value.errors[0].pointer == "/myDomain"


# Exchange


def test_a_code_becomes_a_grant_and_the_facts_of_its_org(wired: Wired) -> None:
    grant, facts = wired.exchange()
    assert grant.access_token.startswith("00D5gK0000001Ab!")
    assert grant.refresh_token.startswith("5Aep")
    assert (facts.org_id, facts.salesforce_user) == ("00D5gK0000001AbEBI", "0055gK0000001AbABI")
    assert (facts.instance_url, facts.login_origin) == (wired.server.instance_url, wired.server.base_url)
    assert facts.sandbox is False


def test_secret_and_verifier_are_both_sent_once_and_in_the_body_only(wired: Wired) -> None:
    asked = wired.asked()
    code = wired.code(asked)
    wired.oauth.exchange(asked, code)
    (call,) = wired.calls("token")
    assert (call.method, call.query) == ("POST", "")
    assert form(call.body) == {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": REDIRECT_URI,
        "code_verifier": asked.verifier,
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
    }


def test_oauth_calls_carry_no_headers_of_the_api(wired: Wired) -> None:
    grant, facts = wired.exchange()
    wired.oauth.revoke(*wired.oauth.refresh(facts, grant)[::-1])
    for call in (*wired.calls("token"), *wired.calls("revoke")):
        for name in ("Authorization", "Cookie", "Sforce-Call-Options"):
            assert call.header(name) is None


@pytest.mark.parametrize("form_of_id", [15, 18])
def test_ids_have_18_characters_whatever_their_form(wired: Wired, form_of_id: int) -> None:
    wired.switch(id_form=form_of_id)
    facts = wired.exchange()[1]
    assert (facts.org_id, facts.salesforce_user) == ("00D5gK0000001AbEBI", "0055gK0000001AbABI")


@pytest.mark.parametrize("form_of_id", [15, 18])
def test_the_host_of_the_identity_may_be_a_generic_one_or_the_orgs_own(wired: Wired, form_of_id: int) -> None:
    url = f"{wired.server.instance_url}/id/{'00D5gK0000001AbEBI'[:form_of_id]}/0055gK0000001AbABI"
    wired.switch(id_url=url)
    assert wired.exchange()[1].org_id == "00D5gK0000001AbEBI"


def test_a_sandbox_is_remembered_as_one(wired: Wired) -> None:
    asked = replace(wired.asked(), sandbox=True)
    _, facts = wired.oauth.exchange(asked, wired.code(asked, CLEO))
    assert facts.sandbox is True


def test_a_sandbox_is_known_by_its_host_whatever_was_asked_for(wired: Wired) -> None:
    wired.switch(instance_url="https://acme--uat.sandbox.my.salesforce.com")
    assert wired.exchange(CLEO)[1].sandbox is True


def test_a_production_org_is_known_by_its_host_whatever_was_asked_for(wired: Wired) -> None:
    wired.switch(instance_url="https://acme.my.salesforce.com")
    asked = replace(wired.asked(), sandbox=True)
    assert wired.oauth.exchange(asked, wired.code(asked))[1].sandbox is False


@pytest.mark.parametrize(
    "scope",
    [
        "refresh_token lightning web api",
        "web offline_access api lightning",
        "lightning api web refresh_token offline_access",
        "api  api web lightning refresh_token",
    ],
)
def test_scopes_are_a_set_and_synonyms_are_one(wired: Wired, scope: str) -> None:
    wired.switch(scope=scope)
    assert wired.exchange()[0].refresh_token


@pytest.mark.parametrize(
    ("scope", "missing"),
    [
        ("refresh_token web lightning", {"api"}),
        ("api refresh_token", {"lightning", "web"}),
        ("lightning api web", {"refresh_token"}),
        ("full refresh_token", {"api", "lightning", "web"}),
        ("apis web_api", {"api", "lightning", "refresh_token", "web"}),
        ("API WEB LIGHTNING REFRESH_TOKEN", {"api", "lightning", "refresh_token", "web"}),
    ],
)
def test_a_grant_of_less_than_was_asked_for_is_refused_and_given_back(
    wired: Wired, scope: str, missing: set[str]
) -> None:
    wired.switch(scope=scope)
    with pytest.raises(ScopeMissing) as refused:
        wired.exchange()
    assert set(re.findall("`(.*?)`", refused.value.detail)) == missing
    assert wired.revoked() == 1


@pytest.mark.parametrize("more", ["full", "id", "openid", "canary"])
def test_a_grant_of_more_than_was_asked_for_is_refused_and_given_back(wired: Wired, more: str) -> None:
    wired.switch(scope=f"lightning api web refresh_token {more}")
    with pytest.raises(ScopeMissing, match="more than"):
        wired.exchange()
    assert wired.revoked() == 1


class MyDomain(Pool):
    """The way to a My Domain that is the devkit's Salesforce."""

    origin = "https://acme.my.salesforce.com"
    base_url = ""

    def post_form(self, url: str, form: Mapping[str, str], timeout: Wait) -> Reply | Unanswered:
        return super().post_form(url.replace(self.origin, self.base_url), form, timeout)


def test_a_my_domain_answers_for_its_own_org_alone(wired: Wired) -> None:
    asked = replace(wired.asked(), login_origin=MyDomain.origin)
    with MyDomain() as pool:
        pool.base_url = wired.server.base_url
        client = replace(wired.oauth, pool=pool)
        wired.switch(instance_url=MyDomain.origin)
        assert client.exchange(asked, code_for(wired, asked))[1].instance_url == MyDomain.origin
        wired.switch(instance_url="https://other.my.salesforce.com")
        with pytest.raises(SalesforceUnusable):
            client.exchange(asked, code_for(wired, asked))
    assert wired.revoked() == 1


def code_for(wired: Wired, asked: Consent) -> str:
    """A code for that consent, given at the login host that a test can reach."""
    return wired.code(replace(asked, login_origin=wired.server.base_url))


CROSSED = "https://test.salesforce.com/id/00D5gK0000001AbEBI/0055gK0000001AbABI"


@pytest.mark.parametrize(
    "identity",
    [
        pytest.param(CROSSED, id="the generic host of sandboxes"),
        pytest.param(CROSSED.replace("test.", "other.my."), id="another org"),
        pytest.param(CROSSED.replace("test.", "acme--uat.sandbox.my."), id="a sandbox of it"),
    ],
)
@pytest.mark.parametrize("instance_url", ["", "https://acme.my.salesforce.com"])
def test_an_identity_from_a_host_that_does_not_agree_is_refused_and_given_back(
    wired: Wired, instance_url: str, identity: str
) -> None:
    wired.switch(id_url=identity, instance_url=instance_url)
    with pytest.raises(SalesforceUnusable):
        wired.exchange()
    assert wired.revoked() == 1


@pytest.mark.parametrize("name", ["scope", "refresh_token"])
def test_an_answer_that_lacks_scopes_or_the_lasting_token_is_refused_and_given_back(wired: Wired, name: str) -> None:
    wired.switch(omit=[name])
    with pytest.raises(ScopeMissing):
        wired.exchange()
    assert len(wired.calls("revoke")) == 1


@pytest.mark.parametrize(
    "switches",
    [
        pytest.param({"signature": base64.b64encode(b"x" * 32).decode()}, id="signature wrong"),
        pytest.param({"signature": "\u00e9"}, id="signature no ascii"),
        pytest.param({"omit": ["signature"]}, id="signature missing"),
        pytest.param({"omit": ["issued_at"]}, id="issued_at missing"),
        pytest.param({"omit": ["id"]}, id="id missing"),
        pytest.param({"omit": ["instance_url"]}, id="instance missing"),
        pytest.param({"instance_url": LOOK_ALIKE}, id="instance look-alike"),
        pytest.param({"instance_url": "http://acme.my.salesforce.com"}, id="instance without tls"),
        pytest.param({"instance_url": "https://acme.my.salesforce.com/"}, id="instance with path"),
        pytest.param({"instance_url": "https://login.salesforce.com"}, id="instance is a login host"),
        pytest.param({"instance_url": "https://127.0.0.1:1"}, id="instance not listed"),
        pytest.param({"id_url": f"{LOOK_ALIKE}/id/00D5gK0000001AbEBI/0055gK0000001AbABI"}, id="id look-alike"),
        pytest.param({"id_url": "https://login.salesforce.com/id/00D5gK0000001AbEBJ/0055gK0000001AbABI"}, id="id sum"),
        pytest.param({"id_url": "https://login.salesforce.com/id/00D5gK0000001AbEBI"}, id="id without user"),
    ],
)
def test_an_answer_that_cannot_be_believed_is_refused_and_given_back(wired: Wired, switches: dict[str, object]) -> None:
    wired.switch(**switches)
    with pytest.raises(SalesforceUnusable):
        wired.exchange()
    assert (wired.revoked(), len(wired.calls("revoke"))) == (1, 1)
    assert wired.calls("revoke")[0].secure is False  # at the login host, which alone is proved


def test_a_signature_by_another_secret_is_refused(wired: Wired) -> None:
    wired.plan("token", status=200, body=token_answer(wired.server.instance_url))
    with pytest.raises(SalesforceUnusable):
        wired.oauth_client("0123456789ABCDEE", OTHER_SECRET).exchange(wired.asked(), "code")


@pytest.mark.parametrize("both", [(SIGNING_SECRET, ""), (SIGNING_SECRET, OTHER_SECRET), (OTHER_SECRET, SIGNING_SECRET)])
def test_the_signature_is_that_of_the_contract_by_either_of_our_secrets(wired: Wired, both: tuple[str, str]) -> None:
    wired.plan("token", status=200, body=token_answer("https://acme.my.salesforce.com"))
    grant, facts = wired.oauth_client(*both).exchange(wired.asked(), "code")
    assert (grant, facts.org_id) == (Grant("a", "r"), "00D000000000001EAA")


@pytest.mark.parametrize("token", ["a b", "a\nb", "\u00e9", "x" * 16_385])
@pytest.mark.parametrize("name", ["access_token", "refresh_token"])
def test_a_token_that_no_header_can_carry_is_refused(wired: Wired, name: str, token: str) -> None:
    client = wired.oauth_client(SIGNING_SECRET)
    wired.plan("token", status=200, body=token_answer(wired.server.instance_url, **{name: token}))
    with pytest.raises(SalesforceUnusable):
        client.exchange(wired.asked(), "code")


def test_a_code_works_once(wired: Wired) -> None:
    asked = wired.asked()
    code = wired.code(asked)
    wired.oauth.exchange(asked, code)
    with pytest.raises(AttemptSpent):
        wired.oauth.exchange(asked, code)


def test_a_stale_code_is_spent(wired: Wired) -> None:
    asked = wired.asked()
    code = wired.code(asked)
    wired.server.grants.age_codes(1_000)
    with pytest.raises(AttemptSpent):
        wired.oauth.exchange(asked, code)


def test_a_code_is_worth_nothing_with_another_verifier(wired: Wired) -> None:
    code = wired.code(wired.asked())
    with pytest.raises(AttemptSpent):
        wired.oauth.exchange(wired.asked(), code)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ("contention", AttemptSpent),
        ("oauth-object", AttemptSpent),
        ("authentication-failure", AttemptSpent),
        ("inactive-user", OrgSetup),
        ("ip-restricted", OrgSetup),
        ("ip-restricted-by-app", SalesforceUnusable),
        ("invalid-client", SalesforceUnusable),
        ("login-rate", OrgLimit),
        ("html", SalesforceUnavailable),
        ("html-200", SalesforceUnavailable),
        ("empty", SalesforceUnavailable),
        ("empty-200", SalesforceUnusable),
        ("plain-text", SalesforceUnusable),
        ("rest-list", SalesforceUnusable),
        ("empty-list", SalesforceUnusable),
        ("no-content", SalesforceUnusable),
    ],
)
def test_a_refused_exchange_ends_in_an_error_of_ours(wired: Wired, answer: str, error: type[FlowRunnerError]) -> None:
    wired.plan("token", answer=answer)
    assert type(raised(wired.exchange)) is error
    assert (len(wired.calls("token")), len(wired.calls("revoke"))) == (1, 0)


@pytest.mark.parametrize(
    ("how", "error"),
    [
        ({"drop": "before"}, SalesforceUnavailable),
        ({"drop": "after"}, SalesforceUnavailable),
        ({"answer": "html"}, SalesforceUnavailable),
        ({"answer": "html-200"}, SalesforceUnavailable),
        ({"answer": "empty"}, SalesforceUnavailable),
        ({"answer": "too-busy"}, SalesforceUnavailable),
        ({"status": 429, "body": ""}, SalesforceUnavailable),
        ({"status": 400, "body": '{"error":"server_error"}'}, SalesforceUnavailable),
        ({"status": 200, "body": "x" * (BODY_MAX * 2)}, SalesforceUnavailable),
        ({"answer": "empty-200"}, SalesforceUnusable),
        ({"hold_after": "for-ever"}, SalesforceTimedOut),
        ({"drip": 0.2}, SalesforceTimedOut),
    ],
    ids=lambda value: str(value)[:40],
)
def test_after_an_exchange_whose_end_nobody_knows_the_user_connects_again(
    wired: Wired, how: dict[str, object], error: type[FlowRunnerError]
) -> None:
    asked = wired.asked()
    code = wired.code(asked)
    wired.plan("token", **how)
    failed = raised(lambda: wired.oauth_client(deadline_s=0.6).exchange(asked, code))
    assert type(failed) is error
    assert isinstance(failed, FlowRunnerError)
    assert failed.next_action is NextAction.CONNECT
    assert error is SalesforceUnusable or "Connect Salesforce again" in failed.detail
    assert len(wired.calls("token")) == 1


def test_an_exchange_whose_answer_is_not_believed_is_not_tried_again_either(wired: Wired) -> None:
    wired.switch(instance_url=LOOK_ALIKE)
    failed = raised(wired.exchange)
    assert isinstance(failed, SalesforceUnusable)
    assert failed.next_action is NextAction.CONNECT


@pytest.mark.parametrize("answer", ["ip-restricted-by-app", "invalid-client"])
def test_what_only_we_can_mend_asks_nothing_of_the_user(wired: Wired, answer: str) -> None:
    wired.plan("token", answer=answer)
    failed = raised(wired.exchange)
    assert isinstance(failed, SalesforceUnusable)
    assert failed.next_action is NextAction.NONE


def test_a_refused_secret_does_not_use_up_the_code_and_the_second_one_is_preferred_from_then_on(wired: Wired) -> None:
    asked, client = wired.asked(), wired.oauth_client(OTHER_SECRET, CLIENT_SECRET)
    client.exchange(asked, wired.code(asked))
    client.exchange(asked, wired.code(asked))
    assert wired.sent("token", "client_secret") == [OTHER_SECRET, CLIENT_SECRET, CLIENT_SECRET]
    assert [event.name for event in wired.emitted] == [EventName.CREDENTIALS_REFUSED]


def test_the_second_secret_is_tried_once(wired: Wired) -> None:
    wired.plan("token", answer="invalid-client", times=0)
    client = wired.oauth_client(CLIENT_SECRET, OTHER_SECRET)
    assert isinstance(raised(lambda: client.exchange(wired.asked(), "code")), SalesforceUnusable)
    assert wired.sent("token", "client_secret") == [CLIENT_SECRET, OTHER_SECRET]


@pytest.mark.parametrize("word", ["Missing_OAuth_Token", "Bad_OAuth_Token"])
def test_a_word_at_the_token_endpoint_is_no_fault_of_the_callers_input(wired: Wired, word: str) -> None:
    wired.plan("token", status=403, body=word)
    assert isinstance(raised(wired.exchange), SalesforceUnusable)


def test_an_exchange_that_never_left_may_be_tried_again(wired: Wired) -> None:
    asked = wired.asked()
    code = wired.code(asked)
    wired.server.stop()
    failed = raised(lambda: wired.oauth.exchange(asked, code))
    assert isinstance(failed, SalesforceUnavailable)
    assert failed.next_action is NextAction.RETRY
    wired.server.start()
    assert wired.oauth.exchange(asked, code)


def test_a_code_is_never_sent_to_a_host_that_is_not_salesforces(wired: Wired) -> None:
    asked = wired.asked()
    code = wired.code(asked)
    with raw_server(lambda c: c.sendall(http())) as stranger:
        with pytest.raises(SalesforceUnusable):
            wired.oauth.exchange(replace(asked, login_origin=stranger.url), code)
        assert (stranger.accepted, wired.calls("token")) == (0, [])


# Revoke


def test_revoking_ends_refresh_token_and_session(wired: Wired) -> None:
    grant, facts = wired.exchange()
    assert wired.oauth.revoke(facts, grant) is True
    assert form(wired.calls("revoke")[0].body) == {"token": grant.refresh_token}
    assert wired.server.grants.session(grant.access_token) is None


def test_what_is_already_gone_counts_as_revoked(wired: Wired) -> None:
    grant, facts = wired.exchange()
    assert [wired.oauth.revoke(facts, grant) for _ in range(2)] == [True, True]


def test_without_a_refresh_token_the_session_is_revoked(wired: Wired) -> None:
    grant, facts = wired.exchange()
    assert wired.oauth.revoke(facts, replace(grant, refresh_token="")) is True
    assert form(wired.calls("revoke")[0].body) == {"token": grant.access_token}


@pytest.mark.parametrize("answer", ["html", "html-200", "unsupported-token-type", "empty", "oauth-object", "too-busy"])
def test_a_revocation_that_is_not_confirmed_is_not_claimed(wired: Wired, answer: str) -> None:
    grant, facts = wired.exchange()
    wired.plan("revoke", answer=answer)
    assert wired.oauth.revoke(facts, grant) is False


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_revocation_without_an_answer_is_not_claimed(wired: Wired, when: str) -> None:
    grant, facts = wired.exchange()
    wired.plan("revoke", drop=when)
    assert wired.oauth.revoke(facts, grant) is False


def test_a_refusal_is_told_even_when_nothing_can_be_given_back(wired: Wired) -> None:
    wired.switch(instance_url=LOOK_ALIKE)
    wired.plan("revoke", drop="before")
    with pytest.raises(SalesforceUnusable):
        wired.exchange()


# Secrets


def test_the_client_shows_no_secret(wired: Wired) -> None:
    client = wired.oauth_client(CLIENT_SECRET, OTHER_SECRET)
    shown = f"{client!r} {client} {client.secrets!r} {client.secrets}"
    assert [secret for secret in (CLIENT_SECRET, OTHER_SECRET) if secret in shown] == []


def test_another_users_consent_is_another_grant(wired: Wired) -> None:
    ada, ben = wired.exchange(ADA), wired.exchange("ben@acme.example")
    assert ada[1].salesforce_user != ben[1].salesforce_user
    assert {ada[0].access_token, ada[0].refresh_token}.isdisjoint({ben[0].access_token, ben[0].refresh_token})
