"""Any order of reads and writes, over two instances of one store, against a dictionary that says what must be."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from shared.errors import Conflict
from shared.model.connections import ConnectAttempt, Connection
from shared.model.identity import OwnerDigest, Tenant, TenantRef, User
from shared.model.runs import Outcome, Run
from shared.ports import Store
from shared.store.records import Record
from tests.contract.store_fixtures import (
    NOW,
    OTHER_REF,
    REF,
    STORES,
    SetClock,
    a_connection,
    a_run,
    a_tenant,
    a_user,
    an_attempt,
    changed,
    hex_of,
    open_store,
    read,
    save,
)

OWNERS = [OwnerDigest(hex_of(number)) for number in (1, 2)]
Kept = tuple[TenantRef, Record]
Key = tuple[TenantRef | None, str, str]


def rows_of(ref: TenantRef) -> list[Record]:
    """A few rows of each kind, some of which stand in each other's lists."""
    return [
        a_tenant(ref),
        a_user(OWNERS[0]),
        a_user(OWNERS[1]),
        a_connection(3, OWNERS[0], NOW - 3),
        a_connection(4, OWNERS[0], NOW - 4),
        a_connection(5, OWNERS[1]),
        a_run(6, started_at=NOW + 6),
        a_run(7, started_at=NOW + 7),
        an_attempt(8, NOW + 5),
        an_attempt(9, NOW + 50),
    ]


ROWS: list[Kept] = [(ref, row) for ref in (REF, OTHER_REF) for row in rows_of(ref)]


def key_of(kept: Kept) -> Key:
    """What a row is addressed by: attempts stand outside all tenants."""
    ref, row = kept
    match row:
        case Tenant():
            return ref, "tenant", row.ref
        case User():
            return ref, "user", row.owner
        case ConnectAttempt():
            return None, "attempt", row.id
    return ref, type(row).__name__, row.id


class StoreProtocol(RuleBasedStateMachine):
    """`held` are rows as somebody once had them in hand: new, current, stale, or of what is long gone."""

    held = Bundle("held")
    backend: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.clock = SetClock()
        self.stores = [open_store(self.backend, Path(self.folder.name), self.clock) for _ in range(2)]
        self.truth: dict[Key, Kept] = {}

    def teardown(self) -> None:
        self.folder.cleanup()

    @initialize(target=held)
    def begin(self) -> object:
        return multiple(*ROWS)

    @rule(target=held, kept=held, which=st.integers(0, 1), moved=st.booleans())
    def write(self, kept: Kept, which: int, moved: bool) -> Kept:  # noqa: FBT001
        ref, row = kept
        row = changed(row) if moved else row
        current = self.truth.get(key_of(kept))
        if row.etag != (current[1].etag if current else None):
            with pytest.raises(Conflict):
                save(self.stores[which], row, ref)
            return kept
        saved = save(self.stores[which], row, ref)
        assert replace(saved, etag=None) == replace(row, etag=None)
        assert saved.etag not in {None, row.etag}
        self.truth[key_of(kept)] = (ref, saved)
        self.sweep()
        return ref, saved

    @rule(target=held, kept=held, which=st.integers(0, 1))
    def begin_again(self, kept: Kept, which: int) -> Kept:
        """Somebody has a new row in hand, whatever the store holds."""
        del which
        return kept[0], replace(kept[1], etag=None)

    @rule(kept=held, which=st.integers(0, 1))
    def forget(self, kept: Kept, which: int) -> None:
        ref, row = kept
        if not isinstance(row, Connection):
            return
        current = self.truth.get(key_of(kept))
        if current and current[1].etag != row.etag:
            with pytest.raises(Conflict):
                self.stores[which].tenant(ref).forget_connection(row)
            return
        self.stores[which].tenant(ref).forget_connection(row)
        self.truth.pop(key_of(kept), None)

    @precondition(lambda self: self.clock.now < NOW + 100)
    @rule(milliseconds=st.integers(1, 30))
    def time_passes(self, milliseconds: int) -> None:
        self.clock.now += milliseconds
        self.sweep()

    def sweep(self) -> None:
        lapsed = [
            k for k, (_, r) in self.truth.items() if isinstance(r, ConnectAttempt) and r.expires_at <= self.clock.now
        ]
        for key in lapsed:
            del self.truth[key]

    @invariant()
    def every_row_reads_as_it_should(self) -> None:
        for ref, row in ROWS:
            expected = self.truth.get(key_of((ref, row)))
            for store in self.stores:
                assert read(store, row, ref) == (expected[1] if expected else None)

    @invariant()
    def every_list_holds_what_it_should(self) -> None:
        for store in self.stores:
            assert list(store.tenants()) == sorted(r.ref for _, r in self.truth.values() if isinstance(r, Tenant))
            for ref in (REF, OTHER_REF):
                self.connections_are_right(store, ref)
                self.stale_runs_are_right(store, ref)

    def connections_are_right(self, store: Store, ref: TenantRef) -> None:
        for owner in OWNERS:
            own = [r for at, r in self.truth.values() if at == ref and isinstance(r, Connection) and r.owner == owner]
            assert list(store.tenant(ref).connections(owner)) == sorted(own, key=lambda row: row.connected_at)

    def stale_runs_are_right(self, store: Store, ref: TenantRef) -> None:
        runs = [r for at, r in self.truth.values() if at == ref and isinstance(r, Run)]
        stale = [r for r in runs if r.outcome is Outcome.STARTED and r.started_at < NOW + 7]
        assert list(store.tenant(ref).stale_runs(NOW + 7, 10)) == stale


@pytest.mark.parametrize("name", sorted(STORES))
def test_every_order_of_reads_and_writes_keeps_the_protocol(name: str) -> None:
    class Machine(StoreProtocol):
        backend = name

    run_state_machine_as_test(Machine, settings=settings(max_examples=40, stateful_step_count=40, deadline=None))
