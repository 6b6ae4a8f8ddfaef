"""Begin to join a Salesforce org, and take the browser's answer (identity-contract 5, steps 1 to 4).

The callback only parks the code. It becomes a connection when the pane that began redeems the completion value
with its own bearer token, so a victim who is lured to consent gives an attacker nothing.
"""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from shared.errors import AttemptSpent, Conflict, FieldError, InputRefused, TooManyAttempts, TooManyChanges
from shared.model.connections import (
    ATTEMPT_LIFE_MS,
    CHANGES_PER_DAY,
    COMPLETION_LIFE_MS,
    DAY_MS,
    OPEN_ATTEMPTS,
    AttemptId,
    AttemptState,
    ConnectAttempt,
    Consent,
    Environment,
    code_place,
    consent_place,
)
from shared.model.identity import OpenAttempt, Principal, User, UserId
from shared.model.requests import BeginConnection
from shared.model.sealed import Place
from shared.ports import Clock, Keyring, Randomness, SalesforceOAuth, Store
from shared.usecases.admission import Admission, Admitted, until_settled
from shared.usecases.enrol import Enrol


@dataclass(frozen=True, slots=True)
class Begun:
    """An attempt under way: its public id, where to send the user, and when it lapses (epoch milliseconds)."""

    id: AttemptId
    authorize_url: str = field(repr=False)
    expires_at: int


@dataclass(frozen=True, slots=True)
class BeginConnect:
    """Starts an attempt that only this caller can finish.

    Where enrolment is open this is the explicit act that brings a tenant in. At most five attempts are open
    for a user (TooManyAttempts), and 20 changes are made a day (TooManyChanges).
    """

    store: Store
    admission: Admission
    enrol: Enrol | None
    oauth: SalesforceOAuth
    channels: Mapping[str, str]
    clock: Clock
    randomness: Randomness

    def __call__(self, caller: Principal, asked: BeginConnection) -> Begun:
        """The attempt. Raises InputRefused for an unknown channel or a host that is no login host."""
        if asked.channel not in self.channels:
            raise InputRefused(errors=[FieldError("/channel", "is not a channel of this deployment")])
        origin = self.oauth.login_origin(asked.environment, asked.my_domain)
        if self.enrol:
            self.enrol(caller.tenant)
        admitted = self.admission(caller)
        state = _text(self.randomness(32))
        verifier = _text(self.randomness(48))
        consent = Consent(origin, asked.environment is Environment.SANDBOX, asked.channel, verifier)
        opened = self._open(admitted, attempt_of(state), consent)
        return Begun(opened.id, self.oauth.authorize_url(consent, state), opened.expires_at)

    def _open(self, admitted: Admitted, attempt: AttemptId, consent: Consent) -> ConnectAttempt:
        """Note the attempt at its user first, so that the limit holds when panes race; then make it."""
        now = self.clock()
        opened = OpenAttempt(attempt, now + ATTEMPT_LIFE_MS)

        def noted() -> User:
            user = admitted.rows.user(admitted.owner) or self._newcomer(admitted, now)
            refuse_excess(user, now)
            return admitted.rows.save_user(user.beginning(opened, now))

        user = until_settled(noted)
        sealed = admitted.sealer.seal(consent_place(attempt, user.owner, user.id), consent.to_bytes())
        return self.store.attempt(attempt).save(
            ConnectAttempt(
                id=attempt,
                tenant=admitted.tenant.ref,
                tenant_generation=admitted.tenant.generation,
                owner=user.owner,
                user=user.id,
                state=AttemptState.NEW,
                consent=sealed,
                expires_at=opened.expires_at,
            )
        )

    def _newcomer(self, admitted: Admitted, now: int) -> User:
        user = UserId(self.randomness(16).hex())
        place = Place("subject", admitted.owner, 1, admitted.owner, user)
        return User(admitted.owner, user, admitted.sealer.seal(place, admitted.caller.subject.encode()), now)


@dataclass(frozen=True, slots=True)
class Parked:
    """Where the browser goes next: a channel's fixed address, and the completion value for its fragment."""

    channel: str
    address: str
    completion: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ParkCode:
    """Takes Salesforce's redirect: keeps the code sealed, for the pane that began to redeem.

    A redirect without a code (the user said no, or Salesforce did) ends the attempt and frees its place.
    """

    store: Store
    keyring: Keyring
    channels: Mapping[str, str]
    clock: Clock
    randomness: Randomness

    def __call__(self, state: str, code: str, issuer: str | None) -> Parked:
        """The way back to the pane. Raises AttemptSpent for a state that is unknown, over or used.

        `issuer`, where Salesforce names one, must be the login host of the attempt (RFC 9207).
        """
        door = self.store.attempt(attempt_of(state))
        attempt = door.read()
        now = self.clock()
        if attempt is None or attempt.state is not AttemptState.NEW or attempt.expires_at <= now:
            raise AttemptSpent
        sealer = self.keyring.sealer(attempt.tenant, attempt.tenant_generation)
        place = consent_place(attempt.id, attempt.owner, attempt.user)
        consent = Consent.from_bytes(sealer.open(place, attempt.consent))
        if issuer not in (None, consent.login_origin) or consent.channel not in self.channels:
            raise AttemptSpent
        if not code:
            self._end(attempt, now)
            raise AttemptSpent
        completion = _text(self.randomness(32))
        proof = digest_of(completion)
        answered = replace(
            attempt,
            state=AttemptState.ANSWERED,
            code=sealer.seal(code_place(attempt, attempt.owner, proof), code.encode()),
            completion_hash=proof,
            completion_expires_at=now + COMPLETION_LIFE_MS,
        )
        try:
            door.save(answered)
        except Conflict:  # two callbacks with one state: the other was faster
            raise AttemptSpent from None
        return Parked(consent.channel, self.channels[consent.channel], completion)

    def _end(self, attempt: ConnectAttempt, now: int) -> None:
        rows = self.store.tenant(attempt.tenant)

        def freed() -> None:
            user = rows.user(attempt.owner)
            if user:
                rows.save_user(user.ending(attempt.id, now))

        self.store.attempt(attempt.id).save(replace(attempt, state=AttemptState.DONE))
        until_settled(freed)


def refuse_excess(user: User, now: int) -> None:
    """Raise TooManyAttempts or TooManyChanges when this user has to wait."""
    still_open = user.open_attempts(now)
    if len(still_open) >= OPEN_ATTEMPTS:
        wait = min(a.expires_at for a in still_open) - now
        raise TooManyAttempts("Finish one of them, or wait until one lapses.", retry_after=wait // 1_000 + 1)
    refuse_changes(user, now)


def refuse_changes(user: User, now: int) -> None:
    """Raise TooManyChanges when this user has made a day's connects and disconnects."""
    if user.changes_on(now // DAY_MS) >= CHANGES_PER_DAY:
        raise TooManyChanges("Try again tomorrow.", retry_after=(DAY_MS - now % DAY_MS) // 1_000 + 1)


def attempt_of(state: str) -> AttemptId:
    """The public id of an attempt: SHA-256 of its state, from which the state cannot be had."""
    return AttemptId(digest_of(state))


def digest_of(value: str) -> str:
    """SHA-256 in lower hex, for values of 256 random bits that need no key."""
    return hashlib.sha256(value.encode()).hexdigest()


def _text(random: bytes) -> str:
    return base64.urlsafe_b64encode(random).decode().rstrip("=")
