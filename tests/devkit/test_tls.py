"""The development CA and its listeners: what a modern client accepts, and what it must refuse."""

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest
import requests

from shared.devkit.tls import Answer, DevelopmentCA, Listener, Request


def hello(request: Request) -> Answer:
    return Answer(200, f"{request.method} {request.path}".encode(), (("Content-Type", "text/plain"),))


@pytest.fixture
def listener(ca: DevelopmentCA) -> Iterator[Listener]:
    server = Listener(hello, context=ca.server_context())
    server.start()
    yield server
    server.stop()


def strict_client(ca: DevelopmentCA) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca.ca_pem)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    return context


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_the_certificate_passes_strict_verification(ca: DevelopmentCA, listener: Listener, host: str) -> None:
    with (
        socket.create_connection(("127.0.0.1", listener.port)) as plain,
        strict_client(ca).wrap_socket(plain, server_hostname=host) as tls,
    ):
        assert tls.version() in {"TLSv1.2", "TLSv1.3"}


def test_the_certificate_is_refused_for_another_host(ca: DevelopmentCA, listener: Listener) -> None:
    with (
        socket.create_connection(("127.0.0.1", listener.port)) as plain,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        strict_client(ca).wrap_socket(plain, server_hostname="salesforce.example")


def test_a_client_without_the_ca_refuses_the_listener(listener: Listener) -> None:
    with pytest.raises(requests.exceptions.SSLError), requests.Session() as session:
        session.get(f"https://127.0.0.1:{listener.port}/", timeout=5)


def test_a_client_that_wants_tls_1_2_refuses_an_outdated_listener(ca: DevelopmentCA) -> None:
    server = Listener(hello, context=ca.outdated_context())
    server.start()
    with socket.create_connection(("127.0.0.1", server.port)) as plain, pytest.raises(ssl.SSLError):
        strict_client(ca).wrap_socket(plain, server_hostname="localhost")
    server.stop()


def test_an_outdated_listener_still_serves_a_client_that_allows_tls_1_1(ca: DevelopmentCA) -> None:
    server = Listener(hello, context=ca.outdated_context())
    server.start()
    context = strict_client(ca)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = ssl.TLSVersion.TLSv1_1
    with (
        socket.create_connection(("127.0.0.1", server.port)) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as tls,
    ):
        assert tls.version() == "TLSv1.1"
    server.stop()


def test_the_servers_key_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    DevelopmentCA.create(tmp_path)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes["server.pem"] == 0o600


def test_the_bundle_for_clients_holds_no_key(tmp_path: Path) -> None:
    assert b"PRIVATE" not in DevelopmentCA.create(tmp_path).ca_pem.read_bytes()


def test_stopping_cuts_a_kept_alive_connection(http: requests.Session) -> None:
    server = Listener(hello)
    server.start()
    http.get(f"http://127.0.0.1:{server.port}/", timeout=5)
    server.stop()
    with pytest.raises(requests.ConnectionError):
        http.get(f"http://127.0.0.1:{server.port}/", timeout=5)


def test_a_listener_started_again_keeps_its_port(http: requests.Session) -> None:
    server = Listener(hello)
    server.start()
    server.stop()
    server.start()
    assert http.get(f"http://127.0.0.1:{server.port}/x", timeout=5).text == "GET /x"
    server.stop()


def test_a_silent_client_does_not_hold_up_the_others(http: requests.Session, listener: Listener) -> None:
    with socket.create_connection(("127.0.0.1", listener.port)):
        assert http.get(f"https://127.0.0.1:{listener.port}/", timeout=5).status_code == 200


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS"])
def test_every_method_reaches_the_answering_function(http: requests.Session, listener: Listener, method: str) -> None:
    assert http.request(method, f"https://127.0.0.1:{listener.port}/a", timeout=5).text == f"{method} /a"


def test_a_dropped_answer_is_a_cut_connection(http: requests.Session) -> None:
    server = Listener(lambda _: Answer(200, dropped=True))
    server.start()
    with pytest.raises(requests.ConnectionError):
        http.get(f"http://127.0.0.1:{server.port}/", timeout=5)
    server.stop()


def test_a_dripping_answer_outlives_any_socket_timeout(http: requests.Session) -> None:
    server = Listener(lambda _: Answer(200, b"drip", drip_s=0.1))
    server.start()
    started = monotonic()
    assert http.get(f"http://127.0.0.1:{server.port}/", timeout=0.2).text == "drip"
    assert monotonic() - started > 0.2
    server.stop()
