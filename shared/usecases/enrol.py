"""Bring a tenant in: by an operator, or, where enrolment is open, by a user's first explicit act."""

from dataclasses import dataclass

from shared.errors import Conflict, NotAllowed
from shared.model.identity import Principal, Role, Tenant, TenantId, TenantState, tenant_id
from shared.model.requests import EnrolTenant
from shared.ports import Clock, Keyring, Randomness, Store
from shared.usecases.admission import ID_SECRET, PROVIDER_ID, Admission


@dataclass(frozen=True, slots=True)
class Enrol:
    """Makes a tenant's key and row, once; a tenant that is there is given back as it is."""

    store: Store
    keyring: Keyring
    admission: Admission
    clock: Clock
    randomness: Randomness

    def __call__(self, tenant: TenantId) -> Tenant:
        """The tenant's row, made if it was not there."""
        ref = self.admission.ref(tenant)
        rows = self.store.tenant(ref)
        known = rows.tenant()
        if known:
            return known
        generation = 1
        self.keyring.mint(ref, generation)
        sealer = self.keyring.sealer(ref, generation)
        row = Tenant(
            ref=ref,
            generation=generation,
            state=TenantState.ACTIVE,
            provider_id=sealer.seal(PROVIDER_ID, f"{tenant.provider}:{tenant.value}".encode()),
            id_secret=sealer.seal(ID_SECRET, self.randomness(32)),
            created_at=self.clock(),
        )
        try:
            return rows.save_tenant(row)
        except Conflict:  # two first acts at once: the other's row is the tenant
            known = rows.tenant()
            if known is None:
                raise
            return known


@dataclass(frozen=True, slots=True)
class EnrolByOperator:
    """Enrols the tenant that an operator names."""

    enrol: Enrol

    def __call__(self, caller: Principal, asked: EnrolTenant) -> Tenant:
        """The tenant's row. Raises NotAllowed for anyone but an operator, InputRefused for an id of wrong form."""
        if Role.OPERATOR not in caller.roles:
            raise NotAllowed
        return self.enrol(tenant_id(asked.provider, asked.id))
