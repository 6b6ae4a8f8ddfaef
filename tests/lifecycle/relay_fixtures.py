"""A way to a login host with TLS that can be cut before a word is said."""

import socket
import socketserver
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, urlsplit

from tests.lifecycle.instances_fixtures import Instance, Member, new_person
from tests.security.journey_fixtures import CALLBACK, completion_of


class _Connection(socketserver.BaseRequestHandler):
    server: "Relay"

    def handle(self) -> None:
        if self.server.takes(self.request):
            with socket.create_connection(self.server.target) as far:
                threading.Thread(target=_carry, args=(far, self.request), daemon=True).start()
                _carry(self.request, far)


def _carry(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while part := source.recv(65536):
            sink.sendall(part)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


class Relay(socketserver.ThreadingTCPServer):
    """Carries bytes to and from another loopback address; a context manager."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname
        assert parts.port
        self.target = (parts.hostname, parts.port)
        self.refusals = 0
        self._open: list[socket.socket] = []
        super().__init__((parts.hostname, 0), _Connection)

    @property
    def origin(self) -> str:
        return f"https://127.0.0.1:{self.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.shutdown()
        self.server_close()
        self.refuse(0)

    def refuse(self, times: int) -> None:
        """Cut what is open, and so many new connections."""
        self.refusals = times
        for each in self._open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def takes(self, connection: socket.socket) -> bool:
        self._open.append(connection)
        self.refusals, refused = max(0, self.refusals - 1), self.refusals > 0
        return not refused


def joining_through(relay: Relay, instances: Sequence[Instance]) -> Member:
    """Somebody new, whose login host is the relay; no browser here would trust its page."""
    person, pane = new_person(), instances[0].pane()
    attempt = pane.begin(myDomain=relay.origin)
    asked = {name: values[0] for name, values in parse_qs(urlsplit(attempt.url).query).items()}
    scopes, grants = frozenset(asked["scope"].split()), instances[0].salesforce.grants
    code = grants.issue_code(person, scopes, asked["redirect_uri"], asked["code_challenge"])
    parked = instances[0].ask("GET", f"{CALLBACK}?state={attempt.state}&code={code}")
    joined = pane.complete(attempt.id, completion_of(parked))
    assert joined.ok, joined.text
    return Member([replace(pane, world=each) for each in instances], joined.json()["id"], person)
