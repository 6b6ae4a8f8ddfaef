"""Turn a parked code into a connection, for the pane that began and nobody else (identity-contract 5.2, step 5)."""

import hmac
from contextlib import suppress
from dataclasses import dataclass, replace

from shared.errors import AttemptSpent, Conflict, FlowRunnerError, NextAction, TooManyConnections
from shared.model.connections import (
    COMPLETION_TRIES,
    CONNECTIONS_PER_USER,
    DAY_MS,
    OPEN_ATTEMPTS,
    AttemptId,
    AttemptState,
    ConnectAttempt,
    Connection,
    ConnectionId,
    ConnectionState,
    Consent,
    Grant,
    Link,
    OpenConnection,
    OrgFacts,
    attempt_id,
    code_place,
    consent_place,
)
from shared.model.identity import OpenAttempt, Principal
from shared.model.requests import CompleteConnection
from shared.ports import Clock, SalesforceOAuth, Store
from shared.usecases.admission import Admission, Admitted, until_settled
from shared.usecases.connect import digest_of, refuse_changes
from shared.usecases.grants import Grants, refuse_foreign


@dataclass(frozen=True, slots=True)
class CompleteConnect:
    """Redeems a completion value, exchanges the code, and files the grant under the caller.

    One text (AttemptSpent) for every attempt that is not the caller's, is over, was used or is answered wrongly.
    What Salesforce granted but we may not keep is revoked before the refusal is told.
    """

    store: Store
    admission: Admission
    grants: Grants
    oauth: SalesforceOAuth
    clock: Clock

    def __call__(self, caller: Principal, attempt: str, asked: CompleteConnection) -> OpenConnection:
        """The connection, opened, so that the caller sees which org and user was joined."""
        admitted = self.admission(caller)
        claimed = self._claim(admitted, attempt_id(attempt), asked.completion)
        try:
            consent, code = _opened(admitted, claimed)
            self._count(admitted, claimed)
            grant, org = self.oauth.exchange(consent, code)
        except FlowRunnerError as error:
            if error.next_action is NextAction.RETRY:
                self._give_back(admitted, claimed)
            raise
        try:
            refuse_foreign(admitted, org)
            joined, superseded = until_settled(lambda: self._join(admitted, claimed, grant, org))
        except FlowRunnerError as error:
            self._drop(admitted, org, grant)
            error.next_action = NextAction.CONNECT if error.next_action is NextAction.RETRY else error.next_action
            raise
        if superseded:
            self._drop(admitted, superseded.org, superseded.grant)
        return joined

    def _drop(self, admitted: Admitted, org: OrgFacts, grant: Grant) -> None:
        """Revoke a grant, unless a connection of the caller lives on the same text or nobody can tell.

        Salesforce may hand out the same text again, and a write whose answer was lost may have been made.
        """
        with suppress(FlowRunnerError):
            rows = admitted.rows.connections(admitted.owner)
            held = (self.grants.revocable(admitted, row) for row in rows)
            if all(each is None or each.grant.refresh_token != grant.refresh_token for each in held):
                self.grants.revoke(org, grant)

    def _claim(self, admitted: Admitted, attempt: AttemptId, completion: str) -> ConnectAttempt:
        """Move the attempt to done, by a conditional write that one caller alone can win."""
        door = self.store.attempt(attempt)
        row = door.read()
        if row is None or not self._redeemable(admitted, row):
            raise AttemptSpent
        try:
            if hmac.compare_digest(row.completion_hash or "", digest_of(completion)):
                return door.save(replace(row, state=AttemptState.DONE))
            door.save(replace(row, tries=row.tries + 1))
        except Conflict:
            raise AttemptSpent from None
        raise AttemptSpent

    def _give_back(self, admitted: Admitted, claimed: ConnectAttempt) -> None:
        """Leave the attempt as it was, since the caller is told to try again."""
        now = self.clock()

        def noted() -> None:
            user = admitted.rows.user(admitted.owner)
            freed = user.ending(claimed.id, now) if user else None  # its place is still taken where nothing was counted
            if freed and len(freed.attempts) < OPEN_ATTEMPTS:
                admitted.rows.save_user(freed.beginning(OpenAttempt(claimed.id, claimed.expires_at), now))
                self.store.attempt(claimed.id).save(replace(claimed, state=AttemptState.ANSWERED))

        with suppress(FlowRunnerError):
            until_settled(noted)

    def _redeemable(self, admitted: Admitted, row: ConnectAttempt) -> bool:
        tenant = admitted.tenant
        own = (row.tenant, row.tenant_generation, row.owner) == (tenant.ref, tenant.generation, admitted.owner)
        answered = row.state is AttemptState.ANSWERED and row.tries < COMPLETION_TRIES
        return own and answered and self.clock() < min(row.expires_at, row.completion_expires_at)

    def _count(self, admitted: Admitted, attempt: ConnectAttempt) -> None:
        """Close the attempt at its user, and count the change before Salesforce is asked."""
        now = self.clock()

        def save() -> None:
            user = admitted.rows.user(admitted.owner)
            if user is None or user.id != attempt.user:
                raise AttemptSpent
            refuse_changes(user, now)
            admitted.rows.save_user(user.ending(attempt.id, now).changing(now // DAY_MS))

        until_settled(save)

    def _join(
        self, admitted: Admitted, attempt: ConnectAttempt, grant: Grant, org: OrgFacts
    ) -> tuple[OpenConnection, OpenConnection | None]:
        """File the grant; the second value is the grant that it supersedes."""
        held = admitted.rows.connections(admitted.owner)
        name = ConnectionId(admitted.digest("connection", attempt.user, org.org_id))
        earlier = next((c for c in held if c.id == name), None)
        if earlier is None and len(held) >= CONNECTIONS_PER_USER:
            raise _too_many()
        superseded = self.grants.revocable(admitted, earlier) if earlier else None
        row = self._row(admitted, _link(name, attempt, earlier), (grant, org), earlier)
        joined = OpenConnection(admitted.rows.save_connection(row), org, grant)
        if earlier is None and len(admitted.rows.connections(admitted.owner)) > CONNECTIONS_PER_USER:
            admitted.rows.forget_connection(joined.row)  # consents at once had not seen each other's connection
            raise _too_many()
        return joined, superseded

    def _row(
        self, admitted: Admitted, link: Link, secrets: tuple[Grant, OrgFacts], earlier: Connection | None
    ) -> Connection:
        grant, org = self.grants.sealed(admitted, link, *secrets)
        now = self.clock()
        return Connection(
            id=link.id,
            owner=admitted.owner,
            user=link.user,
            generation=link.generation,
            version=link.version,
            state=ConnectionState.CONNECTED,
            reason=None,
            grant=grant,
            org=org,
            org_version=link.org_version,
            connected_at=now,
            refreshed_at=now,
            etag=earlier.etag if earlier else None,
        )


def _too_many() -> TooManyConnections:
    return TooManyConnections(f"Disconnect one of the {CONNECTIONS_PER_USER} first.")


def _link(name: ConnectionId, attempt: ConnectAttempt, earlier: Connection | None) -> Link:
    if earlier is None:
        return Link(name, attempt.user)
    return Link(name, attempt.user, earlier.generation + 1, 1, earlier.org_version + 1)


def _opened(admitted: Admitted, attempt: ConnectAttempt) -> tuple[Consent, str]:
    """What the attempt asked for and the code that was parked, opened for the owner that the caller is."""
    if attempt.code is None:
        raise AttemptSpent
    place = consent_place(attempt.id, admitted.owner, attempt.user)
    consent = Consent.from_bytes(admitted.sealer.open(place, attempt.consent))
    parked = code_place(attempt, admitted.owner, attempt.completion_hash or "")
    return consent, admitted.sealer.open(parked, attempt.code).decode()
