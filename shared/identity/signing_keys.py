"""An issuer's signing keys: fetched rarely, by one thread, off the path of every known key (identity-contract.md 1.4).

PyJWT's own client is not used: it holds a lock while it fetches, has no floor after a failure and forgets
good keys when the host is down (identity-contract.md 7.2).
"""

import io
import re
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from time import monotonic
from types import MappingProxyType
from urllib.parse import SplitResult, urlsplit

import jwt
from requests.utils import DEFAULT_CA_BUNDLE_PATH

from shared.errors import IssuerUnavailable
from shared.identity.claims import ALGORITHM, json_object
from shared.identity.refusals import Reason, Refused
from shared.ports import Clock

FLOOR_MS = 5 * 60_000
"""Between two attempts, failed ones included, so that a stranger's unknown kids cannot make us fetch."""
SOFT_AGE_MS = 3_600_000
HARD_AGE_MS = 24 * 3_600_000
_CACHED_MAX_MS = HARD_AGE_MS - SOFT_AGE_MS
"""A cached answer is renewed an hour before its keys end, so that an outage at that moment costs nobody."""

_PATIENCE_S = 3.0
"""The longest wait for a connection, and for the next bytes of an answer."""
_BODY_MAX = 256 * 1024
_HEADERS = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "FlowRunner"}
_MODULUS_BITS_MIN = 2048
_OK = 200
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_MAX_AGE = re.compile(r"(?:^|[\s,])max-age=(\d{1,9})(?=$|[\s,])", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A public RSA key, the issuer that its set says it signs for, and when it ends (epoch milliseconds)."""

    jwk: jwt.PyJWK
    issuer: str | None
    usable_until: int


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """What is known at one moment. `current`: the last finished attempt succeeded."""

    keys: Mapping[str, SigningKey] = field(default_factory=dict)
    fresh_until: int = 0
    current: bool = False

    def find(self, kid: str, now: int) -> SigningKey | None:
        """The key of that id, unless it has passed its hard age."""
        key = self.keys.get(kid)
        return key if key is not None and now < key.usable_until else None

    def usable(self, now: int) -> bool:
        """Whether any key can still prove anybody."""
        return any(now < key.usable_until for key in self.keys.values())

    def renewed(self, listed: Mapping[str, SigningKey], now: int, fresh_until: int) -> "_Snapshot":
        """The next snapshot after a good answer; a key that is listed no more stays to its hard age."""
        kept = {kid: key for kid, key in self.keys.items() if now < key.usable_until}
        return _Snapshot(MappingProxyType(kept | dict(listed)), fresh_until, current=True)


@dataclass(frozen=True, slots=True)
class _Attempt:
    """One fetch: when it began (epoch milliseconds), and whether it is over."""

    began_at: int
    over: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True, slots=True)
class _Answer:
    keys: list[object]
    max_age_ms: int | None


class SigningKeys:
    """The key set at one pinned address; thread-safe, and readers of known keys never wait.

    `ca_bundle` is a file of trusted authorities (empty: the library's own), `follows_max_age` says whether the
    answer's Cache-Control sets the soft age, `deadline_s` bounds one fetch as a whole (but for the time that the
    system takes to resolve the host's name). Raises ValueError for an address that is neither https nor plain http
    on loopback.
    """

    def __init__(
        self,
        url: str,
        clock: Clock,
        *,
        ca_bundle: str = "",
        follows_max_age: bool = False,
        deadline_s: float = 8.0,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme != "https" and (parts.scheme != "http" or parts.hostname not in _LOOPBACK):
            raise ValueError("a key set's address must be https, or plain http on loopback")
        self._url = url
        self._clock = clock
        self._ca_bundle = ca_bundle
        self._follows_max_age = follows_max_age
        self._deadline_s = deadline_s
        self._snapshot = _Snapshot()
        self._attempt: _Attempt | None = None
        self._turn = threading.Lock()

    def key(self, kid: str) -> SigningKey:
        """The key of that id. Raises Refused for an unknown one, IssuerUnavailable when nobody can tell."""
        now = self._clock()
        snapshot = self._snapshot
        known = snapshot.find(kid, now)
        if known is not None:
            if now >= snapshot.fresh_until:
                self._begin(now)
            return known
        return self._newly_listed(kid, now)

    def _newly_listed(self, kid: str, now: int) -> SigningKey:
        cold = not self._snapshot.usable(now)
        # Who begins the fetch waits for it. Others have the present snapshot, unless that holds nothing at all.
        answered = True
        if self._begin(now) or cold:
            answered = self._attempt is not None and self._attempt.over.wait(self._deadline_s)
        snapshot = self._snapshot
        found = snapshot.find(kid, now)
        if found is not None:
            return found
        if answered and snapshot.current and snapshot.usable(now):
            raise Refused(Reason.UNKNOWN_KEY)
        raise IssuerUnavailable(retry_after=self._next_attempt_s(now))

    def _due(self, now: int) -> bool:
        return self._attempt is None or abs(now - self._attempt.began_at) >= FLOOR_MS

    def _next_attempt_s(self, now: int) -> int:
        waited = 0 if self._attempt is None else abs(now - self._attempt.began_at)
        return max(1, -(-(FLOOR_MS - waited) // 1000))

    def _begin(self, now: int) -> bool:
        """Begin a fetch in a thread of its own; False for everybody but the one who began it."""
        if not self._due(now):
            return False
        # Held for two statements and never during a fetch, so a loser knows the winner's attempt.
        with self._turn:
            if not self._due(now):
                return False
            attempt = self._attempt = _Attempt(now)
        threading.Thread(target=self._fetch, args=(attempt,), name="signing-keys", daemon=True).start()
        return True

    def _fetch(self, attempt: _Attempt) -> None:
        try:
            answer = self._ask()
            listed = {} if answer is None else dict(_usable_keys(answer.keys, attempt.began_at + HARD_AGE_MS))
            # Overtaken means that this attempt outlived the floor; the later one knows better.
            if attempt is self._attempt:
                self._snapshot = self._after(answer, listed, attempt.began_at)
        finally:
            attempt.over.set()

    def _after(self, answer: _Answer | None, listed: Mapping[str, SigningKey], now: int) -> _Snapshot:
        if answer is None or not listed:
            return replace(self._snapshot, current=False)
        age = SOFT_AGE_MS
        if self._follows_max_age and answer.max_age_ms is not None:
            age = min(max(answer.max_age_ms, FLOOR_MS), _CACHED_MAX_MS)
        return self._snapshot.renewed(listed, now, now + age)

    def _ask(self) -> _Answer | None:
        """The key set as the host gives it; None for anything but one usable answer in time."""
        ends_at = monotonic() + self._deadline_s
        parts = urlsplit(self._url)
        secure = parts.scheme == "https"
        try:
            with _connected(parts.hostname, parts.port or (443 if secure else 80), ends_at) as plain:
                if not secure:
                    return _told(plain, HTTPConnection(parts.netloc), parts, ends_at)
                context = _context(self._ca_bundle)
                with context.wrap_socket(plain, server_hostname=parts.hostname) as sock:
                    return _told(sock, HTTPSConnection(parts.netloc, context=context), parts, ends_at)
        except (OSError, ValueError, HTTPException, Refused):
            return None


class _Until(io.RawIOBase):
    """The bytes of an answer, which must end before one deadline, however slowly they drip."""

    def __init__(self, sock: socket.socket, source: io.RawIOBase, ends_at: float) -> None:
        self._sock = sock
        self._source = source
        self._ends_at = ends_at

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


def _left(ends_at: float) -> float:
    """How long to wait for the next thing, in seconds. Raises TimeoutError after the deadline."""
    left = min(_PATIENCE_S, ends_at - monotonic())
    if left <= 0:
        raise TimeoutError
    return left


def _connected(host: str | None, port: int, ends_at: float) -> socket.socket:
    """A socket to the first address that answers, among which they share the time to connect. Raises OSError."""
    ends_at = monotonic() + _left(ends_at)
    addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    for number, (family, kind, protocol, _, address) in enumerate(addresses):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(_left(ends_at) / (len(addresses) - number))
            sock.connect(address)
            sock.settimeout(_left(ends_at))  # for what comes next: a handshake, and the request
        except OSError:
            sock.close()
        else:
            return sock
    raise ConnectionError


def _context(ca_bundle: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    context.check_hostname = True
    context.load_verify_locations(cafile=ca_bundle or DEFAULT_CA_BUNDLE_PATH)
    return context


def _told(sock: socket.socket, connection: HTTPConnection, parts: SplitResult, ends_at: float) -> _Answer | None:
    """What the host answers on that socket. http.client knows no proxies, no netrc, no cookies and no redirects."""
    connection.sock = sock
    connection.request("GET", f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}", headers=_HEADERS)
    response = HTTPResponse(sock, method="GET")
    response.fp = io.BufferedReader(_Until(sock, response.fp.detach(), ends_at))
    with response:
        response.begin()
        body = response.read(_BODY_MAX + 1)
    if response.status != _OK or len(body) > _BODY_MAX:
        return None
    keys = json_object(body).get("keys")
    if not isinstance(keys, list):
        return None
    max_age = _MAX_AGE.search(response.getheader("Cache-Control", ""))
    return _Answer(keys, int(max_age[1]) * 1000 if max_age else None)


def _usable_keys(keys: list[object], usable_until: int) -> Iterator[tuple[str, SigningKey]]:
    for jwk in keys:
        if isinstance(jwk, dict) and _for_signatures(jwk):
            try:
                key = jwt.PyJWK(jwk, algorithm=ALGORITHM)
            except (jwt.PyJWTError, ValueError):
                continue
            issuer = jwk.get("issuer")
            if key.key.key_size >= _MODULUS_BITS_MIN and (issuer is None or isinstance(issuer, str)):
                yield jwk["kid"], SigningKey(key, issuer, usable_until)


def _for_signatures(jwk: Mapping[str, object]) -> bool:
    return (
        jwk.get("kty") == "RSA"
        and jwk.get("use", "sig") == "sig"
        and jwk.get("alg", ALGORITHM) == ALGORITHM
        and "d" not in jwk
        and all(isinstance(jwk.get(name), str) for name in ("kid", "n", "e"))
    )
