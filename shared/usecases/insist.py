"""Write although the store is away for a moment: what is told once and not stored is lost."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from shared.errors import KeysUnavailable, StoreUnavailable
from shared.ports import Pause, Randomness, Ticks

Written = TypeVar("Written")

PAUSE_S = 0.5
"""The longest pause before the next try."""


@dataclass(frozen=True, slots=True)
class Insist:
    """Tries a write again and again, with pauses of random length, until its time is over."""

    ticks: Ticks
    pause: Pause
    randomness: Randomness

    def __call__(self, write: Callable[[], Written], until: float) -> Written:
        """What the write gives, which is tried once at least. Raises StoreUnavailable or KeysUnavailable in the end."""
        while True:
            try:
                return write()
            except (StoreUnavailable, KeysUnavailable):
                if self.ticks() >= until:
                    raise
            self.pause(PAUSE_S * self.randomness(1)[0] / 255)
