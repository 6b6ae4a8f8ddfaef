"""The soak's hand on the store's file: a journal of what is written to connections, and its write lock taken away."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from shared.devkit.salesforce.ledger import now_ms

_PATIENCE_S = 30.0
# The triggers run inside the app's own transactions, so the journal is as true as the rows, whoever is killed.
_WRITE = "INSERT INTO soak_journal (at, document) VALUES (NEW.saved_at, NEW.document);"
_JOURNAL = f"""
CREATE TABLE soak_journal (number INTEGER PRIMARY KEY, at INTEGER NOT NULL, document TEXT NOT NULL);
CREATE TRIGGER soak_created AFTER INSERT ON tenants WHEN NEW.id LIKE 'c:%' BEGIN {_WRITE} END;
CREATE TRIGGER soak_changed AFTER UPDATE ON tenants WHEN NEW.id LIKE 'c:%' BEGIN {_WRITE} END;
"""
_FIELDS = ("id", "generation", "connected_at", "version", "state", "claim")
_READ = "SELECT at, document FROM soak_journal ORDER BY number"


@dataclass(frozen=True, slots=True)
class Write:
    """One write of a connection's row, as it stood after it; `at` and `connected_at` are epoch ms."""

    at: int
    connection: str
    generation: int
    connected_at: int
    version: int
    state: str
    claim: str | None = None


@dataclass(frozen=True, slots=True)
class Lock:
    """A time (epoch ms) in which the store took no writes but ours, who made none."""

    since: int
    until: int


class StoreFile:
    """A store's file from outside. It must be there before the journal is begun; raises sqlite3.Error."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.locks: list[Lock] = []

    def keep_journal(self) -> None:
        """Have every write of a connection written down from now on."""
        with closing(self._opened()) as connection:
            connection.executescript(_JOURNAL)

    def journal(self) -> list[Write]:
        """Every write since, in order."""
        with closing(self._opened()) as connection:
            rows = [(at, json.loads(document)) for at, document in connection.execute(_READ)]
        return [Write(at, *(row[name] for name in _FIELDS)) for at, row in rows]

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Let nobody else write for the length of the block; it begins when the lock is ours."""
        with closing(self._opened()) as connection:
            connection.execute("BEGIN IMMEDIATE")
            since = now_ms()
            try:
                yield
            finally:
                connection.rollback()
                self.locks.append(Lock(since, now_ms()))

    def _opened(self) -> sqlite3.Connection:
        uri = f"{self._path.absolute().as_uri()}?mode=rw"
        return sqlite3.connect(uri, uri=True, timeout=_PATIENCE_S, isolation_level=None)
