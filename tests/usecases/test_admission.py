"""Who may come in, and how a tenant is brought in."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from shared.errors import (
    FlowRunnerError,
    InputRefused,
    NotAllowed,
    RecordUnreadable,
    StoreUnavailable,
    TenantDeleted,
    TenantNotEnrolled,
    TenantSuspended,
)
from shared.model.identity import Principal, Provider, Tenant, TenantId, TenantState
from shared.model.requests import EnrolTenant
from shared.usecases.admission import ID_SECRET, PROVIDER_ID
from tests.usecases.world_fixtures import World, a_key, race

Act = Callable[[World, Principal], object]
NOWHERE = "0" * 32

ACTS: dict[str, Act] = {
    "me": lambda world, caller: world.cases.read_me(caller),
    "begin": lambda world, caller: world.begin(caller),
    "complete": lambda world, caller: world.complete(caller, world.begin(world.caller("x", "other")).id, "c" * 43),
    "read": lambda world, caller: world.cases.read_connection(caller, NOWHERE),
    "end": lambda world, caller: world.cases.end_connection(caller, NOWHERE),
    "list": lambda world, caller: world.cases.list_flows(caller, NOWHERE),
    "describe": lambda world, caller: world.cases.describe_flow(caller, NOWHERE, "Create_Case"),
    "run": lambda world, caller: world.run(caller, NOWHERE, "Create_Case", a_key()),
}

every_act = pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)


def enrol(world: World, tenant: TenantId) -> Tenant:
    asked = EnrolTenant(provider=tenant.provider, id=tenant.value)
    return world.cases.enrol(world.caller(operator=True), asked)


def put(world: World, caller: Principal, change: Callable[[Tenant], Tenant]) -> None:
    """Write the caller's tenant as an operator, or a writer of the store, could."""
    rows = world.store.tenant(world.admission.ref(caller.tenant))
    tenant = rows.tenant()
    assert tenant is not None
    rows.save_tenant(change(tenant))


def into(state: TenantState) -> Callable[[Tenant], Tenant]:
    return lambda tenant: replace(tenant, state=state)


def again(tenant: Tenant) -> Tenant:
    """The same tenant as the next generation, its secrets left as they are."""
    return replace(tenant, generation=tenant.generation + 1)


# Admission


@every_act
def test_a_caller_of_an_unknown_tenant_is_refused(deploy: Callable[..., World], act: Act) -> None:
    world = deploy(open_enrolment=False)
    enrol(world, world.caller("x", "other").tenant)
    with pytest.raises(TenantNotEnrolled):
        act(world, world.caller())
    assert len([*world.store.tenants()]) == 1


@every_act
@pytest.mark.parametrize(
    ("state", "refusal"), [(TenantState.SUSPENDED, TenantSuspended), (TenantState.CLOSING, TenantDeleted)]
)
def test_a_caller_of_a_tenant_that_is_not_active_is_refused(
    world: World, ada: Principal, act: Act, state: TenantState, refusal: type[FlowRunnerError]
) -> None:
    enrol(world, ada.tenant)
    put(world, ada, into(state))
    with pytest.raises(refusal):
        act(world, ada)
    assert world.calls() == []


def test_another_generation_s_row_opens_nothing(world: World, ada: Principal) -> None:
    connection = world.connect(ada).row.id
    world.keyring.mint(world.admission.ref(ada.tenant), 2)
    put(world, ada, again)
    with pytest.raises(RecordUnreadable):
        world.cases.list_flows(ada, connection)
    assert world.calls() == []


def test_a_new_generation_has_none_of_the_old_one_s_connections_and_attempts(world: World, ada: Principal) -> None:
    world.connect(ada)
    begun = world.begin(ada)
    completion = world.park(begun)
    ref = world.admission.ref(ada.tenant)
    world.keyring.mint(ref, 2)
    sealer = world.keyring.sealer(ref, 2)
    provider_id, id_secret = sealer.seal(PROVIDER_ID, b"id"), sealer.seal(ID_SECRET, b"s" * 32)
    put(world, ada, lambda tenant: replace(again(tenant), provider_id=provider_id, id_secret=id_secret))
    assert world.cases.read_me(ada).connections == []
    with pytest.raises(FlowRunnerError) as refused:
        world.complete(ada, begun.id, completion)
    assert refused.value.slug == "attempt-spent"


# Enrolment


def test_enrolling_twice_gives_the_same_tenant(world: World, ada: Principal) -> None:
    first, second = enrol(world, ada.tenant), enrol(world, ada.tenant)
    assert first == second
    assert (first.generation, first.state, first.created_at) == (1, TenantState.ACTIVE, world.clock())
    assert [*world.store.tenants()] == [first.ref]


def test_enrolling_does_not_wake_a_tenant_that_is_suspended_or_closing(world: World, ada: Principal) -> None:
    enrol(world, ada.tenant)
    put(world, ada, into(TenantState.CLOSING))
    assert enrol(world, ada.tenant).state is TenantState.CLOSING
    with pytest.raises(TenantDeleted):
        world.begin(ada)


def test_racing_first_acts_agree_on_one_tenant_and_one_key(world: World) -> None:
    callers = [world.caller(f"user-{number}") for number in range(6)]
    begun = race(*(lambda caller=caller: world.begin(caller) for caller in callers))
    assert [b for b in begun if isinstance(b, FlowRunnerError)] == []
    assert len([*world.store.tenants()]) == 1
    assert len([p for p in (world.folder / "keys").iterdir() if p.name != "pepper"]) == 1
    assert {world.inside(caller).tenant for caller in callers} == {world.inside(callers[0]).tenant}
    assert len({world.inside(caller).owner for caller in callers}) == 6


def test_the_slower_of_two_first_acts_takes_the_faster_one_s_tenant(world: World, ada: Principal) -> None:
    faster: list[Tenant] = []
    world.interruptions.before("save_tenant", lambda: faster.append(enrol(world, ada.tenant)))
    assert [enrol(world, ada.tenant)] == faster


def test_an_enrolment_that_broke_off_can_be_made_again(world: World, ada: Principal) -> None:
    world.interruptions.fail("save_tenant", StoreUnavailable())
    with pytest.raises(StoreUnavailable):
        world.begin(ada)
    assert world.begin(ada)


def test_where_enrolment_is_not_open_an_operator_has_to_come_first(deploy: Callable[..., World]) -> None:
    world = deploy(open_enrolment=False)
    ada = world.caller()
    with pytest.raises(TenantNotEnrolled):
        world.begin(ada)
    assert [*world.store.tenants()] == []
    enrol(world, ada.tenant)
    assert world.begin(ada)


def test_only_an_operator_enrols(world: World, ada: Principal) -> None:
    asked = EnrolTenant(provider=Provider.ENTRA, id=ada.tenant.value)
    with pytest.raises(NotAllowed):
        world.cases.enrol(ada, asked)
    assert [*world.store.tenants()] == []


def test_an_operator_s_typing_error_is_named_and_enrols_nobody(world: World) -> None:
    asked = EnrolTenant(provider=Provider.GOOGLE, id="acme example")
    with pytest.raises(InputRefused) as refused:
        world.cases.enrol(world.caller(operator=True), asked)
    assert [e.pointer for e in refused.value.errors] == ["/id"]
    assert [*world.store.tenants()] == []


def test_a_tenant_s_provider_id_is_stored_sealed_and_named_by_a_digest(world: World, ada: Principal) -> None:
    tenant = enrol(world, ada.tenant)
    sealer = world.keyring.sealer(tenant.ref, tenant.generation)
    assert sealer.open(PROVIDER_ID, tenant.provider_id).decode() == f"entra:{ada.tenant.value}"
    assert world.keyring.digest("tenant", "entra", ada.tenant.value) == tenant.ref
