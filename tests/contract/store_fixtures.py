"""Stores by name, rows to put into them, and generated rows of every shape that the model allows."""

import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from hypothesis import strategies as st

from shared.model.connections import (
    AttemptId,
    AttemptState,
    ConnectAttempt,
    Connection,
    ConnectionId,
    ConnectionState,
    Reason,
)
from shared.model.flows import FlowId
from shared.model.identity import OpenAttempt, OwnerDigest, Tenant, TenantRef, TenantState, User, UserId
from shared.model.retention import CEILING_DAYS, FLOOR_DAYS, RetentionPolicy
from shared.model.runs import Outcome, Run, RunId
from shared.model.sealed import Sealed
from shared.ports import Clock, Store
from shared.store.records import Record
from shared.store.sqlite import SqliteStore

NOW = 1_800_000_000_000
HIGHEST = 2**53 - 1


@dataclass
class SetClock:
    """A clock that stands where a test puts it."""

    now: int = NOW

    def __call__(self) -> int:
        return self.now


STORES: Mapping[str, Callable[[Path, Clock], Store]] = {
    "sqlite": lambda folder, clock: SqliteStore(folder / "store.db", clock),
}


def open_store(backend: str, folder: Path, clock: Clock) -> Store:
    """Another instance of a store that lives in that folder, as a second process would make it."""
    return STORES[backend](folder, clock)


def _spoil_sqlite(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "store.db")) as connection, connection:
        connection.execute("UPDATE runs SET document = '{}'")


SPOILERS: Mapping[str, Callable[[Path], None]] = {"sqlite": _spoil_sqlite}
"""What makes every run that is stored in a folder so far unreadable, by the store's name."""


def hex_of(number: int, digits: int = 32) -> str:
    return f"{number:0{digits}x}"


REF = TenantRef(hex_of(1))
OTHER_REF = TenantRef(hex_of(2))
OWNER = OwnerDigest(hex_of(3))
USER = UserId(hex_of(4))
SEALED = Sealed(f"v1.1.{'n' * 16}.{'c' * 40}")


def a_tenant(ref: TenantRef = REF) -> Tenant:
    return Tenant(ref, 1, TenantState.ACTIVE, SEALED, SEALED, NOW)


def a_user(owner: OwnerDigest = OWNER) -> User:
    return User(owner, USER, SEALED, NOW)


def a_connection(number: int = 5, owner: OwnerDigest = OWNER, connected_at: int = NOW) -> Connection:
    return Connection(
        id=ConnectionId(hex_of(number)),
        owner=owner,
        user=USER,
        generation=1,
        version=1,
        state=ConnectionState.CONNECTED,
        reason=None,
        grant=SEALED,
        org=SEALED,
        org_version=1,
        connected_at=connected_at,
        refreshed_at=connected_at,
    )


def an_attempt(number: int = 6, expires_at: int = NOW + 600_000) -> ConnectAttempt:
    return ConnectAttempt(
        id=AttemptId(hex_of(number, 64)),
        tenant=REF,
        tenant_generation=1,
        owner=OWNER,
        user=USER,
        state=AttemptState.NEW,
        consent=SEALED,
        expires_at=expires_at,
    )


def a_run(number: int = 7, user: UserId = USER, started_at: int = NOW) -> Run:
    return Run(RunId(hex_of(number)), user, ConnectionId(hex_of(5)), FlowId(hex_of(8)), started_at)


ROWS: tuple[Record, ...] = (a_tenant(), a_user(), a_connection(), an_attempt(), a_run())
"""One row of each kind, of tenant REF and user USER."""


def changed(row: Record) -> Record:
    """The same row with one thing moved on."""
    match row:
        case Tenant():
            return replace(row, state=TenantState.SUSPENDED)
        case User():
            return row.changing(1)
        case Connection():
            return row.ended()
        case ConnectAttempt():
            return replace(row, tries=row.tries + 1)
        case Run():
            return row.ended(Outcome.SUCCESS, NOW + 1)


def save(store: Store, row: Record, ref: TenantRef = REF) -> Record:
    """Save a row through its own door."""
    rows = store.tenant(ref)
    match row:
        case Tenant():
            return rows.save_tenant(row)
        case User():
            return rows.save_user(row)
        case Connection():
            return rows.save_connection(row)
        case ConnectAttempt():
            return store.attempt(row.id).save(row)
        case Run():
            return rows.save_run(row)


def read(store: Store, row: Record, ref: TenantRef = REF) -> Record | None:
    """What the store holds where that row belongs."""
    rows = store.tenant(ref)
    match row:
        case Tenant():
            return rows.tenant()
        case User():
            return rows.user(row.owner)
        case Connection():
            return rows.tenant_and_connection(row.id)[1]
        case ConnectAttempt():
            return store.attempt(row.id).read()
        case Run():
            return rows.run(row.user, row.id)


def unsaved(row: Record) -> Record:
    """The row as it was before any store gave it an etag."""
    return replace(row, etag=None)


_hex32 = st.integers(0, 2**128 - 1).map(hex_of)
_hex64 = st.integers(0, 2**256 - 1).map(lambda number: hex_of(number, 64))
_times = st.integers(0, HIGHEST)
_versions = st.integers(1, HIGHEST)
_base64url = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_sealed = st.builds(
    lambda version, nonce, ciphertext: Sealed(f"v1.{version}.{nonce}.{ciphertext}"),
    st.one_of(st.integers(1, 999).map(str), _hex32),
    st.text(_base64url, min_size=16, max_size=16),
    st.text(_base64url, min_size=22, max_size=200),
)

TENANTS = st.builds(
    Tenant,
    ref=_hex32.map(TenantRef),
    generation=_versions,
    state=st.sampled_from(TenantState),
    provider_id=_sealed,
    id_secret=_sealed,
    created_at=_times,
    retention=st.builds(RetentionPolicy, st.integers(FLOOR_DAYS, CEILING_DAYS)),
    allowed_orgs=st.none() | _sealed,
)
USERS = st.builds(
    User,
    owner=_hex32.map(OwnerDigest),
    id=_hex32.map(UserId),
    subject=_sealed,
    created_at=_times,
    attempts=st.lists(st.builds(OpenAttempt, _hex64, _times), max_size=6).map(tuple),
    changes_day=_times,
    changes=_times,
)
CONNECTIONS = st.builds(
    Connection,
    id=_hex32.map(ConnectionId),
    owner=_hex32.map(OwnerDigest),
    user=_hex32.map(UserId),
    generation=_versions,
    version=_versions,
    state=st.sampled_from(ConnectionState),
    reason=st.none() | st.sampled_from(Reason),
    grant=st.none() | _sealed,
    org=_sealed,
    org_version=_versions,
    connected_at=_times,
    refreshed_at=_times,
    claim=st.none() | _hex32,
    held_until=_times,
)
ATTEMPTS = st.builds(
    ConnectAttempt,
    id=_hex64.map(AttemptId),
    tenant=_hex32.map(TenantRef),
    tenant_generation=_versions,
    owner=_hex32.map(OwnerDigest),
    user=_hex32.map(UserId),
    state=st.sampled_from(AttemptState),
    consent=_sealed,
    expires_at=_times,
    code=st.none() | _sealed,
    completion_hash=st.none() | _hex64,
    completion_expires_at=_times,
    tries=_times,
)
RUNS = st.builds(
    Run,
    id=_hex32.map(RunId),
    user=_hex32.map(UserId),
    connection=_hex32.map(ConnectionId),
    flow=_hex32.map(FlowId),
    started_at=_times,
    outcome=st.sampled_from(Outcome),
    finished_at=st.none() | _times,
)
RECORDS: st.SearchStrategy[Record] = st.one_of(TENANTS, USERS, CONNECTIONS, ATTEMPTS, RUNS)
