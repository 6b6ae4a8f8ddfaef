"""An issuer's signing keys: fetched rarely, by one thread, off the path of every known key (identity-contract.md 1.4).

PyJWT's own client is not used: it holds a lock while it fetches, has no floor after a failure and forgets
good keys when the host is down (identity-contract.md 7.2).
"""

import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from time import monotonic
from types import MappingProxyType
from urllib.parse import urlsplit

import jwt
import requests
from urllib3.exceptions import HTTPError

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

_TIMEOUT_S = (3.0, 3.0)
_BODY_MAX = 256 * 1024
_CHUNK = 64 * 1024
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
    answer's Cache-Control sets the soft age. `deadline_s` bounds how long anybody waits for a fetch, and when its
    thread gives up an answer that drips. Raises ValueError for an address that is neither https nor plain http on
    loopback.
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
        deadline = monotonic() + self._deadline_s
        try:
            with requests.Session() as session:
                session.trust_env = False  # neither proxies nor netrc nor a CA bundle of the environment
                with session.get(
                    self._url,
                    headers={"Accept": "application/json", "Accept-Encoding": "identity"},
                    timeout=_TIMEOUT_S,
                    allow_redirects=False,
                    stream=True,
                    verify=self._ca_bundle or True,
                ) as response:
                    return _read(response, deadline)
        except (OSError, HTTPError, ValueError, Refused):
            return None


def _read(response: requests.Response, deadline: float) -> _Answer | None:
    if response.status_code != _OK:
        return None
    body = bytearray()
    while chunk := response.raw.read1(_CHUNK):  # what has arrived, not a whole chunk: a drip is seen at each byte
        body += chunk
        if len(body) > _BODY_MAX or monotonic() > deadline:
            return None
    keys = json_object(bytes(body)).get("keys")
    if not isinstance(keys, list):
        return None
    max_age = _MAX_AGE.search(response.headers.get("Cache-Control", ""))
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
