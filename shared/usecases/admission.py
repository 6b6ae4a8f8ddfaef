"""Whether a proved caller may come in, and through which wall: the first step of every use case."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from shared.errors import Conflict, ConnectionNotFound, TenantDeleted, TenantNotEnrolled, TenantSuspended
from shared.model.connections import Connection, connection_id
from shared.model.identity import OwnerDigest, Principal, Tenant, TenantId, TenantRef, TenantState, keyed_digest
from shared.model.sealed import Place
from shared.ports import Keyring, Sealer, Store, TenantStore

Written = TypeVar("Written")

PROVIDER_ID = Place("tenant-id", "tenant")
ID_SECRET = Place("id-secret", "tenant")


@dataclass(frozen=True, slots=True)
class Admitted:
    """A caller inside their tenant's wall.

    `owner` is computed from the principal, never read from a row; `digest` makes this tenant's own ids.
    """

    caller: Principal
    tenant: Tenant
    rows: TenantStore
    sealer: Sealer
    owner: OwnerDigest
    digest: Callable[..., str]


@dataclass(frozen=True, slots=True)
class Admission:
    """Lets a caller into their own tenant.

    Raises TenantNotEnrolled, TenantSuspended or TenantDeleted by the tenant's state.
    """

    store: Store
    keyring: Keyring

    def ref(self, tenant: TenantId) -> TenantRef:
        """The name under which a tenant is stored."""
        return TenantRef(self.keyring.digest("tenant", tenant.provider, tenant.value))

    def __call__(self, caller: Principal) -> Admitted:
        """Admit by the tenant's row."""
        rows = self.store.tenant(self.ref(caller.tenant))
        return self.admit(caller, rows, rows.tenant())

    def connected(self, caller: Principal, connection: str) -> tuple[Admitted, Connection]:
        """Admit, and find one connection of the caller, in one round trip.

        Raises ConnectionNotFound when there is none; somebody else's looks the same.
        """
        proved = connection_id(connection)
        rows = self.store.tenant(self.ref(caller.tenant))
        tenant, row = rows.tenant_and_connection(proved)
        admitted = self.admit(caller, rows, tenant)
        if row is None or row.owner != admitted.owner:
            raise ConnectionNotFound
        return admitted, row

    def admit(self, caller: Principal, rows: TenantStore, tenant: Tenant | None) -> Admitted:
        """Admit by a row just read or just written."""
        tenant = let_in(tenant)
        sealer = self.keyring.sealer(tenant.ref, tenant.generation)
        secret = sealer.open(ID_SECRET, tenant.id_secret)

        def digest(label: str, *parts: str) -> str:
            return keyed_digest(secret, label, *parts)

        owner = OwnerDigest(digest("owner", caller.tenant.provider, caller.subject))
        return Admitted(caller, tenant, rows, sealer, owner, digest)


def let_in(tenant: Tenant | None) -> Tenant:
    """The tenant, if its users may come in. Raises TenantNotEnrolled, TenantSuspended or TenantDeleted."""
    if tenant is None:
        raise TenantNotEnrolled
    if tenant.state is TenantState.CLOSING:
        raise TenantDeleted
    if tenant.state is TenantState.SUSPENDED:
        raise TenantSuspended
    return tenant


def until_settled(write: Callable[[], Written], tries: int = 8) -> Written:
    """The result of a read-and-write that starts over when another writer was faster. Raises Conflict at last."""
    for _ in range(tries - 1):
        try:
            return write()
        except Conflict:
            continue
    return write()
