"""What every store promises (shared/ports.py): one suite over each of them."""

from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from shared.errors import Conflict, RecordUnreadable
from shared.model.connections import Connection, ConnectionId, Grant
from shared.model.email import EmailContext
from shared.model.flows import FlowId, FlowInputs, FlowOutputs
from shared.model.identity import OwnerDigest, TenantRef, UserId
from shared.model.runs import FlowResult, Outcome
from shared.ports import AttemptStore, Store, TenantStore
from shared.store.records import Record
from tests.contract.store_fixtures import (
    NOW,
    OTHER_REF,
    OWNER,
    REF,
    ROWS,
    SPOILERS,
    USER,
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
    unsaved,
)

every_kind = pytest.mark.parametrize("row", ROWS, ids=lambda row: type(row).__name__)


@every_kind
def test_what_was_never_saved_is_none(store: Store, row: Record) -> None:
    assert read(store, row) is None


@every_kind
def test_a_saved_row_reads_back_as_it_was_with_the_etag_that_saving_gave(store: Store, row: Record) -> None:
    saved = save(store, row)

    assert saved.etag
    assert unsaved(saved) == row
    assert read(store, row) == saved


@every_kind
def test_a_row_is_created_once(store: Store, row: Record) -> None:
    first = save(store, row)
    with pytest.raises(Conflict):
        save(store, changed(row))

    assert read(store, row) == first


@every_kind
def test_a_row_is_replaced_by_whoever_holds_its_etag(store: Store, row: Record) -> None:
    replaced = save(store, changed(save(store, row)))

    assert unsaved(replaced) == changed(row)
    assert read(store, row) == replaced


@every_kind
def test_each_write_gives_another_etag_even_when_nothing_changes(store: Store, row: Record) -> None:
    etags = [(saved := save(store, row)).etag]
    etags += [(saved := save(store, saved)).etag for _ in range(5)]

    assert len(set(etags)) == 6


@every_kind
def test_a_stale_etag_changes_nothing(store: Store, row: Record) -> None:
    stale = save(store, row)
    current = save(store, stale)
    with pytest.raises(Conflict):
        save(store, changed(stale))

    assert read(store, row) == current


@every_kind
def test_a_row_that_is_not_there_cannot_be_replaced(store: Store, row: Record) -> None:
    with pytest.raises(Conflict):
        save(store, replace(row, etag="0" * 32))

    assert read(store, row) is None


@every_kind
def test_another_instance_sees_what_this_one_saved(
    store: Store, backend: str, tmp_path: Path, clock: SetClock, row: Record
) -> None:
    saved = save(store, row)

    assert read(open_store(backend, tmp_path, clock), row) == saved


@pytest.mark.parametrize("row", [row for row in ROWS if row != an_attempt()], ids=lambda row: type(row).__name__)
def test_a_row_is_of_one_tenant_only(store: Store, row: Record) -> None:
    save(store, row)

    assert read(store, row, OTHER_REF) is None


def test_a_tenants_row_is_not_saved_through_another_tenants_door(store: Store) -> None:
    with pytest.raises(RecordUnreadable):
        store.tenant(OTHER_REF).save_tenant(a_tenant(REF))

    assert list(store.tenants()) == []


def test_an_attempt_is_not_saved_through_another_attempts_door(store: Store) -> None:
    with pytest.raises(RecordUnreadable):
        store.attempt(an_attempt(1).id).save(an_attempt(2))

    assert store.attempt(an_attempt(2).id).read() is None


def test_a_run_is_of_one_user_only(rows: TenantStore) -> None:
    saved = rows.save_run(a_run())

    assert rows.run(UserId(hex_of(99)), saved.id) is None


def test_the_same_run_id_of_two_users_makes_two_runs(rows: TenantStore) -> None:
    first, second = a_run(user=UserId(hex_of(1))), a_run(user=UserId(hex_of(2)))
    saved = rows.save_run(first), rows.save_run(second)

    assert (rows.run(first.user, first.id), rows.run(second.user, second.id)) == saved


# --- tenants


def test_tenants_are_listed_by_their_rows_alone(store: Store) -> None:
    store.tenant(REF).save_tenant(a_tenant(REF))
    store.tenant(REF).save_connection(a_connection())
    store.tenant(OTHER_REF).save_user(a_user())

    assert list(store.tenants()) == [REF]


def test_tenants_may_be_changed_while_they_are_listed(store: Store) -> None:
    for ref in (REF, OTHER_REF):
        store.tenant(ref).save_tenant(a_tenant(ref))
    listed = []
    for ref in store.tenants():
        listed.append(ref)
        tenant = store.tenant(ref).tenant()
        assert tenant is not None
        store.tenant(ref).save_tenant(tenant)

    assert sorted(listed) == sorted([REF, OTHER_REF])


def test_a_request_reads_tenant_and_connection_at_once(rows: TenantStore) -> None:
    tenant, connection = rows.save_tenant(a_tenant()), rows.save_connection(a_connection())

    assert rows.tenant_and_connection(connection.id) == (tenant, connection)


def test_either_of_tenant_and_connection_may_be_missing(rows: TenantStore) -> None:
    connection = rows.save_connection(a_connection())
    assert rows.tenant_and_connection(connection.id) == (None, connection)

    tenant = rows.save_tenant(a_tenant())
    assert rows.tenant_and_connection(ConnectionId(hex_of(99))) == (tenant, None)


@pytest.mark.parametrize("typed", ["", "x" * 10_000, "\x00", "%", "' OR 1=1 --", f"t:{REF}", REF, "é"])
def test_a_connection_id_out_of_an_address_finds_nothing_else(rows: TenantStore, typed: str) -> None:
    tenant = rows.save_tenant(a_tenant())
    rows.save_connection(a_connection())

    assert rows.tenant_and_connection(ConnectionId(typed)) == (tenant, None)


# --- connections


def test_a_connection_comes_with_the_stores_own_times(rows: TenantStore, clock: SetClock) -> None:
    seen: list[Connection | None] = []
    row = a_connection()
    for _ in range(2):
        row = rows.save_connection(replace(row, saved_at=1, read_at=2))
        clock.now += 5_000
        seen += [row, rows.tenant_and_connection(row.id)[1], *rows.connections(OWNER)]

    times = [(row.saved_at - NOW, row.read_at - NOW) for row in seen if row]
    assert times == [(0, 0), (0, 5_000), (0, 5_000), (5_000, 5_000), (5_000, 10_000), (5_000, 10_000)]


def test_connections_are_listed_oldest_first(rows: TenantStore) -> None:
    saved = [rows.save_connection(a_connection(n, connected_at=NOW + at)) for n, at in ((7, 30), (8, 10), (9, 20))]

    assert list(rows.connections(OWNER)) == [saved[1], saved[2], saved[0]]


def test_a_user_sees_only_their_own_connections(rows: TenantStore) -> None:
    rows.save_connection(a_connection(1, owner=OwnerDigest(hex_of(77))))
    own = rows.save_connection(a_connection(2))

    assert list(rows.connections(OWNER)) == [own]


def test_a_reconnected_org_moves_to_the_end_of_the_list(rows: TenantStore) -> None:
    first, second = (rows.save_connection(a_connection(n, connected_at=NOW + n)) for n in (1, 2))
    again = rows.save_connection(replace(first, connected_at=NOW + 3, generation=2))

    assert list(rows.connections(OWNER)) == [second, again]


def test_a_forgotten_connection_is_gone(rows: TenantStore) -> None:
    saved = rows.save_connection(a_connection())
    rows.forget_connection(saved)

    assert rows.tenant_and_connection(saved.id) == (None, None)
    assert list(rows.connections(OWNER)) == []


def test_forgetting_what_is_gone_does_nothing(rows: TenantStore) -> None:
    saved = rows.save_connection(a_connection())
    rows.forget_connection(saved)
    rows.forget_connection(saved)


def test_a_connection_that_has_changed_is_not_forgotten(rows: TenantStore) -> None:
    stale = rows.save_connection(a_connection())
    current = rows.save_connection(replace(stale, version=2))
    with pytest.raises(Conflict):
        rows.forget_connection(stale)

    assert rows.tenant_and_connection(stale.id)[1] == current


def test_an_etag_from_before_a_deletion_never_matches_what_was_made_since(rows: TenantStore) -> None:
    before = rows.save_connection(a_connection())
    rows.forget_connection(before)
    since = rows.save_connection(a_connection())

    with pytest.raises(Conflict):
        rows.save_connection(before)
    with pytest.raises(Conflict):
        rows.forget_connection(before)
    assert rows.tenant_and_connection(since.id)[1] == since


def test_forgetting_takes_one_connection_and_nothing_beside_it(rows: TenantStore) -> None:
    tenant, user, run = rows.save_tenant(a_tenant()), rows.save_user(a_user()), rows.save_run(a_run())
    other = rows.save_connection(a_connection(1))
    rows.forget_connection(rows.save_connection(a_connection(2)))

    assert (rows.tenant(), rows.user(OWNER), rows.run(USER, run.id)) == (tenant, user, run)
    assert list(rows.connections(OWNER)) == [other]


# --- runs


def test_stale_runs_are_those_still_started_before_the_instant_oldest_first(rows: TenantStore) -> None:
    late, early, due = (rows.save_run(a_run(n, started_at=NOW + at)) for n, at in ((1, 2), (2, 1), (3, 3)))
    rows.save_run(rows.save_run(a_run(4, started_at=NOW)).ended(Outcome.SUCCESS, NOW))

    assert list(rows.stale_runs(NOW + 3, 10)) == [early, late]
    assert list(rows.stale_runs(NOW + 4, 10)) == [early, late, due]


def test_stale_runs_come_in_pages_of_the_oldest(rows: TenantStore) -> None:
    saved = [rows.save_run(a_run(n, UserId(hex_of(100 - n)), NOW + n)) for n in range(5)]

    assert list(rows.stale_runs(NOW + 99, 2)) == saved[:2]


def test_an_ended_run_is_stale_no_more(rows: TenantStore) -> None:
    rows.save_run(a_run())
    (stale,) = rows.stale_runs(NOW + 1, 10)
    assert stale is not None
    rows.save_run(stale.ended(Outcome.UNKNOWN, NOW + 2))

    assert list(rows.stale_runs(NOW + 1, 10)) == []


@pytest.mark.parametrize("spoiled", [1, 9])
def test_a_stale_run_that_cannot_be_read_is_told_as_none_and_stands_in_no_others_way(
    rows: TenantStore, backend: str, tmp_path: Path, spoiled: int
) -> None:
    for number in range(spoiled):
        rows.save_run(a_run(number, started_at=NOW + number))
    SPOILERS[backend](tmp_path)
    whole = [rows.save_run(a_run(n, started_at=NOW + n)) for n in range(10, 14)]

    assert list(rows.stale_runs(NOW + 99, 3)) == [None] * spoiled + whole[:3]
    assert list(rows.stale_runs(NOW + 99, 4)) == [None] * spoiled + whole
    assert list(rows.stale_runs(NOW + 99, 10)) == [None] * spoiled + whole


def test_stale_runs_of_another_tenant_are_not_seen(store: Store) -> None:
    store.tenant(OTHER_REF).save_run(a_run())

    assert list(store.tenant(REF).stale_runs(NOW + 1, 10)) == []


# --- attempts


def test_an_attempt_lives_until_its_end_and_no_millisecond_longer(store: Store, clock: SetClock) -> None:
    saved = store.attempt(an_attempt().id).save(an_attempt(expires_at=NOW + 10))
    clock.now = NOW + 9
    assert store.attempt(saved.id).read() == saved

    clock.now = NOW + 10
    assert store.attempt(saved.id).read() is None


def test_a_lapsed_attempt_cannot_be_replaced(store: Store, clock: SetClock) -> None:
    saved = store.attempt(an_attempt().id).save(an_attempt(expires_at=NOW + 10))
    clock.now = NOW + 10

    with pytest.raises(Conflict):
        store.attempt(saved.id).save(replace(saved, expires_at=NOW + 1_000))
    assert store.attempt(saved.id).read() is None


def test_a_lapsed_attempt_does_not_come_back_when_the_clock_does(store: Store, clock: SetClock) -> None:
    saved = store.attempt(an_attempt().id).save(an_attempt(expires_at=NOW + 10))
    clock.now = NOW + 10
    save(store, a_run())
    clock.now = NOW

    assert store.attempt(saved.id).read() is None


# --- what can be asked at all


def _accepted(door: type, depth: int = 0) -> set[object]:
    """Every type that a method of the port takes, with what those are made of when `depth` allows it."""
    methods: list[Callable[..., object]] = [m for name, m in vars(door).items() if not name.startswith("_")]
    hints = [get_type_hints(method) for method in methods if callable(method)]
    taken = [hint for hint_by_name in hints for name, hint in hint_by_name.items() if name != "return"]
    return {part for hint in taken for part in _parts(hint, depth)}


def _parts(hint: object, depth: int) -> set[object]:
    found = {hint}
    for inner in get_args(hint):
        found |= _parts(inner, depth)
    if depth and isinstance(hint, type) and is_dataclass(hint):
        types = get_type_hints(hint)
        for field in fields(hint):
            found |= _parts(types[field.name], depth - 1)
    return found


@pytest.mark.parametrize("door", [TenantStore, AttemptStore])
@pytest.mark.parametrize("never", [FlowOutputs, FlowInputs, EmailContext, Grant, FlowResult])
def test_no_method_takes_anything_that_may_not_be_stored(door: type, never: type) -> None:
    assert never not in _accepted(door, depth=5)


def test_no_method_of_a_tenants_rows_takes_a_tenants_name() -> None:
    assert TenantRef not in _accepted(TenantStore)


@every_kind
@pytest.mark.parametrize("method", ["save_tenant", "save_user", "save_connection", "save_run"])
def test_a_row_of_another_kind_is_a_type_error(store: Store, method: str, row: Record) -> None:
    own = {"Tenant": "save_tenant", "User": "save_user", "Connection": "save_connection", "Run": "save_run"}
    if own.get(type(row).__name__) == method:
        row = an_attempt()

    with pytest.raises(TypeError):
        getattr(store.tenant(REF), method)(row)
    assert read(store, row) is None


@pytest.mark.parametrize(
    "never",
    [
        FlowOutputs({"Secret": "x"}),
        FlowInputs({"Secret": "x"}, {}),
        EmailContext(),
        Grant("a", "r"),
        FlowResult(Outcome.SUCCESS, finished=True),
        {"id": "x"},
        None,
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_row_is_a_type_error(store: Store, never: object) -> None:
    saves: list[Callable[..., object]] = [store.tenant(REF).save_run, store.attempt(an_attempt().id).save]
    for unchecked in saves:
        with pytest.raises(TypeError):
            unchecked(never)


def test_a_value_that_may_not_be_stored_is_refused_and_leaves_nothing(rows: TenantStore) -> None:
    with pytest.raises(RecordUnreadable):
        rows.save_run(replace(a_run(), flow=FlowId("Create_Case_From_Email")))

    assert rows.run(USER, a_run().id) is None


def test_a_store_that_answers_says_so(store: Store) -> None:
    store.ping()
