"""The devkit's issuers: tokens that a strict verifier takes, and every kind of trouble with keys."""

import json
from collections.abc import Iterator
from time import monotonic

import jwt
import pytest
import requests

from shared.devkit import issuers
from shared.devkit.issuers import EntraIssuer, GoogleIssuer, Issuer

Claims = dict[str, object]


@pytest.fixture(scope="module")
def entra_server() -> Iterator[EntraIssuer]:
    with EntraIssuer() as issuer:
        yield issuer


@pytest.fixture(scope="module")
def google_server() -> Iterator[GoogleIssuer]:
    with GoogleIssuer() as issuer:
        yield issuer


@pytest.fixture
def entra(entra_server: EntraIssuer) -> EntraIssuer:
    entra_server.recover()
    return entra_server


@pytest.fixture
def google(google_server: GoogleIssuer) -> GoogleIssuer:
    google_server.recover()
    return google_server


def published(issuer: Issuer) -> dict[str, dict[str, str]]:
    keys = requests.get(issuer.jwks_url, timeout=5).json()["keys"]
    return {key["kid"]: key for key in keys}


def verified(issuer: Issuer, token: str, audience: str) -> Claims:
    key = jwt.PyJWK(published(issuer)[jwt.get_unverified_header(token)["kid"]], "RS256")
    return jwt.decode(token, key, algorithms=["RS256"], audience=audience)


def test_an_entra_token_verifies_against_the_published_key(entra: EntraIssuer) -> None:
    claims = verified(entra, issuers.mint_entra(entra.entry()), issuers.API_CLIENT_ID)
    assert (claims["scp"], claims["ver"], claims["azp"]) == (
        "access_as_user",
        "2.0",
        issuers.ADD_IN_CLIENT_ID,
    )


def test_an_entra_token_names_the_true_issuer_of_its_tenant(entra: EntraIssuer) -> None:
    claims = verified(entra, issuers.mint_entra(entra.entry(), tenant="globex"), issuers.API_CLIENT_ID)
    assert claims["iss"] == f"https://login.microsoftonline.com/{issuers.guid_of('globex')}/v2.0"


def test_words_become_their_uuid5(entra: EntraIssuer) -> None:
    claims = verified(entra, issuers.mint_entra(entra.entry(), user="grace"), issuers.API_CLIENT_ID)
    assert claims["oid"] == issuers.guid_of("grace")


def test_a_guid_stays_as_it_is() -> None:
    assert issuers.guid_of("62E90394-69F5-4237-9190-012177145E10") == issuers.GLOBAL_ADMINISTRATOR


def test_an_admin_token_carries_role_directory_role_and_a_fresh_sign_in(entra: EntraIssuer) -> None:
    claims = verified(entra, issuers.mint_entra(entra.entry(), admin=True), issuers.API_CLIENT_ID)
    assert claims["wids"] == [issuers.GLOBAL_ADMINISTRATOR]
    assert claims["roles"] == [issuers.TENANT_ADMIN_ROLE]
    assert claims["auth_time"] == claims["iat"]


def test_an_operator_token_comes_from_the_operations_tenant_and_client(entra: EntraIssuer) -> None:
    claims = verified(entra, issuers.mint_entra(entra.entry(), operator=True), issuers.API_CLIENT_ID)
    assert (claims["tid"], claims["azp"]) == (issuers.OPS_TENANT, issuers.OPS_CLIENT_ID)
    assert claims["roles"] == [issuers.OPERATOR_ROLE]


def test_a_guest_token_says_so() -> None:
    assert issuers.entra_claims("t", "o", guest=True)["acct"] == 1


@pytest.mark.parametrize(("tenant", "hd"), [(None, "acme.example"), ("globex", "globex.example"), ("a.test", "a.test")])
def test_a_google_token_names_its_domain(google: GoogleIssuer, tenant: str | None, hd: str) -> None:
    token = issuers.mint_google(google.entry(), tenant=tenant, user="7")
    claims = verified(google, token, issuers.GOOGLE_CLIENT_ID)
    assert (claims["hd"], claims["sub"], claims["email_verified"]) == (hd, "7", True)
    assert claims["iss"] == "https://accounts.google.com"


def test_only_entras_keys_name_an_issuer(entra: EntraIssuer, google: GoogleIssuer) -> None:
    assert published(entra)[entra.kid]["issuer"] == "https://login.microsoftonline.com/{tenantid}/v2.0"
    assert "issuer" not in published(google)[google.kid]


def test_rotation_publishes_a_new_key_beside_the_old_one(entra: EntraIssuer) -> None:
    old = entra.kid
    new = entra.rotate()
    assert {old, new} <= set(published(entra))
    assert jwt.get_unverified_header(entra.sign({}))["kid"] == new


def test_a_retired_key_leaves_the_set_and_still_signs(entra: EntraIssuer) -> None:
    old = entra.kid
    entra.rotate()
    entra.retire(old)
    assert old not in published(entra)
    assert entra.sign({}, {"kid": old}, entra.key_of(old))


def test_a_new_key_can_be_used_before_it_is_published(entra: EntraIssuer) -> None:
    new = entra.rotate(published=False)
    before = published(entra)
    entra.publish(new)
    assert new not in before
    assert new in published(entra)


def test_an_outage_answers_503_until_recovery(entra: EntraIssuer) -> None:
    entra.fail()
    assert requests.get(entra.jwks_url, timeout=5).status_code == 503
    entra.recover()
    assert entra.kid in published(entra)


def test_slowness_delays_the_answer(entra: EntraIssuer) -> None:
    entra.slow(0.2)
    started = monotonic()
    published(entra)
    assert monotonic() - started >= 0.2


def test_a_body_of_the_tests_own_replaces_the_key_set(entra: EntraIssuer) -> None:
    entra.serve(b"\xff" * 300_000)
    assert len(requests.get(entra.jwks_url, timeout=5).content) == 300_000


def test_the_key_set_says_how_long_it_may_be_kept(google: GoogleIssuer) -> None:
    google.cache_for(301)
    assert "max-age=301" in requests.get(google.jwks_url, timeout=5).headers["Cache-Control"]


def test_requests_are_counted(entra: EntraIssuer) -> None:
    before = entra.requests
    published(entra)
    assert entra.requests == before + 1


def test_another_path_is_not_found(entra: EntraIssuer) -> None:
    assert requests.get(entra.jwks_url + "/x", timeout=5).status_code == 404


def test_an_issuer_loaded_from_its_entry_publishes_the_same_key(entra: EntraIssuer) -> None:
    entry = json.loads(json.dumps(entra.entry()))
    with EntraIssuer.load(entry) as again:
        assert published(again)[entra.kid]["n"] == published(entra)[entra.kid]["n"]


def test_a_google_issuer_loaded_from_its_entry_publishes_only_that_key(google: GoogleIssuer) -> None:
    with GoogleIssuer.load(google.entry()) as again:
        assert set(published(again)) == {google.kid}


def test_the_devkit_files_names_are_exact(entra: EntraIssuer, google: GoogleIssuer) -> None:
    assert " ".join(entra.entry()) == "key_pem kid audiences tenant oid azp scope issuer"
    assert " ".join(google.entry()) == "key_pem kid client_id hd sub iss"


def test_the_issuers_file_adds_address_and_operations_identities(entra: EntraIssuer) -> None:
    extra = set(entra.record()) - set(entra.entry())
    assert extra == {"jwks_url", "ops_tenant", "ops_client_id"}


def test_a_broken_payload_is_signed_as_it_is(entra: EntraIssuer) -> None:
    token = entra.sign(b'{"a":1,"a":2}')
    key = jwt.PyJWK(published(entra)[entra.kid], "RS256")
    assert jwt.PyJWS().decode(token, key, algorithms=["RS256"]) == b'{"a":1,"a":2}'


def test_a_header_member_can_be_changed_or_taken_away(entra: EntraIssuer) -> None:
    header = jwt.get_unverified_header(entra.sign({}, {"typ": "at+jwt", "kid": None}))
    assert header == {"typ": "at+jwt", "alg": "RS256"}
