"""Store a fresh grant before anybody uses it: if this write is lost, so is the grant (token-lifecycle 3, point 5)."""

from dataclasses import dataclass

from shared.errors import Conflict, KeysUnavailable, ReconnectNeeded, SalesforceUnavailable, StoreUnavailable
from shared.model.connections import Connection, OpenConnection
from shared.model.events import Event, EventName
from shared.ports import Emit
from shared.usecases.admission import Admitted
from shared.usecases.grants import Grants
from shared.usecases.insist import Insist


@dataclass(frozen=True, slots=True)
class CommitGrant:
    """Writes a fresh grant into the row that was claimed for it, as long as the claim's lease lasts."""

    grants: Grants
    insist: Insist
    emit: Emit

    def __call__(self, admitted: Admitted, fresh: OpenConnection, lease_end: float) -> OpenConnection:
        """The connection as stored, or the newer one that stands there by now; `fresh.row` is the claimed row.

        Raises ReconnectNeeded when the connection has ended meanwhile; StoreUnavailable, KeysUnavailable or
        SalesforceUnavailable when the lease was over before it could be stored.
        """
        try:
            return self.insist(lambda: self._stored(admitted, fresh), lease_end)
        except (StoreUnavailable, KeysUnavailable):
            self.emit(Event(EventName.GRANT_NOT_STORED, {"tenant_id": admitted.tenant.ref}))
            raise

    def _stored(self, admitted: Admitted, fresh: OpenConnection) -> OpenConnection:
        """Written on top of whatever else was changed in the row, unless its grant was."""
        row, at = fresh.row, fresh.row.saved_at
        while True:
            try:
                moved = self.grants.moved(admitted, row, fresh.grant, fresh.org, at)
                return OpenConnection(admitted.rows.save_connection(moved), fresh.org, fresh.grant)
            except Conflict:
                row = self._now(admitted, fresh)
            except KeysUnavailable:  # the tenant's key goes with its rows
                self._now(admitted, fresh)
                raise
            if row.has_moved_since(fresh.row):
                return self._standing(admitted, row, fresh)
            if row.claim not in {None, fresh.row.claim}:  # our lease was over: whoever claimed it will see for itself
                self.emit(Event(EventName.GRANT_NOT_STORED, {"tenant_id": admitted.tenant.ref}))
                raise SalesforceUnavailable(retry_after=1)

    def _now(self, admitted: Admitted, late: OpenConnection) -> Connection:
        """The row as it is now. Where its grant is gone the late one is nobody's: revoked, and ReconnectNeeded."""
        _, now = admitted.rows.tenant_and_connection(late.row.id)
        if now is None or now.grant is None:
            self.grants.revoke(late.org, late.grant)
            raise ReconnectNeeded("Connect Salesforce again.", members={"reason": now.reason if now else None})
        return now

    def _standing(self, admitted: Admitted, now: Connection, late: OpenConnection) -> OpenConnection:
        """The connection as it stands: by our own write, whose answer was lost, or by somebody else's.

        After a new consent the late grant is nobody's and is revoked, unless Salesforce has handed out the same
        text again.
        """
        newer = self.grants.opened(admitted, now)
        if now.consent != late.row.consent and newer.grant.refresh_token != late.grant.refresh_token:
            self.grants.revoke(late.org, late.grant)
        return newer
