"""Open a connection's grant for the length of one call, seal a fresh one, and end one at its org."""

import json
from dataclasses import dataclass, replace

from shared.errors import OrgNotAllowed, ReconnectNeeded, RecordUnreadable
from shared.model.connections import Connection, Grant, Link, OpenConnection, OrgFacts
from shared.model.events import Event, EventName
from shared.model.sealed import Place, Sealed
from shared.ports import Emit, SalesforceOAuth
from shared.usecases.admission import Admitted

ALLOWED_ORGS = Place("allowed-orgs", "tenant")


@dataclass(frozen=True, slots=True)
class Grants:
    """The one place where grants are opened, sealed and revoked."""

    oauth: SalesforceOAuth
    emit: Emit

    def facts(self, admitted: Admitted, row: Connection) -> OrgFacts:
        """What we know of the org, also when the grant is gone."""
        return OrgFacts.from_bytes(self._unsealed(admitted, row.link.org_place(admitted.owner), row.org))

    def shown(self, admitted: Admitted, row: Connection) -> OrgFacts | None:
        """What its owner may see of the org: None where the record does not open."""
        try:
            return self.facts(admitted, row)
        except RecordUnreadable:
            return None

    def opened(self, admitted: Admitted, row: Connection) -> OpenConnection:
        """The connection with its secrets. Raises ReconnectNeeded when there is no grant to open."""
        org = self.facts(admitted, row)
        if row.grant is None:
            raise ReconnectNeeded("Connect Salesforce again.", members={"reason": row.reason})
        raw = self._unsealed(admitted, row.link.grant_place(admitted.owner), row.grant)
        return OpenConnection(row, org, Grant.from_bytes(raw))

    def revocable(self, admitted: Admitted, row: Connection) -> OpenConnection | None:
        """The connection opened to be ended: None where there is nothing left that could be revoked."""
        try:
            return self.opened(admitted, row)
        except (ReconnectNeeded, RecordUnreadable):
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

    def moved(self, admitted: Admitted, row: Connection, grant: Grant, org: OrgFacts, at: int) -> Connection:
        """The row one commit further, with these secrets in it and nothing left in their way; `at` is epoch ms."""
        link = replace(row.link, version=row.version + 1, org_version=row.org_version + 1)
        sealed_grant, sealed_org = self.sealed(admitted, link, grant, org)
        return replace(
            row.released(),
            reason=None,
            held_until=0,
            version=link.version,
            org_version=link.org_version,
            grant=sealed_grant,
            org=sealed_org,
            refreshed_at=at,
            doubts=0,
        )

    def _unsealed(self, admitted: Admitted, place: Place, sealed: Sealed) -> bytes:
        """The secret; RecordUnreadable, with an alarm, where a record is not as it was sealed."""
        try:
            return admitted.sealer.open(place, sealed)
        except RecordUnreadable:
            self.emit(Event(EventName.RECORD_UNREADABLE, {"tenant_id": admitted.tenant.ref}))
            raise


def refuse_foreign(admitted: Admitted, org: OrgFacts) -> None:
    """Raise OrgNotAllowed unless the tenant's list, if it has one, holds the org's 18-character id."""
    sealed = admitted.tenant.allowed_orgs
    if sealed and org.org_id not in json.loads(admitted.sealer.open(ALLOWED_ORGS, sealed)):
        raise OrgNotAllowed
