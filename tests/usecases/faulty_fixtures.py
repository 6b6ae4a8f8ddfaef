"""Parts over real ones in which something happens around a chosen call: a fault, or somebody else's act."""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar, cast

from shared.model.connections import AttemptId
from shared.model.identity import TenantRef
from shared.ports import AttemptStore, Store, TenantStore

Act = Callable[[], object]
Port = TypeVar("Port")


class Killed(BaseException):
    """The process has gone: nothing of ours runs any more."""


def _nothing() -> None:
    return


@dataclass
class Interruptions:
    """What is to happen before coming calls, by the name of the port's method. An act may raise, or call the store."""

    planned: dict[str, deque[Act]] = field(default_factory=dict)
    turn: threading.Lock = field(default_factory=threading.Lock)

    def before(self, method: str, act: Act, *, call: int = 1) -> None:
        """Do this just before the coming call of that method, or a later one."""
        queue = self.planned.setdefault(method, deque())
        queue.extend([_nothing] * (call - 1 - len(queue)))
        queue.append(act)

    def fail(self, method: str, error: BaseException, *, call: int = 1) -> None:
        """Raise this in place of that call."""

        def raising() -> None:
            raise error

        self.before(method, raising, call=call)

    def lose(self, method: str, error: BaseException, *, call: int = 1) -> None:
        """Raise this in place of that call's answer: what was asked for is done."""
        self.fail(f"{method} done", error, call=call)

    def passing(self, method: str) -> None:
        """What happens first in each call, and, under `method done`, last."""
        with self.turn:
            queue = self.planned.get(method)
            act = queue.popleft() if queue else _nothing
        act()

    def left(self) -> list[str]:
        """The methods that were not called as often as was planned."""
        return [method for method, queue in self.planned.items() if queue]


@dataclass(frozen=True, slots=True)
class _Interrupted:
    """Any port whose methods take positions only."""

    real: object
    interruptions: Interruptions

    def __getattr__(self, method: str) -> Callable[..., object]:
        call: Callable[..., object] = getattr(self.real, method)

        def interrupted(*given: object) -> object:
            self.interruptions.passing(method)
            answer = call(*given)
            self.interruptions.passing(f"{method} done")
            return answer

        return interrupted


def interrupted(real: Port, interruptions: Interruptions) -> Port:
    """The same port, interrupted by the names of its methods."""
    return cast("Port", _Interrupted(real, interruptions))


@dataclass(frozen=True, slots=True)
class FaultyStore:
    """The Store port over another one; both ports behind it are interrupted."""

    real: Store
    interruptions: Interruptions

    def tenant(self, ref: TenantRef) -> TenantStore:
        return interrupted(self.real.tenant(ref), self.interruptions)

    def attempt(self, attempt: AttemptId) -> AttemptStore:
        return interrupted(self.real.attempt(attempt), self.interruptions)

    def tenants(self) -> Iterator[TenantRef]:
        return self.real.tenants()

    def ping(self) -> None:
        self.real.ping()
