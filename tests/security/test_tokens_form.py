"""What is refused before any claim is looked at: the header's shape, the JOSE header, the signature, the JSON."""

import base64
import hmac
import json
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.devkit import issuers as devkit
from shared.errors import NotSignedIn
from shared.model.identity import BearerToken
from tests.security.tokens_fixtures import (
    Change,
    Wire,
    entra_claims,
    google_claims,
    now_plus,
    parts,
    put,
    rewritten,
    wire,
    with_member,
    without,
)


@pytest.fixture(scope="module", name="desk")
def _desk() -> Iterator[Wire]:
    with wire() as made:
        yield made


@pytest.fixture(name="token")
def _token(desk: Wire) -> str:
    return desk.entra.sign(entra_claims())


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR"])
def test_the_scheme_may_be_written_in_any_letter_case(desk: Wire, token: str, scheme: str) -> None:
    assert desk.verifier(BearerToken(f"{scheme} {token}")).subject == devkit.DEFAULT_USER


@pytest.mark.parametrize(
    "reshape",
    [
        pytest.param(lambda _: "", id="nothing at all"),
        pytest.param(lambda _: "Bearer", id="a scheme without a token"),
        pytest.param(lambda _: "Bearer ya29.a0opaque", id="an opaque Google access token"),
        pytest.param(lambda t: t, id="a token without a scheme"),
        pytest.param(lambda t: f"Basic {t}", id="another scheme"),
        pytest.param(lambda t: f"Bearer  {t}", id="two blanks"),
        pytest.param(lambda t: f"Bearer\t{t}", id="a tab"),
        pytest.param(lambda t: f" Bearer {t}", id="a leading blank"),
        pytest.param(lambda t: f"Bearer {t} ", id="a trailing blank"),
        pytest.param(lambda t: f"Bearer {t}\n", id="a trailing newline"),
        pytest.param(lambda t: f"Bearer {t}\0", id="a trailing NUL"),
        pytest.param(lambda t: f"Bearer {t}==", id="padding after the token"),
        pytest.param(lambda t: f'Bearer "{t}"', id="a quoted token"),
        pytest.param(lambda t: f"Bearer {t}, Bearer {t}", id="two tokens joined by a comma"),
        pytest.param(lambda t: f"Bearer {t}.", id="an empty fourth part"),
        pytest.param(lambda t: f"Bearer {t}.e.e", id="five parts, as an encrypted token has"),
        pytest.param(lambda t: f"Bearer {t.rpartition('.')[0]}", id="no signature part"),
        pytest.param(lambda t: f"Bearer {t.rpartition('.')[0]}.", id="an empty signature"),
        pytest.param(lambda t: f"Bearer {t}{'A' * 16_384}", id="more than 16 KB"),
        pytest.param(lambda t: f"Bearer {t[:-1]}\u212a", id="a letter outside ASCII"),
        pytest.param(lambda t: f"Bearer A{t}", id="a first part of an impossible length"),
    ],
)
def test_a_header_of_another_shape_is_refused(desk: Wire, token: str, reshape: Callable[[str], str]) -> None:
    assert desk.header_refusal(reshape(token)) in {"header", "json"}


def test_the_spare_bits_of_the_last_letter_cannot_spell_a_second_token(desk: Wire, token: str) -> None:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    assert desk.refusal(token[:-1] + alphabet[alphabet.index(token[-1]) + 1]) == "malformed"


@pytest.mark.parametrize(
    "header",
    [
        pytest.param({"alg": "none"}, id="alg none"),
        pytest.param({"alg": "None"}, id="alg None"),
        pytest.param({"alg": "rs256"}, id="alg in lower case"),
        pytest.param({"alg": "RS512"}, id="alg RS512"),
        pytest.param({"alg": "PS256"}, id="alg PS256"),
        pytest.param({"alg": "ES256"}, id="alg ES256"),
        pytest.param({"alg": None}, id="no alg"),
        pytest.param({"alg": ["RS256"]}, id="alg as a list"),
        pytest.param({"typ": "logout+jwt"}, id="a logout token"),
        pytest.param({"typ": 1}, id="typ as a number"),
        pytest.param({"typ": "jwt\u200b"}, id="typ with a zero-width space"),
        pytest.param({"kid": None}, id="no kid"),
        pytest.param({"kid": 7}, id="kid as a number"),
        pytest.param({"kid": ""}, id="an empty kid"),
        pytest.param({"kid": "k" * 129}, id="a kid of 129 characters"),
        pytest.param({"kid": "k\u200b"}, id="a kid with a zero-width space"),
        pytest.param({"kid": "k\n"}, id="a kid with a newline"),
        pytest.param({"crit": ["exp"]}, id="crit"),
        pytest.param({"b64": True}, id="b64"),
        pytest.param({"zip": "DEF"}, id="zip"),
        pytest.param({"cty": "JWT"}, id="cty"),
        pytest.param({"jku": "https://keys.example/"}, id="a key address of its own"),
        pytest.param({"jwk": {"kty": "RSA"}}, id="a key of its own"),
        pytest.param({"x5u": "https://keys.example/"}, id="a certificate address of its own"),
        pytest.param({"x5c": ["MII"]}, id="a certificate of its own"),
    ],
)
def test_a_jose_header_that_we_do_not_speak_is_refused(desk: Wire, header: dict[str, object]) -> None:
    assert desk.refusal(desk.entra.sign(entra_claims(), header)) == "jose_header"


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b'{"alg":"RS256","kid":"a","kid":"b"}', id="a duplicate name"),
        pytest.param(b'\xef\xbb\xbf{"alg":"RS256","kid":"a"}', id="a byte order mark"),
        pytest.param(b'{"alg":"RS256","kid":"\xff"}', id="bytes that are no UTF-8"),
        pytest.param('{"alg":"RS256"}'.encode("utf-16"), id="UTF-16"),
        pytest.param(b'["RS256"]', id="a list"),
        pytest.param(b'{"alg":"RS256"', id="half an object"),
        pytest.param(b'{"alg":"RS256"}{}', id="two objects"),
        pytest.param(b"[" * 9000, id="nine thousand brackets"),
    ],
)
def test_a_jose_header_that_is_not_one_json_object_is_refused(desk: Wire, raw: bytes) -> None:
    assert desk.refusal(desk.entra.sign(entra_claims(), raw)) == "json"


@pytest.mark.parametrize(
    "header",
    [
        pytest.param({"typ": None}, id="no typ"),
        pytest.param({"typ": "at+jwt"}, id="an access token by RFC 9068"),
        pytest.param({"x5t": "thumbprint"}, id="a thumbprint that nobody looks at"),
    ],
)
def test_a_harmless_jose_header_is_taken(desk: Wire, header: dict[str, object]) -> None:
    assert desk.sign_in(desk.entra.sign(entra_claims(), header))


def test_a_kid_that_nobody_lists_is_refused(desk: Wire) -> None:
    assert desk.refusal(desk.entra.sign(entra_claims(), {"kid": "unlisted"})) == "unknown_key"


def test_a_stranger_cannot_sign_under_a_known_kid(desk: Wire) -> None:
    forged = desk.entra.sign(entra_claims(), key=desk.google.key_of(desk.google.kid))
    assert desk.refusal(forged) == "signature"


def test_a_changed_payload_is_refused(desk: Wire, token: str) -> None:
    header, _, signature = token.split(".")
    assert desk.refusal(f"{header}.{parts(entra_claims() | {'oid': devkit.guid_of('eve')})}.{signature}") == "signature"


def test_a_shortened_signature_is_refused(desk: Wire, token: str) -> None:
    assert desk.refusal(token[:-6]) == "signature"


def test_the_public_key_is_no_shared_secret(desk: Wire) -> None:
    public = desk.entra.key_of(desk.entra.kid).public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    signed = f"{parts({'alg': 'HS256', 'kid': desk.entra.kid})}.{parts(entra_claims())}"
    mac = base64.urlsafe_b64encode(hmac.digest(pem, signed.encode(), "sha256")).rstrip(b"=").decode()
    assert desk.refusal(f"{signed}.{mac}") == "jose_header"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param(with_member('"tid":"x"'), "json", id="a duplicate claim"),
        pytest.param(with_member('"x":{"a":1,"a":2}'), "json", id="a duplicate name inside a claim"),
        pytest.param(with_member('"x":NaN'), "json", id="NaN"),
        pytest.param(with_member('"x":-Infinity'), "json", id="minus infinity"),
        pytest.param(with_member('"x":1e400'), "json", id="a number beyond all floats"),
        pytest.param(with_member(f'"x":{"9" * 5000}'), "json", id="a number of five thousand digits"),
        pytest.param(with_member(f'"x":{"[" * 9000}'), "json", id="nine thousand brackets"),
        pytest.param(with_member(f'"x":{"[" * 4000}{"]" * 4000}'), "json", id="four thousand lists in each other"),
        pytest.param(with_member('"x":"\t"'), "json", id="a raw control character in a text"),
        pytest.param(rewritten(lambda raw: b"\xef\xbb\xbf" + raw), "json", id="a byte order mark"),
        pytest.param(rewritten(lambda raw: raw[:-1] + b',"x":"\xff"}'), "json", id="bytes that are no UTF-8"),
        pytest.param(rewritten(lambda raw: raw + raw), "json", id="two objects"),
        pytest.param(rewritten(lambda raw: b"[" + raw + b"]"), "json", id="a list"),
        pytest.param(rewritten(lambda raw: raw.decode().encode("utf-16")), "json", id="UTF-16"),
        pytest.param(without("exp"), "times", id="no exp"),
        pytest.param(without("iat"), "times", id="no iat"),
        pytest.param(put(exp=None), "times", id="exp null"),
        pytest.param(lambda c: c | {"exp": str(c["exp"])}, "times", id="exp as a text"),
        pytest.param(lambda c: c | {"exp": float(str(c["exp"]))}, "times", id="exp as a fraction"),
        pytest.param(put(exp=True), "times", id="exp as a truth value"),
        pytest.param(put(exp=10**30), "times", id="exp beyond all calendars"),
        pytest.param(put(exp=2**32), "times", id="exp past 32 bits"),
        pytest.param(put(exp=-1), "times", id="exp before 1970"),
        pytest.param(put(iat="0"), "times", id="iat as a text"),
        pytest.param(put(iat=False), "times", id="iat as a truth value"),
        pytest.param(put(iat=0.5), "times", id="iat as a fraction"),
        pytest.param(put(nbf=None), "times", id="nbf null"),
        pytest.param(put(nbf="0"), "times", id="nbf as a text"),
        pytest.param(put(nbf=True), "times", id="nbf as a truth value"),
        pytest.param(lambda c: c | {"iat": c["exp"]}, "times", id="issued when it expires"),
        pytest.param(lambda c: c | {"nbf": c["exp"]}, "times", id="valid from when it expires"),
        pytest.param(now_plus(iat=-60, exp=30 * 3600), "times", id="a life of more than 30 hours"),
        pytest.param(now_plus(iat=-3600, nbf=-3600, exp=-61), "expired", id="expired 61 seconds ago"),
        pytest.param(now_plus(nbf=90), "not_yet_valid", id="valid in 90 seconds"),
        pytest.param(now_plus(iat=90), "not_yet_valid", id="issued in 90 seconds"),
    ],
)
def test_a_signed_payload_that_is_not_strict_is_refused(desk: Wire, change: Change, reason: str) -> None:
    assert desk.refusal(desk.entra.sign(change(entra_claims()))) == reason


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(now_plus(iat=-3600, nbf=-3600, exp=-30), id="expired half a minute ago"),
        pytest.param(now_plus(nbf=30), id="valid in half a minute"),
        pytest.param(now_plus(iat=-60, exp=28 * 3600), id="a life of 28 hours"),
        pytest.param(without("nbf"), id="no nbf"),
        pytest.param(put(name="Zo\u00eb \u200b"), id="odd characters in a claim that nobody uses"),
    ],
)
def test_what_clocks_and_providers_do_is_taken(desk: Wire, change: Change) -> None:
    assert desk.sign_in(desk.entra.sign(change(entra_claims()))).subject == devkit.DEFAULT_USER


def test_a_refusal_tells_telemetry_a_word_and_the_provider(desk: Wire) -> None:
    desk.refusal(desk.google.sign(google_claims() | {"aud": "someone"}))
    assert desk.events[-1].facts == {"reason": "audience", "provider": "google"}


def test_a_refusal_before_the_provider_is_known_names_none(desk: Wire) -> None:
    desk.refusal("a.b.c")
    assert desk.events[-1].facts["provider"] is None


@given(st.binary(max_size=400))
def test_arbitrary_bytes_as_header_are_not_signed_in(desk: Wire, header: bytes) -> None:
    with pytest.raises(NotSignedIn):
        desk.verifier(BearerToken(header.decode("latin-1")))


@given(st.text(max_size=200), st.text(max_size=200))
def test_arbitrary_text_around_a_token_is_not_signed_in(desk: Wire, before: str, after: str) -> None:
    with pytest.raises(NotSignedIn):
        desk.verifier(BearerToken(f"Bearer {before}a.b.c{after}"))


@given(st.binary(min_size=1, max_size=200), st.binary(min_size=1, max_size=400), st.binary(min_size=1, max_size=300))
def test_three_parts_of_arbitrary_bytes_are_not_signed_in(desk: Wire, one: bytes, two: bytes, three: bytes) -> None:
    with pytest.raises(NotSignedIn):
        desk.sign_in(".".join(map(parts, (one, two, three))))


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.sampled_from([*entra_claims(), "wids", "roles", "acrs", "acct", "idp", "auth_time"]), ANY_JSON)
def test_whatever_a_signed_claim_holds_it_proves_nobody_else(desk: Wire, name: str, value: object) -> None:
    token = desk.entra.sign(json.dumps(entra_claims() | {name: value}).encode())
    with suppress(NotSignedIn):
        assert desk.sign_in(token).subject == devkit.DEFAULT_USER
