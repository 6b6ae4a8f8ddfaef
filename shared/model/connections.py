"""A user's standing link to one Salesforce org, and the attempt to make one."""

import json
import re
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import NewType, Self

from shared.errors import AttemptSpent, ConnectionNotFound
from shared.model.identity import OwnerDigest, TenantRef, UserId
from shared.model.sealed import Place, Sealed

ConnectionId = NewType("ConnectionId", str)
"""32 lower hex: a keyed digest of user and org, so the same org again is the same connection."""

AttemptId = NewType("AttemptId", str)
"""64 lower hex: SHA-256 of the attempt's 256-bit state."""


def connection_id(text: str) -> ConnectionId:
    """The id in an address. Raises ConnectionNotFound for what no connection can be called."""
    if not re.fullmatch(r"[0-9a-f]{32}", text):
        raise ConnectionNotFound
    return ConnectionId(text)


def attempt_id(text: str) -> AttemptId:
    """The attempt's id in an address. Raises AttemptSpent for what no attempt can be called."""
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise AttemptSpent
    return AttemptId(text)


SCOPES = frozenset({"lightning", "api", "web", "refresh_token", "offline_access"})
ATTEMPT_LIFE_MS = 10 * 60 * 1_000
COMPLETION_LIFE_MS = 5 * 60 * 1_000
COMPLETION_TRIES = 5
OPEN_ATTEMPTS = 5
CONNECTIONS_PER_USER = 10
CHANGES_PER_DAY = 20

DAY_MS = 24 * 60 * 60 * 1_000
IDLE_LIMIT_MS = 30 * DAY_MS
"""How long Salesforce keeps a refresh token that nobody uses (salesforce-contract 2.6)."""

IDLE_WARNING_MS = 7 * DAY_MS
"""How long before that its owner is warned."""

STORE_CLOCK_MS = 1_000
"""How coarse a store's clock may be."""


class Environment(StrEnum):
    """Which kind of org the user wants to join."""

    PRODUCTION = "production"
    SANDBOX = "sandbox"


class ConnectionState(StrEnum):
    """Whether the grant can be used."""

    CONNECTED = "connected"
    NEEDS_RECONNECT = "needs-reconnect"


class Reason(StrEnum):
    """What is the matter with a connection: a closed set. Only some end it; `state` says whether."""

    GRANT_ENDED = "grant-ended"
    IDLE = "idle"
    RECORD_UNREADABLE = "record-unreadable"
    OUTCOME_UNKNOWN = "refresh-outcome-unknown"
    SESSION_REFUSED = "session-refused"
    LOGIN_LIMIT = "login-limit"
    UNEXPLAINED = "refused-without-reason"
    SESSION_NOT_FOR_REST = "session-not-for-rest"
    API_DISABLED = "api-disabled"
    FLOWS_NOT_ALLOWED = "flows-not-allowed"
    IP_RESTRICTED = "ip-restricted"
    USER_BLOCKED = "user-blocked"
    APP_BLOCKED = "app-blocked"
    APP_NOT_INSTALLED = "app-not-installed"
    APP_NOT_ALLOWED = "app-not-allowed"
    OUR_ADDRESS = "our-address"
    OUR_CREDENTIALS = "our-credentials"
    OUR_REQUEST = "our-request"


class _SealedFacts:
    """Values that are stored only sealed: JSON bytes in, JSON bytes out."""

    __slots__ = ()

    def to_bytes(self) -> bytes:
        """The bytes to seal."""
        return json.dumps(asdict(self), separators=(",", ":")).encode()  # type: ignore[call-overload]

    @classmethod
    def from_bytes(cls, raw: bytes) -> Self:
        """The value that was sealed."""
        return cls(**json.loads(raw))


@dataclass(frozen=True, slots=True)
class Grant(_SealedFacts):
    """The opened secret pair. It lives inside one call, and only `salesforce/` takes it."""

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)

    def __str__(self) -> str:
        return "Grant(...)"


@dataclass(frozen=True, slots=True)
class OrgFacts(_SealedFacts):
    """What we know of a joined org: 18-character ids, hosts already proved against the allow-list.

    They are sealed apart from the grant, because they outlive a dead one.
    """

    org_id: str = field(repr=False)
    salesforce_user: str = field(repr=False)
    instance_url: str = field(repr=False)
    login_origin: str = field(repr=False)
    sandbox: bool


@dataclass(frozen=True, slots=True)
class Link:
    """What a connection's sealed records are bound to. `generation` counts consents, the versions commits."""

    id: ConnectionId
    user: UserId
    generation: int = 1
    version: int = 1
    org_version: int = 1

    def grant_place(self, owner: OwnerDigest) -> Place:
        """Where the grant is sealed, for the owner that the caller has proved to be."""
        return Place("grant", f"{self.id}.{self.generation}", self.version, owner, self.user)

    def org_place(self, owner: OwnerDigest) -> Place:
        """Where the org facts are sealed."""
        return Place("org", self.id, self.org_version, owner, self.user)


@dataclass(frozen=True, slots=True)
class Connection:
    """A connection as stored. `generation` counts consents, `version` the grant's commits; times are epoch ms.

    `claim` names the call that is refreshing the grant, or that was and has not told how it ended. Before
    `held_until` the grant is not refreshed. `doubts` counts refreshes since the last commit of which nobody knows
    whether Salesforce rotated the token. `saved_at` is when the row was last written and `read_at` when this
    copy was read, both by the store's clock, the only one that instances share.
    """

    id: ConnectionId
    owner: OwnerDigest
    user: UserId
    generation: int
    version: int
    state: ConnectionState
    reason: Reason | None
    grant: Sealed | None
    org: Sealed
    org_version: int
    connected_at: int
    refreshed_at: int
    claim: str | None = None
    held_until: int = 0
    doubts: int = 0
    etag: str | None = None
    saved_at: int = field(default=0, compare=False)
    read_at: int = field(default=0, compare=False)

    @property
    def consent(self) -> tuple[int, int]:
        """Which consent it came from: a connection that was ended and made again counts from the beginning."""
        return self.generation, self.connected_at

    @property
    def idle_ends_at(self) -> int:
        """When Salesforce ends the grant, unless it is refreshed before."""
        return self.refreshed_at + IDLE_LIMIT_MS

    def is_young(self, floor_ms: int) -> bool:
        """Whether the grant was refreshed a moment ago. The first one, of the consent itself, never was."""
        return self.version > 1 and self.read_at - self.refreshed_at < floor_ms

    @property
    def is_idle(self) -> bool:
        """Whether Salesforce will have ended the grant by itself; its last session may still work."""
        return self.state is ConnectionState.CONNECTED and self.read_at >= self.idle_ends_at

    @property
    def shown_state(self) -> ConnectionState:
        """The state as its owner sees it: a grant that nobody can refresh any more is over."""
        return ConnectionState.NEEDS_RECONNECT if self.is_idle else self.state

    @property
    def shown_reason(self) -> Reason | None:
        """What is the matter, as its owner sees it; what held a refresh back is over when the time is."""
        if self.is_idle:
            return Reason.IDLE
        over = self.state is ConnectionState.CONNECTED and self.held_until <= self.read_at
        return None if over and self.reason is not Reason.OUTCOME_UNKNOWN else self.reason

    @property
    def warning(self) -> Reason | None:
        """What will end the grant soon, unless it is refreshed before."""
        soon = self.read_at >= self.idle_ends_at - IDLE_WARNING_MS
        return Reason.IDLE if soon and self.shown_state is ConnectionState.CONNECTED else None

    @property
    def link(self) -> Link:
        """What its sealed records are bound to, besides the owner."""
        return Link(self.id, self.user, self.generation, self.version, self.org_version)

    def has_moved_since(self, earlier: "Connection") -> bool:
        """Whether another consent or another commit has replaced the grant."""
        return (self.consent, self.version) != (earlier.consent, earlier.version)

    def is_claimed(self, lease_ms: int) -> bool:
        """Whether somebody may be refreshing the grant; a second longer than the lease, as store clocks are coarse."""
        return self.claim is not None and self.read_at < self.saved_at + lease_ms + STORE_CLOCK_MS

    def claimed(self, claim: str) -> "Connection":
        """Taken for one refresh. A claim that nobody gave back leaves the doubt whether its token was used."""
        left = self.held(Reason.OUTCOME_UNKNOWN, self.held_until) if self.claim else self
        return replace(left, claim=claim)

    def released(self) -> "Connection":
        """Given back as it was: nothing has happened to the grant."""
        return replace(self, claim=None)

    def held(self, reason: Reason, until: int) -> "Connection":
        """Given back for a reason that remains: no refresh before `until` (epoch ms, the store's clock)."""
        doubts = self.doubts + (reason is Reason.OUTCOME_UNKNOWN)
        return replace(self, claim=None, reason=reason, held_until=until, doubts=doubts)

    def accepted(self) -> "Connection":
        """Taken by Salesforce after all. What is held stays so: no session ends that soon after it began."""
        return replace(self, reason=None)

    def ended(self) -> "Connection":
        """The same connection without its grant: only the user can make a new one."""
        reason = Reason.IDLE if self.is_idle else Reason.GRANT_ENDED
        reason = Reason.OUTCOME_UNKNOWN if self.doubts else reason
        state = ConnectionState.NEEDS_RECONNECT
        return replace(self, state=state, reason=reason, grant=None, claim=None, held_until=0)


@dataclass(frozen=True, slots=True)
class OpenConnection:
    """A connection with its secrets opened, for the length of one call."""

    row: Connection
    org: OrgFacts
    grant: Grant


@dataclass(frozen=True, slots=True)
class Consent(_SealedFacts):
    """What an attempt asked for; sealed, since it names hosts and holds the PKCE verifier (RFC 7636)."""

    login_origin: str = field(repr=False)
    sandbox: bool
    channel: str = field(repr=False)
    verifier: str = field(repr=False)


class AttemptState(StrEnum):
    """Each attempt goes through these once, by conditional writes."""

    NEW = "new"
    ANSWERED = "answered"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class ConnectAttempt:
    """A consent under way. It belongs to the pane that began it, and to nobody else (identity-contract 5)."""

    id: AttemptId
    tenant: TenantRef
    tenant_generation: int
    owner: OwnerDigest
    user: UserId
    state: AttemptState
    consent: Sealed
    expires_at: int
    code: Sealed | None = None
    completion_hash: str | None = None
    completion_expires_at: int = 0
    tries: int = 0
    etag: str | None = None


def consent_place(attempt: AttemptId, owner: OwnerDigest, user: UserId) -> Place:
    """Where an attempt's own facts are sealed."""
    return Place("consent", attempt, 1, owner, user)


def code_place(attempt: ConnectAttempt, owner: OwnerDigest, completion_hash: str) -> Place:
    """Where an attempt's parked authorization code is sealed.

    The digest of the completion value is part of it, else whoever writes to the store could put the digest of a
    value of their own there, and redeem a victim's code without the value that only the victim's browser got.
    """
    return Place("code", f"{attempt.id}.{completion_hash}", 1, owner, attempt.user)
