"""Ask an org with a connection's session, and once more with a fresh one when Salesforce says that it is over."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from shared.errors import Conflict, SalesforceTimedOut, SessionExpired
from shared.model.connections import Connection, OpenConnection, OrgFacts, Reason
from shared.ports import Org, Orgs
from shared.usecases.admission import Admitted
from shared.usecases.grants import Grants, refuse_foreign
from shared.usecases.refresh import RefreshGrant

Answer = TypeVar("Answer")

LATE_S = 30
"""A session that is refused later than this leaves no time for a refresh and a second try before the platform's cut."""


@dataclass(frozen=True, slots=True)
class Sessions:
    """The way from a connection's row to its org."""

    grants: Grants
    refresh: RefreshGrant
    orgs: Orgs

    def org(self, admitted: Admitted, row: Connection) -> OrgFacts:
        """The org, to be used. Raises OrgNotAllowed when the tenant's list no longer holds it."""
        org = self.grants.facts(admitted, row)
        refuse_foreign(admitted, org)
        return org

    def live(self, admitted: Admitted, row: Connection) -> "LiveConnection":
        """The connection, ready to ask Salesforce. Raises ReconnectNeeded when its grant is gone, OrgNotAllowed."""
        self.org(admitted, row)
        return LiveConnection(self, admitted, self.grants.opened(admitted, row))


class LiveConnection:
    """A connection in use, for the length of one call: its grant is refreshed at most once."""

    def __init__(self, sessions: Sessions, admitted: Admitted, opened: OpenConnection) -> None:
        self._sessions = sessions
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
        """The org's answer. A refused session did nothing, so it is asked again after a refresh.

        Where even the fresh session is refused it is asked once more if a new consent has replaced the grant
        meanwhile. Where refusal and refresh took too long there is no time for that: SalesforceTimedOut.
        """
        asked_at = self._sessions.refresh.ticks()
        with suppress(SessionExpired):
            return self._asked(question)
        if not self._refreshed:
            self._refresh(asked_at)
            with suppress(SessionExpired):
                return self._asked(question)
        self._opened = self._sessions.refresh.newer(self._admitted, self._opened)
        with suppress(SessionExpired):
            return self._asked(question)
        self._sessions.refresh.newer(self._admitted, self._opened)
        raise Conflict

    def _refresh(self, asked_at: float) -> None:
        refresh = self._sessions.refresh
        self._refuse_late(asked_at, LATE_S)
        self._opened = refresh(self._admitted, self._opened)
        self._refreshed = True
        self._refuse_late(asked_at, LATE_S + refresh.limits.lease_s)

    def _asked(self, question: Callable[[Org], Answer]) -> Answer:
        answer = question(self._sessions.orgs.org(self._opened.org, self._opened.grant))
        if self._opened.row.reason is Reason.SESSION_REFUSED:
            self._opened = self._sessions.refresh.accepted(self._admitted, self._opened)
        return answer

    def _refuse_late(self, asked_at: float, late_s: int) -> None:
        if self._sessions.refresh.ticks() - asked_at > late_s:
            raise SalesforceTimedOut
