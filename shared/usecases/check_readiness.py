"""Whether everything that the app needs answers, asked at most every ten seconds whoever calls."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from shared.errors import FlowRunnerError
from shared.ports import Clock

FRESH_MS = 10_000


@dataclass(slots=True)
class _Last:
    parts: Mapping[str, bool] = field(default_factory=dict)
    at: int | None = None


@dataclass(frozen=True, slots=True)
class CheckReadiness:
    """Pings each dependency by name; one caller at a time does so, and its result serves the others."""

    pings: Mapping[str, Callable[[], None]]
    clock: Clock
    _last: _Last = field(default_factory=_Last)
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self) -> Mapping[str, bool]:
        """Whether each dependency answered; a hanging one holds up one caller, or all of the very first."""
        if self._turn.acquire(blocking=not self._last.parts):
            try:
                self._ask_again()
            finally:
                self._turn.release()
        return self._last.parts

    def _ask_again(self) -> None:
        now = self.clock()
        if self._last.at is None or abs(now - self._last.at) >= FRESH_MS:
            self._last.parts = {name: _answers(ping) for name, ping in self.pings.items()}
            self._last.at = now


def _answers(ping: Callable[[], None]) -> bool:
    try:
        ping()
    except FlowRunnerError:
        return False
    return True
