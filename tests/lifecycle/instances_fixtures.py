"""Several processes of the app over one store, and people who are connected through all of them."""

import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from sqlite3 import connect
from types import MappingProxyType

import requests

from shared.devkit.host import Host
from shared.devkit.salesforce.ledger import Family
from shared.devkit.salesforce.people import User as Person
from shared.devkit.salesforce.people import find_user
from shared.devkit.salesforce.recording import Call
from shared.devkit.workbench import Workbench
from tests.security.journey_fixtures import ROOT, WAIT_S, Pane, Result, World, slug

FLOOR_S = 60
LEASE_S = 20
ENDED_S = LEASE_S + 2
"""After so long everybody takes a claim for lapsed."""

HASTY_LEASE_S = 4
HASTY_DEADLINE_S = 2
SETTINGS: Mapping[str, str] = MappingProxyType(
    {
        "GRANT_LEASE_S": str(LEASE_S),
        "TOKEN_DEADLINE_S": "10",
        "REFRESH_FLOOR_S": str(FLOOR_S),
        "BREAKER_S": "5",
        "FLOW_CACHE_S": "1",
    }
)
"""For most instances. The lease is shorter than what a request may take to be refused: so a test can end it at once."""

HASTY: Mapping[str, str] = MappingProxyType(
    {"GRANT_LEASE_S": str(HASTY_LEASE_S), "TOKEN_DEADLINE_S": str(HASTY_DEADLINE_S), "SF_RUN_S": "1"}
)
"""For instances whose own lease and deadline a test waits for."""

_NOW_MS = "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"

Answered = tuple[int, str, str]
OK: Answered = (200, "", "")
_people, _numbers = count(1), count()


@dataclass(frozen=True)
class Instance(World):
    """One of the processes, which prints to a file of its own."""

    printed: Path = Path()

    @property
    def log(self) -> str:
        return self.printed.read_text()

    def lines(self, event: str) -> list[str]:
        """What it has printed of one kind of event."""
        return [line for line in self.log.splitlines() if f" {event}" in line]


@contextmanager
def starting(bench: Workbench, number: int, **given: str) -> Iterator[list[Instance]]:
    """That many instances over the workbench's store, with these settings besides its own."""
    folder, settings = Path(bench.environment["STORE_PATH"]).parent, bench.environment | given
    logs = [folder / f"log-{next(_numbers)}" for _ in range(number)]
    with ExitStack() as stack, requests.Session() as http:
        http.trust_env = False
        hosts = [Host(ROOT, settings, output=log) for log in logs]
        for host in hosts:
            stack.callback(host.stop)
        with ThreadPoolExecutor(number) as pool:
            list(pool.map(Host.start, hosts))
        watching = stack.enter_context(closing(connect(folder / "store.sqlite", isolation_level=None)))
        yield [
            Instance(bench, host, folder, http, watching, printed=log) for host, log in zip(hosts, logs, strict=True)
        ]


def new_person() -> Person:
    """A Salesforce user whom no other test knows."""
    person = find_user(f"load-{next(_people)}@acme.example")
    assert person is not None
    return person


@dataclass(frozen=True)
class Member:
    """Somebody who is connected, with the add-in open at each instance, and who they are at Salesforce."""

    panes: Sequence[Pane]
    connection: str
    person: Person

    @classmethod
    def joining(cls, instances: Sequence[Instance]) -> "Member":
        """Somebody new, of a tenant of their own."""
        person = new_person()
        pane = instances[0].pane()
        connection = pane.connect(person.username)
        return cls([replace(pane, world=instance) for instance in instances], connection, person)

    def at(self, instances: Sequence[Instance]) -> "Member":
        """The same person at other instances."""
        return replace(self, panes=[replace(self.panes[0], world=instance) for instance in instances])

    @property
    def world(self) -> World:
        return self.panes[0].world

    # What they do

    def ask(self, at: int = 0) -> requests.Response:
        """Ask for the Flows, which no instance remembers from before."""
        self.world.later(1)
        return self.ask_now(at)

    def ask_now(self, at: int = 0) -> requests.Response:
        """Ask for the Flows while time stands still."""
        return self.panes[at].ask("GET", f"/v1/connections/{self.connection}/flows")

    def shown(self) -> tuple[str, str | None, str | None]:
        """State, reason and warning of the connection as its owner sees it."""
        view = self.panes[0].ask("GET", f"/v1/connections/{self.connection}").json()
        (same,) = self.panes[-1].ask("GET", "/v1/me").json()["connections"]
        assert view == same
        return view["state"], view["reason"], view["warning"]

    def reconnect(self, at: int = 0) -> None:
        assert self.panes[at].connect(self.person.username) == self.connection

    # What is stored

    @property
    def row(self) -> dict[str, object]:
        return self.world.document(f"c:{self.connection}")

    def stands(self) -> tuple[object, ...]:
        """Of the row: generation, version, state, reason, whether it is claimed."""
        row = self.row
        return (*(row[name] for name in ("generation", "version", "state", "reason")), row["claim"] is not None)

    # What Salesforce does, and what it has seen

    def plan(self, endpoint: str, **how: object) -> None:
        """What happens at the next call of an endpoint for this person."""
        self.world.steer(endpoint, user=self.person.username, **how)

    def expire(self) -> None:
        """Time passes, and the session is over."""
        self.world.later(2 * FLOOR_S)
        self.world.salesforce.grants.expire_sessions(self.person)

    @property
    def families(self) -> list[Family]:
        """What has become of each approval, oldest first."""
        return self.world.salesforce.grants.ledger.families(self.person.username)

    @property
    def family(self) -> Family:
        """The newest approval."""
        return self.families[-1]

    @property
    def approvals(self) -> int:
        return self.world.salesforce.grants.live_approvals(self.person)

    @contextmanager
    def held(self, call: Callable[[], Result], **how: object) -> Iterator["Future[Result]"]:
        """The call in a thread of its own; Salesforce holds its refresh until the block ends, before it does it.

        With `after` it is done and the answer is held.
        """
        gate, after = secrets.token_hex(8), how.pop("after", False)
        asked, rotated = self.family.asked, len(self.family.rotations)
        self.plan("token", **{"hold_after" if after else "hold": gate}, **how)
        ledger = self.world.salesforce.grants.ledger
        with ThreadPoolExecutor(1) as pool:
            future = pool.submit(call)
            try:
                assert ledger.wait_for(
                    self.person.username,
                    lambda family: family.asked > asked and len(family.rotations) >= rotated + bool(after),
                    WAIT_S,
                ), future
                yield future
            finally:
                self.world.salesforce.steering.release(gate)


@contextmanager
def refusing(member: Member, until: float = float("inf")) -> Iterator[None]:
    """The database itself takes no change of the member's row inside the block, until that time (epoch seconds)."""
    when = f"OLD.id = 'c:{member.connection}'" + (
        f" AND {_NOW_MS} < {int(until * 1_000)}" if until < float("inf") else ""
    )
    with member.world.database() as database:
        database.execute(f"CREATE TRIGGER away BEFORE UPDATE ON tenants WHEN {when} BEGIN SELECT RAISE(ABORT, ''); END")
        try:
            yield
        finally:
            database.execute("DROP TRIGGER away")


def now(world: World) -> int:
    """The time at the instances, in epoch milliseconds."""
    offset = Path(world.bench.environment["CLOCK_FILE"]).read_text()
    return time.time_ns() // 1_000_000 + int(float(offset) * 1_000)


def told(answer: requests.Response, member: str = "") -> Answered:
    """Status, kind of problem and next action of an answer, or a member of the problem in the latter's place."""
    if answer.ok:
        return answer.status_code, "", ""
    problem = answer.json()
    return answer.status_code, slug(answer), problem.get(member, "") if member else problem["nextAction"]


def endpoints(calls: Sequence[Call]) -> list[tuple[str, int | None]]:
    """Which endpoints were called, and what they answered."""
    return [(call.endpoint, call.status) for call in calls]
