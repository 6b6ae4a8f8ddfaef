"""One connection of a soak: its session expires, something goes wrong, and it is asked for until all is well again."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from time import monotonic

from shared.devkit.salesforce import SalesforceServer
from shared.devkit.salesforce.ledger import Family
from shared.devkit.salesforce.people import User, find_user
from shared.devkit.soak_client import Clients, Person, Reply, new_key
from shared.devkit.soak_faults import BUSY_S, DEADLINE_S, LEASE_S, Dealer, Trouble
from shared.devkit.soak_instances import CHANCE, Instance, Instances
from shared.devkit.soak_store import StoreFile

_MOST_CONSENTS = 14
_LONGEST_S = 1_800.0
_BURST = 8
_RELOGIN_IN = 50
_SETTLED_WITHIN_S = 90.0
_PAUSE_S = 0.4


@dataclass(frozen=True, slots=True)
class World:
    """What all drivers share; `person` makes the user of a number, `people` are those made so far.

    `stopping`: begin no more episodes; `abandoned`: do not even bring them to their ends.
    """

    salesforce: SalesforceServer
    instances: Instances
    clients: Clients
    store: StoreFile
    dealer: Dealer
    pool: ThreadPoolExecutor
    person: Callable[[int], Person]
    stopping: threading.Event = field(default_factory=threading.Event)
    abandoned: threading.Event = field(default_factory=threading.Event)
    people: list[Person] = field(default_factory=list)
    numbers: count[int] = field(default_factory=lambda: count(1))

    def abandon(self) -> None:
        """Bring everything under way to an end at once."""
        self.stopping.set()
        self.abandoned.set()
        self.salesforce.stop()

    def newcomer(self) -> Person:
        """A user whom nobody has seen yet."""
        person = self.person(next(self.numbers))
        self.people.append(person)
        return person


class Driver:
    """Drives one connection until the world stops; `told` has user and time for each loss that was told."""

    def __init__(self, world: World) -> None:
        self.told: list[tuple[str, int]] = []
        self.relogins = 0
        self._world = world
        self._person = world.newcomer()

    def drive(self) -> None:
        """Live through one episode after the other; the last one is brought to its end."""
        self._connect()
        while not self._world.stopping.is_set():
            # A user may connect 20 times a day, and a bearer token lasts an hour.
            if self._person.consents > _MOST_CONSENTS or monotonic() - self._person.since > _LONGEST_S:
                self._person = self._world.newcomer()
                self._connect()
            self._episode()
            self._world.stopping.wait(CHANCE.uniform(0, _PAUSE_S))

    def _episode(self) -> None:
        with self._world.dealer.trouble() as trouble:
            self._world.salesforce.grants.expire_sessions(_user(self._person))
            troubled = self._troubled(trouble) if trouble else None
        replies = self._refreshed() if troubled is None else troubled
        self._world.salesforce.steering.withdraw(self._person.username)
        if not all(reply.is_success for reply in replies):
            self._settle()

    def _troubled(self, trouble: Trouble) -> list[Reply]:
        match trouble:
            case Trouble.KILL:
                return self._killed()
            case Trouble.LONG_LOCK:
                return self._refused_by_the_store(2 * BUSY_S + CHANCE.uniform(0.8, 1.5))
            case Trouble.LOCK:
                return self._refused_by_the_store(BUSY_S + CHANCE.uniform(0.1, 0.8))
            case Trouble.SHORT_LOCK:
                return self._waiting_for_the_store()

    def _refreshed(self) -> list[Reply]:
        """The everyday case: a fault or none, and in between a user who connects once more."""
        fault = self._world.dealer.fault()
        plan = fault.plan()
        if plan is not None:
            self._plan(**plan)
        elif not CHANCE.randrange(_RELOGIN_IN):
            return self._relogin()
        return _all(self._burst(CHANCE.randint(1, _BURST)))

    def _relogin(self) -> list[Reply]:
        """The user connects again while the refresh is in flight."""
        before = self._family()
        self._plan(**{CHANCE.choice(("delay", "delay_after")): CHANCE.uniform(0.2, DEADLINE_S * 0.6)})
        burst = self._burst(CHANCE.randint(1, 3))
        self._wait_for(lambda family: family.asked > before.asked)
        self.relogins += 1
        self._connect()
        replies = _all(burst)
        # It may have been lost before that, by what was done to instances or store.
        self.told += [(self._person.username, reply.at) for reply in replies if reply.is_over]
        return replies

    def _killed(self) -> list[Reply]:
        """The holder is killed between the answer and the write, which the store's lock keeps from being made."""
        world, instance, gate = self._world, self._world.instances.any(), secrets.token_hex(8)
        burst = self._answer_held(gate, instance)
        with world.store.locked():
            self._let_go(gate)
            self._world.abandoned.wait(CHANCE.uniform(0, 0.1))
            world.instances.kill(instance)
        world.instances.start(instance.place)
        return _all(burst)

    def _refused_by_the_store(self, seconds: float) -> list[Reply]:
        """The store takes no write for that long from the answer on."""
        gate = secrets.token_hex(8)
        burst = self._answer_held(gate)
        with self._world.store.locked():
            self._let_go(gate)
            self._world.abandoned.wait(seconds)
        return _all(burst)

    def _waiting_for_the_store(self) -> list[Reply]:
        """The store takes no write for a while, which everybody can wait for."""
        burst = self._burst(CHANCE.randint(1, _BURST))
        with self._world.store.locked():
            self._world.abandoned.wait(CHANCE.choice((CHANCE.uniform(0.1, 1.0), CHANCE.uniform(1.0, BUSY_S - 0.5))))
        return _all(burst)

    def _answer_held(self, gate: str, instance: Instance | None = None) -> list[Future[Reply]]:
        """Start a burst, and return when Salesforce has rotated and holds its answer at that gate."""
        before = len(self._family().rotations)
        self._plan(hold_after=gate)
        burst = self._burst(CHANCE.randint(1, 3), instance)
        self._wait_for(lambda family: len(family.rotations) > before)
        return burst

    def _let_go(self, gate: str) -> None:
        """Let the held answer go out, and wait until it has."""
        self._world.salesforce.steering.release(gate)
        self._wait_for(lambda family: all(rotation.whole is not None for rotation in family.rotations))

    def _settle(self) -> None:
        """Ask until the connection works; a lost one is made anew."""
        for _ in self._tries():
            reply = self._world.clients.run(self._person, self._world.instances.any(), new_key())
            if reply.is_success:
                return
            if reply.is_over:
                self.told.append((self._person.username, reply.at))
                _all(self._burst(2))  # which must cost no further token call
                self._connect()
            else:
                self._world.abandoned.wait(min(reply.retry_after or 0.2, LEASE_S))
        self._world.clients.unexpected_event("a connection that never worked again")

    def _connect(self) -> None:
        for _ in self._tries():
            if self._world.clients.connect(self._person):
                return
            self._world.abandoned.wait(0.5)
        self._world.clients.unexpected_event("a user who could not connect")

    def _tries(self) -> Iterator[None]:
        until = monotonic() + _SETTLED_WITHIN_S
        while monotonic() < until and not self._world.abandoned.is_set():
            yield

    def _burst(self, number: int, instance: Instance | None = None) -> list[Future[Reply]]:
        """That many runs at once, each with a key of its own, at one instance or any."""
        world, person = self._world, self._person
        at = [instance or world.instances.any() for _ in range(number)]
        return [world.pool.submit(world.clients.run, person, each, new_key()) for each in at]

    def _plan(self, **how: object) -> None:
        self._world.salesforce.steering.plan({"endpoint": "token", "user": self._person.username, **how})

    def _family(self) -> Family:
        return self._world.salesforce.grants.ledger.families(self._person.username)[-1]

    def _wait_for(self, test: Callable[[Family], bool]) -> bool:
        return self._world.salesforce.grants.ledger.wait_for(self._person.username, test, 2 * BUSY_S)


def _all(burst: Sequence[Future[Reply]]) -> list[Reply]:
    return [future.result() for future in burst]


def _user(person: Person) -> User:
    user = find_user(person.username)
    if user is None:
        raise LookupError(person.username)
    return user
