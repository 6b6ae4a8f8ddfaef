"""The product's Salesforce clients wired to the devkit's Salesforce, and sockets that misbehave on command."""

import json
import secrets
import socket
import ssl
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic
from urllib.parse import parse_qs, parse_qsl, urlsplit

from shared.devkit.salesforce import SalesforceServer, consent
from shared.devkit.salesforce.recording import Call
from shared.errors import FlowRunnerError, SessionExpired
from shared.model.connections import Consent, Environment, Grant, OrgFacts
from shared.model.events import Event
from shared.model.refreshing import RefreshFailed
from shared.ports import Org
from shared.salesforce.client_secrets import ClientSecrets
from shared.salesforce.hosts import Hosts
from shared.salesforce.oauth import OAuthClient
from shared.salesforce.org import RestOrgs
from shared.salesforce.pool import Pool

CLIENT_ID = "3MVG9_the_app"
CLIENT_SECRET, OTHER_SECRET = secrets.token_hex(32), secrets.token_hex(32)
REDIRECT_URI = "https://middleware.example/v1/oauth/salesforce/callback"
ADA, BEN = "ada@acme.example", "ben@acme.example"
LOOK_ALIKE = "https://acme.my.salesforce.com.evil.example"
WAIT = (2.0, 10.0)


@dataclass
class Wired:
    """Both clients over one pool, and what they told telemetry."""

    server: SalesforceServer
    pool: Pool
    emitted: list[Event] = field(default_factory=list)
    hosts: Hosts = field(init=False)
    oauth: OAuthClient = field(init=False)
    orgs: RestOrgs = field(init=False)

    def __post_init__(self) -> None:
        self.hosts = Hosts(self.server.base_url, frozenset({self.server.instance_url}))
        self.oauth = self.oauth_client()
        self.orgs = self.rest_orgs()

    def oauth_client(self, first: str = CLIENT_SECRET, second: str = "", *, deadline_s: float = 10.0) -> OAuthClient:
        both = ClientSecrets(first, second, self.emitted.append)
        return OAuthClient(self.hosts, self.pool, CLIENT_ID, both, REDIRECT_URI, 2.0, deadline_s, monotonic)

    def rest_orgs(self, *, version: str = "66.0", run_s: float = 10.0, metadata_s: float = 10.0) -> RestOrgs:
        return RestOrgs(self.hosts, self.pool, version, 2.0, run_s, metadata_s)

    def asked(self) -> Consent:
        origin = self.oauth.login_origin(Environment.PRODUCTION, None)
        return Consent(origin, sandbox=False, channel="outlook", verifier=secrets.token_urlsafe(48))

    def code(self, asked: Consent, username: str = ADA) -> str:
        location = consent(self.oauth.authorize_url(asked, "state"), username)
        return parse_qs(urlsplit(location).query)["code"][0]

    def exchange(self, username: str = ADA) -> tuple[Grant, OrgFacts]:
        asked = self.asked()
        return self.oauth.exchange(asked, self.code(asked, username))

    def org(self, username: str = ADA, *, run_s: float = 10.0, metadata_s: float = 10.0) -> Org:
        grant, facts = self.exchange(username)
        self.server.recorder.clear()
        return self.rest_orgs(run_s=run_s, metadata_s=metadata_s).org(facts, grant)

    def plan(self, endpoint: str, **how: object) -> None:
        self.server.steering.plan({"endpoint": endpoint, **how})

    def switch(self, **switches: object) -> None:
        self.server.steering.switch(switches)

    def calls(self, endpoint: str | None = None) -> list[Call]:
        return self.server.recorder.calls(endpoint)

    def sent(self, endpoint: str, name: str) -> list[str]:
        """One field of each form that was sent there."""
        return [form(call.body)[name] for call in self.calls(endpoint)]

    def revoked(self) -> int:
        """How many tokens were really revoked."""
        return self.server.recorder.events().get("revoked", 0)


def form(body: str) -> dict[str, str]:
    return dict(parse_qsl(body, strict_parsing=True))


def token_answer(instance_url: str, **changes: str) -> str:
    """The contract's own example of a signed identity (2.4), in a token answer that is good but for the changes."""
    answer = {
        "access_token": "a",
        "refresh_token": "r",
        "scope": "lightning api web refresh_token",
        "instance_url": instance_url,
        "id": "https://login.salesforce.com/id/00D000000000001EAA/005000000000001AAA",
        "issued_at": "1766000000000",
        "signature": "IEksI0k0+dm2GcDUWiQrzwyMEurPy7fX8bc+BHToZDY=",
    }
    return json.dumps(answer | changes)


SIGNING_SECRET = "0123456789ABCDEF"
"""By which that identity is signed."""


class RawServer:
    """A loopback socket that hands each connection to `script`; `accepted` counts them."""

    def __init__(self, script: Callable[[socket.socket], None], context: ssl.SSLContext | None) -> None:
        self.accepted = 0
        self.over = threading.Event()
        self._script = script
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        scheme = "https" if context else "http"
        self.url = f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}"

    def serve(self) -> None:
        """Accept until stopped."""
        while not self.over.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        try:
            if self._context:
                connection = self._context.wrap_socket(connection, server_side=True)
            with connection:
                self._script(connection)
        except OSError:
            connection.close()

    def stop(self) -> None:
        """Close the port, and let scripts that wait for `over` end."""
        self.over.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@contextmanager
def raw_server(script: Callable[[socket.socket], None], context: ssl.SSLContext | None = None) -> Iterator[RawServer]:
    server = RawServer(script, context)
    threading.Thread(target=server.serve, daemon=True).start()
    try:
        yield server
    finally:
        server.stop()


def read_request(connection: socket.socket) -> bytes:
    """One request whose body, if any, comes with a Content-Length; empty when the client hung up."""
    text = b""
    while b"\r\n\r\n" not in text:
        part = connection.recv(65_536)
        if not part:
            return b""
        text += part
    head, _, body = text.partition(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
    while len(body) < length:
        body += connection.recv(65_536)
    return head + b"\r\n\r\n" + body


def http(body: bytes = b"{}", *headers: str, status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def minus_five_bytes(connection: socket.socket) -> None:
    """Answer with a chunk of a negative length, at which urllib3 raises a plain ValueError."""
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nabcde\r\n0\r\n\r\n")


def told(error: BaseException) -> str:
    """Everything that a log or an error tracker could get out of an error of ours: texts, members, frames' locals.

    The frames of tests are left out, since they know every secret.
    """
    texts = [str(error), repr(error), repr(vars(error))]
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if "/tests/" not in frame.f_code.co_filename:
            texts.append(repr(frame.f_locals))
    texts.extend(told(behind) for behind in (error.__cause__, error.__context__) if behind is not None)
    return "\n".join(texts)


def raised(call: Callable[[], object]) -> FlowRunnerError | SessionExpired | RefreshFailed:
    """The error of ours that a call ends with."""
    try:
        call()
    except (FlowRunnerError, SessionExpired, RefreshFailed) as error:
        return error
    raise AssertionError("nothing was raised")


def failed(call: Callable[[], object]) -> RefreshFailed:
    """The failed refresh that a call ends with."""
    error = raised(call)
    assert isinstance(error, RefreshFailed)
    return error
