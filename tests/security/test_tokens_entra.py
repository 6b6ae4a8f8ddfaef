"""Entra access tokens: a good one, each check of identity-contract.md 1.3 steps 6 to 12 broken alone, and roles."""

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from shared.devkit import issuers as devkit
from shared.errors import ClaimsNeeded, PersonalAccount
from shared.identity.verifier import TrustedIssuer, Verifier
from shared.model.identity import Principal, Provider, Role, TenantId
from tests.security.tokens_fixtures import (
    CONSUMERS,
    Change,
    Claims,
    Wire,
    entra_claims,
    entra_rule,
    now_plus,
    put,
    wire,
    without,
)

HOST = "https://login.microsoftonline.com"
TENANT = devkit.DEFAULT_TENANT
OTHER = devkit.guid_of("globex")
ADMIN = frozenset({Role.ADMIN})
OPERATOR = frozenset({Role.OPERATOR})
NO_ROLE: frozenset[Role] = frozenset()


@pytest.fixture(scope="module", name="desk")
def _desk() -> Iterator[Wire]:
    with wire() as made:
        yield made


def test_a_good_token_proves_a_member_of_its_tenant(desk: Wire) -> None:
    caller = desk.sign_in(desk.entra.sign(entra_claims()))
    assert caller == Principal(TenantId(Provider.ENTRA, TENANT), devkit.DEFAULT_USER)


def test_a_principal_shows_no_id_of_a_person_or_tenant(desk: Wire) -> None:
    shown = repr(desk.sign_in(desk.entra.sign(entra_claims())))
    assert TENANT not in shown
    assert devkit.DEFAULT_USER not in shown


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(put(aud="api://add-in.example/api"), id="the second configured audience"),
        pytest.param(put(scp="Mail.Read access_as_user"), id="our scope among others"),
        pytest.param(put(idtyp="user"), id="a token that says it is a user's"),
        pytest.param(without("sub"), id="no sub, which is not used"),
    ],
)
def test_every_good_shape_is_taken(desk: Wire, change: Change) -> None:
    assert desk.sign_in(desk.entra.sign(change(entra_claims()))).tenant == TenantId(Provider.ENTRA, TENANT)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param(without("tid"), "tenant", id="no tid"),
        pytest.param(put(tid=TENANT.upper()), "tenant", id="tid in upper case"),
        pytest.param(put(tid=TENANT + "\n"), "tenant", id="tid with a newline"),
        pytest.param(put(tid="{" + TENANT + "}"), "tenant", id="tid in braces"),
        pytest.param(put(tid=TENANT.replace("-", "")), "tenant", id="tid without hyphens"),
        pytest.param(put(tid=[TENANT]), "tenant", id="tid as a list"),
        pytest.param(put(tid="common"), "tenant", id="tid common"),
        pytest.param(lambda _: entra_claims("0" * 8 + "-0000-0000-0000-" + "0" * 12), "tenant", id="tid of zeros"),
        pytest.param(put(tid=OTHER), "issuer", id="tid of another tenant than iss"),
        pytest.param(put(iss=f"{HOST}/{OTHER}/v2.0"), "issuer", id="iss of another tenant than tid"),
        pytest.param(put(iss=f"{HOST}/{TENANT}/v2.0/"), "issuer", id="iss with a slash at the end"),
        pytest.param(put(iss=f"{HOST}/{TENANT}"), "issuer", id="iss without its version"),
        pytest.param(put(iss=f"{HOST}/{TENANT.upper()}/v2.0"), "issuer", id="iss with the tenant in upper case"),
        pytest.param(put(iss=f"{HOST}/{{tenantid}}/v2.0"), "issuer", id="iss as the template itself"),
        pytest.param(put(iss=f"{HOST}/../{TENANT}/v2.0"), "issuer", id="iss with a path around it"),
        pytest.param(put(iss=f"{HOST.upper()}/{TENANT}/v2.0"), "unknown_issuer", id="iss with the host in upper case"),
        pytest.param(put(iss=f"https://sts.windows.net/{TENANT}/"), "unknown_issuer", id="iss of version 1"),
        pytest.param(put(iss=f"https://login.windows.net/{TENANT}/v2.0"), "unknown_issuer", id="an alias host"),
        pytest.param(put(iss=f"https://login.microsoftonline.us/{TENANT}/v2.0"), "unknown_issuer", id="another cloud"),
        pytest.param(put(iss=f"{HOST}.evil.example/{TENANT}/v2.0"), "unknown_issuer", id="our host as a prefix"),
        pytest.param(put(iss=f"http://login.microsoftonline.com/{TENANT}/v2.0"), "unknown_issuer", id="iss over http"),
        pytest.param(put(iss=[f"{HOST}/{TENANT}/v2.0"]), "unknown_issuer", id="iss as a list"),
        pytest.param(without("iss"), "unknown_issuer", id="no iss"),
        pytest.param(without("aud"), "malformed", id="no aud"),
        pytest.param(put(aud=devkit.ADD_IN_CLIENT_ID), "audience", id="aud of our client"),
        pytest.param(put(aud="00000003-0000-0000-c000-000000000000"), "audience", id="aud of Microsoft Graph"),
        pytest.param(put(aud=[devkit.API_CLIENT_ID]), "audience", id="aud as a list"),
        pytest.param(put(aud=[devkit.API_CLIENT_ID, "x"]), "audience", id="aud as a list that holds ours"),
        pytest.param(put(aud=devkit.API_CLIENT_ID.upper()), "audience", id="aud in upper case"),
        pytest.param(put(aud="api://add-in.example/api/"), "audience", id="aud with a slash at the end"),
        pytest.param(without("ver"), "version", id="no ver"),
        pytest.param(put(ver="1.0"), "version", id="ver 1.0"),
        pytest.param(put(ver=2.0), "version", id="ver as a number"),
        pytest.param(without("azp"), "client", id="no azp"),
        pytest.param(put(azp=OTHER), "client", id="azp of another client"),
        pytest.param(put(azp=[devkit.ADD_IN_CLIENT_ID]), "client", id="azp as a list"),
        pytest.param(put(azp=devkit.OPS_CLIENT_ID), "client", id="the operations client in a customer's tenant"),
        pytest.param(without("scp"), "scope", id="no scp, as in an ID token"),
        pytest.param(put(scp=""), "scope", id="an empty scp"),
        pytest.param(put(scp="access_as_user_too"), "scope", id="a scope that begins as ours"),
        pytest.param(put(scp="Access_As_User"), "scope", id="our scope in other letters"),
        pytest.param(put(scp="x\u00a0access_as_user"), "scope", id="a no-break space before our scope"),
        pytest.param(put(scp=["access_as_user"]), "scope", id="scp as a list"),
        pytest.param(put(idtyp="app"), "app_only", id="an application's token"),
        pytest.param(put(idtyp="User"), "app_only", id="idtyp in other letters"),
        pytest.param(put(idtyp=None), "app_only", id="idtyp null"),
        pytest.param(without("oid"), "subject", id="no oid"),
        pytest.param(put(oid=devkit.DEFAULT_USER.upper()), "subject", id="oid in upper case"),
        pytest.param(put(oid=devkit.DEFAULT_USER + "\n"), "subject", id="oid with a newline"),
        pytest.param(put(oid="ada@acme.example"), "subject", id="oid as an address"),
        pytest.param(put(oid=7), "subject", id="oid as a number"),
    ],
)
def test_one_broken_claim_refuses_the_token(desk: Wire, change: Change, reason: str) -> None:
    assert desk.refusal(desk.entra.sign(change(entra_claims()))) == reason


def test_a_google_key_never_validates_entra_claims(desk: Wire) -> None:
    assert desk.refusal(desk.google.sign(entra_claims())) == "unknown_key"


def test_a_personal_account_is_told_so(desk: Wire) -> None:
    with pytest.raises(PersonalAccount):
        desk.sign_in(desk.entra.sign(entra_claims(CONSUMERS)))
    assert desk.events[-1].facts == {"reason": "personal_account", "provider": "entra"}


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(now_plus(iat=-3600, nbf=-3600, exp=-61), id="that expired"),
        pytest.param(put(aud=OTHER), id="for somebody else"),
        pytest.param(put(iss=f"{HOST}/{TENANT}/v2.0"), id="of another issuer"),
        pytest.param(without("scp"), id="without a scope"),
    ],
)
def test_a_personal_account_with_a_bad_token_is_not_signed_in(desk: Wire, change: Change) -> None:
    assert desk.refusal(desk.entra.sign(change(entra_claims(CONSUMERS))))


def test_a_forged_personal_account_is_not_signed_in(desk: Wire) -> None:
    forged = desk.entra.sign(entra_claims(CONSUMERS), key=desk.google.key_of(desk.google.kid))
    assert desk.refusal(forged) == "signature"


def admin(**members: object) -> Claims:
    return entra_claims() | {"wids": [devkit.GLOBAL_ADMINISTRATOR]} | members


def operator(**members: object) -> Claims:
    return devkit.entra_claims(TENANT, devkit.DEFAULT_USER, operator=True) | members


@pytest.mark.parametrize(
    ("claims", "roles"),
    [
        pytest.param(admin(), ADMIN, id="a Global Administrator is an admin"),
        pytest.param(entra_claims() | {"roles": ["Tenant.Admin"]}, ADMIN, id="our app role makes an admin"),
        pytest.param(admin(acct=0), ADMIN, id="an account marked as a member is an admin"),
        pytest.param(admin(acct=1), NO_ROLE, id="a guest is no admin by directory role"),
        pytest.param(entra_claims() | {"roles": ["Tenant.Admin"], "acct": 1}, NO_ROLE, id="nor by app role"),
        pytest.param(admin(idp=f"{HOST}/{OTHER}/v2.0"), NO_ROLE, id="somebody of another directory is no admin"),
        pytest.param(admin(acct="0"), NO_ROLE, id="an account that is not plainly a member is no admin"),
        pytest.param(admin(acct=False), NO_ROLE, id="an account marked with a truth value is no admin"),
        pytest.param(admin(wids=devkit.GLOBAL_ADMINISTRATOR), NO_ROLE, id="wids as a text counts for nothing"),
        pytest.param(entra_claims() | {"roles": "Tenant.Admin"}, NO_ROLE, id="roles as a text counts for nothing"),
        pytest.param(
            admin(wids=["b79fbf4d-3ef9-4689-8143-76b194e85509"]), NO_ROLE, id="the plain user role is no admin"
        ),
        pytest.param(
            entra_claims() | {"scp": "access_as_user Tenant.Admin"}, NO_ROLE, id="a role among scopes is none"
        ),
        pytest.param(operator(), OPERATOR, id="an operator comes from our tenant by the operations client"),
        pytest.param(operator(acct=1), NO_ROLE, id="a guest of our tenant is no operator"),
        pytest.param(operator(roles="Operator"), NO_ROLE, id="an operator role as a text counts for nothing"),
        pytest.param(operator(azp=devkit.ADD_IN_CLIENT_ID), NO_ROLE, id="an operator in the add-in is a plain user"),
        pytest.param(operator(roles=[]), NO_ROLE, id="the operations client alone makes no operator"),
        pytest.param(
            entra_claims() | {"roles": ["Operator"]}, NO_ROLE, id="an operator role given by a customer is none"
        ),
    ],
)
def test_roles_are_believed_only_where_they_count(desk: Wire, claims: Claims, roles: frozenset[Role]) -> None:
    assert desk.sign_in(desk.entra.sign(claims)).roles == roles


@pytest.mark.parametrize(
    ("members", "guest"),
    [
        pytest.param({}, False, id="nothing said"),
        pytest.param({"acct": 0}, False, id="a member's account"),
        pytest.param({"idp": f"{HOST}/{TENANT}/v2.0"}, False, id="the tenant's own directory"),
        pytest.param({"acct": 1}, True, id="a guest's account"),
        pytest.param({"acct": 0, "idp": "live.com"}, True, id="another directory"),
    ],
)
def test_guests_are_users_and_known_as_guests(desk: Wire, members: Claims, guest: bool) -> None:  # noqa: FBT001 - a case's expected value
    assert desk.sign_in(desk.entra.sign(entra_claims() | members)).guest is guest


@pytest.mark.parametrize(
    ("auth_time", "expected"),
    [
        pytest.param(1_700_000_000, 1_700_000_000_000, id="an instant"),
        pytest.param("1700000000", None, id="a text is no instant"),
        pytest.param(True, None, id="a truth value is no instant"),
        pytest.param(2**40, None, id="nor is a number past 32 bits"),
    ],
)
def test_the_time_of_sign_in_is_told_in_milliseconds(desk: Wire, auth_time: object, expected: int | None) -> None:
    caller = desk.sign_in(desk.entra.sign(entra_claims() | {"auth_time": auth_time}))
    assert caller.signed_in_at == expected


@pytest.fixture(name="strict")
def _strict(desk: Wire) -> Wire:
    rule = entra_rule(auth_context="c1")
    entra, google = desk.verifier.issuers
    return replace(desk, verifier=Verifier((TrustedIssuer(rule, entra.keys), google), desk.events.append))


@pytest.mark.parametrize("acrs", [None, [], ["c2"], "c1", ["c11"]])
def test_a_token_without_the_authentication_context_gets_the_challenge(strict: Wire, acrs: object) -> None:
    with pytest.raises(ClaimsNeeded) as challenge:
        strict.sign_in(strict.entra.sign(entra_claims() | {"acrs": acrs}))
    assert json.loads(challenge.value.claims) == {"access_token": {"acrs": {"essential": True, "value": "c1"}}}


def test_a_token_with_the_authentication_context_is_taken(strict: Wire) -> None:
    assert strict.sign_in(strict.entra.sign(entra_claims() | {"acrs": ["c1", "c2"]}))


def test_a_bad_token_gets_no_challenge(strict: Wire) -> None:
    assert strict.refusal(strict.entra.sign(entra_claims() | {"aud": OTHER})) == "audience"
