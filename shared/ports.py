"""What the use cases need from the outside, in the model's words only.

Every part behind a port is built once and shared by the worker's threads, so it is frozen or thread-safe.
Ports raise the errors of `shared/errors.py` and nothing else.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from shared.model.connections import (
    AttemptId,
    ConnectAttempt,
    Connection,
    ConnectionId,
    Consent,
    Environment,
    Grant,
    OrgFacts,
)
from shared.model.events import Event
from shared.model.flows import Flow, FlowInputs, FlowName, FlowSummary
from shared.model.identity import BearerToken, OwnerDigest, Principal, Tenant, TenantRef, User, UserId
from shared.model.runs import FlowResult, Run, RunId
from shared.model.sealed import Place, Sealed

Clock = Callable[[], int]
"""Now, in epoch milliseconds, UTC."""

Randomness = Callable[[int], bytes]
"""That many bytes from the system's generator."""

SignIn = Callable[[BearerToken], Principal]
"""The caller behind a token. Raises NotSignedIn, PersonalAccount, ClaimsNeeded, IssuerUnavailable."""

Ticks = Callable[[], float]
"""Seconds of a clock that never goes back and that nobody sets: for how long something takes."""

Pause = Callable[[float], None]
"""Waits that many seconds."""

Emit = Callable[[Event], None]
"""Tells telemetry; never raises, never waits."""


class TenantStore(Protocol):
    """One tenant's rows. No method takes a tenant: another tenant's row cannot be asked for.

    Writes with a row whose `etag` is None create it and raise Conflict when it is there; with an etag they
    replace it and raise Conflict when it has changed or gone. They return the row with its new etag.
    A connection comes with the store's own times, `saved_at` and `read_at`; both may be up to a second too early.
    All raise StoreUnavailable when the store is away, and RecordUnreadable for a row of unknown form.
    """

    def tenant(self) -> Tenant | None:
        """The tenant's own row."""
        ...

    def tenant_and_connection(self, connection: ConnectionId) -> tuple[Tenant | None, Connection | None]:
        """The tenant's row and one connection of it, in one round trip."""
        ...

    def save_tenant(self, tenant: Tenant) -> Tenant:
        """Create or replace the tenant's row."""
        ...

    def user(self, owner: OwnerDigest) -> User | None:
        """The user whom that digest names."""
        ...

    def save_user(self, user: User) -> User:
        """Create or replace a user."""
        ...

    def connections(self, owner: OwnerDigest) -> Sequence[Connection]:
        """A user's connections, oldest first."""
        ...

    def save_connection(self, connection: Connection) -> Connection:
        """Create or replace a connection."""
        ...

    def forget_connection(self, connection: Connection) -> None:
        """Delete a connection as it was read; Conflict when it has changed, nothing when it is gone."""
        ...

    def run(self, user: UserId, run: RunId) -> Run | None:
        """One run of one user."""
        ...

    def save_run(self, run: Run) -> Run:
        """Create or replace a run's record."""
        ...

    def stale_runs(self, started_before: int, limit: int) -> Sequence[Run | None]:
        """Runs still `started` that began before that instant (epoch milliseconds), oldest first.

        None stands for a row among them that cannot be read; it does not count towards the limit.
        """
        ...


class AttemptStore(Protocol):
    """One connect attempt, found by the digest of its state."""

    def read(self) -> ConnectAttempt | None:
        """The attempt, unless it never was or its life is over."""
        ...

    def save(self, attempt: ConnectAttempt) -> ConnectAttempt:
        """Create or replace, as in TenantStore."""
        ...


class Store(Protocol):
    """The database. These are its only doors."""

    def tenant(self, ref: TenantRef) -> TenantStore:
        """The rows of one tenant."""
        ...

    def attempt(self, attempt: AttemptId) -> AttemptStore:
        """One connect attempt."""
        ...

    def tenants(self) -> Iterator[TenantRef]:
        """The refs of all tenants, for timers and operators."""
        ...

    def ping(self) -> None:
        """Return when the store answers. Raises StoreUnavailable."""
        ...


class Sealer(Protocol):
    """Seals and opens under one tenant generation's key."""

    def seal(self, place: Place, secret: bytes) -> Sealed:
        """The secret, sealed for that place under the newest key version."""
        ...

    def open(self, place: Place, sealed: Sealed) -> bytes:
        """The secret. Raises RecordUnreadable unless every byte and every part of the place is as sealed."""
        ...


class Keyring(Protocol):
    """The tenants' keys and the pepper. Raises KeysUnavailable when a key cannot be had."""

    def mint(self, tenant: TenantRef, generation: int) -> None:
        """Make the key of a tenant generation, unless it is there."""
        ...

    def sealer(self, tenant: TenantRef, generation: int) -> Sealer:
        """What seals for that tenant generation."""
        ...

    def digest(self, label: str, *parts: str) -> str:
        """A digest under the pepper, for names that precede or outlive a tenant: 32 lower hex."""
        ...

    def ping(self) -> None:
        """Return when the keys can be had. Raises KeysUnavailable."""
        ...


class SalesforceOAuth(Protocol):
    """Salesforce's OAuth 2.0 endpoints. Every host is proved against the allow-list before a byte is sent."""

    def login_origin(self, environment: Environment, my_domain: str | None) -> str:
        """Where to send the user. Raises InputRefused (`/myDomain`) for a host that is no My Domain login host."""
        ...

    def authorize_url(self, consent: Consent, state: str) -> str:
        """The address where the user consents, with PKCE S256 and our five scopes."""
        ...

    def exchange(self, consent: Consent, code: str) -> tuple[Grant, OrgFacts]:
        """Redeem a code, once.

        Raises AttemptSpent, ScopeMissing, OrgSetup, OrgLimit, SalesforceUnusable, SalesforceUnavailable,
        SalesforceTimedOut. Only where the same code may be tried again is the error's next action `retry`.
        """
        ...

    def refresh(self, org: OrgFacts, grant: Grant) -> tuple[Grant, OrgFacts]:
        """A fresh grant, rotated where Salesforce rotates. Raises RefreshFailed and nothing else."""
        ...

    def revoke(self, org: OrgFacts, grant: Grant) -> bool:
        """End a grant at its own org. True when it is gone (an unknown token counts), False when unreachable."""
        ...


class Org(Protocol):
    """A Salesforce org as one user sees it. Every method may raise SessionExpired before anything was done."""

    def flows(self) -> Sequence[FlowSummary]:
        """The Flows that this user may run."""
        ...

    def flow(self, name: FlowName) -> Flow:
        """One Flow with what it declares. Raises FlowNotFound, FlowForbidden."""
        ...

    def run(self, name: FlowName, inputs: FlowInputs) -> FlowResult:
        """Run it once, never twice.

        A refusal before the Flow began raises FlowRunnerError; whatever came after is a result, `unknown`
        when the answer was lost.
        """
        ...


class Orgs(Protocol):
    """The way to orgs."""

    def org(self, facts: OrgFacts, grant: Grant) -> Org:
        """The org as that grant's user sees it. No call is made yet."""
        ...


class FlowCache(Protocol):
    """Lists and descriptions kept in memory for minutes, by connection and generation. Never outputs."""

    def flows(self, key: tuple[str, ...]) -> Sequence[FlowSummary] | None:
        """The kept list, if it is fresh."""
        ...

    def keep_flows(self, key: tuple[str, ...], flows: Sequence[FlowSummary]) -> None:
        """Keep a list."""
        ...

    def flow(self, key: tuple[str, ...]) -> Flow | None:
        """The kept description, if it is fresh."""
        ...

    def keep_flow(self, key: tuple[str, ...], flow: Flow) -> None:
        """Keep a description."""
        ...
