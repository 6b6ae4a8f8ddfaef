"""Open a connection's grant for one call, and refresh it when Salesforce says that its session is over."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import TypeVar

from shared.errors import (
    Conflict,
    FlowRunnerError,
    OrgNotAllowed,
    OrgSetup,
    ReconnectNeeded,
    RecordUnreadable,
    SalesforceTimedOut,
    SalesforceUnavailable,
    SessionExpired,
)
from shared.model.connections import Connection, Grant, Link, OpenConnection, OrgFacts, Reason
from shared.model.events import Event, EventName
from shared.model.sealed import Place, Sealed
from shared.ports import Clock, Emit, Org, Orgs, SalesforceOAuth
from shared.usecases.admission import Admitted

Answer = TypeVar("Answer")

TURN_S = 25.0
"""How long a call waits for another one's refresh of the same grant."""

LATE_MS = 30_000
"""A session that is refused later than this leaves no time for a refresh and a second try before the platform's cut."""

ALLOWED_ORGS = Place("allowed-orgs", "tenant")


@dataclass(frozen=True, slots=True)
class Grants:
    """The one place where grants are opened, refreshed, sealed again and ended."""

    oauth: SalesforceOAuth
    orgs: Orgs
    clock: Clock
    emit: Emit
    turns: tuple[Lock, ...] = field(default_factory=lambda: tuple(Lock() for _ in range(64)), repr=False)

    def live(self, admitted: Admitted, row: Connection) -> "LiveConnection":
        """The connection, ready to ask Salesforce. Raises ReconnectNeeded when its grant is gone, OrgNotAllowed."""
        self.org(admitted, row)
        return LiveConnection(self, admitted, self.opened(admitted, row))

    def facts(self, admitted: Admitted, row: Connection) -> OrgFacts:
        """What we know of the org, also when the grant is gone."""
        return OrgFacts.from_bytes(admitted.sealer.open(row.link.org_place(admitted.owner), row.org))

    def shown(self, admitted: Admitted, row: Connection) -> OrgFacts | None:
        """What its owner may see of the org: None, with an alarm, where the record does not open."""
        try:
            return self.facts(admitted, row)
        except RecordUnreadable:
            self._alarm(admitted)
            return None

    def org(self, admitted: Admitted, row: Connection) -> OrgFacts:
        """The org, to be used. Raises OrgNotAllowed when the tenant's list no longer holds it."""
        org = self.facts(admitted, row)
        refuse_foreign(admitted, org)
        return org

    def opened(self, admitted: Admitted, row: Connection) -> OpenConnection:
        """The connection with its secrets. Raises ReconnectNeeded when there is no grant to open."""
        org = self.facts(admitted, row)
        if row.grant is None:
            raise ReconnectNeeded("Connect Salesforce again.", members={"reason": row.reason})
        raw = admitted.sealer.open(row.link.grant_place(admitted.owner), row.grant)
        return OpenConnection(row, org, Grant.from_bytes(raw))

    def revocable(self, admitted: Admitted, row: Connection) -> OpenConnection | None:
        """The connection opened to be ended: None where there is nothing left that could be revoked."""
        try:
            return self.opened(admitted, row)
        except ReconnectNeeded:
            return None
        except RecordUnreadable:
            self._alarm(admitted)
            return None

    def revoke(self, org: OrgFacts, grant: Grant) -> bool:
        """End a grant at its org, best effort: True when it is gone."""
        gone = self.oauth.revoke(org, grant)
        if not gone:
            self.emit(Event(EventName.GRANT_NOT_REVOKED))
        return gone

    def sealed(self, admitted: Admitted, link: Link, grant: Grant, org: OrgFacts) -> tuple[Sealed, Sealed]:
        """Grant and org facts as a row of that link holds them."""
        return (
            admitted.sealer.seal(link.grant_place(admitted.owner), grant.to_bytes()),
            admitted.sealer.seal(link.org_place(admitted.owner), org.to_bytes()),
        )

    def refreshed(self, admitted: Admitted, stale: OpenConnection) -> OpenConnection:
        """A fresh grant, stored before it is used. Raises ReconnectNeeded when Salesforce has ended it.

        In this process one call refreshes and the others take what it stored: the second use of a rotated token
        would end the grant.
        """
        turn = self.turns[int(stale.row.id, 16) % len(self.turns)]
        if not turn.acquire(timeout=TURN_S):
            raise SalesforceUnavailable(retry_after=1)
        try:
            return self._refreshed(admitted, stale)
        finally:
            turn.release()

    def refused(self, admitted: Admitted, fresh: OpenConnection) -> FlowRunnerError:
        """Why Salesforce refuses a session that was just renewed: another call changed it, or the org is set up so."""
        if self._newer(admitted, fresh):
            return Conflict()
        return OrgSetup("Salesforce refuses even a fresh session.", members={"cause": "session-refused"})

    def _alarm(self, admitted: Admitted) -> None:
        self.emit(Event(EventName.RECORD_UNREADABLE, {"tenant_id": admitted.tenant.ref}))

    def _refreshed(self, admitted: Admitted, stale: OpenConnection) -> OpenConnection:
        held = self._newer(admitted, stale)
        if held:
            return held
        try:
            grant, org = self.oauth.refresh(stale.org, stale.grant)
        except ReconnectNeeded:
            return self._ended(admitted, stale)
        try:
            row = admitted.rows.save_connection(self._moved(admitted, stale.row, grant, org))
        except Conflict:
            return self._overtaken(admitted, stale, OpenConnection(stale.row, org, grant))
        self.emit(Event(EventName.GRANT_REFRESHED, {"tenant_id": admitted.tenant.ref}))
        return OpenConnection(row, org, grant)

    def _overtaken(self, admitted: Admitted, stale: OpenConnection, late: OpenConnection) -> OpenConnection:
        """What stands in the row by now. After a disconnect or a new consent the late grant is nobody's: revoked."""
        try:
            newer = self._newer(admitted, stale)
        except ReconnectNeeded:
            self.revoke(late.org, late.grant)
            raise
        if newer is None:
            raise Conflict
        if _consent(newer.row) != _consent(stale.row) and newer.grant.refresh_token != late.grant.refresh_token:
            self.revoke(late.org, late.grant)
        return newer

    def _moved(self, admitted: Admitted, row: Connection, grant: Grant, org: OrgFacts) -> Connection:
        """The row one commit further, with these secrets in it."""
        link = replace(row.link, version=row.version + 1, org_version=row.org_version + 1)
        sealed_grant, sealed_org = self.sealed(admitted, link, grant, org)
        return replace(
            row,
            version=link.version,
            org_version=link.org_version,
            grant=sealed_grant,
            org=sealed_org,
            refreshed_at=self.clock(),
        )

    def _newer(self, admitted: Admitted, stale: OpenConnection) -> OpenConnection | None:
        """What another call has stored since this one read the row."""
        _, row = admitted.rows.tenant_and_connection(stale.row.id)
        if row is None:
            raise ReconnectNeeded("Connect Salesforce again.")
        moved = (_consent(row), row.version) != (_consent(stale.row), stale.row.version)
        return self.opened(admitted, row) if moved or row.grant is None else None

    def _ended(self, admitted: Admitted, stale: OpenConnection) -> OpenConnection:
        """Remove the dead grant, unless another call has stored a live one meanwhile."""
        try:
            admitted.rows.save_connection(stale.row.ended(Reason.GRANT_ENDED))
        except Conflict:
            newer = self._newer(admitted, stale)
            if newer:
                return newer
        self.emit(Event(EventName.GRANT_ENDED, {"tenant_id": admitted.tenant.ref}))
        raise ReconnectNeeded("Connect Salesforce again.", members={"reason": Reason.GRANT_ENDED}) from None


class LiveConnection:
    """A connection in use, for the length of one call: its grant is refreshed at most once."""

    def __init__(self, grants: Grants, admitted: Admitted, opened: OpenConnection) -> None:
        self._grants = grants
        self._admitted = admitted
        self._opened = opened
        self._refreshed = False

    @property
    def row(self) -> Connection:
        """The connection as last stored."""
        return self._opened.row

    @property
    def org(self) -> OrgFacts:
        """What we know of its org."""
        return self._opened.org

    def ask(self, question: Callable[[Org], Answer]) -> Answer:
        """The org's answer; asked once more after a refresh, since a refused session did nothing.

        After a refusal that took long there is no time for that: SalesforceTimedOut.
        """
        asked_at = self._grants.clock()
        try:
            return question(self._org())
        except SessionExpired:
            if self._refreshed:
                raise self._grants.refused(self._admitted, self._opened) from None
        if self._grants.clock() - asked_at > LATE_MS:
            raise SalesforceTimedOut
        self._opened = self._grants.refreshed(self._admitted, self._opened)
        self._refreshed = True
        try:
            return question(self._org())
        except SessionExpired:
            raise self._grants.refused(self._admitted, self._opened) from None

    def _org(self) -> Org:
        return self._grants.orgs.org(self._opened.org, self._opened.grant)


def refuse_foreign(admitted: Admitted, org: OrgFacts) -> None:
    """Raise OrgNotAllowed unless the tenant's list, if it has one, holds the org's 18-character id."""
    sealed = admitted.tenant.allowed_orgs
    if sealed and org.org_id not in json.loads(admitted.sealer.open(ALLOWED_ORGS, sealed)):
        raise OrgNotAllowed


def _consent(row: Connection) -> tuple[int, int]:
    """Which consent a row came from: a connection that was ended and made again counts from the beginning."""
    return row.generation, row.connected_at
