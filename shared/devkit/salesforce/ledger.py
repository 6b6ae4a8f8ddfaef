"""What became of every approval and every rotation, told by the side that cannot be wrong about it."""

from __future__ import annotations

import copy
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field


@dataclass(slots=True)
class Rotation:
    """One refresh token taken and another given out, and what became of the answer; times are epoch ms.

    `asked_at` is when the call had arrived, `secret` the place of the client secret that it came with among those
    that are accepted. `whole`: the answer went out whole (None while it is on its way), `told_at` when that was
    known; it is False when a plan drops or replaces the answer (`withheld` too), and when the client has hung up.
    """

    asked_at: int
    rotated_at: int
    secret: int = 0
    whole: bool | None = None
    withheld: bool = False
    told_at: int = 0


@dataclass(frozen=True, slots=True)
class Replay:
    """A rotated-out refresh token that came back: when (epoch ms), and the place of the rotation that had spent it."""

    at: int
    rotation: int


@dataclass(slots=True)
class Family:
    """One approval with all refresh tokens that came of it. `ended` is the event that ended it, empty while it lives.

    `asked` counts the refreshes that arrived, whatever became of them.
    """

    number: int
    user: str
    approved_at: int
    asked: int = 0
    contentions: int = 0
    rotations: list[Rotation] = field(default_factory=list)
    replays: list[Replay] = field(default_factory=list)
    ended: str = ""
    ended_at: int = 0


class Ledger:
    """The families in the order of their approvals; thread-safe."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._families: list[Family] = []

    def approved(self, user: str) -> Family:
        """Open the account of a new approval."""
        with self.change():
            family = Family(len(self._families) + 1, user, now_ms())
            self._families.append(family)
            return family

    @contextmanager
    def change(self) -> Iterator[None]:
        """Change families alone; whoever waits looks again afterwards."""
        with self._changed:
            yield
            self._changed.notify_all()

    def tell(self, rotation: Rotation, whole: bool | None) -> None:  # noqa: FBT001 - the one fact of the call
        """Note whether a rotation's answer went out whole, None if another one or none did; the first word counts."""
        with self.change():
            if rotation.whole is None:
                rotation.whole, rotation.withheld, rotation.told_at = bool(whole), whole is None, now_ms()

    def families(self, user: str = "") -> list[Family]:
        """Copies of all families, or of one user's."""
        with self._changed:
            return [copy.deepcopy(each) for each in self._families if user in ("", each.user)]

    def wait_for(self, user: str, test: Callable[[Family], bool], timeout_s: float) -> bool:
        """Wait until a user's newest family passes a test; False when the time is over first."""
        with self._changed:
            return self._changed.wait_for(lambda: self._newest_passes(user, test), timeout_s)

    def report(self) -> dict[str, object]:
        """Return the families, and how many of each user's are alive, as JSON values."""
        families = self.families()
        alive = Counter(each.user for each in families if not each.ended)
        return {"approvals": [asdict(each) for each in families], "alive": dict(alive)}

    def _newest_passes(self, user: str, test: Callable[[Family], bool]) -> bool:
        newest = next((each for each in reversed(self._families) if each.user == user), None)
        return newest is not None and test(newest)


def now_ms() -> int:
    """Return the time in epoch milliseconds."""
    return time.time_ns() // 1_000_000
