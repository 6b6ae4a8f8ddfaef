"""What may be stored: every field of every record by name, and the way between rows and documents.

This is the one list. A field that is not on it is not written, and a value that does not fit its word is refused
in both directions, so that no name, address, host or Salesforce id can stand where a digest belongs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import cast

from shared.errors import RecordUnreadable
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
from shared.model.retention import RetentionPolicy
from shared.model.runs import Outcome, Run, RunId
from shared.model.sealed import Sealed
from shared.store.fields import Field, PageKind, Word

FORM = 1
"""The form of all documents; another one is not read."""

Value = str | int | Sequence[Mapping[str, str | int]] | None
Document = Mapping[str, Value]
Record = Tenant | User | Connection | ConnectAttempt | Run


class Kind(StrEnum):
    """The records that are kept."""

    TENANT = "tenant"
    USER = "user"
    CONNECTION = "connection"
    ATTEMPT = "attempt"
    RUN = "run"


_IDENTITY, _GRANT, _RUN, _BOOKKEEPING = PageKind.IDENTITY, PageKind.GRANT, PageKind.RUN, PageKind.BOOKKEEPING

OPEN_ATTEMPT: Mapping[str, Field] = MappingProxyType(
    {
        "id": Field(Word.DIGEST, _BOOKKEEPING),
        "expires_at": Field(Word.TIME, _BOOKKEEPING),
    }
)
"""What each entry of a user's `attempts` holds."""

STORED: Mapping[Kind, Mapping[str, Field | Mapping[str, Field]]] = MappingProxyType(
    {
        Kind.TENANT: {
            "ref": Field(Word.REF, _IDENTITY),
            "generation": Field(Word.VERSION, _BOOKKEEPING),
            "state": Field(Word.STATE, _BOOKKEEPING, TenantState),
            "provider_id": Field(Word.SEALED, _IDENTITY),
            "id_secret": Field(Word.SEALED, _BOOKKEEPING),
            "created_at": Field(Word.TIME, _BOOKKEEPING),
            "retention": Field(Word.SETTING, _BOOKKEEPING),
            "allowed_orgs": Field(Word.SEALED, _BOOKKEEPING, optional=True),
        },
        Kind.USER: {
            "owner": Field(Word.DIGEST, _IDENTITY),
            "id": Field(Word.RANDOM_ID, _IDENTITY),
            "subject": Field(Word.SEALED, _IDENTITY),
            "created_at": Field(Word.TIME, _BOOKKEEPING),
            "attempts": OPEN_ATTEMPT,
            "changes_day": Field(Word.TIME, _BOOKKEEPING),
            "changes": Field(Word.COUNT, _BOOKKEEPING),
        },
        Kind.CONNECTION: {
            "id": Field(Word.DIGEST, _GRANT),
            "owner": Field(Word.DIGEST, _IDENTITY),
            "user": Field(Word.RANDOM_ID, _IDENTITY),
            "generation": Field(Word.VERSION, _GRANT),
            "version": Field(Word.VERSION, _GRANT),
            "state": Field(Word.STATE, _GRANT, ConnectionState),
            "reason": Field(Word.STATE, _GRANT, Reason, optional=True),
            "grant": Field(Word.SEALED, _GRANT, optional=True),
            "org": Field(Word.SEALED, _GRANT),
            "org_version": Field(Word.VERSION, _GRANT),
            "connected_at": Field(Word.TIME, _GRANT),
            "refreshed_at": Field(Word.TIME, _GRANT),
            "claim": Field(Word.RANDOM_ID, _BOOKKEEPING, optional=True),
            "held_until": Field(Word.TIME, _BOOKKEEPING),
            "doubts": Field(Word.COUNT, _BOOKKEEPING),
        },
        Kind.ATTEMPT: {
            "id": Field(Word.DIGEST, _GRANT),
            "tenant": Field(Word.REF, _IDENTITY),
            "tenant_generation": Field(Word.VERSION, _BOOKKEEPING),
            "owner": Field(Word.DIGEST, _IDENTITY),
            "user": Field(Word.RANDOM_ID, _IDENTITY),
            "state": Field(Word.STATE, _GRANT, AttemptState),
            "consent": Field(Word.SEALED, _GRANT),
            "expires_at": Field(Word.TIME, _GRANT),
            "code": Field(Word.SEALED, _GRANT, optional=True),
            "completion_hash": Field(Word.DIGEST, _GRANT, optional=True),
            "completion_expires_at": Field(Word.TIME, _GRANT),
            "tries": Field(Word.COUNT, _GRANT),
        },
        Kind.RUN: {
            "id": Field(Word.DIGEST, _RUN),
            "user": Field(Word.RANDOM_ID, _RUN),
            "connection": Field(Word.DIGEST, _RUN),
            "flow": Field(Word.DIGEST, _RUN),
            "started_at": Field(Word.TIME, _RUN),
            "outcome": Field(Word.STATE, _RUN, Outcome),
            "finished_at": Field(Word.TIME, _RUN, optional=True),
        },
    }
)
"""Every field that is stored, by record and by the model's own name for it. Beside them stand `kind` and `form`."""

MODELS: Mapping[Kind, type[Record]] = MappingProxyType(
    {
        Kind.TENANT: Tenant,
        Kind.USER: User,
        Kind.CONNECTION: Connection,
        Kind.ATTEMPT: ConnectAttempt,
        Kind.RUN: Run,
    }
)
"""The model behind each kind of record."""


def document_of(kind: Kind, row: Record) -> Document:
    """The row as a document, without its etag.

    Raises TypeError for a row of another kind, RecordUnreadable when a value may not be stored.
    """
    if type(row) is not MODELS[kind]:
        raise TypeError(f"this is no {kind}")
    document: dict[str, Value] = {name: _plain(getattr(row, name)) for name in STORED[kind]}
    return _checked(kind, {"kind": kind.value, "form": FORM, **document})


def tenant_of(document: object) -> Tenant:
    """The tenant in a document. Raises RecordUnreadable for any other form, as do all that follow."""
    read = _Values(_checked(Kind.TENANT, document))
    try:
        retention = RetentionPolicy(read.number("retention"))
    except ValueError:
        raise RecordUnreadable from None
    return Tenant(
        ref=TenantRef(read.text("ref")),
        generation=read.number("generation"),
        state=TenantState(read.text("state")),
        provider_id=read.sealed("provider_id"),
        id_secret=read.sealed("id_secret"),
        created_at=read.number("created_at"),
        retention=retention,
        allowed_orgs=read.sealed_if_any("allowed_orgs"),
    )


def user_of(document: object) -> User:
    """The user in a document."""
    read = _Values(_checked(Kind.USER, document))
    return User(
        owner=OwnerDigest(read.text("owner")),
        id=UserId(read.text("id")),
        subject=read.sealed("subject"),
        created_at=read.number("created_at"),
        attempts=read.attempts("attempts"),
        changes_day=read.number("changes_day"),
        changes=read.number("changes"),
    )


def connection_of(document: object) -> Connection:
    """The connection in a document."""
    read = _Values(_checked(Kind.CONNECTION, document))
    reason = read.text_if_any("reason")
    return Connection(
        id=ConnectionId(read.text("id")),
        owner=OwnerDigest(read.text("owner")),
        user=UserId(read.text("user")),
        generation=read.number("generation"),
        version=read.number("version"),
        state=ConnectionState(read.text("state")),
        reason=None if reason is None else Reason(reason),
        grant=read.sealed_if_any("grant"),
        org=read.sealed("org"),
        org_version=read.number("org_version"),
        connected_at=read.number("connected_at"),
        refreshed_at=read.number("refreshed_at"),
        claim=read.text_if_any("claim"),
        held_until=read.number("held_until"),
        doubts=read.number("doubts"),
    )


def attempt_of(document: object) -> ConnectAttempt:
    """The connect attempt in a document."""
    read = _Values(_checked(Kind.ATTEMPT, document))
    return ConnectAttempt(
        id=AttemptId(read.text("id")),
        tenant=TenantRef(read.text("tenant")),
        tenant_generation=read.number("tenant_generation"),
        owner=OwnerDigest(read.text("owner")),
        user=UserId(read.text("user")),
        state=AttemptState(read.text("state")),
        consent=read.sealed("consent"),
        expires_at=read.number("expires_at"),
        code=read.sealed_if_any("code"),
        completion_hash=read.text_if_any("completion_hash"),
        completion_expires_at=read.number("completion_expires_at"),
        tries=read.number("tries"),
    )


def run_of(document: object) -> Run:
    """The run in a document."""
    read = _Values(_checked(Kind.RUN, document))
    return Run(
        id=RunId(read.text("id")),
        user=UserId(read.text("user")),
        connection=ConnectionId(read.text("connection")),
        flow=FlowId(read.text("flow")),
        started_at=read.number("started_at"),
        outcome=Outcome(read.text("outcome")),
        finished_at=read.number_if_any("finished_at"),
    )


def _plain(value: object) -> Value:
    match value:
        case Sealed(text=text):
            return text
        case RetentionPolicy(days=days):
            return days
        case StrEnum():
            return value.value
        case None | str() | int():
            return value
        case tuple() if all(isinstance(entry, OpenAttempt) for entry in value):
            return [{"id": entry.id, "expires_at": entry.expires_at} for entry in value]
    raise RecordUnreadable


def _checked(kind: Kind, document: object) -> Document:
    """The document, if it holds exactly the listed fields and each fits."""
    if not isinstance(document, dict) or document.get("kind") != kind or type(document.get("form")) is not int:
        raise RecordUnreadable
    fields = {name: value for name, value in document.items() if name not in {"kind", "form"}}
    if document["form"] != FORM or not _fit(STORED[kind], fields):
        raise RecordUnreadable
    return document


def _fit(fields: Mapping[str, Field | Mapping[str, Field]], given: object) -> bool:
    if not isinstance(given, dict) or given.keys() != fields.keys():
        return False
    return all(_fits(field, given[name]) for name, field in fields.items())


def _fits(field: Field | Mapping[str, Field], value: object) -> bool:
    if isinstance(field, Field):
        return field.fits(value)
    return isinstance(value, list) and all(_fit(field, entry) for entry in value)


@dataclass(frozen=True, slots=True)
class _Values:
    """A checked document's values by type: the list has already said that they are of it."""

    document: Document

    def text(self, name: str) -> str:
        return cast("str", self.document[name])

    def text_if_any(self, name: str) -> str | None:
        return cast("str | None", self.document[name])

    def number(self, name: str) -> int:
        return cast("int", self.document[name])

    def number_if_any(self, name: str) -> int | None:
        return cast("int | None", self.document[name])

    def sealed(self, name: str) -> Sealed:
        return Sealed(self.text(name))

    def sealed_if_any(self, name: str) -> Sealed | None:
        return None if self.document[name] is None else self.sealed(name)

    def attempts(self, name: str) -> tuple[OpenAttempt, ...]:
        entries = cast("Sequence[Mapping[str, str | int]]", self.document[name])
        return tuple(OpenAttempt(cast("str", e["id"]), cast("int", e["expires_at"])) for e in entries)
