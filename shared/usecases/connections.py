"""A user's connections: see them, and end one."""

from collections.abc import Sequence
from dataclasses import dataclass

from shared.errors import ConnectionNotFound
from shared.model.connections import DAY_MS, Connection, OpenConnection, OrgFacts
from shared.model.identity import Principal, Tenant
from shared.ports import Clock
from shared.usecases.admission import Admission, Admitted, until_settled
from shared.usecases.grants import Grants

Joined = tuple[Connection, OrgFacts | None]
"""A connection and its org; None where the record does not open, so that its owner can still end it."""


@dataclass(frozen=True, slots=True)
class Caller:
    """What a caller may know of themselves."""

    principal: Principal
    tenant: Tenant
    connections: Sequence[Joined]


@dataclass(frozen=True, slots=True)
class ReadMe:
    """The caller, their tenant and their connections. Creates nothing."""

    admission: Admission
    grants: Grants

    def __call__(self, caller: Principal) -> Caller:
        """Who the caller is to us."""
        admitted = self.admission(caller)
        rows = admitted.rows.connections(admitted.owner)
        return Caller(caller, admitted.tenant, [(row, self.grants.shown(admitted, row)) for row in rows])


@dataclass(frozen=True, slots=True)
class ReadConnection:
    """One connection of the caller."""

    admission: Admission
    grants: Grants

    def __call__(self, caller: Principal, connection: str) -> Joined:
        """The connection and its org."""
        admitted, row = self.admission.connected(caller, connection)
        return row, self.grants.shown(admitted, row)


@dataclass(frozen=True, slots=True)
class EndConnection:
    """Forgets a connection here first, then revokes its grant at Salesforce."""

    admission: Admission
    grants: Grants
    clock: Clock

    def __call__(self, caller: Principal, connection: str) -> bool:
        """True when the grant is gone at Salesforce too; False when it could not be read, or Salesforce not reached."""
        admitted, _ = self.admission.connected(caller, connection)
        self._count(admitted)  # once the row is gone, nothing may fail before its grant is revoked
        row, opened = until_settled(lambda: self._forget(caller, connection))
        return self.grants.revoke(opened.org, opened.grant) if opened else row.grant is None

    def _forget(self, caller: Principal, connection: str) -> tuple[Connection, OpenConnection | None]:
        """Delete the row as it is now; a refresh in between would leave a grant that nobody revokes."""
        admitted, row = self.admission.connected(caller, connection)
        opened = self.grants.revocable(admitted, row)
        admitted.rows.forget_connection(row)
        return row, opened

    def _count(self, admitted: Admitted) -> None:
        day = self.clock() // DAY_MS

        def save() -> None:
            user = admitted.rows.user(admitted.owner)
            if user is None:
                raise ConnectionNotFound
            admitted.rows.save_user(user.changing(day))

        until_settled(save)
