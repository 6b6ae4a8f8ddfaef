"""Seeing one's connections, and ending them."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from shared.errors import ConnectionNotFound, FlowRunnerError, ReconnectNeeded, StoreUnavailable, TooManyChanges
from shared.model.answers import ConnectionView
from shared.model.connections import ConnectionState, Reason
from shared.model.events import EventName
from shared.model.identity import Principal, Role
from tests.usecases.world_fixtures import DAY, SECOND, World, a_key, identity_of, race


def ids(world: World, caller: Principal) -> list[str]:
    return [row.id for row, _ in world.cases.read_me(caller).connections]


# Me, list, read


def test_a_caller_sees_their_tenant_and_roles_and_no_row_is_made(world: World, ada: Principal) -> None:
    world.begin(world.caller("somebody"))
    me = world.cases.read_me(world.caller("ada", admin=True))
    assert me.tenant.ref == world.admission.ref(ada.tenant)
    assert (me.principal.roles, me.connections) == (frozenset({Role.ADMIN}), [])
    admitted = world.inside(ada)
    assert admitted.rows.user(admitted.owner) is None


def test_connections_come_in_the_order_in_which_they_were_made(world: World, ada: Principal) -> None:
    made = []
    for number in (3, 1, 2):
        world.switch(id_url=identity_of(number))
        world.clock.move(SECOND)
        made.append(world.connect(ada).row.id)
    assert ids(world, ada) == made


def test_a_caller_sees_only_their_own(world: World, ada: Principal, ben: Principal) -> None:
    mine, theirs = world.connect(ada), world.connect(ben, "ben@acme.example")
    assert (ids(world, ada), ids(world, ben)) == ([mine.row.id], [theirs.row.id])
    assert world.cases.read_connection(ada, mine.row.id) == (mine.row, mine.org)


@pytest.mark.parametrize("what", ["read", "end", "list", "describe", "run"])
def test_somebody_else_s_connection_looks_like_none_at_all(
    world: World, ada: Principal, ben: Principal, what: str
) -> None:
    theirs = world.connect(ada).row.id
    world.connect(ben, "ben@acme.example")
    acts: dict[str, Callable[[str], object]] = {
        "read": lambda connection: world.cases.read_connection(ben, connection),
        "end": lambda connection: world.cases.end_connection(ben, connection),
        "list": lambda connection: world.cases.list_flows(ben, connection),
        "describe": lambda connection: world.cases.describe_flow(ben, connection, "Daily_Digest"),
        "run": lambda connection: world.run(ben, connection, "Daily_Digest", a_key()),
    }
    told = set()
    for connection in (theirs, "0" * 32, "no-id"):
        with pytest.raises(ConnectionNotFound) as refused:
            acts[what](connection)
        told.add((str(refused.value), repr(refused.value.members)))
    assert len(told) == 1
    assert world.calls() == []
    assert ids(world, ada) == [theirs]


def test_a_broken_connection_still_says_which_org_it_was(world: World, ada: Principal) -> None:
    joined = world.connect(ada)
    world.end_approvals()
    with pytest.raises(ReconnectNeeded):
        world.cases.list_flows(ada, joined.row.id)
    row, org = world.cases.read_connection(ada, joined.row.id)
    assert (row.state, row.reason) == (ConnectionState.NEEDS_RECONNECT, Reason.GRANT_ENDED)
    assert org == joined.org


def test_a_connection_whose_org_cannot_be_read_hides_no_other_and_can_be_ended(world: World, ada: Principal) -> None:
    row = world.connect(ada).row
    world.inside(ada).rows.save_connection(replace(row, org_version=7))
    assert [(held.id, org) for held, org in world.cases.read_me(ada).connections] == [(row.id, None)]
    assert world.cases.read_connection(ada, row.id)[1] is None
    assert {event.name for event in world.events} == {EventName.RECORD_UNREADABLE}
    assert not world.cases.end_connection(ada, row.id)
    assert ids(world, ada) == []


# Idle


@pytest.mark.parametrize(
    ("idle_ms", "state", "reason", "warning"),
    [
        (22 * DAY, "connected", None, None),
        (23 * DAY - 1, "connected", None, None),
        (23 * DAY, "connected", None, "idle"),
        (29 * DAY, "connected", None, "idle"),
        (30 * DAY - 1, "connected", None, "idle"),
        (30 * DAY, "needs-reconnect", "idle", None),
        (31 * DAY, "needs-reconnect", "idle", None),
    ],
)
def test_a_week_before_salesforce_ends_an_idle_grant_its_owner_is_warned(
    world: World, ada: Principal, idle_ms: int, state: str, reason: str | None, warning: str | None
) -> None:
    joined = world.connect(ada).row
    world.clock.move(idle_ms)
    (listed,) = world.cases.read_me(ada).connections
    for row, org in (listed, world.cases.read_connection(ada, joined.id)):
        view = ConnectionView.of(row, org)
        assert (view.state, view.reason, view.warning) == (state, reason, warning)
        assert view.idle_ends_at == (joined.connected_at + 30 * DAY if state == "connected" else None)


def test_idle_days_are_counted_from_the_last_refresh_and_one_that_succeeds_ends_them(
    world: World, ada: Principal
) -> None:
    connection = world.connect(ada).row.id
    for days in (29, 29, 31):
        world.clock.move(days * DAY)
        world.plan("list", answer="session-expired")
        assert world.instance().list_flows(ada, connection)
        row, org = world.cases.read_connection(ada, connection)
        view = ConnectionView.of(row, org)
        assert (view.state, view.warning, view.idle_ends_at) == ("connected", None, world.clock() + 30 * DAY)


# End


def test_an_ended_connection_is_gone_here_and_at_salesforce(world: World, ada: Principal) -> None:
    joined = world.connect(ada)
    assert world.cases.end_connection(ada, joined.row.id)
    assert ids(world, ada) == []
    assert world.approvals() == 0
    with pytest.raises(ConnectionNotFound):
        world.run(ada, joined.row.id, "Daily_Digest", a_key())


def test_a_connection_is_forgotten_here_before_salesforce_is_told(world: World, ada: Principal) -> None:
    connection = world.connect(ada).row.id
    with world.held("revoke", lambda: world.cases.end_connection(ada, connection)) as ending:
        assert ids(world, ada) == []
    assert ending.result()


@pytest.mark.parametrize("weather", [{"drop": "before"}, {"answer": "html"}])
def test_a_connection_is_forgotten_even_when_salesforce_is_away_and_the_caller_is_told(
    world: World, ada: Principal, weather: dict[str, str]
) -> None:
    connection = world.connect(ada).row.id
    world.plan("revoke", **weather)
    assert not world.cases.end_connection(ada, connection)
    assert ids(world, ada) == []
    assert [event.name for event in world.events] == [EventName.GRANT_NOT_REVOKED]


def test_a_grant_that_salesforce_has_ended_already_counts_as_revoked(world: World, ada: Principal) -> None:
    connection = world.connect(ada).row.id
    world.end_approvals()
    assert world.cases.end_connection(ada, connection)
    assert len(world.calls("revoke")) == 1


def test_a_connection_whose_grant_is_gone_ends_without_a_call(world: World, ada: Principal) -> None:
    row = world.connect(ada).row
    world.inside(ada).rows.save_connection(row.ended())
    assert world.cases.end_connection(ada, row.id)
    assert world.calls() == []


def test_a_grant_that_cannot_be_read_cannot_be_revoked_and_the_caller_is_told(world: World, ada: Principal) -> None:
    row = world.connect(ada).row
    world.inside(ada).rows.save_connection(replace(row, grant=row.org))
    assert not world.cases.end_connection(ada, row.id)
    assert ids(world, ada) == []
    assert [event.name for event in world.events] == [EventName.RECORD_UNREADABLE]


def test_a_disconnect_counts_as_a_change_and_is_never_refused(world: World, ada: Principal) -> None:
    connection = world.connect(ada).row.id
    world.changed(ada, 19)
    assert world.cases.end_connection(ada, connection)
    assert world.user(ada).changes_on(world.clock() // DAY) == 21
    with pytest.raises(TooManyChanges):
        world.begin(ada)


@pytest.mark.parametrize("method", ["user", "save_user", "forget_connection"])
def test_while_the_store_is_away_nothing_is_ended_and_nothing_is_lost(
    world: World, ada: Principal, method: str
) -> None:
    connection = world.connect(ada).row.id
    world.interruptions.fail(method, StoreUnavailable())
    with pytest.raises(StoreUnavailable):
        world.cases.end_connection(ada, connection)
    assert (ids(world, ada), world.approvals()) == ([connection], 1)
    assert world.cases.end_connection(ada, connection)
    assert world.approvals() == 0


def test_a_grant_that_a_refresh_has_stored_meanwhile_is_the_one_that_is_revoked(world: World, ada: Principal) -> None:
    connection = world.connect(ada).row.id
    world.expire_sessions()
    world.interruptions.before("forget_connection", lambda: world.cases.list_flows(ada, connection))
    assert world.cases.end_connection(ada, connection)
    assert (ids(world, ada), world.approvals()) == ([], 0)


def test_racing_disconnects_leave_neither_row_nor_grant(world: World, ada: Principal) -> None:
    connection = world.connect(ada).row.id
    answers = race(*[lambda: world.cases.end_connection(ada, connection)] * 4)
    assert True in answers
    assert {a.slug for a in answers if isinstance(a, FlowRunnerError)} <= {"connection-not-found"}
    assert False not in answers
    assert (ids(world, ada), world.approvals()) == ([], 0)
