"""The faults of a soak: what can happen to a token call, how often, and when an instance or the store is next."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from shared.devkit.soak_instances import CHANCE

DEADLINE_S, LEASE_S = 2, 7
BUSY_S = 5.0
"""How long each write of the app waits for the store's lock; the lease has room for a second try."""

SETTINGS: Mapping[str, str] = MappingProxyType(
    {
        "TOKEN_DEADLINE_S": str(DEADLINE_S),
        "GRANT_LEASE_S": str(LEASE_S),
        "REFRESH_FLOOR_S": "0",
        "BREAKER_S": "1",
        "SF_CONNECT_S": "1",
    }
)
"""The app's own times, shortened so that minutes of a soak are hours of use."""

ALLOWANCE = 0.04
"""Token calls that faults may cost beyond the one of each expiry: 1.05 is allowed, and luck varies."""

Plan = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that happens to one token call. `weight` of all draws; `cost`: further token calls that it causes."""

    name: str
    weight: int
    cost: int
    plan: Callable[[], Plan | None]


def _beyond() -> float:
    # Past the deadline, and done before the lease ends: what Salesforce still does after it is no case of ours.
    return CHANCE.uniform(DEADLINE_S + 0.8, LEASE_S * 0.6)


NOTHING = Fault("none", 700, 0, lambda: None)
FAULTS = (
    NOTHING,
    Fault("slow", 100, 0, lambda: {CHANCE.choice(("delay", "delay_after")): CHANCE.uniform(0.1, DEADLINE_S * 0.6)}),
    Fault("too slow before the work", 20, 1, lambda: {"delay": _beyond()}),
    Fault("too slow after the work", 25, 1, lambda: {"delay_after": _beyond()}),
    Fault("dripping", 25, 1, lambda: {"drip": CHANCE.uniform(0.02, 0.2)}),
    Fault("dropped before the work", 20, 1, lambda: {"drop": "before"}),
    Fault("dropped after the work", 30, 1, lambda: {"drop": "after"}),
    Fault("garbled after the work", 20, 1, lambda: {"answer": "html-200", "processed": True}),
    Fault("contention", 30, 1, lambda: {"answer": CHANCE.choice(("contention", "old-contention"))}),
    Fault("unavailable", 30, 1, lambda: {"answer": "too-busy"}),
)
"""What the wire and Salesforce do by themselves."""


class Trouble(StrEnum):
    """What is done to instances and store, one at a time."""

    KILL = "killed in the window"
    LONG_LOCK = "store locked past the lease"
    LOCK = "store locked for one try"
    SHORT_LOCK = "store locked for a moment"


@dataclass(frozen=True, slots=True)
class Rhythm:
    """The first time and the pause in between, in seconds, and how many token calls one such trouble costs."""

    first_s: float
    every_s: float
    cost: int


RHYTHMS: Mapping[Trouble, Rhythm] = MappingProxyType(
    {
        Trouble.KILL: Rhythm(2.0, 12.0, 2),
        Trouble.LONG_LOCK: Rhythm(15.0, 45.0, 4),
        Trouble.LOCK: Rhythm(25.0, 25.0, 0),
        Trouble.SHORT_LOCK: Rhythm(5.0, 7.0, 0),
    }
)


REST_S = 3.0
"""Time after each trouble in which all that has waited can be done: a store with gaps too short for it is away."""


class Dealer:
    """Deals faults at random, and no more that cost token calls than the expiries so far allow; thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.dealt: Counter[str] = Counter()
        self.expiries = 0
        self._turn = threading.Lock()
        self._busy = threading.Lock()
        self._clock = clock
        self._spent = 0
        self._rested = clock()
        self._due = {trouble: clock() + rhythm.first_s for trouble, rhythm in RHYTHMS.items()}

    def fault(self) -> Fault:
        """What happens to the token call of one more expiry."""
        [fault] = CHANCE.choices(FAULTS, [each.weight for each in FAULTS])
        with self._turn:
            self.expiries += 1
            if fault.cost and self._spent + fault.cost > self.expiries * ALLOWANCE:
                fault = NOTHING
            self._note(fault.name, fault.cost)
            return fault

    @contextmanager
    def trouble(self) -> Iterator[Trouble | None]:
        """What is due to instances or store; while the block lasts, and a while after it, nobody else gets any."""
        if not self._busy.acquire(blocking=False):
            yield None
            return
        trouble = self._next() if self._clock() >= self._rested else None
        try:
            yield trouble
        finally:
            self._rested = self._clock() + REST_S if trouble else self._rested
            self._busy.release()

    def _next(self) -> Trouble | None:
        with self._turn:
            trouble = min(self._due, key=lambda each: self._due[each])
            if self._due[trouble] > self._clock():
                return None
            self._due[trouble] = self._clock() + RHYTHMS[trouble].every_s
            self.expiries += 1
            self._note(trouble, RHYTHMS[trouble].cost)
            return trouble

    def _note(self, what: str, cost: int) -> None:
        self.dealt[what] += 1
        self._spent += cost
