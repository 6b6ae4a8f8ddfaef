"""What real processes cannot show: a write whose answer alone is lost, and clocks that differ from the store's."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from queue import Queue

import pytest

from shared.compose import build
from shared.errors import StoreUnavailable
from shared.model.connections import Connection, ConnectionId
from shared.model.identity import BearerToken, Principal, Tenant, TenantRef
from shared.ports import Clock
from shared.salesforce.flow_cache import RecentFlows
from shared.settings import load
from shared.store.sqlite import SqliteStore, SqliteTenant
from shared.store.sqlite_file import SqliteFile
from shared.usecases.list_flows import Catalogue, ListFlows
from tests.lifecycle.instances_fixtures import LEASE_S, Member
from tests.security.journey_fixtures import WAIT_S

SKEW_S = 5 * 60.0


@dataclass
class AheadClock:
    """The machine's clock, so many seconds ahead."""

    ahead_s: float = 0.0

    def __call__(self) -> int:
        return time.time_ns() // 1_000_000 + int(self.ahead_s * 1_000)


@dataclass(frozen=True)
class Forgetful(SqliteTenant):
    """Rows whose first fresh grant is written, while the answer to that is lost."""

    lost: list[str | None] = field(default_factory=list)

    def save_connection(self, connection: Connection) -> Connection:
        saved = super().save_connection(connection)
        if connection.version > 1 and not self.lost:
            self.lost.append(saved.etag)
            raise StoreUnavailable
        return saved


@dataclass(frozen=True)
class Watched(SqliteTenant):
    """Rows that tell of each look at one that is claimed."""

    looks: Queue[str] = field(default_factory=Queue)

    def tenant_and_connection(self, connection: ConnectionId) -> tuple[Tenant | None, Connection | None]:
        tenant, row = super().tenant_and_connection(connection)
        if row and row.claim:
            self.looks.put(row.claim)
        return tenant, row


class OddStore(SqliteStore):
    """A store with rows of one of those kinds."""

    def __init__(self, member: Member, clock: Clock, rows: Callable[[SqliteFile, TenantRef], SqliteTenant]) -> None:
        super().__init__(member.world.folder / "store.sqlite", clock)
        self.rows = rows

    def tenant(self, ref: TenantRef) -> SqliteTenant:
        return self.rows(self._file, ref)


@dataclass(frozen=True)
class Guest:
    """Somebody's add-in at an instance in this process."""

    flows: ListFlows
    caller: Principal
    connection: str

    def __call__(self) -> int:
        return len(self.flows(self.caller, self.connection))


def guest(member: Member, store: SqliteStore, clock: Clock) -> Guest:
    """An instance over that store, with a clock of its own."""
    cases = build(load(member.world.bench.environment))
    lists = cases.list_flows
    flows = replace(
        lists,
        admission=replace(lists.admission, store=store),
        catalogue=Catalogue(RecentFlows(0, clock)),
    )
    return Guest(flows, cases.sign_in(BearerToken(f"Bearer {member.panes[0].token}")), member.connection)


@pytest.fixture
def clock(ada: Member) -> AheadClock:
    """The store's clock, at which Ada's grant is old enough to be refreshed."""
    ada.expire()
    return AheadClock(float(Path(ada.world.bench.environment["CLOCK_FILE"]).read_text()))


def test_a_commit_whose_answer_is_lost_is_known_for_our_own(ada: Member, clock: AheadClock) -> None:
    """Scenario 5a. The write has landed, so the second try meets another etag, and its own grant in the row."""
    lost: list[str | None] = []
    assert guest(ada, OddStore(ada, clock, partial(Forgetful, lost=lost)), clock)() > 0
    assert (len(lost), ada.family.asked, ada.family.replays) == (1, 1, [])
    assert ada.stands() == (1, 2, "connected", None, False)


@pytest.mark.parametrize("skews", [(-SKEW_S, SKEW_S), (SKEW_S, -SKEW_S)])
def test_clocks_five_minutes_apart_do_not_end_a_lease(
    ada: Member, clock: AheadClock, skews: tuple[float, float]
) -> None:
    """Next in line. Leases go by the store's clock, which is everybody's."""
    looks = Queue[str]()
    store = OddStore(ada, clock, partial(Watched, looks=looks))
    first, second = (guest(ada, store, AheadClock(clock.ahead_s + skew)) for skew in skews)
    with ThreadPoolExecutor(1) as pool, ada.held(first) as holder:
        clock.ahead_s += LEASE_S
        waiter = pool.submit(second)
        for _ in range(3):  # who looks again has not taken the claim for lapsed
            assert looks.get(timeout=WAIT_S) == ada.row["claim"]
    assert holder.result(WAIT_S) == waiter.result(WAIT_S) > 0
    assert (ada.family.asked, ada.stands()) == (1, (1, 2, "connected", None, False))
