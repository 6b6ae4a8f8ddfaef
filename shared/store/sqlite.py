"""The embedded store: each door of the port over one SQLite file."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from shared.errors import Conflict, RecordUnreadable
from shared.model.connections import AttemptId, ConnectAttempt, Connection, ConnectionId
from shared.model.identity import OwnerDigest, Tenant, TenantRef, User, UserId
from shared.model.runs import Outcome, Run, RunId
from shared.ports import AttemptStore, Clock, TenantStore
from shared.store.records import (
    Kind,
    Record,
    attempt_of,
    connection_of,
    document_of,
    run_of,
    tenant_of,
    user_of,
)
from shared.store.sqlite_file import BUSY_S, Found, SqliteFile, Values, Written

InTenant = TypeVar("InTenant", Tenant, User, Connection)
Row = TypeVar("Row", Tenant, User, Connection, ConnectAttempt, Run)


class SqliteStore:
    """The Store port over the file at `path`, which is made when it is not there. Thread-safe.

    Attempts lapse by the `clock` given; `busy_s` is how many seconds a change waits for others. Raises
    BadSettings when there can be no file at that place, or one is there that is not ours.
    """

    def __init__(self, path: Path, clock: Clock, busy_s: float = BUSY_S) -> None:
        self._file = SqliteFile(path, clock, busy_s)
        self._clock = clock

    def tenant(self, ref: TenantRef) -> TenantStore:
        """The rows of one tenant."""
        return SqliteTenant(self._file, ref)

    def attempt(self, attempt: AttemptId) -> AttemptStore:
        """One connect attempt."""
        return SqliteAttempt(self._file, attempt, self._clock)

    def tenants(self) -> Iterator[TenantRef]:
        """The refs of all tenants, as they are at the call."""
        rows = self._file.read("SELECT tenant FROM tenants WHERE id = 't:' || tenant ORDER BY tenant", {})
        return iter([TenantRef(ref) for (ref,) in rows])

    def ping(self) -> None:
        """Return when the file answers. Raises StoreUnavailable."""
        self._file.read("SELECT id FROM tenants LIMIT 1", {})


# An etag is the database's own, drawn anew for each write, so that a row that was deleted and made again
# never matches what somebody read before.
_ROW = "SELECT document, etag FROM tenants WHERE tenant = :tenant AND id = :id"
_TWO_ROWS = "SELECT id, document, etag, saved_at FROM tenants WHERE tenant = :tenant AND id IN (:first, :second)"
_CONNECTIONS = """
    SELECT document, etag, saved_at FROM tenants WHERE tenant = :tenant AND owner = :owner ORDER BY connected_at, id"""
_CREATE_ROW = """
    INSERT INTO tenants (tenant, id, owner, connected_at, saved_at, document, etag)
    VALUES (:tenant, :id, :owner, :connected_at, :now, :document, :new_etag) ON CONFLICT DO NOTHING"""
_REPLACE_ROW = """
    UPDATE tenants
    SET owner = :owner, connected_at = :connected_at, saved_at = :now, document = :document, etag = :new_etag
    WHERE tenant = :tenant AND id = :id AND etag = :etag"""
_FORGET_ROW = "DELETE FROM tenants WHERE tenant = :tenant AND id = :id AND etag = :etag"

_RUN = "SELECT document, etag FROM runs WHERE tenant = :tenant AND user = :user AND id = :id"
_STALE_RUNS = """
    SELECT document, etag FROM runs WHERE tenant = :tenant AND outcome = 'started' AND started_at < :before
    ORDER BY started_at, user, id LIMIT :limit OFFSET :offset"""
_CREATE_RUN = """
    INSERT INTO runs (tenant, user, id, started_at, outcome, document, etag)
    VALUES (:tenant, :user, :id, :started_at, :outcome, :document, :new_etag) ON CONFLICT DO NOTHING"""
_REPLACE_RUN = """
    UPDATE runs SET started_at = :started_at, outcome = :outcome, document = :document, etag = :new_etag
    WHERE tenant = :tenant AND user = :user AND id = :id AND etag = :etag"""

_ATTEMPT = "SELECT document, etag FROM attempts WHERE id = :id AND expires_at > :now"
_CREATE_ATTEMPT = """
    INSERT INTO attempts (id, expires_at, document, etag)
    VALUES (:id, :expires_at, :document, :new_etag) ON CONFLICT DO NOTHING"""
_REPLACE_ATTEMPT = """
    UPDATE attempts SET expires_at = :expires_at, document = :document, etag = :new_etag
    WHERE id = :id AND etag = :etag"""


@dataclass(frozen=True, slots=True)
class SqliteTenant:
    """The TenantStore port: every statement names this tenant."""

    file: SqliteFile
    ref: TenantRef

    def tenant(self) -> Tenant | None:
        """The tenant's own row."""
        return self._found(f"t:{self.ref}", tenant_of)

    def tenant_and_connection(self, connection: ConnectionId) -> tuple[Tenant | None, Connection | None]:
        """Both rows as they were at one moment."""
        tenant, joined, now = f"t:{self.ref}", f"c:{connection}", self.file.now()
        rows = self.file.read(_TWO_ROWS, {"tenant": self.ref, "first": tenant, "second": joined})
        found = {key: columns for key, *columns in rows}
        row = _named(joined, found.get(joined), connection_of)
        return _named(tenant, found.get(tenant), tenant_of), row and _timed(row, found[joined], now)

    def save_tenant(self, tenant: Tenant) -> Tenant:
        """Create or replace the tenant's row. Raises RecordUnreadable for another tenant's."""
        return self._saved(Kind.TENANT, tenant)[0]

    def user(self, owner: OwnerDigest) -> User | None:
        """The user whom that digest names."""
        return self._found(f"u:{owner}", user_of)

    def save_user(self, user: User) -> User:
        """Create or replace a user."""
        return self._saved(Kind.USER, user)[0]

    def connections(self, owner: OwnerDigest) -> Sequence[Connection]:
        """A user's connections, oldest first."""
        now = self.file.now()
        rows = self.file.read(_CONNECTIONS, {"tenant": self.ref, "owner": owner})
        read = (_timed(_row(found, connection_of), found, now) for found in rows)
        return [_sound(row, row.owner == owner) for row in read]

    def save_connection(self, connection: Connection) -> Connection:
        """Create or replace a connection."""
        saved, at = self._saved(Kind.CONNECTION, connection)
        return replace(saved, saved_at=at, read_at=at)

    def forget_connection(self, connection: Connection) -> None:
        """Delete a connection as it was read; Conflict when it has changed, nothing when it is gone."""
        row: Values = {"tenant": self.ref, "id": _key(connection), "etag": connection.etag}
        forgotten = self.file.change(_FORGET_ROW, row) is not None
        if not forgotten and self.file.read(_ROW, row):
            raise Conflict

    def run(self, user: UserId, run: RunId) -> Run | None:
        """One run of one user."""
        for found in self.file.read(_RUN, {"tenant": self.ref, "user": user, "id": run}):
            row = _row(found, run_of)
            return _sound(row, (row.user, row.id) == (user, run))
        return None

    def save_run(self, run: Run) -> Run:
        """Create or replace a run's record."""
        columns: Values = {
            "document": _text(Kind.RUN, run),
            "tenant": self.ref,
            "user": run.user,
            "id": run.id,
            "started_at": run.started_at,
            "outcome": run.outcome.value,
            "etag": run.etag,
        }
        return replace(run, etag=_written(self.file, _CREATE_RUN, _REPLACE_RUN, columns).etag)

    def stale_runs(self, started_before: int, limit: int) -> Sequence[Run | None]:
        """Runs still `started` that began before that instant (epoch milliseconds), oldest first; None if unreadable.

        Unreadable rows stay where they are, so a page of them must not hide the rows behind it.
        """
        runs: list[Run | None] = []
        asked: Values = {"tenant": self.ref, "before": started_before}
        while (wanted := limit - len(runs) + runs.count(None)) > 0:
            rows = self.file.read(_STALE_RUNS, {**asked, "limit": wanted, "offset": len(runs)})
            runs += [_stale_run(found) for found in rows]
            if len(rows) < wanted:
                break
        return runs

    def _found(self, key: str, read: Callable[[object], InTenant]) -> InTenant | None:
        rows = self.file.read(_ROW, {"tenant": self.ref, "id": key})
        return _named(key, rows[0] if rows else None, read)

    def _saved(self, kind: Kind, row: InTenant) -> tuple[InTenant, int]:
        """The row as written, and when that was."""
        document = _text(kind, row)
        if isinstance(row, Tenant) and row.ref != self.ref:
            raise RecordUnreadable
        joined = row if isinstance(row, Connection) else None
        columns: Values = {
            "document": document,
            "tenant": self.ref,
            "id": _key(row),
            "owner": joined.owner if joined else None,
            "connected_at": joined.connected_at if joined else None,
            "etag": row.etag,
        }
        etag, at = _written(self.file, _CREATE_ROW, _REPLACE_ROW, columns)
        return replace(row, etag=etag), at


@dataclass(frozen=True, slots=True)
class SqliteAttempt:
    """The AttemptStore port."""

    file: SqliteFile
    id: AttemptId
    clock: Clock

    def read(self) -> ConnectAttempt | None:
        """The attempt, unless it never was or its life is over."""
        for found in self.file.read(_ATTEMPT, {"id": self.id, "now": self.clock()}):
            row = _row(found, attempt_of)
            return _sound(row, row.id == self.id)
        return None

    def save(self, attempt: ConnectAttempt) -> ConnectAttempt:
        """Create or replace it. Raises RecordUnreadable for another attempt."""
        document = _text(Kind.ATTEMPT, attempt)
        _sound(attempt, attempt.id == self.id)
        columns: Values = {
            "document": document,
            "id": attempt.id,
            "expires_at": attempt.expires_at,
            "etag": attempt.etag,
        }
        return replace(attempt, etag=_written(self.file, _CREATE_ATTEMPT, _REPLACE_ATTEMPT, columns).etag)


def _key(row: Tenant | User | Connection) -> str:
    """A row's id inside its tenant."""
    match row:
        case Tenant():
            return f"t:{row.ref}"
        case User():
            return f"u:{row.owner}"
        case Connection():
            return f"c:{row.id}"


def _named(key: str, found: Found | None, read: Callable[[object], InTenant]) -> InTenant | None:
    """The row that was found under that id, if it is the one that belongs there."""
    if found is None:
        return None
    row = _row(found, read)
    return _sound(row, _key(row) == key)


def _sound(row: Row, belongs: bool) -> Row:  # noqa: FBT001  one fact of one row
    if not belongs:
        raise RecordUnreadable
    return row


def _row(found: Found, read: Callable[[object], Row]) -> Row:
    """The row in a document's text and its etag."""
    document, etag = found[:2]
    try:
        parsed = json.loads(document, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        raise RecordUnreadable from None
    return replace(read(parsed), etag=etag)


def _timed(row: Connection, found: Found, read_at: int) -> Connection:
    """The connection with the store's times; when it was saved is the third column."""
    try:
        return replace(row, saved_at=int(found[2]), read_at=read_at)
    except (ValueError, OverflowError):
        raise RecordUnreadable from None


def _stale_run(found: Found) -> Run | None:
    try:
        run = _row(found, run_of)
        return _sound(run, run.outcome is Outcome.STARTED)
    except RecordUnreadable:
        return None


def _once(members: list[tuple[str, object]]) -> dict[str, object]:
    document = dict(members)
    if len(document) != len(members):
        raise RecordUnreadable
    return document


def _text(kind: Kind, row: Record) -> str:
    return json.dumps(document_of(kind, row), separators=(",", ":"), sort_keys=True)


def _written(file: SqliteFile, create: str, replacement: str, columns: Values) -> Written:
    """The new etag and the time. Raises Conflict when the row is there already, or not as it was read."""
    written = file.change(create if columns["etag"] is None else replacement, columns)
    if written is None:
        raise Conflict
    return written
