"""A SQLite file that threads and processes share: its form, its connections, its transactions."""

import os
import sqlite3
import struct
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from shared.errors import BadSettings, StoreUnavailable
from shared.ports import Clock

MARK = 0x464C5257
"""The application id in the file's header ("FLRW"), by which we know our own."""

VERSION = 2
"""The version of the tables below; a file of another one is not touched."""

BUSY_S = 5.0
"""How long a change waits for its turn before the store counts as away."""

# Each table is one of the containers of design decision 5. What stands beside a document is what queries need.
_TABLES = f"""
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
PRAGMA secure_delete = ON;
CREATE TABLE tenants (
    tenant TEXT NOT NULL, id TEXT NOT NULL, owner TEXT, connected_at INTEGER, saved_at INTEGER NOT NULL,
    document TEXT NOT NULL, etag TEXT NOT NULL,
    PRIMARY KEY (tenant, id)
) WITHOUT ROWID;
CREATE INDEX tenants_all ON tenants (tenant) WHERE id = 't:' || tenant;
CREATE INDEX tenants_by_owner ON tenants (tenant, owner, connected_at) WHERE owner IS NOT NULL;
CREATE TABLE runs (
    tenant TEXT NOT NULL, user TEXT NOT NULL, id TEXT NOT NULL, started_at INTEGER NOT NULL, outcome TEXT NOT NULL,
    document TEXT NOT NULL, etag TEXT NOT NULL,
    PRIMARY KEY (tenant, user, id)
) WITHOUT ROWID;
CREATE INDEX runs_started ON runs (tenant, started_at) WHERE outcome = 'started';
CREATE TABLE attempts (
    id TEXT NOT NULL PRIMARY KEY, expires_at INTEGER NOT NULL,
    document TEXT NOT NULL, etag TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX attempts_by_end ON attempts (expires_at);
PRAGMA application_id = {MARK};
PRAGMA user_version = {VERSION};
"""

_CONNECTION = (
    "PRAGMA synchronous = FULL",
    "PRAGMA secure_delete = ON",
    "PRAGMA trusted_schema = OFF",
    "PRAGMA cell_size_check = ON",
    "PRAGMA temp_store = MEMORY",
)
_OURS = "SELECT application_id, user_version FROM pragma_application_id, pragma_user_version"
_HEADER = struct.Struct(">16s 44x I 4x I")
_SQLITE = b"SQLite format 3\0"
_ETAG = "SELECT lower(hex(randomblob(16)))"
_SWEEP = "DELETE FROM attempts WHERE expires_at <= :now"


class Written(NamedTuple):
    """What a row has got by being written: its etag, and when that was by the store's clock."""

    etag: str
    at: int


Values = Mapping[str, str | int | None]
Found = Sequence[str]
"""One row as SQLite gives it; whole numbers stand where a column is one."""

Rows = list[Found]


class SqliteFile:
    """The file, made when it is not there; for its owner's eyes only (0600, and 0700 for folders that it needs).

    Each thread has a connection of its own. It may not be carried across a fork. Raises BadSettings when the
    place cannot be used at all or holds what is not ours, which stays as it is; reading and changing raise
    StoreUnavailable for everything that goes wrong, a broken file and a wait of more than `busy_s` seconds included.
    """

    def __init__(self, path: Path, clock: Clock, busy_s: float = BUSY_S) -> None:
        self._path = path.absolute()
        self._clock = clock
        self._busy_s = busy_s
        self._own = threading.local()
        self._turn = threading.Lock()
        try:
            _make(self._path)
            if not _is_ours(self._path):
                raise BadSettings("STORE_PATH names something that is no store of this version.")
            _close_to_others(self._path)
        except (OSError, sqlite3.Error):
            raise BadSettings("STORE_PATH must name a file of ours in a folder that we may write to.") from None

    def now(self) -> int:
        """The store's clock, in epoch milliseconds."""
        return self._clock()

    def read(self, question: str, values: Values) -> Rows:
        """The answer of one statement, which sees one state of the store."""
        with self._connection() as connection:
            return connection.execute(question, values).fetchall()

    def change(self, change: str, values: Values) -> Written | None:
        """A new etag and the time, which the statement may take as `:new_etag` and `:now`, once they are safe on disk.

        None when it changed nothing. Lapsed attempts go with every change.
        """
        # SQLite's own waiting is a lottery: of 128 threads that write at once, some would lose for over a second.
        if not self._turn.acquire(timeout=self._busy_s):
            raise StoreUnavailable
        try:
            with self._connection() as connection, connection:
                connection.execute("BEGIN IMMEDIATE")
                now = self._clock()
                connection.execute(_SWEEP, {"now": now})
                (etag,) = connection.execute(_ETAG).fetchone()
                changed = connection.execute(change, {**values, "new_etag": etag, "now": now}).rowcount
                return Written(etag, now) if changed else None
        finally:
            self._turn.release()

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """The thread's own connection; one that has failed is given up, and with it what it had begun."""
        try:
            yield self._opened()
        except sqlite3.Error:
            failed = self._own.__dict__.pop("connection", None)
            if failed is not None:
                failed.close()
            raise StoreUnavailable from None

    def _opened(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._own, "connection", None)
        if connection is None:
            # Never created here: a file that has gone is a store that is away, not a new one.
            uri = f"{self._path.as_uri()}?mode=rw"
            connection = sqlite3.connect(uri, uri=True, timeout=self._busy_s, isolation_level=None)
            self._own.connection = connection
            for pragma in _CONNECTION:
                connection.execute(pragma)
            if connection.execute(_OURS).fetchone() != (MARK, VERSION):
                raise sqlite3.DatabaseError
        return connection


def _make(path: Path) -> None:
    """Make the file whole under another name and link it to its own.

    So racing processes agree on one file, and nobody sees half of it (a switch to WAL cannot be waited for).
    """
    for folder in (*reversed(path.parent.parents), path.parent):
        if not folder.exists():
            folder.mkdir(mode=0o700, exist_ok=True)
    if path.exists():
        return
    descriptor, draft = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(descriptor)
    try:
        with closing(sqlite3.connect(draft, isolation_level=None)) as connection:
            connection.executescript(_TABLES)
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        Path(draft).unlink()
    _sync(path.parent)


def _is_ours(path: Path) -> bool:
    """Whether the file's header (SQLite's file format, 1.3) holds our mark and version.

    Read by hand, since SQLite would tidy up a foreign file. Closing the file lets go of every lock that this
    process holds on it, so this comes before the first connection.
    """
    if not path.is_file():
        return False
    with path.open("rb") as file:
        header = file.read(_HEADER.size)
    return len(header) == _HEADER.size and _HEADER.unpack(header) == (_SQLITE, VERSION, MARK)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _close_to_others(path: Path) -> None:
    """SQLite gives its two companions the file's own mode, but leaves those that lie there as they are."""
    for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
        with suppress(FileNotFoundError):
            (path.parent / name).chmod(0o600)
