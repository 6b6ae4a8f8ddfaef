"""Connections that know two things urllib3's do not: whether anything was sent, and when an answer must have ended."""

import io
import socket
from collections.abc import Mapping
from http.client import HTTPResponse
from time import monotonic
from types import MappingProxyType

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError


def _left(ends_at: float) -> float:
    left = ends_at - monotonic()
    if left <= 0:
        raise TimeoutError
    return left


class NotSent(Exception):
    """The connection could not be made: not one byte of the request has left."""


class _Until(io.RawIOBase):
    """The bytes of an answer, which must end before one deadline, however slowly they drip."""

    def __init__(self, sock: socket.socket, source: io.RawIOBase) -> None:
        self._sock = sock
        self._source = source
        self._ends_at = monotonic() + (sock.gettimeout() or 0.0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int | None:
        if not isinstance(buffer, memoryview):  # BufferedReader always gives one
            raise TimeoutError
        self._sock.settimeout(_left(self._ends_at))
        return self._source.readinto(buffer)

    def close(self) -> None:
        self._source.close()
        super().close()


class _TimedAnswer(HTTPResponse):
    """An answer to which the socket's timeout applies as a whole.

    urllib3 sets it to what is left of the call's total just before the answer is read, but would grant it to each
    read anew.
    """

    def __init__(
        self, sock: socket.socket, debuglevel: int = 0, method: str | None = None, url: str | None = None
    ) -> None:
        super().__init__(sock, debuglevel, method, url)
        self.fp = io.BufferedReader(_Until(sock, self.fp.detach()))


class Connection(HTTPConnection):
    """A connection to one host.

    One that was used more than `idle_max_s` seconds ago is not used again: a front end may be closing it, and Azure
    forgets one after four minutes without a word to either side. A request on it would be lost, and whether a lost
    run has run nobody can tell.
    """

    idle_max_s = 30.0
    response_class = _TimedAnswer
    _used_at = 0.0

    @property
    def is_connected(self) -> bool:
        """Whether it may be used again: open, with nothing unread (as a closed one has), and not idle for long."""
        return super().is_connected and monotonic() - self._used_at < self.idle_max_s

    def connect(self) -> None:
        """Connect, TLS included, within the timeout. Raises NotSent, with nothing of the request in it.

        How long the name takes to be resolved is the system's affair.
        """
        failed = False
        try:
            super().connect()
        except (OSError, HTTPError):
            failed = True
        if failed:
            raise NotSent
        self.sock.settimeout(self.timeout)

    def _new_conn(self) -> socket.socket:
        """A socket to the first address that answers. urllib3 would grant each of them the whole timeout."""
        ends_at = monotonic() + (self.timeout or 0.0)
        addresses = socket.getaddrinfo(self._dns_host, self.port, type=socket.SOCK_STREAM)
        for number, (family, kind, protocol, _, address) in enumerate(addresses):
            made = socket.socket(family, kind, protocol)
            try:
                for option in self.socket_options or ():
                    made.setsockopt(*option)
                made.settimeout(_left(ends_at) / (len(addresses) - number))
                made.connect(address)
                made.settimeout(_left(ends_at))
            except OSError:
                made.close()
            else:
                return made
        raise ConnectionError

    def putrequest(
        self,
        method: str,
        url: str,
        skip_host: bool = False,  # noqa: FBT001, FBT002  named by http.client
        skip_accept_encoding: bool = False,  # noqa: FBT001, FBT002
    ) -> None:
        """Begin a request."""
        self._used_at = monotonic()
        super().putrequest(method, url, skip_host, skip_accept_encoding)


class TlsConnection(Connection, HTTPSConnection):
    """The same with TLS."""


class _Hosts(HTTPConnectionPool):
    ConnectionCls = Connection


class _TlsHosts(HTTPSConnectionPool):
    ConnectionCls = TlsConnection


CONNECTION_POOLS: Mapping[str, type[HTTPConnectionPool]] = MappingProxyType({"http": _Hosts, "https": _TlsHosts})
"""What urllib3's PoolManager takes as `pool_classes_by_scheme`."""
