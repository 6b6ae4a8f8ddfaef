"""What the devkit's Salesforce was sent: every call with headers and body, and counters."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from dataclasses import asdict, dataclass

from shared.devkit.tls import Request

_KEPT = 20_000


@dataclass(slots=True)
class Call:
    """One call. `at` is epoch milliseconds; `status` is None while it runs and when it was hung up on."""

    number: int
    at: int
    endpoint: str
    secure: bool
    method: str
    path: str
    query: str
    headers: list[tuple[str, str]]
    body: str
    status: int | None = None

    def header(self, name: str) -> str | None:
        """Return the first value of a header, in any letter case, or None."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


class Recorder:
    """The last 20,000 calls, and counters that forget nothing until `clear`; thread-safe."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._calls: deque[Call] = deque(maxlen=_KEPT)
        self._by_endpoint: Counter[str] = Counter()
        self._events: Counter[str] = Counter()

    def record(self, request: Request, endpoint: str, *, secure: bool) -> Call:
        """Keep a call that has just arrived."""
        with self._changed:
            self._by_endpoint[endpoint] += 1
            call = Call(
                number=self._by_endpoint.total(),
                at=time.time_ns() // 1_000_000,
                endpoint=endpoint,
                secure=secure,
                method=request.method,
                path=request.path,
                query=request.query,
                headers=list(request.headers),
                body=request.body.decode("utf-8", "replace"),
            )
            self._calls.append(call)
            self._changed.notify_all()
            return call

    def count(self, event: str) -> int:
        """Count something that happened, such as a replay, and return how often it has."""
        with self._changed:
            self._events[event] += 1
            self._changed.notify_all()
            return self._events[event]

    def calls(self, endpoint: str | None = None) -> list[Call]:
        """Return the calls in order, all or of one endpoint."""
        with self._changed:
            return [call for call in self._calls if endpoint in (None, call.endpoint)]

    def counters(self) -> dict[str, int]:
        """Return how many calls each endpoint had."""
        with self._changed:
            return dict(self._by_endpoint)

    def events(self) -> dict[str, int]:
        """Return how often each thing happened."""
        with self._changed:
            return dict(self._events)

    def cookies(self) -> list[str]:
        """Return every Cookie header that came back to us."""
        return [value for call in self.calls() if (value := call.header("Cookie")) is not None]

    def wait_for(self, endpoint: str, count: int, timeout_s: float) -> bool:
        """Wait until an endpoint has had this many calls; False when the time is over first."""
        with self._changed:
            return self._changed.wait_for(lambda: self._by_endpoint[endpoint] >= count, timeout_s)

    def wait_for_event(self, event: str, count: int, timeout_s: float) -> bool:
        """Wait until something has happened this often; False when the time is over first."""
        with self._changed:
            return self._changed.wait_for(lambda: self._events[event] >= count, timeout_s)

    def clear(self) -> None:
        """Forget all calls and counters."""
        with self._changed:
            self._calls.clear()
            self._by_endpoint.clear()
            self._events.clear()

    def report(self) -> dict[str, object]:
        """Return everything as JSON values."""
        calls = [asdict(call) for call in self.calls()]
        return {"calls": calls, "counters": self.counters(), "events": self.events()}
