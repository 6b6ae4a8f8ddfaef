"""Loopback listeners for the devkit's servers, plain or with TLS under a CA made at run time."""

from __future__ import annotations

import ipaddress
import os
import random
import socket
import ssl
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LOOPBACK = "127.0.0.1"
_LIFE = timedelta(days=90)
_NO_BODY = frozenset({204, 304})
_STOP_WAIT_S = 2.0


def free_port() -> int:
    """A port that is free, and that the system hands to nobody who asks for any: it picks from 32768 on."""
    for port in random.sample(range(20_000, 32_000), 200):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with suppress(OSError):
                probe.bind((LOOPBACK, port))
                return port
    raise OSError("No port is free.")


@dataclass(frozen=True, slots=True)
class Request:
    """What arrived: path and query undecoded, headers in order as (name, value); `at` is when, in epoch ms."""

    method: str
    path: str
    query: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    at: int = 0

    def header(self, name: str) -> str | None:
        """Return the first value of a header, in any letter case, or None."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back. `drip_s`: seconds between single bytes of the body; `dropped`: hang up unanswered.

    `told` hears at the end whether the answer went out whole to a client that was still there; None is for whoever
    sends another one instead.
    """

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    drip_s: float = 0.0
    dropped: bool = False
    told: Callable[[bool | None], None] | None = field(default=None, compare=False, repr=False)


class _Exchange(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _Socket

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is http.server's
        """Say nothing: request lines and headers carry tokens."""

    def do_GET(self) -> None:
        """Serve one request of any method."""
        length = int(self.headers.get("Content-Length") or 0)
        path, _, query = self.path.partition("?")
        headers, body, at = tuple(self.headers.items()), self.rfile.read(length), time.time_ns() // 1_000_000
        answer = self.server.answer(Request(self.command, path, query, headers, body, at))
        if answer.told is None:
            self._reply(answer)
        else:
            self._reply_and_tell(answer, answer.told)

    do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = do_GET  # noqa: N815 - named by http.server

    def _reply_and_tell(self, answer: Answer, told: Callable[[bool | None], None]) -> None:
        whole = False
        try:
            if not self._is_alone():
                self._reply(answer)
                cut = answer.dropped or (answer.drip_s and (self.server.stopping.is_set() or self._is_alone()))
                whole = not cut
        finally:
            told(whole)

    def _is_alone(self) -> bool:
        """Whether the client has hung up: while it waits it sends nothing, so all that could come is its end."""
        try:
            # The plain call, since a TLS socket's own takes no flags.
            socket.socket.recv(self.connection, 1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            pass
        self.close_connection = True
        return True

    def _reply(self, answer: Answer) -> None:
        if answer.dropped:
            self.close_connection = True
            return
        self.send_response(answer.status)
        for name, value in answer.headers:
            self.send_header(name, value)
        if answer.status not in _NO_BODY:
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if answer.status not in _NO_BODY and self.command != "HEAD":
            self._send_body(answer)

    def _send_body(self, answer: Answer) -> None:
        if not answer.drip_s:
            self.wfile.write(answer.body)
            return
        for byte in answer.body:
            self.wfile.write(bytes((byte,)))
            self.wfile.flush()
            if self.server.stopping.wait(answer.drip_s):
                return


class _Socket(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, answer: Callable[[Request], Answer], context: ssl.SSLContext | None) -> None:
        self.answer = answer
        self.context = context
        self.stopping = threading.Event()
        self._open: set[socket.socket] = set()
        self._changed = threading.Condition()
        super().__init__((LOOPBACK, port), _Exchange)

    def server_bind(self) -> None:
        """Bind without asking DNS for the host's name, which can take seconds offline."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = LOOPBACK, self.socket.getsockname()[1]

    def get_request(self) -> tuple[socket.socket, object]:
        """Accept a connection and remember it until it ends."""
        connection, address = super().get_request()
        if self.context is not None:
            # The handshake runs in the connection's own thread, so that a silent client blocks nobody.
            connection = self.context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        with self._changed:
            self._open.add(connection)
        return connection, address

    def shutdown_request(self, request: socket.socket | tuple[bytes, socket.socket]) -> None:
        """Close a connection and forget it."""
        super().shutdown_request(request)
        with self._changed:
            self._open.discard(request)
            self._changed.notify_all()

    def handle_error(self, *_: object) -> None:
        """Say nothing of clients that hang up or refuse our certificate; any other fault is ours."""
        if not isinstance(sys.exception(), OSError):
            traceback.print_exc()

    def hang_up(self) -> None:
        """Cut the kept-alive connections, or their clients would still be served after the end."""
        with self._changed:
            for connection in self._open:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue
            self._changed.wait_for(lambda: not self._open, timeout=_STOP_WAIT_S)


class Listener:
    """A silent HTTP/1.1 server on 127.0.0.1 that hands each request to one thread-safe function.

    `port` is 0 until the first start when none is given; a later start takes the same port again.
    """

    def __init__(
        self,
        answer: Callable[[Request], Answer],
        *,
        port: int = 0,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self.port = port
        self._answer = answer
        self._context = context
        self._socket: _Socket | None = None

    def start(self) -> None:
        """Bind and serve in a daemon thread. Raises OSError when the port is taken."""
        self._socket = _Socket(self.port, self._answer, self._context)
        self.port = self._socket.server_port
        threading.Thread(target=self._socket.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Close the port and every open connection; harmless when not started."""
        server, self._socket = self._socket, None
        if server is not None:
            server.stopping.set()
            server.shutdown()
            server.server_close()
            server.hang_up()


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _key_usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )


def _certificate(
    name: str, issuer: str, key: ec.EllipticCurvePublicKey, issuer_key: ec.EllipticCurvePublicKey, *, ca: bool
) -> x509.CertificateBuilder:
    """Return what both kinds share: serial, life, basic constraints, key usage and the key ids (RFC 5280)."""
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name(issuer))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + _LIFE)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=0 if ca else None), critical=True)
        .add_extension(_key_usage(ca=ca), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False)
    )


def _write_private(path: Path, content: bytes) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)


class DevelopmentCA:
    """A certificate authority for one development machine; its own key is never written down."""

    def __init__(self, ca_pem: Path, server_pem: Path) -> None:
        self.ca_pem = ca_pem
        self._server_pem = server_pem

    @classmethod
    def create(cls, folder: Path) -> DevelopmentCA:
        """Write `ca.pem` (the bundle for clients) and `server.pem` (leaf and its key, mode 0600) to `folder`.

        The leaf is good for 127.0.0.1 and localhost for 90 days.
        """
        folder.mkdir(parents=True, exist_ok=True)
        name = "FlowRunner development CA"
        ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        ca_public = ca_key.public_key()
        root = _certificate(name, name, ca_public, ca_public, ca=True).sign(ca_key, hashes.SHA256())
        hosts = [x509.IPAddress(ipaddress.ip_address(LOOPBACK)), x509.DNSName("localhost")]
        leaf = (
            _certificate("localhost", name, key.public_key(), ca_public, ca=False)
            .add_extension(x509.SubjectAlternativeName(hosts), critical=False)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .sign(ca_key, hashes.SHA256())
        )
        secret = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        made = cls(folder / "ca.pem", folder / "server.pem")
        made.ca_pem.write_bytes(root.public_bytes(serialization.Encoding.PEM))
        _write_private(folder / "server.pem", secret + leaf.public_bytes(serialization.Encoding.PEM))
        return made

    def server_context(self) -> ssl.SSLContext:
        """Return a server's context: the leaf, TLS 1.2 or newer."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self._server_pem)
        return context

    def outdated_context(self) -> ssl.SSLContext:
        """Return a context that speaks TLS 1.1 at most, for the test that our clients refuse it."""
        context = self.server_context()
        context.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = ssl.TLSVersion.TLSv1
            context.maximum_version = ssl.TLSVersion.TLSv1_1
        return context
