"""Store a fresh grant before anybody uses it: if this write is lost, so is the grant (token-lifecycle 3, point 5)."""

from dataclasses import dataclass

from shared.errors import Conflict, ReconnectNeeded, StoreUnavailable
from shared.model.connections import Connection, OpenConnection
from shared.model.events import Event, EventName
from shared.ports import Emit, Pause, Randomness, Ticks
from shared.usecases.admission import Admitted
from shared.usecases.grants import Grants

PAUSE_S = 0.5
"""The longest pause before a store that is away is tried again."""


@dataclass(frozen=True, slots=True)
class CommitGrant:
    """Writes a fresh grant into the row that was claimed for it, as long as the claim's lease lasts."""

    grants: Grants
    ticks: Ticks
    pause: Pause
    randomness: Randomness
    emit: Emit

    def __call__(self, admitted: Admitted, fresh: OpenConnection, lease_end: float) -> OpenConnection:
        """The connection as stored, or the newer one that stands there by now; `fresh.row` is the claimed row.

        Raises ReconnectNeeded when the connection has ended meanwhile, StoreUnavailable when the lease is over.
        """
        row = self.grants.moved(admitted, fresh.row, fresh.grant, fresh.org, fresh.row.saved_at)
        while True:
            try:
                written = self._written(admitted, row, fresh)
            except StoreUnavailable:
                if self.ticks() >= lease_end:
                    self.emit(Event(EventName.GRANT_NOT_STORED, {"tenant_id": admitted.tenant.ref}))
                    raise
                self.pause(PAUSE_S * self.randomness(1)[0] / 255)
                continue
            if isinstance(written, OpenConnection):
                return written
            row = written

    def _written(self, admitted: Admitted, row: Connection, fresh: OpenConnection) -> OpenConnection | Connection:
        """The connection as it stands by now, or else the row to write next."""
        try:
            return OpenConnection(admitted.rows.save_connection(row), fresh.org, fresh.grant)
        except Conflict:
            _, now = admitted.rows.tenant_and_connection(row.id)
        if now is None or now.grant is None:
            self.grants.revoke(fresh.org, fresh.grant)
            raise ReconnectNeeded("Connect Salesforce again.", members={"reason": now.reason if now else None})
        if now.grant == row.grant:  # our own write, whose answer was lost
            return OpenConnection(now, fresh.org, fresh.grant)
        if not now.has_moved_since(fresh.row):  # something else of the row was changed
            return self.grants.moved(admitted, now, fresh.grant, fresh.org, row.refreshed_at)
        return self._overtaken(admitted, now, fresh)

    def _overtaken(self, admitted: Admitted, now: Connection, late: OpenConnection) -> OpenConnection:
        """The newer connection. After a new consent the late grant is nobody's and is revoked.

        Salesforce may hand out the same text again, and then it is somebody's.
        """
        newer = self.grants.opened(admitted, now)
        if now.consent != late.row.consent and newer.grant.refresh_token != late.grant.refresh_token:
            self.grants.revoke(late.org, late.grant)
        return newer
