"""`python -m shared.devkit soak`: grants under random faults, kills and lost writes, and what became of each."""

from __future__ import annotations

import json
import secrets
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

from shared.devkit.salesforce import SalesforceServer
from shared.devkit.salesforce.recording import Call
from shared.devkit.soak_accounts import Account, Books, Evidence, account
from shared.devkit.soak_client import Clients, Person
from shared.devkit.soak_episodes import Driver, World
from shared.devkit.soak_faults import DEADLINE_S, LEASE_S, SETTINGS, Dealer
from shared.devkit.soak_instances import Instances
from shared.devkit.soak_store import StoreFile
from shared.devkit.soak_verdict import Figures
from shared.devkit.tls import free_port
from shared.devkit.workbench import Workbench, WorkbenchFailed

ROOT = Path(__file__).resolve().parents[2]
CONNECTIONS = 20
_ASKING = 64
_LINE_S = 10.0
_LOOK_S = 2.0
_DRAIN_S = 240.0
_MINUTE_S = 60.0
_OK = 200


@dataclass(slots=True)
class Runs:
    """Counts the runs that Salesforce carried out, by the key that each carries as its subject."""

    salesforce: SalesforceServer
    executed: Counter[str] = field(default_factory=Counter)
    _seen: int = 0
    _open: list[Call] = field(default_factory=list)

    def look(self) -> None:
        """Count what has come since; the recorder forgets calls after a while."""
        new = [call for call in self.salesforce.recorder.calls("run") if call.number > self._seen]
        self._seen = max((call.number for call in new), default=self._seen)
        calls, self._open = self._open + new, []
        for call in calls:
            if call.status == _OK:
                self.executed[json.loads(call.body)["inputs"][0]["subject"]] += 1
            elif call.status is None:
                self._open.append(call)

    @property
    def twice(self) -> int:
        """How many keys were carried out more than once."""
        return sum(1 for times in self.executed.values() if times > 1)


def main(minutes: float, instances: int) -> int:
    """Soak for that long with that many instances. 0 when every required figure is met, else 1 and why not."""
    print(f"Starting {instances} instances over one store, and Salesforce ...", flush=True)
    try:
        with _world(instances) as world:
            figures = _soaked(world, minutes)
    except KeyboardInterrupt:
        print("Interrupted: nothing is shown.", file=sys.stderr)
        return 1
    print(f"\n{figures.table()}\n")
    missed = figures.missed()
    for sentence in missed:
        print(f"MISSED: {sentence}")
    print("Every required figure is met." if not missed else f"{len(missed)} required figures are missed.", flush=True)
    return 1 if missed else 0


@contextmanager
def _world(instances: int) -> Iterator[World]:
    keys = [secrets.token_hex(32) for _ in range(instances)]
    with (
        tempfile.TemporaryDirectory(prefix="flowrunner-soak-") as name,
        Workbench(Path(name), given=SETTINGS, port=free_port()) as bench,
        Instances(ROOT, bench.environment, keys, Path(name)) as serving,
        ThreadPoolExecutor(_ASKING) as pool,
    ):
        if bench.salesforce is None:
            raise WorkbenchFailed("Salesforce was not started.")
        # Each instance has a secret of its own, by which Salesforce tells who asked.
        bench.salesforce.steering.switch({"client_secret": " ".join(keys)})
        bench.enrol_defaults(serving.any().base_url)
        store = StoreFile(Path(bench.environment["STORE_PATH"]))
        store.keep_journal()

        def person(number: int) -> Person:
            return Person(f"load-{number}@acme.example", bench.token(user=f"soak-{number}"))

        yield World(bench.salesforce, serving, Clients(serving), store, Dealer(), pool, person)


def _soaked(world: World, minutes: float) -> Figures:
    runs = Runs(world.salesforce)
    drivers = [Driver(world) for _ in range(CONNECTIONS)]
    began = monotonic()
    print(f"{len(drivers)} connections for {minutes:g} minutes, or until Ctrl-C:", flush=True)
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        try:
            driving = [pool.submit(driver.drive) for driver in drivers]
            _watch(world, drivers, runs, driving, began + minutes * _MINUTE_S)
            world.stopping.set()
            print("No more faults: waiting until every connection works ...", flush=True)
            ended, left = wait(driving, _DRAIN_S)
            for driven in ended:
                driven.result()
            for _ in left:
                world.clients.unexpected_event("a connection that was not settled in time")
        finally:
            world.abandon()
    runs.look()
    return _figures(world, drivers, runs, minutes)


def _watch(world: World, drivers: list[Driver], runs: Runs, driving: list[Future[None]], until: float) -> None:
    """Print a line every ten seconds; return at the end of the time, and at once when a driver has failed."""
    began, line = monotonic(), 0.0
    while (now := monotonic()) < until and not any(driven.done() for driven in driving):
        if now - began >= line + _LINE_S:
            line = now - began
            lost, kills = sum(len(driver.told) for driver in drivers), len(world.instances.kills)
            print(f"  {line:5.0f} s: {world.dealer.expiries} expiries, {lost} lost, {kills} kills", flush=True)
        runs.look()
        world.stopping.wait(min(_LOOK_S, max(0.0, until - now)))


def _figures(world: World, drivers: list[Driver], runs: Runs, minutes: float) -> Figures:
    ledger, events = world.salesforce.grants.ledger, world.salesforce.recorder.events()
    return Figures(
        minutes=minutes,
        expiries=world.dealer.expiries,
        token_calls=sum(family.asked for family in ledger.families()),
        account=_accounted(world, drivers),
        relogins=sum(driver.relogins for driver in drivers),
        run_twice=runs.twice,
        approvals_ended=events.get("approval-limit", 0),
        runs=runs.executed.total(),
        unexpected=world.clients.unexpected,
        faults=world.dealer.dealt,
    )


def _accounted(world: World, drivers: list[Driver]) -> Account:
    evidence = Evidence(world.instances.kills, world.store.locks, DEADLINE_S * 1_000, LEASE_S * 1_000)
    told: dict[str, list[int]] = defaultdict(list)
    for user, at in (loss for driver in drivers for loss in driver.told):
        told[user].append(at)
    ledger = world.salesforce.grants.ledger
    books = {each.connection: Books(ledger.families(each.username), told[each.username]) for each in world.people}
    return account(books, world.store.journal(), evidence)
