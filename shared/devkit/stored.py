"""What the embedded store holds, read from its file as anybody could who had it: every field, with what it is."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

from shared.model.connections import AttemptState, ConnectionState
from shared.model.identity import TenantState
from shared.model.runs import Outcome

_SELECT: Mapping[str, str] = MappingProxyType(
    {
        "tenants": "SELECT * FROM tenants ORDER BY tenant, instr('tuc', substr(id, 1, 1)), id",
        "attempts": "SELECT * FROM attempts ORDER BY expires_at",
        "runs": "SELECT * FROM runs ORDER BY started_at",
    }
)
UNEXPLAINED = "(nobody has explained this)"
SHORTEST = 5
"""A text of fewer characters stands in any file by chance."""

_SHOWN = 34
_SEALED_SHOWN = 14

COLUMNS: Mapping[str, str] = MappingProxyType(
    {
        "connected_at": "when the user consented",
        "etag": "the lock against lost changes",
        "expires_at": "when the row goes by itself",
        "id": "the row's key",
        "outcome": "how it ended",
        "owner": "whose row it is",
        "saved_at": "when the row was last written",
        "started_at": "when it began",
        "tenant": "the customer's ref, a digest",
        "user": "the user's random id",
    }
)
"""What stands beside a document, for the database's own use."""

FIELDS: Mapping[str, str] = MappingProxyType(
    {
        "form": "version of this list of fields",
        "kind": "which record this is",
        "tenant.ref": "a keyed digest of its provider id",
        "tenant.generation": "how often it came (back)",
        "tenant.state": "whether its users may come in",
        "tenant.provider_id": "sealed: id at Microsoft or Google",
        "tenant.id_secret": "sealed: the key of its digests",
        "tenant.created_at": "when it was enrolled",
        "tenant.retention": "days that its runs are kept",
        "tenant.allowed_orgs": "sealed: its list of orgs, if any",
        "user.owner": "digest of provider and object id",
        "user.id": "random; runs know the user by it",
        "user.subject": "sealed: object id at the provider",
        "user.created_at": "when the user first connected",
        "user.attempts": "connect attempts under way",
        "user.changes_day": "the counted day, since 1970",
        "user.changes": "connects and disconnects on it",
        "connection.id": "a keyed digest of user and org",
        "connection.owner": "whose it is, proved at each use",
        "connection.user": "the user's random id",
        "connection.generation": "how often the user consented",
        "connection.version": "which version of the grant",
        "connection.state": "whether the grant can be used",
        "connection.reason": "what is the matter, if anything",
        "connection.grant": "sealed: the OAuth tokens",
        "connection.org": "sealed: org, hosts, user there",
        "connection.org_version": "which version of the org facts",
        "connection.connected_at": "when the user consented",
        "connection.refreshed_at": "when the grant was last renewed",
        "connection.claim": "random: the refresh under way",
        "connection.held_until": "no refresh before this instant",
        "connection.doubts": "refreshes whose end nobody knows",
        "attempt.id": "SHA-256 of the state",
        "attempt.tenant": "the customer's ref",
        "attempt.tenant_generation": "which of its generations",
        "attempt.owner": "who alone can finish it",
        "attempt.user": "the user's random id",
        "attempt.state": "how far it came",
        "attempt.consent": "sealed: host, channel, verifier",
        "attempt.expires_at": "10 minutes after it began",
        "attempt.code": "sealed: the code, used by now",
        "attempt.completion_hash": "SHA-256 of the completion value",
        "attempt.completion_expires_at": "5 minutes after the callback",
        "attempt.tries": "wrong completion values so far",
        "run.id": "digest of user, Idempotency-Key",
        "run.user": "the user's random id",
        "run.connection": "over which connection",
        "run.flow": "a keyed digest of org and name",
        "run.started_at": "when the call began",
        "run.outcome": "how it ended",
        "run.finished_at": "when its answer was there",
    }
)
"""What each field of each record is, by record and the model's own name."""

_STATES = [*AttemptState, *ConnectionState, *Outcome, *TenantState]
_WORDS = " ".join([*COLUMNS, *FIELDS, *_STATES]).encode()


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its table, which record it holds, its columns, and the document's fields."""

    table: str
    kind: str
    columns: Mapping[str, object]
    document: Mapping[str, object]

    def lines(self) -> list[tuple[str, str, str]]:
        """Each column, then indented each field of the document, with its value and what it is."""
        beside = [(name, shown(name, value), COLUMNS.get(name, UNEXPLAINED)) for name, value in self.columns.items()]
        return beside + [(f" {name}", shown(name, value), self._why(name)) for name, value in self.document.items()]

    def _why(self, field: str) -> str:
        return FIELDS.get(f"{self.kind}.{field}") or FIELDS.get(field, UNEXPLAINED)


def rows(store: Path) -> list[Row]:
    """Every row of the store's file, in the order of `TABLES`. Raises sqlite3.Error when it cannot be read."""
    with closing(sqlite3.connect(f"{store.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        return [_row(table, dict(row)) for table, all_rows in _SELECT.items() for row in connection.execute(all_rows)]


def contents(folder: Path) -> Mapping[str, bytes]:
    """The bytes of every file below a folder by its name, in lower case."""
    return {path.name: path.read_bytes().lower() for path in sorted(folder.rglob("*")) if path.is_file()}


def searchable(values: Iterable[str], before: Mapping[str, bytes]) -> list[str]:
    """The values that can be looked for: long enough, and no word that the files held before they were used."""
    own = {name: raw + _WORDS for name, raw in before.items()}
    return [value for value in dict.fromkeys(values) if len(value) >= SHORTEST and not found([value], own)]


def found(values: Iterable[str], files: Mapping[str, bytes]) -> list[str]:
    """Each value that stands in a file, as text or as JSON spells it, as `file: value`."""
    spelled = [(value, value.lower().encode(), json.dumps(value)[1:-1].lower().encode()) for value in values]
    return [
        f"{name}: {value}"
        for value, plain, escaped in spelled
        for name, raw in files.items()
        if plain in raw or escaped in raw
    ]


def shown(name: str, value: object) -> str:
    """A value in at most 34 characters: times as UTC, long and sealed ones by their beginning."""
    match value:
        case None:
            return "-"
        case int() if name.endswith(("_at", "_until")) and value:
            return datetime.fromtimestamp(value / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        case str() if value.startswith("v1."):
            return f"{value[:_SEALED_SHOWN]}… ({len(value)} characters)"
        case str() if len(value) > _SHOWN:
            return f"{value[: _SHOWN - 1]}…"
        case list():
            return f"{len(value)} of them" if value else "none"
    return str(value)


def _row(table: str, columns: dict[str, object]) -> Row:
    document = json.loads(str(columns.pop("document")))
    return Row(table, document["kind"], columns, document)
