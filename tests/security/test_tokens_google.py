"""Google ID tokens: a good one, and each check of identity-contract.md section 2 broken alone."""

from collections.abc import Iterator

import pytest

from shared.devkit import issuers as devkit
from shared.errors import PersonalAccount
from shared.identity.issuers import GoogleRule
from shared.identity.refusals import Refused
from shared.model.identity import Principal, Provider, TenantId
from tests.security.tokens_fixtures import Change, Wire, google_claims, now_plus, put, wire, without

CLIENT = devkit.GOOGLE_CLIENT_ID


@pytest.fixture(scope="module", name="desk")
def _desk() -> Iterator[Wire]:
    with wire() as made:
        yield made


def test_a_good_token_proves_a_user_of_its_workspace_domain(desk: Wire) -> None:
    caller = desk.sign_in(desk.google.sign(google_claims()))
    assert caller == Principal(TenantId(Provider.GOOGLE, devkit.DEFAULT_DOMAIN), devkit.DEFAULT_SUBJECT)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(put(iss="accounts.google.com"), id="the bare issuer"),
        pytest.param(without("azp"), id="no azp"),
        pytest.param(put(azp="second.apps.googleusercontent.com"), id="azp of our second client"),
        pytest.param(put(hd="xn--bcher-kva.example"), id="a domain in punycode"),
        pytest.param(put(sub="1" * 255), id="a sub of 255 characters"),
        pytest.param(put(email="person@elsewhere.example"), id="an address of another domain than hd"),
        pytest.param(now_plus(iat=-60, exp=23 * 3600), id="a life of 23 hours"),
    ],
)
def test_every_good_shape_is_taken(desk: Wire, change: Change) -> None:
    assert desk.sign_in(desk.google.sign(change(google_claims()))).tenant.provider is Provider.GOOGLE


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param(put(iss="https://accounts.google.com/"), "unknown_issuer", id="iss with a slash at the end"),
        pytest.param(put(iss="http://accounts.google.com"), "unknown_issuer", id="iss over http"),
        pytest.param(put(iss="https://Accounts.Google.com"), "unknown_issuer", id="iss in other letters"),
        pytest.param(put(iss="https://accounts.google.com.evil.example"), "unknown_issuer", id="our iss as a prefix"),
        pytest.param(put(iss="https://securetoken.google.com/acme"), "unknown_issuer", id="iss of Firebase"),
        pytest.param(put(iss=["accounts.google.com"]), "unknown_issuer", id="iss as a list"),
        pytest.param(without("iss"), "unknown_issuer", id="no iss"),
        pytest.param(without("aud"), "malformed", id="no aud"),
        pytest.param(put(aud="other.apps.googleusercontent.com"), "audience", id="aud of another client"),
        pytest.param(put(aud=[CLIENT]), "audience", id="aud as a list"),
        pytest.param(put(aud=CLIENT + ".evil.example"), "audience", id="our aud as a prefix"),
        pytest.param(put(azp="other.apps.googleusercontent.com"), "client", id="azp of another client"),
        pytest.param(put(azp=None), "client", id="azp null"),
        pytest.param(put(azp=[CLIENT]), "client", id="azp as a list"),
        pytest.param(without("sub"), "subject", id="no sub"),
        pytest.param(put(sub=""), "subject", id="an empty sub"),
        pytest.param(put(sub="1" * 256), "subject", id="a sub of 256 characters"),
        pytest.param(put(sub="11\u0661"), "subject", id="a sub outside ASCII"),
        pytest.param(put(sub="11 2"), "subject", id="a sub with a blank"),
        pytest.param(put(sub="11\n"), "subject", id="a sub with a newline"),
        pytest.param(put(sub=11), "malformed", id="a sub as a number"),
        pytest.param(without("email_verified"), "email_unverified", id="no email_verified"),
        pytest.param(put(email_verified=False), "email_unverified", id="an unverified address"),
        pytest.param(put(email_verified="true"), "email_unverified", id="email_verified as a text"),
        pytest.param(put(email_verified=1), "email_unverified", id="email_verified as a number"),
        pytest.param(put(hd=""), "domain", id="an empty hd"),
        pytest.param(put(hd=None), "domain", id="hd null"),
        pytest.param(put(hd=["acme.example"]), "domain", id="hd as a list"),
        pytest.param(put(hd="ACME.example"), "domain", id="hd in upper case"),
        pytest.param(put(hd="acme.example\n"), "domain", id="hd with a newline"),
        pytest.param(put(hd="acme.example."), "domain", id="hd with a dot at the end"),
        pytest.param(put(hd="acme"), "domain", id="hd of one label"),
        pytest.param(put(hd="127.0.0.1"), "domain", id="hd as an IP address"),
        pytest.param(put(hd="ac_me.example"), "domain", id="hd with an underscore"),
        pytest.param(put(hd="-acme.example"), "domain", id="hd with a hyphen in front"),
        pytest.param(put(hd="b\u00fccher.example"), "domain", id="hd outside ASCII"),
        pytest.param(put(hd="a." * 130 + "example"), "domain", id="hd of more than 253 characters"),
        pytest.param(put(hd="person@acme.example"), "domain", id="hd as an address"),
        pytest.param(now_plus(iat=-60, exp=24 * 3600), "times", id="a life of more than 24 hours"),
        pytest.param(now_plus(iat=-3600, exp=-61), "expired", id="expired 61 seconds ago"),
    ],
)
def test_one_broken_claim_refuses_the_token(desk: Wire, change: Change, reason: str) -> None:
    assert desk.refusal(desk.google.sign(change(google_claims()))) == reason


def test_the_rule_itself_asks_for_googles_issuer() -> None:
    rule = GoogleRule(audiences=(CLIENT,))
    with pytest.raises(Refused, match=r"^issuer$"):
        rule.principal(google_claims() | {"iss": "https://accounts.example"}, None)


def test_an_entra_key_never_validates_google_claims(desk: Wire) -> None:
    assert desk.refusal(desk.entra.sign(google_claims())) == "unknown_key"


def test_an_entra_key_under_a_google_kid_is_refused(desk: Wire) -> None:
    forged = desk.google.sign(google_claims(), key=desk.entra.key_of(desk.entra.kid))
    assert desk.refusal(forged) == "signature"


PERSONAL = [
    pytest.param(without("hd"), id="no hd, whatever the address"),
    pytest.param(put(hd="gmail.com"), id="hd gmail.com"),
    pytest.param(put(hd="googlemail.com"), id="hd googlemail.com"),
]


@pytest.mark.parametrize("personal", PERSONAL)
def test_a_personal_account_is_told_so(desk: Wire, personal: Change) -> None:
    with pytest.raises(PersonalAccount):
        desk.sign_in(desk.google.sign(personal(google_claims())))


@pytest.mark.parametrize("personal", PERSONAL)
@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(put(aud="other.apps.googleusercontent.com"), id="for somebody else"),
        pytest.param(put(email_verified=False), id="with an unverified address"),
        pytest.param(now_plus(iat=-3600, exp=-61), id="that expired"),
    ],
)
def test_a_personal_account_with_a_bad_token_is_not_signed_in(desk: Wire, personal: Change, broken: Change) -> None:
    token = broken(dict(google_claims()))
    assert isinstance(token, dict)
    assert desk.refusal(desk.google.sign(personal(token)))


def test_a_google_token_carries_no_role(desk: Wire) -> None:
    claims = google_claims() | {"roles": ["Tenant.Admin", "Operator"], "wids": [devkit.GLOBAL_ADMINISTRATOR]}
    assert desk.sign_in(desk.google.sign(claims)).roles == frozenset()
