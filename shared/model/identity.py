"""Who is calling, and what we remember of it: principals, tenants, users."""

import hashlib
import hmac
import re
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import NewType

from shared.errors import FieldError, InputRefused
from shared.model.retention import RetentionPolicy
from shared.model.sealed import Sealed

TenantRef = NewType("TenantRef", str)
"""A tenant's name in store and telemetry: 32 lower hex, a keyed digest of its provider id."""

OwnerDigest = NewType("OwnerDigest", str)
"""A user's name inside one tenant: 32 lower hex, a keyed digest of provider and object id."""

UserId = NewType("UserId", str)
"""128 random bits in lower hex, minted at a user's first connect attempt; erased, it leads nowhere."""


class Provider(StrEnum):
    """Who signs tokens."""

    ENTRA = "entra"
    GOOGLE = "google"


class Role(StrEnum):
    """What a caller may do beyond their own connections and runs."""

    ADMIN = "admin"
    OPERATOR = "operator"


class BearerToken(str):
    """The unproved text of an Authorization header; it shows itself to nobody."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "BearerToken(...)"


@dataclass(frozen=True, slots=True)
class TenantId:
    """The provider's own id of a tenant: Entra's `tid`, or Google's `hd`. Personal; stored only sealed."""

    provider: Provider
    value: str = field(repr=False)


_TENANT_FORMS = {
    Provider.ENTRA: re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
    Provider.GOOGLE: re.compile(r"([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]"),
}


NOBODYS = frozenset(
    {
        "00000000-0000-0000-0000-000000000000",
        "9188040d-6c67-4c5b-b112-36a304b66dad",  # all personal Microsoft accounts
        "gmail.com",
        "googlemail.com",
    }
)
"""Tenant ids that are no organisation's."""


def tenant_id(provider: Provider, text: str) -> TenantId:
    """The id that an operator typed: a GUID for Entra, a domain for Google. Raises InputRefused (`/id`)."""
    value = text.strip().lower()
    if value in NOBODYS or not _TENANT_FORMS[provider].fullmatch(value):
        raise InputRefused(errors=[FieldError("/id", "is no tenant id of that provider")])
    return TenantId(provider, value)


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller proved a moment ago. Only `identity/` makes one.

    `subject` is Entra's `oid` or Google's `sub`; `signed_in_at` is `auth_time` in epoch milliseconds, if given.
    """

    tenant: TenantId
    subject: str = field(repr=False)
    roles: frozenset[Role] = frozenset()
    guest: bool = False
    signed_in_at: int | None = None


class TenantState(StrEnum):
    """What a tenant's users may do now."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    CLOSING = "closing"


@dataclass(frozen=True, slots=True)
class Tenant:
    """A customer as stored. `generation` counts how often it came (back); times are epoch milliseconds."""

    ref: TenantRef
    generation: int
    state: TenantState
    provider_id: Sealed
    id_secret: Sealed
    created_at: int
    retention: RetentionPolicy = field(default_factory=RetentionPolicy)
    allowed_orgs: Sealed | None = None
    etag: str | None = None


@dataclass(frozen=True, slots=True)
class OpenAttempt:
    """A connect attempt that a user has under way: its id and when it lapses (epoch milliseconds)."""

    id: str
    expires_at: int


@dataclass(frozen=True, slots=True)
class User:
    """A user as stored: a random id, the sealed object id, and what limits need."""

    owner: OwnerDigest
    id: UserId
    subject: Sealed
    created_at: int
    attempts: tuple[OpenAttempt, ...] = ()
    changes_day: int = 0
    changes: int = 0
    etag: str | None = None

    def open_attempts(self, now: int) -> tuple[OpenAttempt, ...]:
        """The attempts that have not lapsed at `now`."""
        return tuple(a for a in self.attempts if a.expires_at > now)

    def beginning(self, attempt: OpenAttempt, now: int) -> "User":
        """The same user with one more attempt under way."""
        return replace(self, attempts=(*self.open_attempts(now), attempt))

    def ending(self, attempt_id: str, now: int) -> "User":
        """The same user without that attempt."""
        kept = tuple(a for a in self.open_attempts(now) if a.id != attempt_id)
        return replace(self, attempts=kept)

    def changes_on(self, day: int) -> int:
        """Connects and disconnects counted on that day (days since 1970, UTC)."""
        return self.changes if self.changes_day == day else 0

    def changing(self, day: int) -> "User":
        """The same user with one more connect or disconnect on that day."""
        return replace(self, changes_day=day, changes=self.changes_on(day) + 1)


def keyed_digest(secret: bytes, label: str, *parts: str) -> str:
    """128 bits of HMAC-SHA-256 in lower hex over a label of its own and length-prefixed parts.

    The lengths keep ("a", "bc") and ("ab", "c") apart; the label keeps one use from serving another.
    """
    mac = hmac.new(secret, digestmod=hashlib.sha256)
    for part in (label, *parts):
        raw = part.encode()
        mac.update(len(raw).to_bytes(4, "big") + raw)
    return mac.hexdigest()[:32]
