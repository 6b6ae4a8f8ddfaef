"""Codes, refresh tokens and access tokens as Salesforce keeps them (salesforce-contract.md section 2)."""

from __future__ import annotations

import base64
import hashlib
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from shared.devkit.salesforce.answers import EXPIRED, RefusedError, oauth_error
from shared.devkit.salesforce.ledger import Family, Ledger, Replay, Rotation, now_ms
from shared.devkit.salesforce.people import User
from shared.devkit.salesforce.steering import Switches

_CODE_LIFE_S = 900
_DAY_S = 86_400.0
_ORG_ID = slice(0, 15)
LASTING = frozenset({"refresh_token", "offline_access"})
"""The synonyms that ask for a refresh token."""


@dataclass(slots=True)
class Code:
    """An authorization code; `age_s` is what a test has added to its age."""

    user: User
    scopes: frozenset[str]
    redirect_uri: str
    challenge: str
    born: float
    age_s: float = 0.0
    used: bool = False


@dataclass(slots=True)
class Approval:
    """One approval of the app by a user: a family of refresh tokens, one current, and its access tokens.

    `spent` has for each token that was rotated out the place of that rotation among the account's. `used` is when
    the refresh token was last used (monotonic), `age_s` what a test has added to the time since.
    """

    user: User
    scopes: frozenset[str]
    current: str
    account: Family
    spent: dict[str, int] = field(default_factory=dict)
    access: set[str] = field(default_factory=set)
    refreshing: int = 0
    used: float = field(default_factory=time.monotonic)
    age_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Session:
    """What an access token stands for."""

    user: User
    scopes: frozenset[str]


@dataclass(frozen=True, slots=True)
class Asked:
    """A refresh as it was asked for: its token, when (epoch ms), and the place of its client secret."""

    token: str
    at: int = 0
    secret: int = 0


@dataclass(frozen=True, slots=True)
class Renewed:
    """What a refresh gives: a new access token, the refresh token now current, and the rotation if there was one."""

    approval: Approval
    access: str
    refresh: str
    rotation: Rotation | None


def _invalid_grant(description: str) -> RefusedError:
    return RefusedError(oauth_error("invalid_grant", description))


class GrantBook:
    """Every code and token that was handed out; thread-safe. `count` hears of each event by name.

    `ledger` has what became of each approval.
    """

    def __init__(self, count: Callable[[str], int]) -> None:
        self.ledger = Ledger()
        self._count = count
        self._lock = threading.RLock()
        self._codes: dict[str, Code] = {}
        self._approvals: list[Approval] = []
        self._by_token: dict[str, Approval] = {}
        self._sessions: dict[str, Session] = {}
        self._owners: dict[str, User] = {}

    def issue_code(self, user: User, scopes: frozenset[str], redirect_uri: str, challenge: str) -> str:
        """Return a new code; it ends in `==`, as real ones often do."""
        text = f"aPrx{secrets.token_urlsafe(30)}=="
        with self._lock:
            self._codes[text] = Code(user, scopes, redirect_uri, challenge, time.monotonic())
            self._owners[text] = user
        return text

    def redeem(self, code: str, redirect_uri: str, verifier: str) -> Code:
        """Use a code up and return it. Raises RefusedError for a wrong, used or stale one and a wrong verifier."""
        with self._lock:
            found = self._codes.get(code)
            if found is None:
                raise _invalid_grant("invalid authorization code")
            used, found.used = found.used, True
        if used or time.monotonic() - found.born + found.age_s > _CODE_LIFE_S:
            raise _invalid_grant("expired authorization code")
        if redirect_uri != found.redirect_uri:
            raise RefusedError(oauth_error("redirect_uri_mismatch", "redirect_uri must match the request"))
        digest = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=")
        if digest.decode() != found.challenge:
            raise _invalid_grant("invalid code verifier")
        return found

    def approve(self, user: User, scopes: frozenset[str], switches: Switches) -> tuple[str, str]:
        """Record an approval and return its access and refresh token; past the limit the oldest one dies."""
        with self._lock:
            approval = Approval(user, scopes, "", self.ledger.approved(user.username))
            self._approvals.append(approval)
            if scopes & LASTING:
                self._hand_out(approval)
            else:
                approval.account.ended = "session-only"
            mine = [each for each in self._approvals if each.user == user and each.current]
            for oldest in mine[: max(0, len(mine) - switches.approval_limit)]:
                self._end(oldest, "approval-limit")
            return self._open_session(approval, same=switches.same_access_token), approval.current

    @contextmanager
    def refreshing(self, token: str, *, guard: bool, contention: str) -> Iterator[Approval]:
        """Hold the approval of a refresh token while it is refreshed.

        Raises RefusedError: a rotated-out token ends its whole family, and with `guard` a second
        refresh at the same time is refused.
        """
        with self._lock:
            approval = self._live(token)
            if guard and approval.refreshing:
                self._count("contention")
                with self.ledger.change():
                    approval.account.contentions += 1
                raise _invalid_grant(contention)
            approval.refreshing += 1
        try:
            yield approval
        finally:
            with self._lock:
                approval.refreshing -= 1

    def owner(self, credential: str) -> User | None:
        """Return whom a code or token was handed out to, also when it is used up, spent or over."""
        with self._lock:
            return self._owners.get(credential)

    def note_refresh(self, token: str) -> None:
        """Count the arrival of a refresh at its approval, whatever will become of it."""
        with self._lock, self.ledger.change():
            if token in self._by_token:
                self._by_token[token].account.asked += 1

    def renew(self, asked: Asked, switches: Switches) -> Renewed:
        """Return what a refresh gives. Raises as `refreshing`, and when the token was idle for too long."""
        with self._lock:
            approval = self._live(asked.token)
            idle_s = time.monotonic() - approval.used + approval.age_s
            if switches.idle_days and idle_s >= switches.idle_days * _DAY_S:
                self._end(approval, "idle")
                raise _invalid_grant(EXPIRED)
            approval.used, approval.age_s = time.monotonic(), 0.0
            if switches.rotation_kills_access:
                self._drop_access(approval)
            rotation = self._rotated(approval, asked) if switches.rotation else None
            self._count("refresh")
            access = self._open_session(approval, same=switches.same_access_token)
            return Renewed(approval, access, approval.current, rotation)

    def session(self, access_token: str) -> Session | None:
        """Return the live session of an access token."""
        with self._lock:
            return self._sessions.get(access_token)

    def revoke(self, token: str) -> bool:
        """End a token: a refresh token takes its access tokens along, an access token goes alone."""
        with self._lock:
            for approval in self._approvals:
                if token and token == approval.current:
                    self._end(approval, "revoked")
                    return True
            return self._sessions.pop(token, None) is not None

    def expire_sessions(self, user: User | None) -> None:
        """End the access tokens of a user, or of all; their refresh tokens live on."""
        with self._lock:
            for token in [t for t, session in self._sessions.items() if user in (None, session.user)]:
                del self._sessions[token]

    def end_approvals(self, user: User | None) -> None:
        """End the approvals of a user, or of all, as an admin would."""
        with self._lock:
            for approval in self._approvals:
                if user in (None, approval.user):
                    self._end(approval, "ended")

    def age_codes(self, seconds: float) -> None:
        """Make every code older."""
        with self._lock:
            for code in self._codes.values():
                code.age_s += seconds

    def age_approvals(self, user: User | None, days: float) -> None:
        """Make the last use of the refresh tokens of a user, or of all, that many days older."""
        with self._lock:
            for approval in self._approvals:
                if user in (None, approval.user):
                    approval.age_s += days * _DAY_S

    def live_approvals(self, user: User) -> int:
        """Return how many approvals of a user can still be refreshed."""
        with self._lock:
            return sum(1 for each in self._approvals if each.user == user and each.current)

    def _live(self, token: str) -> Approval:
        approval = self._by_token.get(token)
        if approval and token == approval.current:
            return approval
        if approval and token in approval.spent:
            self._count("replay")
            with self.ledger.change():
                approval.account.replays.append(Replay(now_ms(), approval.spent[token]))
            self._end(approval, "family-revoked")
        raise _invalid_grant(EXPIRED)

    def _hand_out(self, approval: Approval) -> None:
        """Make a refresh token of an approval, and that the current one."""
        approval.current = _refresh_token()
        self._by_token[approval.current] = approval
        self._owners[approval.current] = approval.user

    def _rotated(self, approval: Approval, asked: Asked) -> Rotation:
        approval.spent[approval.current] = len(approval.account.rotations)
        self._hand_out(approval)
        self._count("rotation")
        rotation = Rotation(asked.at, now_ms(), asked.secret)
        with self.ledger.change():
            approval.account.rotations.append(rotation)
        return rotation

    def _end(self, approval: Approval, event: str) -> None:
        if approval.current:
            self._count(event)
            approval.current = ""
            with self.ledger.change():
                approval.account.ended, approval.account.ended_at = event, now_ms()
        self._drop_access(approval)

    def _drop_access(self, approval: Approval) -> None:
        for token in approval.access:
            self._sessions.pop(token, None)
        approval.access.clear()

    def _open_session(self, approval: Approval, *, same: bool) -> str:
        session = Session(approval.user, approval.scopes)
        live = self._sessions.items() if same else ()
        shared = next((token for token, other in live if other.user == session.user), None)
        token = shared or f"{session.user.org.id[_ORG_ID]}!AQ{_opaque(86)}"
        self._sessions[token] = session
        self._owners[token] = session.user
        approval.access.add(token)
        return token


def _opaque(length: int) -> str:
    """Return random text that contains `.` and `_`, as access tokens do."""
    return f".{secrets.token_urlsafe(length)[: length - 2]}_"


def _refresh_token() -> str:
    return f"5Aep861{secrets.token_urlsafe(60)}"
