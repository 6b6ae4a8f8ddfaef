"""Renew a grant whose session is over: one call across all instances (token-lifecycle 3).

A conditional write claims the connection's own row before the token call. It is lock, fence, proof that the store
takes writes, and what a crash leaves behind; what is done next rests on the row which that write returned.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from shared.errors import (
    Conflict,
    FlowRunnerError,
    KeysUnavailable,
    ReconnectNeeded,
    SalesforceUnavailable,
    StoreUnavailable,
)
from shared.model.connections import Connection, Grant, OpenConnection, OrgFacts, Reason
from shared.model.events import Event, EventName
from shared.model.refreshing import Again, FailureClass, RefreshFailed
from shared.ports import Emit, Pause, Randomness, SalesforceOAuth, Ticks
from shared.usecases.admission import Admitted, let_in
from shared.usecases.breaker import Breaker
from shared.usecases.commit_grant import CommitGrant
from shared.usecases.flights import Flights
from shared.usecases.grants import Grants
from shared.usecases.insist import Insist
from shared.usecases.refresh_failures import HANDLING, REFUSED_MS, SECOND_MS, RefreshLimits, held_back, problem_of_ours

POLL_S = 0.2
"""How often a call looks whether another one's refresh has ended."""

BRIEFLY_S = 5.0
"""How long a write that can be done without is tried while the store is away."""

CLAIM_BYTES = 16
CONTENTION_PAUSE_S = 1.0
CONTENTION_TRIES = 3


@dataclass(frozen=True, slots=True)
class RefreshGrant:
    """Refreshes a grant once for all who meet its expired session at the same time."""

    grants: Grants
    commit: CommitGrant
    insist: Insist
    oauth: SalesforceOAuth
    limits: RefreshLimits
    breaker: Breaker
    flights: Flights[OpenConnection]
    ticks: Ticks
    pause: Pause
    randomness: Randomness
    emit: Emit

    def __call__(self, admitted: Admitted, stale: OpenConnection) -> OpenConnection:
        """The connection with a fresh grant, which is stored.

        Raises ReconnectNeeded when Salesforce has ended it; SalesforceUnavailable, SalesforceUnusable, OrgSetup,
        OrgLimit, StoreUnavailable, KeysUnavailable or RecordUnreadable when it cannot be had now.
        """
        row, patience = stale.row, self.limits.patience_s
        key = (admitted.tenant.ref, row.id, row.consent, row.version)
        return self.flights(key, lambda: self._settled(admitted, stale, self.ticks() + patience), patience)

    def newer(self, admitted: Admitted, fresh: OpenConnection) -> OpenConnection:
        """What has replaced a grant whose session Salesforce refuses although it was just renewed.

        Where nothing has, the org is set up so: OrgSetup. The row remembers it, so that nobody asks for a token again
        at once.
        """
        row = self._row(admitted, fresh.row)
        if row.grant is None or row.has_moved_since(fresh.row):
            return self.grants.opened(admitted, row)
        raise self._refused(admitted, row)

    def accepted(self, admitted: Admitted, opened: OpenConnection) -> OpenConnection:
        """The connection, once Salesforce has taken a session that it refused before."""
        try:
            row = admitted.rows.save_connection(opened.row.accepted())
        except (Conflict, StoreUnavailable):
            return opened
        return OpenConnection(row, opened.org, opened.grant)

    def _settled(self, admitted: Admitted, stale: OpenConnection, until: float) -> OpenConnection:
        """What another call has stored, or else what this one gets."""
        while True:
            row = self._row(admitted, stale.row)
            if row.has_moved_since(stale.row) or row.grant is None:
                return self.grants.opened(admitted, row)
            if not row.is_claimed(self.limits.lease_ms):
                self._refuse_now(admitted, row, stale.org)
                refreshed = self._claimed(admitted, row)
                if refreshed:
                    return refreshed
            elif self.ticks() >= until:
                raise SalesforceUnavailable(retry_after=1)
            else:
                self.pause(POLL_S)

    def _refuse_now(self, admitted: Admitted, row: Connection, org: OrgFacts) -> None:
        """Raise when no token may be asked for now."""
        if row.held_until > row.read_at:
            raise held_back(row)
        if row.is_young(self.limits.floor_s * SECOND_MS):
            raise self._refused(admitted, row)
        fault = self.breaker.fault(org.login_origin, row.id)
        if fault:
            raise problem_of_ours(fault)

    def _refused(self, admitted: Admitted, row: Connection) -> FlowRunnerError:
        """Salesforce refuses a session that is as good as new: no refresh will cure that."""
        refused = row.held(Reason.SESSION_REFUSED, row.read_at + REFUSED_MS)
        if row.claim is None:  # else another call is at it, and will see for itself
            self._tell_row(admitted, row, lambda now: now.held(Reason.SESSION_REFUSED, refused.held_until))
        return held_back(refused)

    def _claimed(self, admitted: Admitted, row: Connection) -> OpenConnection | None:
        """The connection refreshed under a claim of its own; None when another call was faster."""
        claim, lease_end = self.randomness(CLAIM_BYTES).hex(), self.ticks() + self.limits.lease_s
        try:
            claimed = admitted.rows.save_connection(row.claimed(claim))
        except Conflict:
            claimed = self._row(admitted, row)
            if claimed.claim != claim:
                return None
        try:
            opened = self.grants.opened(admitted, claimed)
            self._probe(opened)
        except FlowRunnerError:
            self._tell_row(admitted, claimed, Connection.released)
            raise
        try:
            grant, org = self._asked(opened, lease_end)
        except RefreshFailed as failed:
            return self._failed(admitted, opened, failed, lease_end)
        self.breaker.close(org.login_origin, row.id)
        stored = self.commit(admitted, OpenConnection(claimed, org, grant), lease_end)
        self.emit(Event(EventName.GRANT_REFRESHED, {"tenant_id": admitted.tenant.ref}))
        return stored

    def _probe(self, opened: OpenConnection) -> None:
        """Raise when another call has just been let through an open breaker."""
        fault = self.breaker.probe(opened.org.login_origin, opened.row.id)
        if fault:
            raise problem_of_ours(fault)

    def _asked(self, opened: OpenConnection, lease_end: float) -> tuple[Grant, OrgFacts]:
        """The fresh grant. The same token is sent again only where it is certainly unused and the lease leaves time."""
        tries = {Again.AT_ONCE: 1, Again.LATER: CONTENTION_TRIES}
        while True:
            if self.ticks() + self.limits.deadline_s > lease_end:
                raise RefreshFailed(FailureClass.TRANSIENT, retry_after=1)
            try:
                return self.oauth.refresh(opened.org, opened.grant)
            except RefreshFailed as failed:
                if failed.again is None or not tries[failed.again]:
                    raise
                tries[failed.again] -= 1
                if failed.again is Again.LATER:
                    self.pause(CONTENTION_PAUSE_S)

    def _failed(
        self, admitted: Admitted, opened: OpenConnection, failed: RefreshFailed, lease_end: float
    ) -> OpenConnection:
        """A newer grant that another call has stored; else the problem is raised, and the row told."""
        handling, ended = HANDLING[failed.kind], failed.kind is FailureClass.GRANT_DEAD
        self._tell_breaker(opened, failed)
        until = lease_end if ended else None  # a dead grant that stays would be asked for again
        told = self._tell_row(admitted, opened.row, lambda row: handling.row(row, failed, self.limits), until)
        if isinstance(told, OpenConnection):
            return told
        facts = {"tenant_id": admitted.tenant.ref, "error_code": failed.kind, "reason": failed.cause or told.reason}
        self.emit(Event(EventName.GRANT_ENDED if ended else EventName.GRANT_NOT_REFRESHED, facts))
        raise handling.problem(told, failed) from None

    def _tell_breaker(self, opened: OpenConnection, failed: RefreshFailed) -> None:
        """A request of ours that is refused may be wrong for this grant alone, so it stops this grant alone."""
        host, connection = opened.org.login_origin, opened.row.id
        if failed.kind is FailureClass.OPERATOR:
            if self.breaker.open(connection if failed.cause is Reason.OUR_REQUEST else host, failed.cause):
                self.emit(Event(EventName.REFRESHES_SUSPENDED, {"reason": failed.cause}))
        elif failed.knows_us:
            self.breaker.close(host, connection)
        else:
            self.breaker.give_back(host, connection)

    def _tell_row(
        self,
        admitted: Admitted,
        row: Connection,
        effect: Callable[[Connection], Connection],
        until: float | None = None,
    ) -> OpenConnection | Connection:
        """The row as stored with what has happened to it, or the newer grant that another call has stored.

        Where the store is away for longer the claim stays to its end, which says enough. Raises SalesforceUnavailable
        when somebody else has claimed the row meanwhile.
        """
        try:
            return self.insist(lambda: self._told(admitted, row, effect), until or self.ticks() + BRIEFLY_S)
        except (StoreUnavailable, KeysUnavailable):
            with suppress(StoreUnavailable):
                now = self._row(admitted, row)
                if now.has_moved_since(row):
                    return self.grants.opened(admitted, now)
            return effect(row)

    def _told(
        self, admitted: Admitted, row: Connection, effect: Callable[[Connection], Connection]
    ) -> OpenConnection | Connection:
        claim = row.claim
        while True:
            try:
                return admitted.rows.save_connection(effect(row))
            except Conflict:
                now = self._row(admitted, row)
            if now.has_moved_since(row) or now.grant is None:
                return self.grants.opened(admitted, now)
            if now.claim != claim:
                raise SalesforceUnavailable(retry_after=1)
            row = now

    def _row(self, admitted: Admitted, earlier: Connection) -> Connection:
        """The row as it is now. Raises ReconnectNeeded when it has gone, and what Admission raises of its tenant."""
        tenant, row = admitted.rows.tenant_and_connection(earlier.id)
        let_in(tenant)
        if row is None:
            raise ReconnectNeeded("Connect Salesforce again.")
        return row
