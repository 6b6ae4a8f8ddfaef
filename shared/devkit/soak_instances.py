"""The instances of a soak: the real app in processes of its own over one store, to be killed and started again."""

from __future__ import annotations

import random
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from shared.devkit.host import Host, HostFailed
from shared.devkit.salesforce.ledger import now_ms

CHANCE = random.SystemRandom()
"""The soak's dice."""

_START_S = 60.0


@dataclass(frozen=True, slots=True)
class Instance:
    """One process that serves the app. `place` stays when it is replaced, `birth` counts those before it there."""

    place: int
    birth: int
    base_url: str


@dataclass(frozen=True, slots=True)
class Kill:
    """The process at a place was killed at that time (epoch ms)."""

    place: int
    at: int


class Instances:
    """One process for each client secret, by which Salesforce tells them apart; a context manager; thread-safe.

    `environment` are the app's settings. What the processes write goes to `folder`. Raises HostFailed.
    """

    def __init__(self, app: Path, environment: Mapping[str, str], secrets: Sequence[str], folder: Path) -> None:
        self.kills: list[Kill] = []
        self._turn = threading.Condition()
        self._alive: dict[int, Instance] = {}
        self._killed: set[Instance] = set()
        self._births = 0
        self._hosts = [
            Host(app, {**environment, "SALESFORCE_CLIENT_SECRET": secret}, output=folder / f"app-{place}.log")
            for place, secret in enumerate(secrets)
        ]

    def __enter__(self) -> Self:
        with ExitStack() as parts, ThreadPoolExecutor(len(self._hosts)) as pool:
            parts.callback(self.stop)
            list(pool.map(self.start, range(len(self._hosts))))
            parts.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, place: int) -> None:
        """Serve at a place where nothing serves. Raises HostFailed."""
        host = self._hosts[place]
        host.start(_START_S)
        with self._turn:
            self._births += 1
            self._alive[place] = Instance(place, self._births, host.base_url)
            self._turn.notify_all()

    def any(self) -> Instance:
        """One of those that serve, as soon as there is one. Raises HostFailed when there is none for too long."""
        with self._turn:
            if not self._turn.wait_for(lambda: self._alive, _START_S):
                raise HostFailed("No instance serves any more.")
            return CHANCE.choice(list(self._alive.values()))

    def kill(self, instance: Instance) -> None:
        """End a process as a crash would (SIGKILL), and return when it is gone."""
        with self._turn:
            del self._alive[instance.place]
            self._killed.add(instance)
            self.kills.append(Kill(instance.place, now_ms()))
        self._hosts[instance.place].kill()

    def was_killed(self, instance: Instance) -> bool:
        """Whether this very process was killed."""
        with self._turn:
            return instance in self._killed

    def stop(self) -> None:
        """End all of them, each after what it has under way."""
        with ThreadPoolExecutor(len(self._hosts)) as pool:
            list(pool.map(Host.stop, self._hosts))
