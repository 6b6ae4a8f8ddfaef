"""The pool carries nothing from call to call, waits for nothing for ever, and says how far a failed call came."""

import gzip
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from requests.adapters import HTTPAdapter

from shared.devkit.tls import Answer, DevelopmentCA, Listener, Request
from shared.salesforce.pool import BODY_MAX, NoAnswer, Pool
from shared.salesforce.replies import Reply, Unanswered
from shared.salesforce.wire import CONNECTION_POOLS, Connection, TlsConnection
from tests.salesforce.salesforce_fixtures import (
    ADA,
    BEN,
    WAIT,
    RawServer,
    Wired,
    http,
    minus_five_bytes,
    raw_server,
    read_request,
    told,
)

Script = Callable[[socket.socket], None]
TIGHT = (0.3, 0.3)
STRANGE = Pool()


def asked(pool: Pool, url: str, wait: tuple[float, float] = WAIT) -> Reply | Unanswered:
    return pool.post_form(url, {"token": "a-token"}, wait)


def answering(*answers: bytes) -> Script:
    """Give these answers to as many requests, then hang up."""

    def script(connection: socket.socket) -> None:
        for answer in answers:
            if read_request(connection):
                connection.sendall(answer)

    return script


def dripping(text: bytes, server: list[RawServer]) -> Script:
    def script(connection: socket.socket) -> None:
        read_request(connection)
        for byte in text:
            connection.sendall(bytes([byte]))
            if server[0].over.wait(0.05):
                return

    return script


# Nothing is carried over


def test_an_answer_comes_whole(pool: Pool) -> None:
    with raw_server(answering(http(b'{"a": "\xc3\xa9\xff"}', "X-One: 1", status="400 Bad"))) as server:
        reply = asked(pool, f"{server.url}/services/oauth2/token")
    assert isinstance(reply, Reply)
    assert (reply.status, reply.headers["x-one"], reply.path) == (400, "1", "/services/oauth2/token")
    assert reply.body == '{"a": "\u00e9\ufffd"}'


def test_cookies_are_neither_kept_nor_sent(wired: Wired) -> None:
    wired.org(ADA).flows()
    wired.org(BEN).flows()
    assert wired.server.recorder.cookies() == []
    assert len(wired.pool.cookies) == 0
    policy = wired.pool.cookies.get_policy()
    assert isinstance(policy, DefaultCookiePolicy)
    assert policy.is_not_allowed("acme.my.salesforce.com")


def test_default_headers_say_nothing_of_anybody(pool: Pool) -> None:
    seen: list[Request] = []

    def answer(request: Request) -> Answer:
        seen.append(request)
        return Answer(200, b"{}")

    listener = Listener(answer)
    listener.start()
    asked(pool, f"http://127.0.0.1:{listener.port}/x")
    listener.stop()
    names = {name: value for name, value in seen[0].headers if name not in ("Host", "Content-Length")}
    assert names == {
        "Accept": "application/json",
        "Accept-Encoding": "identity",
        "User-Agent": "FlowRunner",
        "Content-Type": "application/x-www-form-urlencoded",
    }


def test_many_users_at_once_each_get_their_own_answer(pool: Pool, ca: DevelopmentCA) -> None:
    start = threading.Barrier(16)

    def echo(request: Request) -> Answer:
        return Answer(200, json.dumps({"heard": request.header("Authorization")}).encode())

    def user(number: int) -> list[bool]:
        start.wait(10)
        mine = f"Bearer token-{number}"
        url = f"https://127.0.0.1:{listener.port}/x"
        return [pool.get(url, headers={"Authorization": mine}, timeout=WAIT).json()["heard"] == mine for _ in range(10)]

    listener = Listener(echo, context=ca.server_context())
    listener.start()
    with ThreadPoolExecutor(16) as threads:
        heard = list(threads.map(user, range(16)))
    listener.stop()
    assert heard == [[True] * 10] * 16


def test_a_connection_is_used_again(pool: Pool, ca: DevelopmentCA) -> None:
    with raw_server(answering(*[http()] * 3), ca.server_context()) as server:
        assert [isinstance(asked(pool, server.url), Reply) for _ in range(3)] == [True] * 3
        assert server.accepted == 1


# Nothing comes from the environment


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "https_proxy", "http_proxy", "all_proxy"])
def test_a_proxy_of_the_environment_is_not_used(wired: Wired, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    with raw_server(answering(http(status="502 Proxy"))) as proxy:
        monkeypatch.setenv(name, proxy.url)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        assert wired.org().flows()
        assert proxy.accepted == 0


def test_a_netrc_file_does_not_replace_the_token(wired: Wired, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\ndefault login somebody password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    grant, facts = wired.exchange()
    wired.orgs.org(facts, grant).flows()
    assert [call.header("Authorization") for call in wired.calls("list")] == [f"Bearer {grant.access_token}"]
    assert [call.header("Authorization") for call in wired.calls("token")] == [None]


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"])
def test_a_bundle_of_the_environment_is_not_trusted(
    ca: DevelopmentCA, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, str(ca.ca_pem))
    with raw_server(answering(http()), ca.server_context()) as server, Pool() as strict:
        assert asked(strict, server.url) is Unanswered.NOT_SENT


def test_no_key_log_is_written(ca: DevelopmentCA, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    with raw_server(answering(http()), ca.server_context()) as server, Pool(str(ca.ca_pem)) as fresh:
        assert isinstance(asked(fresh, server.url), Reply)
    assert not (tmp_path / "keys").exists()


# TLS


def test_tls_below_1_2_is_refused_before_anything_is_sent(pool: Pool, ca: DevelopmentCA) -> None:
    outdated = ca.outdated_context()
    with raw_server(answering(http()), outdated) as server:
        assert asked(pool, server.url) is Unanswered.NOT_SENT


def test_the_outdated_server_would_answer_a_client_that_is_as_old(ca: DevelopmentCA) -> None:
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.load_verify_locations(ca.ca_pem)
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1 is deprecated"):
        old.minimum_version = ssl.TLSVersion.TLSv1
    with raw_server(answering(http()), ca.outdated_context()) as server:
        port = int(server.url.rpartition(":")[2])
        plain = socket.create_connection(("127.0.0.1", port), 5)
        with old.wrap_socket(plain, server_hostname="127.0.0.1") as secure:
            assert secure.version() == "TLSv1.1"


def test_a_certificate_of_another_authority_is_refused(pool: Pool, tmp_path: Path) -> None:
    stranger = DevelopmentCA.create(tmp_path)
    with raw_server(answering(http()), stranger.server_context()) as server:
        assert asked(pool, server.url) is Unanswered.NOT_SENT


def test_a_certificate_for_another_host_is_refused(pool: Pool, ca: DevelopmentCA) -> None:
    with raw_server(answering(http()), ca.server_context()) as server:
        other_name = server.url.replace("127.0.0.1", "127.1")
        assert asked(pool, other_name) is Unanswered.NOT_SENT
        assert server.accepted == 1


def test_connections_add_no_authorities_to_the_one_that_was_given(pool: Pool, ca: DevelopmentCA) -> None:
    with raw_server(answering(http()), ca.server_context()) as server:
        assert isinstance(asked(pool, server.url), Reply)
    adapter = pool.get_adapter(server.url)
    assert isinstance(adapter, HTTPAdapter)
    assert adapter.poolmanager.connection_pool_kw["ssl_context"].cert_store_stats()["x509_ca"] == 1


def test_no_argument_of_a_call_switches_the_check_off(pool: Pool, tmp_path: Path) -> None:
    stranger = DevelopmentCA.create(tmp_path)
    with raw_server(answering(http()), stranger.server_context()) as server:
        with pytest.raises(NoAnswer) as none:
            pool.get(server.url, verify=False, timeout=WAIT)
        assert none.value.why is Unanswered.NOT_SENT


# Where a call went, and where it did not


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See", "307 Temporary", "308 Permanent"])
def test_a_redirect_is_an_answer_and_is_not_followed(pool: Pool, status: str) -> None:
    with raw_server(answering(http())) as other:
        moved = http(b"", f"Location: {other.url}/x", status=status)
        with raw_server(answering(moved)) as server:
            reply = asked(pool, server.url)
        assert isinstance(reply, Reply)
        assert (reply.status, other.accepted) == (int(status[:3]), 0)


def test_a_call_without_a_time_limit_is_refused(pool: Pool) -> None:
    with raw_server(answering(http())) as server:
        for timeout in (None, 5.0):
            with pytest.raises(TypeError):
                pool.get(server.url, timeout=timeout)
        assert server.accepted == 0


def test_a_closed_port_is_known_to_have_got_nothing(pool: Pool) -> None:
    with raw_server(answering()) as server:
        url = server.url
    assert asked(pool, url) is Unanswered.NOT_SENT


def test_a_handshake_that_does_not_end_is_known_to_have_sent_nothing(pool: Pool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        assert asked(pool, f"https://127.0.0.1:{silent.getsockname()[1]}", TIGHT) is Unanswered.NOT_SENT
        assert time.monotonic() - began < 3


def test_a_form_that_cannot_be_sent_has_no_answer(pool: Pool) -> None:
    with raw_server(answering(http())) as server:
        assert pool.post_form(server.url, {"code": "\ud800"}, WAIT) is Unanswered.LOST
        assert pool.post_form(server.url.replace("127", "\u2100"), {}, WAIT) is Unanswered.LOST
        assert server.accepted == 0


@pytest.fixture
def deaf() -> Iterator[int]:
    """A port that answers no connection: its queue is full."""
    with ExitStack() as held:
        listener = held.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            waiting = held.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


def resolved_to(monkeypatch: pytest.MonkeyPatch, *ports: int) -> None:
    """Let every name have as many addresses."""
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in ports]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)


def test_a_name_with_many_silent_addresses_is_given_up_at_the_deadline(
    pool: Pool, deaf: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolved_to(monkeypatch, *[deaf] * 6)
    began = time.monotonic()
    assert asked(pool, "http://acme.example", (0.5, 0.8)) is Unanswered.NOT_SENT
    assert 0.4 < time.monotonic() - began < 1.2


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_an_address_that_answers_is_found_behind_silent_ones(
    pool: Pool, ca: DevelopmentCA, deaf: int, monkeypatch: pytest.MonkeyPatch, *, tls: bool
) -> None:
    with raw_server(answering(http()), ca.server_context() if tls else None) as server:
        resolved_to(monkeypatch, deaf, deaf, int(server.url.rpartition(":")[2]))
        url = server.url.replace("127.0.0.1", "localhost")
        assert isinstance(asked(pool, url, (1.5, 10.0)), Reply)


def test_a_name_without_an_address_is_known_to_have_got_nothing(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    resolved_to(monkeypatch)
    assert asked(pool, "http://acme.example") is Unanswered.NOT_SENT


def test_no_tls_at_all_is_known_to_have_got_nothing(pool: Pool) -> None:
    with raw_server(lambda connection: connection.sendall(http())) as server:
        assert asked(pool, server.url.replace("http:", "https:")) is Unanswered.NOT_SENT


def hang_up(connection: socket.socket) -> None:
    read_request(connection)


def half_an_answer(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(http(b"x" * 100)[:-50])


def no_http(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(b"220 mail.example ESMTP\r\n")


def odd_length(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\nx")


def odd_chunks(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")


def odd_encoding(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(http(b"no gzip", "Content-Encoding: gzip"))


def endless_header(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000)


@pytest.mark.parametrize(
    "script",
    [hang_up, half_an_answer, no_http, odd_length, odd_chunks, minus_five_bytes, odd_encoding, endless_header],
)
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_an_answer_that_breaks_off_is_lost(pool: Pool, ca: DevelopmentCA, script: Script, *, tls: bool) -> None:
    with raw_server(script, ca.server_context() if tls else None) as server:
        assert asked(pool, server.url) is Unanswered.LOST
        assert server.accepted == 1


@given(st.binary(max_size=200), st.sampled_from([b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nSet-Cookie: "]))
def test_whatever_bytes_come_back_a_call_ends_in_an_answer_or_a_reason(text: bytes, begin: bytes) -> None:
    def script(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(begin + text)

    with raw_server(script) as server:
        assert isinstance(asked(STRANGE, server.url), Reply | Unanswered)


def test_not_even_a_question_is_asked_again(pool: Pool) -> None:
    with raw_server(hang_up) as server:
        with pytest.raises(NoAnswer) as none:
            pool.get(server.url, timeout=WAIT)
        assert (none.value.why, server.accepted) == (Unanswered.LOST, 1)


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize(
    "text",
    [
        pytest.param(http(b"x" * 1_000), id="everything"),
        pytest.param(b"HTTP/1.1 200 OK\r\n" + b"X-Y: z\r\n" * 1_000, id="headers"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 1_000, id="chunks"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n" * 1_000, id="continue"),
        pytest.param(b"", id="silence"),
    ],
)
def test_no_answer_outlives_the_deadline_however_it_drips(
    pool: Pool, ca: DevelopmentCA, text: bytes, *, tls: bool
) -> None:
    holder: list[RawServer] = []

    def script(connection: socket.socket) -> None:
        dripping(text, holder)(connection)
        holder[0].over.wait(10)

    with raw_server(script, ca.server_context() if tls else None) as server:
        holder.append(server)
        began = time.monotonic()
        assert asked(pool, server.url, (2.0, 0.6)) is Unanswered.TIMED_OUT
        assert 0.5 < time.monotonic() - began < 3


def test_silence_after_a_late_first_byte_ends_at_the_same_deadline(pool: Pool) -> None:
    def script(connection: socket.socket) -> None:
        read_request(connection)
        over.wait(1.0)
        connection.sendall(b"H")
        over.wait(10)

    over = threading.Event()
    with raw_server(script) as server:
        began = time.monotonic()
        assert asked(pool, server.url, (2.0, 1.2)) is Unanswered.TIMED_OUT
        assert time.monotonic() - began < 1.9
        over.set()


def test_a_flood_ends_at_the_deadline_too(pool: Pool) -> None:
    def script(connection: socket.socket) -> None:
        read_request(connection)
        while True:
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)

    with raw_server(script) as server:
        assert asked(pool, server.url, (2.0, 0.5)) is Unanswered.TIMED_OUT


def test_a_slow_answer_within_the_deadline_is_heard(pool: Pool, ca: DevelopmentCA) -> None:
    holder: list[RawServer] = []
    with raw_server(dripping(http(b"{}"), holder), ca.server_context()) as server:
        holder.append(server)
        assert isinstance(asked(pool, server.url, (2.0, 30.0)), Reply)


def test_the_longest_answer_is_read_and_a_longer_one_is_not(pool: Pool) -> None:
    with raw_server(answering(http(b"x" * BODY_MAX))) as server:
        reply = asked(pool, server.url)
        assert isinstance(reply, Reply)
        assert len(reply.body) == BODY_MAX
    with raw_server(answering(http(b"x" * (BODY_MAX + 1)))) as server:
        assert asked(pool, server.url) is Unanswered.TOO_LARGE


def test_an_answer_that_unpacks_to_more_is_not_read(pool: Pool) -> None:
    packed = gzip.compress(b"x" * (BODY_MAX * 4))
    with raw_server(answering(http(packed, "Content-Encoding: gzip"))) as server:
        assert asked(pool, server.url) is Unanswered.TOO_LARGE


def test_a_connection_with_an_unread_rest_is_not_used_again(pool: Pool) -> None:
    with raw_server(answering(http(b"x" * (BODY_MAX * 2)), http())) as server:
        assert [asked(pool, server.url) for _ in range(2)] == [Unanswered.TOO_LARGE] * 2
        assert server.accepted == 2


# Connections that died while idle


def test_a_connection_that_was_closed_while_idle_is_not_used_again(pool: Pool, ca: DevelopmentCA) -> None:
    closed = threading.Event()

    def once(connection: socket.socket) -> None:
        if read_request(connection):
            connection.sendall(http())
        connection.shutdown(socket.SHUT_RDWR)
        connection.close()
        closed.set()

    with raw_server(once, ca.server_context()) as server:
        for number in range(1, 6):
            assert isinstance(asked(pool, server.url), Reply)
            assert closed.wait(5)
            closed.clear()
            assert server.accepted == number


def test_a_connection_that_is_cut_after_the_request_is_lost_and_not_repeated(pool: Pool) -> None:
    requests: list[bytes] = []

    def second_is_cut(connection: socket.socket) -> None:
        requests.append(read_request(connection))
        connection.sendall(http())
        requests.append(read_request(connection))

    with raw_server(second_is_cut) as server:
        assert isinstance(asked(pool, server.url), Reply)
        assert asked(pool, server.url) is Unanswered.LOST
        assert (server.accepted, len(requests)) == (1, 2)


def exchange_on(connection: Connection) -> None:
    connection.request("GET", "/", preload_content=False)
    connection.getresponse().read()


def test_a_connection_that_lay_idle_for_long_is_not_used_again() -> None:
    class Impatient(Connection):
        idle_max_s = 0.0

    with raw_server(answering(http(), http())) as server:
        port = int(server.url.rpartition(":")[2])
        patient, impatient = Connection("127.0.0.1", port, timeout=5), Impatient("127.0.0.1", port, timeout=5)
        for connection in (patient, impatient):
            exchange_on(connection)
        assert (patient.is_connected, impatient.is_connected) == (True, False)
        assert patient.idle_max_s == 30.0
        patient.close()
        impatient.close()


def test_what_connecting_took_is_not_taken_from_the_time_to_send() -> None:
    with raw_server(answering()) as server:
        connection = Connection("127.0.0.1", int(server.url.rpartition(":")[2]), timeout=5)
        connection.connect()
        assert connection.sock.gettimeout() == 5
        connection.close()


def test_both_kinds_of_connection_are_ours() -> None:
    classes = [CONNECTION_POOLS[scheme].ConnectionCls for scheme in ("http", "https")]
    assert classes == [Connection, TlsConnection]


# Nothing is told


def test_a_failed_call_tells_nothing_of_what_was_sent(pool: Pool) -> None:
    with raw_server(hang_up) as server, pytest.raises(NoAnswer) as none:
        pool.get(server.url, headers={"Authorization": "Bearer canary"}, timeout=WAIT)
    assert f"{none.value}" == "lost"
    assert none.value.__cause__ is None
    assert none.value.__context__ is None


def test_an_answer_shows_neither_body_nor_headers() -> None:
    reply = Reply(200, {"x": "canary"}, "canary", "/canary")
    assert "canary" not in told(ValueError(repr(reply)))
