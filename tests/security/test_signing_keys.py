"""The key set: who waits, who fetches, what is kept (identity-contract.md 1.4). Time is moved, never waited for."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter
from urllib.parse import urlsplit

import pytest
import requests
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from shared.devkit import issuers as devkit
from shared.devkit.issuers import EntraIssuer
from shared.devkit.tls import Answer, DevelopmentCA, Listener, Request
from shared.errors import FlowRunnerError, IssuerUnavailable, NotSignedIn
from shared.identity.refusals import Refused
from shared.identity.signing_keys import SigningKeys
from shared.identity.verifier import TrustedIssuer, Verifier
from shared.model.identity import BearerToken
from tests.salesforce.salesforce_fixtures import raw_server, read_request
from tests.security.tokens_fixtures import CONSUMERS, ISSUER_TEMPLATE, Claims, Watch, entra_claims, entra_rule, settled

Jwk = dict[str, object]


@pytest.fixture(name="watch")
def _watch() -> Watch:
    return Watch()


@pytest.fixture(name="issuer")
def _issuer() -> Iterator[EntraIssuer]:
    with EntraIssuer() as issuer:
        yield issuer
    settled()


@pytest.fixture(name="cold")
def _cold(issuer: EntraIssuer, watch: Watch) -> SigningKeys:
    return SigningKeys(issuer.jwks_url, watch)


@pytest.fixture(name="keys")
def _keys(cold: SigningKeys, issuer: EntraIssuer) -> SigningKeys:
    """The set after its first fetch."""
    cold.key(issuer.kid)
    return cold


def verifier(keys: SigningKeys) -> Verifier:
    return Verifier((TrustedIssuer(entra_rule(), keys),), emit=lambda _: None)


def outcome(ask: Callable[[], object]) -> int:
    """The status that a caller would see."""
    try:
        ask()
    except FlowRunnerError as error:
        return error.status
    return 200


def sign_in(keys: SigningKeys, token: str) -> int:
    return outcome(lambda: verifier(keys)(BearerToken("Bearer " + token)))


def refreshed(keys: SigningKeys, kid: str) -> None:
    """Ask for a known key when a refresh is due, and wait for what that sets off."""
    keys.key(kid)
    settled()


# Fetching: once, not before the floor, and off the path of known keys.


def test_a_known_key_is_fetched_once(keys: SigningKeys, issuer: EntraIssuer) -> None:
    for _ in range(50):
        keys.key(issuer.kid)
    assert issuer.requests == 1


def test_nothing_is_fetched_before_the_first_token(cold: SigningKeys, issuer: EntraIssuer) -> None:
    assert cold
    assert issuer.requests == 0


def test_concurrent_first_callers_wait_for_one_fetch(cold: SigningKeys, issuer: EntraIssuer) -> None:
    issuer.slow(0.3)
    token = issuer.sign(entra_claims())
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda _: sign_in(cold, token), range(12)))
    assert answers == [200] * 12
    assert issuer.requests == 1


def test_first_callers_are_told_503_when_the_fetch_takes_too_long(issuer: EntraIssuer, watch: Watch) -> None:
    keys = SigningKeys(issuer.jwks_url, watch, deadline_s=0.1)
    issuer.slow(2.5)
    began = perf_counter()
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda _: sign_in(keys, issuer.sign(entra_claims())), range(4))) == {503}
    assert perf_counter() - began < 1.5


def test_an_unknown_kid_right_after_a_fetch_fetches_nothing(keys: SigningKeys, issuer: EntraIssuer) -> None:
    with pytest.raises(Refused):
        keys.key("unlisted")
    assert issuer.requests == 1


def test_a_new_key_is_found_once_the_floor_has_passed(keys: SigningKeys, issuer: EntraIssuer, watch: Watch) -> None:
    kid = issuer.rotate()
    watch.move(minutes=5, ms=-1)
    with pytest.raises(Refused):
        keys.key(kid)
    watch.move(ms=1)
    assert keys.key(kid)


def test_a_thousand_unknown_kids_make_one_fetch(keys: SigningKeys, issuer: EntraIssuer, watch: Watch) -> None:
    watch.move(minutes=6)
    token = issuer.sign(entra_claims())
    head, rest = issuer.sign(entra_claims(), {"kid": "0000"}).split(".", 1)
    strangers = [issuer.sign(entra_claims(), {"kid": f"{n:04}"}).split(".", 1)[0] for n in range(1000)]
    assert head == strangers[0]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda other: sign_in(keys, f"{other}.{rest}"), strangers))
    assert set(answers) == {401}
    assert issuer.requests == 2
    assert sign_in(keys, token) == 200


def test_a_flood_of_unknown_kids_evicts_no_good_key(keys: SigningKeys, issuer: EntraIssuer, watch: Watch) -> None:
    for n in range(20):
        watch.move(minutes=5)
        assert sign_in(keys, issuer.sign(entra_claims(), {"kid": f"unlisted {n}"})) == 401
    asked = issuer.requests
    assert keys.key(issuer.kid)
    assert issuer.requests == asked


def test_a_known_key_is_refreshed_after_an_hour_in_the_background(
    keys: SigningKeys, issuer: EntraIssuer, watch: Watch
) -> None:
    watch.move(hours=1, ms=-1)
    refreshed(keys, issuer.kid)
    assert issuer.requests == 1
    watch.move(ms=1)
    refreshed(keys, issuer.kid)
    assert issuer.requests == 2


def test_sixteen_good_tokens_pass_at_once_while_the_key_host_is_slow(
    keys: SigningKeys, issuer: EntraIssuer, watch: Watch
) -> None:
    watch.move(hours=2)
    issuer.slow(3)
    token, stranger = issuer.sign(entra_claims()), issuer.sign(entra_claims(), {"kid": "unlisted"})
    caught = threading.Thread(target=sign_in, args=(keys, stranger))
    caught.start()

    def timed(_: int) -> tuple[int, bool]:
        began = perf_counter()
        return sign_in(keys, token), perf_counter() - began < 0.2

    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(timed, range(64))) == {(200, True)}
    assert caught.is_alive()
    issuer.stop()
    caught.join()


def test_only_one_of_many_strangers_waits_for_the_slow_host(
    keys: SigningKeys, issuer: EntraIssuer, watch: Watch
) -> None:
    watch.move(hours=2)
    issuer.slow(3)
    keys.key(issuer.kid)
    began = perf_counter()
    with ThreadPoolExecutor(16) as pool:
        answers = set(pool.map(lambda n: sign_in(keys, issuer.sign({}, {"kid": str(n)})), range(16)))
    assert perf_counter() - began < 1
    assert answers == {401}


# Outages.


def test_a_host_that_is_down_at_the_start_is_a_503_with_the_time_of_the_next_attempt(
    cold: SigningKeys, issuer: EntraIssuer
) -> None:
    issuer.fail()
    with pytest.raises(IssuerUnavailable) as told:
        cold.key(issuer.kid)
    assert told.value.retry_after == 300


def test_a_host_that_cannot_be_reached_at_the_start_is_a_503(cold: SigningKeys, issuer: EntraIssuer) -> None:
    token = issuer.sign(entra_claims())
    issuer.stop()
    assert sign_in(cold, token) == 503


def test_a_failed_attempt_counts_for_the_floor(cold: SigningKeys, issuer: EntraIssuer, watch: Watch) -> None:
    issuer.fail()
    token = issuer.sign(entra_claims())
    answers = [sign_in(cold, token) for _ in range(10)]
    issuer.recover()
    watch.move(minutes=5, ms=-1)
    answers.append(sign_in(cold, token))
    assert (set(answers), issuer.requests) == ({503}, 1)
    watch.move(ms=1)
    assert sign_in(cold, token) == 200


def test_a_host_that_dies_later_logs_out_nobody_for_a_day(keys: SigningKeys, issuer: EntraIssuer, watch: Watch) -> None:
    issuer.fail()
    for _ in range(23):
        watch.move(hours=1)
        refreshed(keys, issuer.kid)
    assert issuer.requests == 24
    watch.move(hours=1, ms=-1)
    assert keys.key(issuer.kid)


def test_after_a_day_without_the_host_nobody_can_be_proved_and_nobody_is_refused(
    keys: SigningKeys, issuer: EntraIssuer, watch: Watch
) -> None:
    issuer.fail()
    watch.move(hours=24)
    assert sign_in(keys, issuer.sign(entra_claims())) == 503


def test_a_new_key_during_an_outage_is_a_503_because_nobody_can_tell(
    keys: SigningKeys, issuer: EntraIssuer, watch: Watch
) -> None:
    issuer.rotate()
    issuer.fail()
    watch.move(minutes=6)
    assert sign_in(keys, issuer.sign(entra_claims())) == 503


# Rotation and removal.


def test_old_and_new_keys_both_serve_during_a_rotation(keys: SigningKeys, issuer: EntraIssuer, watch: Watch) -> None:
    old = issuer.kid
    new = issuer.rotate()
    watch.move(minutes=6)
    assert keys.key(new).jwk.key.public_numbers() != keys.key(old).jwk.key.public_numbers()


def test_a_removed_key_serves_until_a_day_after_it_was_last_listed(
    keys: SigningKeys, issuer: EntraIssuer, watch: Watch
) -> None:
    old = issuer.kid
    new = issuer.rotate()
    issuer.retire(old)
    watch.move(hours=1)
    refreshed(keys, old)
    watch.move(hours=23, ms=-1)
    refreshed(keys, old)
    assert keys.key(old)
    watch.move(ms=1)
    with pytest.raises(Refused):
        keys.key(old)
    assert keys.key(new)


def test_a_listed_key_lives_on_from_refresh_to_refresh(keys: SigningKeys, issuer: EntraIssuer, watch: Watch) -> None:
    for _ in range(4):
        watch.move(hours=20)
        refreshed(keys, issuer.kid)
    assert keys.key(issuer.kid)


# What a key set may hold.


def published(issuer: EntraIssuer) -> list[Jwk]:
    found: list[Jwk] = requests.get(issuer.jwks_url, timeout=5).json()["keys"]
    return found


def jwk_of(key: rsa.RSAPrivateKey, **members: object) -> Jwk:
    return (
        {"kid": "odd", "use": "sig", "issuer": ISSUER_TEMPLATE} | RSAAlgorithm.to_jwk(key.public_key(), True) | members
    )


def key_set(*keys: Jwk) -> bytes:
    return json.dumps({"keys": keys}).encode()


STRONG = rsa.generate_private_key(65537, 2048)
WEAK = rsa.generate_private_key(65537, 1024)  # noqa: S505 - the weak key that must be refused
CURVE: Jwk = {**ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()).public_key(), as_dict=True)}

UNUSABLE: dict[str, Jwk] = {
    "an RSA key of 1,024 bits": jwk_of(WEAK),
    "a curve": {"kid": "odd", "use": "sig"} | CURVE,
    "a shared secret": {"kid": "odd", "kty": "oct", "k": "c2VjcmV0"},
    "an RSA key that calls itself a curve": jwk_of(STRONG, kty="EC"),
    "a key for encryption": jwk_of(STRONG, use="enc"),
    "a key for another algorithm": jwk_of(STRONG, alg="RS512"),
    "a private key": jwk_of(STRONG) | RSAAlgorithm.to_jwk(STRONG, as_dict=True),
    "an exponent of nought": jwk_of(STRONG, e="AA"),
    "a modulus that is no base64url": jwk_of(STRONG, n="!"),
    "a modulus as a number": jwk_of(STRONG, n=7),
    "a key without a kid": jwk_of(STRONG, kid=None),
    "an issuer as a number": jwk_of(STRONG, issuer=7),
}


@pytest.mark.parametrize("odd", UNUSABLE.values(), ids=UNUSABLE)
def test_an_unusable_key_is_left_out_and_its_neighbour_serves(cold: SigningKeys, issuer: EntraIssuer, odd: Jwk) -> None:
    issuer.serve(key_set(odd, *published(issuer)))
    assert cold.key(issuer.kid)
    with pytest.raises(Refused):
        cold.key("odd")


def test_a_key_that_names_no_use_serves(cold: SigningKeys, issuer: EntraIssuer) -> None:
    key = jwk_of(STRONG)
    del key["use"]
    issuer.serve(key_set(key))
    assert cold.key("odd").issuer == ISSUER_TEMPLATE


@pytest.mark.parametrize(
    "body",
    [
        *(pytest.param(key_set(odd), id=f"nothing but {name}") for name, odd in UNUSABLE.items()),
        pytest.param(b"", id="nothing"),
        pytest.param(b"<html>Sign in to the network</html>", id="a page"),
        pytest.param(b"{}", id="an empty object"),
        pytest.param(b"[]", id="a list"),
        pytest.param(b'{"keys":{}}', id="keys as an object"),
        pytest.param(key_set(), id="no keys"),
        pytest.param(b'{"keys":["a",null,[]]}', id="keys that are no objects"),
        pytest.param(b'{"keys":[],"keys":[]}', id="a duplicate name"),
        pytest.param(key_set(jwk_of(STRONG))[:-9], id="half a key set"),
        pytest.param(b"\xff" * 100, id="garbage"),
        pytest.param(b"[" * 100_000, id="a hundred thousand brackets"),
        pytest.param(key_set(jwk_of(STRONG, x="x" * 262_144)), id="more than 256 KB"),
    ],
)
def test_an_answer_without_a_usable_key_never_replaces_a_good_set(
    keys: SigningKeys, issuer: EntraIssuer, watch: Watch, body: bytes
) -> None:
    issuer.serve(body)
    watch.move(hours=2)
    refreshed(keys, issuer.kid)
    assert issuer.requests == 2
    assert keys.key(issuer.kid)
    with pytest.raises(IssuerUnavailable):
        keys.key("odd")


@pytest.mark.parametrize("status", [201, 204, 301, 302, 307, 401, 404, 429, 500, 503])
def test_an_answer_of_another_status_never_replaces_a_good_set(
    keys: SigningKeys, issuer: EntraIssuer, watch: Watch, status: int
) -> None:
    issuer.fail(status)
    watch.move(hours=2)
    refreshed(keys, issuer.kid)
    assert keys.key(issuer.kid)


# The way to the host.


class Host:
    """A key host that answers as told and keeps what it was asked."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.asked: list[Request] = []

    def __call__(self, request: Request) -> Answer:
        self.asked.append(request)
        return self.answer


GOOD_SET = Answer(200, key_set(jwk_of(STRONG)))


@pytest.fixture(name="serve")
def _serve() -> Iterator[Callable[[Host], str]]:
    running: list[Listener] = []

    def serve(host: Host) -> str:
        listener = Listener(host)
        listener.start()
        running.append(listener)
        return f"http://127.0.0.1:{listener.port}/keys"

    yield serve
    for listener in running:
        listener.stop()
    settled()


def test_a_redirect_is_not_followed(serve: Callable[[Host], str], watch: Watch) -> None:
    elsewhere = Host(GOOD_SET)
    here = Host(Answer(302, b"", (("Location", serve(elsewhere)),)))
    assert outcome(lambda: SigningKeys(serve(here), watch).key("odd")) == 503
    assert (len(here.asked), len(elsewhere.asked)) == (1, 0)


def test_proxies_of_the_environment_are_not_asked(
    serve: Callable[[Host], str], watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy, host = Host(Answer(502)), Host(GOOD_SET)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, serve(proxy))
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert SigningKeys(serve(host), watch).key("odd")
    assert proxy.asked == []


def test_no_credentials_of_a_netrc_file_are_sent(
    serve: Callable[[Host], str], watch: Watch, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login ada password analytical\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    host = Host(GOOD_SET)
    SigningKeys(serve(host), watch).key("odd")
    assert host.asked[0].header("Authorization") is None


def test_an_answer_that_drips_is_given_up(serve: Callable[[Host], str], watch: Watch) -> None:
    keys = SigningKeys(serve(Host(Answer(200, GOOD_SET.body, drip_s=0.05))), watch, deadline_s=0.3)
    began = perf_counter()
    assert outcome(lambda: keys.key("odd")) == 503
    assert perf_counter() - began < 1.5


def test_the_fetch_of_a_dripping_answer_ends(serve: Callable[[Host], str], watch: Watch) -> None:
    long = key_set(jwk_of(STRONG, x="x" * 20_000))
    keys = SigningKeys(serve(Host(Answer(200, long, drip_s=0.002))), watch, deadline_s=0.3)
    began = perf_counter()
    assert outcome(lambda: keys.key("odd")) == 503
    settled()
    assert perf_counter() - began < 5


def fetch_ends_in(url: str, watch: Watch) -> float:
    """How long the thread of a fetch lives that may take a third of a second (in seconds)."""
    began = perf_counter()
    assert outcome(lambda: SigningKeys(url, watch, deadline_s=0.3).key("odd")) == 503
    settled()
    return perf_counter() - began


def test_no_thread_is_held_by_a_body_that_drips(serve: Callable[[Host], str], watch: Watch) -> None:
    assert fetch_ends_in(serve(Host(Answer(200, GOOD_SET.body, drip_s=0.5))), watch) < 1


@pytest.mark.parametrize("text", [b"", b"nothing", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nx"])
def test_an_answer_that_is_no_http_is_a_503(watch: Watch, text: bytes) -> None:
    def script(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(text)

    with raw_server(script) as server:
        assert outcome(lambda: SigningKeys(f"{server.url}/keys", watch).key("odd")) == 503


def test_the_host_is_asked_for_the_address_as_it_is_pinned(serve: Callable[[Host], str], watch: Watch) -> None:
    host = Host(GOOD_SET)
    url = serve(host)
    SigningKeys(f"{url}/v2.0?a=b%20c", watch).key("odd")
    (asked,) = host.asked
    assert (asked.method, asked.path, asked.query) == ("GET", "/keys/v2.0", "a=b%20c")
    assert asked.header("Host") == urlsplit(url).netloc
    assert (asked.header("Accept"), asked.header("Accept-Encoding")) == ("application/json", "identity")
    assert asked.header("Cookie") is None


def test_a_dropped_connection_is_a_503(serve: Callable[[Host], str], watch: Watch) -> None:
    assert outcome(lambda: SigningKeys(serve(Host(Answer(200, dropped=True))), watch).key("odd")) == 503


def test_tls_is_verified_against_the_given_authorities(tmp_path: Path, watch: Watch) -> None:
    authority = DevelopmentCA.create(tmp_path)
    listener = Listener(Host(GOOD_SET), context=authority.server_context())
    listener.start()
    url = f"https://127.0.0.1:{listener.port}/keys"
    trusting = SigningKeys(url, watch, ca_bundle=str(authority.ca_pem))
    doubting = SigningKeys(url, watch)
    try:
        assert (outcome(lambda: trusting.key("odd")), outcome(lambda: doubting.key("odd"))) == (200, 503)
    finally:
        listener.stop()


@pytest.mark.parametrize(
    "url",
    [
        "http://login.microsoftonline.com/keys",
        "http://127.0.0.1.evil.example/keys",
        "http://localhost@evil.example/keys",
        "http://169.254.169.254/keys",
        "ftp://127.0.0.1/keys",
        "file:///etc/keys",
        "//127.0.0.1/keys",
        "",
    ],
)
def test_only_https_or_plain_loopback_addresses_are_taken(url: str, watch: Watch) -> None:
    with pytest.raises(ValueError, match="must be https"):
        SigningKeys(url, watch)


# Google's Cache-Control.


@pytest.mark.parametrize(
    ("max_age_s", "fresh_for_s"),
    [
        pytest.param(1800, 1800, id="half an hour is kept for half an hour"),
        pytest.param(0, 300, id="nothing is kept for five minutes"),
        pytest.param(301, 301, id="a second more than five minutes is honoured"),
        pytest.param(10_000_000, 23 * 3600, id="months are kept for a day, less an hour to renew in"),
    ],
)
def test_a_set_is_kept_as_long_as_google_says_within_limits(
    issuer: EntraIssuer, watch: Watch, max_age_s: int, fresh_for_s: int
) -> None:
    keys = SigningKeys(issuer.jwks_url, watch, follows_max_age=True)
    issuer.cache_for(max_age_s)
    keys.key(issuer.kid)
    watch.move(ms=fresh_for_s * 1000 - 1)
    refreshed(keys, issuer.kid)
    assert issuer.requests == 1
    watch.move(ms=1)
    refreshed(keys, issuer.kid)
    assert issuer.requests == 2


@pytest.mark.parametrize("header", [None, "no-store", "max-age=soon", "s-maxage=99999", "max-age=-5"])
def test_without_a_readable_max_age_an_hour_holds(
    serve: Callable[[Host], str], watch: Watch, header: str | None
) -> None:
    host = Host(Answer(200, GOOD_SET.body, (("Cache-Control", header),) if header else ()))
    keys = SigningKeys(serve(host), watch, follows_max_age=True)
    keys.key("odd")
    watch.move(hours=1, ms=-1)
    refreshed(keys, "odd")
    watch.move(ms=1)
    refreshed(keys, "odd")
    assert len(host.asked) == 2


# The issuer that a key names.


def bound(issuer: EntraIssuer, key_issuer: object) -> None:
    """Publish the same key, bound to another issuer (None: to none)."""
    keys = [{name: value for name, value in key.items() if name != "issuer"} for key in published(issuer)]
    issuer.serve(key_set(*(key | ({"issuer": key_issuer} if key_issuer else {}) for key in keys)))


FIXED_TO_CONSUMERS = ISSUER_TEMPLATE.replace("{tenantid}", CONSUMERS)
FIXED_TO_TENANT = ISSUER_TEMPLATE.replace("{tenantid}", devkit.DEFAULT_TENANT)


@pytest.mark.parametrize(
    ("key_issuer", "claims", "status"),
    [
        pytest.param(ISSUER_TEMPLATE, entra_claims(), 200, id="a templated key serves every tenant"),
        pytest.param(FIXED_TO_TENANT, entra_claims(), 200, id="a fixed key serves its own tenant"),
        pytest.param(FIXED_TO_TENANT, entra_claims(devkit.guid_of("globex")), 401, id="and no other"),
        pytest.param(FIXED_TO_CONSUMERS, entra_claims(), 401, id="the consumers' key serves no tenant"),
        pytest.param(FIXED_TO_CONSUMERS, entra_claims(CONSUMERS), 403, id="it proves a personal account"),
        pytest.param(None, entra_claims(), 401, id="a key that names no issuer serves nobody"),
        pytest.param("https://sts.windows.net/{tenantid}/", entra_claims(), 401, id="a key of version 1 serves nobody"),
    ],
)
def test_a_key_serves_only_the_issuer_that_it_names(
    cold: SigningKeys, issuer: EntraIssuer, key_issuer: str | None, claims: Claims, status: int
) -> None:
    bound(issuer, key_issuer)
    assert sign_in(cold, issuer.sign(claims)) == status


def test_a_key_bound_elsewhere_is_refused_with_the_one_text(cold: SigningKeys, issuer: EntraIssuer) -> None:
    bound(issuer, FIXED_TO_CONSUMERS)
    with pytest.raises(NotSignedIn, match=r"^Sign in first$"):
        verifier(cold)(BearerToken("Bearer " + issuer.sign(entra_claims())))
