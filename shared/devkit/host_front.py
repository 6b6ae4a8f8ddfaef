"""The HTTP front: connections on 127.0.0.1, one thread each, that carry the app's answers and none of their own."""

from __future__ import annotations

import socket
import socketserver
import sys
import threading
from collections.abc import Callable
from contextlib import suppress

from shared.devkit.host_messages import CONTINUE, Head, Unreadable, read_body, read_head

LOOPBACK = "127.0.0.1"

Answering = Callable[[Head, bytes], bytes | None]
"""From a request to the bytes of its answer; None hangs up."""


class _Connection(socketserver.StreamRequestHandler):
    disable_nagle_algorithm = True
    timeout = 130.0
    request: socket.socket
    server: Front

    def handle(self) -> None:
        """Serve one request after the other until one side ends."""
        with suppress(Unreadable, OSError):
            while self._exchange() and not self.server.draining:
                pass

    def _exchange(self) -> bool:
        head = read_head(self.rfile)
        if head is None:
            return False
        if head.expects_continue:
            self.request.sendall(CONTINUE)
        answer = self.server.answer(head, read_body(self.rfile, head))
        if answer is None:
            return False
        self.request.sendall(answer)
        return head.keep_alive


class Front(socketserver.ThreadingTCPServer):
    """A listener that hands each request to one thread-safe function. Raises OSError when the port is taken."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 1024

    def __init__(self, port: int, answer: Answering) -> None:
        self.answer = answer
        self.draining = False
        self._open: set[socket.socket] = set()
        self._changed = threading.Condition()
        super().__init__((LOOPBACK, port), _Connection)

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return int(self.socket.getsockname()[1])

    def get_request(self) -> tuple[socket.socket, object]:
        """Accept a connection and remember it until it ends."""
        connection, address = super().get_request()
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
        """Name the type of what went wrong, nothing of its text."""
        sys.stderr.write(f"The host failed on a connection: {type(sys.exception()).__name__}\n")

    def drain(self, timeout_s: float) -> bool:
        """Stop listening, let the requests under way be answered, and end the idle connections.

        True when none is left at the end of the time.
        """
        self.draining = True
        self.shutdown()
        self.server_close()
        with self._changed:
            for connection in self._open:
                # What was received is still read and answered; the next read finds the end.
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RD)
            return self._changed.wait_for(lambda: not self._open, timeout=timeout_s)
