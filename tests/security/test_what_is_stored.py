"""Only user identities, OAuth tokens and run metadata are stored (security page), and nobody can read them there."""

import json
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from shared.errors import RecordUnreadable
from shared.keys.local import LocalKeyring
from shared.model.connections import (
    AttemptId,
    AttemptState,
    ConnectAttempt,
    Connection,
    ConnectionId,
    ConnectionState,
    Consent,
    Grant,
    Link,
    OrgFacts,
    code_place,
    consent_place,
)
from shared.model.flows import FlowId
from shared.model.identity import (
    OpenAttempt,
    OwnerDigest,
    Tenant,
    TenantRef,
    TenantState,
    User,
    UserId,
    keyed_digest,
)
from shared.model.runs import Outcome, Run, RunId
from shared.model.sealed import Place, Sealed
from shared.store.fields import Field, PageKind, Word
from shared.store.records import STORED, Kind, Record, document_of
from shared.store.sqlite import SqliteStore

IDENTITY, TOKEN, RUN = "user identity", "Salesforce OAuth token", "run metadata"
OURS = "settings and bookkeeping"

PROMISED = {
    "tenant": {
        "ref": IDENTITY,
        "generation": OURS,
        "state": OURS,
        "provider_id": IDENTITY,
        "id_secret": OURS,
        "created_at": OURS,
        "retention": OURS,
        "allowed_orgs": OURS,
    },
    "user": {
        "owner": IDENTITY,
        "id": IDENTITY,
        "subject": IDENTITY,
        "created_at": OURS,
        "attempts.id": OURS,
        "attempts.expires_at": OURS,
        "changes_day": OURS,
        "changes": OURS,
    },
    "connection": {
        "id": TOKEN,
        "owner": IDENTITY,
        "user": IDENTITY,
        "generation": TOKEN,
        "version": TOKEN,
        "state": TOKEN,
        "reason": TOKEN,
        "grant": TOKEN,
        "org": TOKEN,
        "org_version": TOKEN,
        "connected_at": TOKEN,
        "refreshed_at": TOKEN,
        "claim": OURS,
        "held_until": OURS,
        "doubts": OURS,
    },
    "attempt": {
        "id": TOKEN,
        "tenant": IDENTITY,
        "tenant_generation": OURS,
        "owner": IDENTITY,
        "user": IDENTITY,
        "state": TOKEN,
        "consent": TOKEN,
        "expires_at": TOKEN,
        "code": TOKEN,
        "completion_hash": TOKEN,
        "completion_expires_at": TOKEN,
        "tries": TOKEN,
    },
    "run": {
        "id": RUN,
        "user": RUN,
        "connection": RUN,
        "flow": RUN,
        "started_at": RUN,
        "outcome": RUN,
        "finished_at": RUN,
    },
}
"""Every field that is stored, and why we may: a new one has to be promised to customers first."""

SEALED_FIELDS = {
    "tenant.provider_id",
    "tenant.id_secret",
    "tenant.allowed_orgs",
    "user.subject",
    "connection.grant",
    "connection.org",
    "attempt.consent",
    "attempt.code",
}

COLUMNS = {
    "tenants": {"tenant", "id", "owner", "connected_at", "saved_at", "document", "etag"},
    "runs": {"tenant", "user", "id", "started_at", "outcome", "document", "etag"},
    "attempts": {"id", "expires_at", "document", "etag"},
}
"""What stands beside a document: parts of it, the tenant's ref, and the database's own etag and time."""

CANARIES = {
    "provider id": "3f2c9e1a-canary-tenant-guid",
    "object id": "77aa1b2c-canary-object-id",
    "access token": "00Dcanary!AQEAQcanary.access.token",
    "refresh token": "5Aep861canary.refresh.token",
    "org id": "00Dcanary000000EAA",
    "Salesforce user": "005canary000000AAA",
    "instance host": "canary-instance.my.salesforce.com",
    "login host": "canary-login.my.salesforce.com",
    "channel": "chrome:canarycanarycanary",
    "verifier": "canary-pkce-verifier",
    "code": "aPrxcanary.authorization.code",
    "Flow": "Canary_Create_Case_From_Email",
    "e-mail address": "canary.sender@example.com",
    "idempotency key": "canary-idempotency-key-01",
    "state": "canary-state",
    "completion": "canary-completion",
}
C = CANARIES


Listed = Mapping[Kind, Mapping[str, Field | Mapping[str, Field]]]


def listed(stored: Listed, kind: Kind) -> Iterator[tuple[str, Field]]:
    for name, field in stored[kind].items():
        if isinstance(field, Field):
            yield name, field
        else:
            yield from ((f"{name}.{inner}", entry) for inner, entry in field.items())


def promises(stored: Listed) -> dict[str, dict[str, str]]:
    """Each stored field with the kind of the page that it falls under."""
    return {kind.value: {name: field.page.value for name, field in listed(stored, kind)} for kind in Kind}


class Household:
    """Rows as the use cases make them, every secret and every name of which is a canary."""

    def __init__(self, folder: Path) -> None:
        keyring = LocalKeyring(folder / "keys", os.urandom, lambda: 0)
        self.ref = TenantRef(keyring.digest("tenant", "entra", C["provider id"]))
        keyring.mint(self.ref, 1)
        self.sealer = keyring.sealer(self.ref, 1)
        self.secret = os.urandom(32)
        self.user = UserId(os.urandom(16).hex())
        self.owner = OwnerDigest(self.digest("owner", "entra", C["object id"]))
        self.link = Link(ConnectionId(self.digest("connection", self.user, C["org id"])), self.user)
        self.attempt = AttemptId(self.digest("a", C["state"]) + self.digest("b", C["state"]))

    def digest(self, label: str, *parts: str) -> str:
        return keyed_digest(self.secret, label, *parts)

    def sealed(self, place: Place, secret: str | bytes) -> Sealed:
        return self.sealer.seal(place, secret.encode() if isinstance(secret, str) else secret)

    def rows(self) -> tuple[Record, ...]:
        return self.tenant_row(), self.user_row(), self.connection_row(), self.attempt_row(), self.run_row()

    def tenant_row(self) -> Tenant:
        return Tenant(
            ref=self.ref,
            generation=1,
            state=TenantState.ACTIVE,
            provider_id=self.sealed(Place("tenant-id", "tenant"), C["provider id"]),
            id_secret=self.sealed(Place("id-secret", "tenant"), self.secret),
            created_at=1,
            allowed_orgs=self.sealed(Place("allowed-orgs", "tenant"), C["org id"]),
        )

    def user_row(self) -> User:
        subject = self.sealed(Place("subject", self.owner, 1, self.owner, self.user), C["object id"])
        return User(self.owner, self.user, subject, 1, (OpenAttempt(self.attempt, 9),))

    def connection_row(self) -> Connection:
        hosts = f"https://{C['instance host']}", f"https://{C['login host']}"
        org = OrgFacts(C["org id"], C["Salesforce user"], *hosts, sandbox=False)
        grant = Grant(C["access token"], C["refresh token"])
        return Connection(
            id=self.link.id,
            owner=self.owner,
            user=self.user,
            generation=1,
            version=1,
            state=ConnectionState.CONNECTED,
            reason=None,
            grant=self.sealed(self.link.grant_place(self.owner), grant.to_bytes()),
            org=self.sealed(self.link.org_place(self.owner), org.to_bytes()),
            org_version=1,
            connected_at=1,
            refreshed_at=1,
        )

    def attempt_row(self) -> ConnectAttempt:
        consent = Consent(f"https://{C['login host']}", False, C["channel"], C["verifier"])
        new = ConnectAttempt(
            id=self.attempt,
            tenant=self.ref,
            tenant_generation=1,
            owner=self.owner,
            user=self.user,
            state=AttemptState.ANSWERED,
            consent=self.sealed(consent_place(self.attempt, self.owner, self.user), consent.to_bytes()),
            expires_at=9,
        )
        proof = self.digest("completion", C["completion"]) * 2
        code = self.sealed(code_place(new, self.owner, proof), C["code"])
        return replace(new, code=code, completion_hash=proof, completion_expires_at=9)

    def run_row(self) -> Run:
        flow = FlowId(self.digest("flow", C["org id"], C["Flow"]))
        run = RunId(self.digest("run", self.user, C["idempotency key"]))
        return Run(run, self.user, self.link.id, flow, 1, Outcome.SUCCESS, 2)


@pytest.fixture
def household(tmp_path: Path) -> Household:
    return Household(tmp_path)


@pytest.fixture
def sqlite(tmp_path: Path) -> SqliteStore:
    return SqliteStore(tmp_path / "data" / "store.db", lambda: 5)


def save_all(sqlite: SqliteStore, household: Household) -> None:
    rows = sqlite.tenant(household.ref)
    rows.save_tenant(household.tenant_row())
    rows.save_user(household.user_row())
    rows.save_connection(household.connection_row())
    rows.save_run(household.run_row())
    sqlite.attempt(household.attempt).save(household.attempt_row())


def stored_bytes(tmp_path: Path) -> bytes:
    return b"".join(file.read_bytes() for file in sorted((tmp_path / "data").iterdir()))


def shapes(secret: str) -> Iterator[bytes]:
    """The ways in which a value could lie there in plain sight."""
    raw = secret.encode()
    yield from (raw, raw.lower(), raw.hex().encode(), secret.encode("utf-16-le"))


# --- what may be stored


def test_every_stored_field_was_promised_and_no_other_is_stored() -> None:
    assert promises(STORED) == PROMISED


@pytest.mark.parametrize("kind", Kind)
def test_one_field_more_breaks_the_promise(kind: Kind) -> None:
    more = {**STORED[kind], "last_seen_at": Field(Word.TIME, PageKind.BOOKKEEPING)}

    assert promises({**STORED, kind: more}) != PROMISED


def test_a_readable_value_is_one_of_the_words_that_say_nothing() -> None:
    words = {field.word.value for kind in Kind for _, field in listed(STORED, kind)}

    assert words == {"ref", "random id", "digest", "time", "state", "count", "version", "setting number", "sealed"}


def test_every_secret_and_every_name_is_sealed() -> None:
    sealed = {f"{kind}.{name}" for kind in Kind for name, field in listed(STORED, kind) if field.word is Word.SEALED}

    assert sealed == SEALED_FIELDS


def test_a_document_holds_the_promised_fields_and_what_kind_it_is(household: Household) -> None:
    for kind, row in zip(Kind, household.rows(), strict=True):
        promised = {name.partition(".")[0] for name in PROMISED[kind.value]}
        assert set(document_of(kind, row)) == promised | {"kind", "form"}


def test_the_database_has_no_place_for_anything_else(sqlite: SqliteStore, tmp_path: Path) -> None:
    sqlite.ping()
    with closing(sqlite3.connect(tmp_path / "data" / "store.db")) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        columns = {
            table: {row[0] for row in connection.execute("SELECT name FROM pragma_table_info(?)", (table,))}
            for table in tables
        }

    assert columns == COLUMNS


# --- who could read it


def test_the_household_really_holds_its_canaries(household: Household) -> None:
    grant = household.connection_row().grant
    assert grant is not None
    opened = Grant.from_bytes(household.sealer.open(household.link.grant_place(household.owner), grant))

    assert (opened.access_token, opened.refresh_token) == (C["access token"], C["refresh token"])


@pytest.mark.parametrize("canary", CANARIES)
def test_no_document_shows_a_name_or_a_secret(household: Household, canary: str) -> None:
    text = "".join(json.dumps(document_of(kind, row)) for kind, row in zip(Kind, household.rows(), strict=True))

    assert household.ref in text
    assert not [shape for shape in shapes(CANARIES[canary]) if shape in text.encode()]


def test_no_byte_of_the_database_shows_a_name_or_a_secret(
    sqlite: SqliteStore, household: Household, tmp_path: Path
) -> None:
    save_all(sqlite, household)
    stored = stored_bytes(tmp_path)

    assert household.ref.encode() in stored
    assert [name for name, canary in CANARIES.items() for shape in shapes(canary) if shape in stored] == []


TEXTS = [
    (kind, name)
    for kind in Kind
    for name, field in listed(STORED, kind)
    if "." not in name and field.word not in {Word.TIME, Word.COUNT, Word.VERSION, Word.SETTING}
]


@pytest.mark.parametrize(("kind", "name"), TEXTS, ids=str)
def test_a_slip_that_would_store_a_name_is_refused(household: Household, kind: Kind, name: str) -> None:
    row = dict(zip(Kind, household.rows(), strict=True))[kind]
    altered: Callable[..., Record] = replace
    for canary in CANARIES.values():
        for slip in (canary, Sealed(canary)):
            with pytest.raises(RecordUnreadable):
                document_of(kind, altered(row, **{name: slip}))


def test_a_refused_slip_leaves_no_byte_behind(sqlite: SqliteStore, household: Household, tmp_path: Path) -> None:
    rows = sqlite.tenant(household.ref)
    saved = rows.save_run(household.run_row())
    with pytest.raises(RecordUnreadable) as refused:
        rows.save_run(replace(saved, flow=FlowId(C["Flow"])))

    assert C["Flow"] not in f"{refused.value!r}{refused.value.__context__!r}"
    assert C["Flow"].encode() not in stored_bytes(tmp_path)
    assert rows.run(saved.user, saved.id) == saved
