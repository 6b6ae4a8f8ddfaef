"""Turning a parked code into a connection."""

import json
from dataclasses import replace

import pytest

from shared.devkit.salesforce.tokens import sign
from shared.errors import (
    AttemptSpent,
    FlowRunnerError,
    NextAction,
    OrgLimit,
    OrgNotAllowed,
    SalesforceUnavailable,
    ScopeMissing,
    StoreUnavailable,
    TooManyChanges,
    TooManyConnections,
)
from shared.model.connections import AttemptId, ConnectionState, OpenConnection
from shared.model.identity import Principal
from tests.usecases.world_fixtures import DAY, MINUTE, SECOND, World, identity_of, race

WRONG = "w" * 43


def parked(world: World, caller: Principal) -> tuple[AttemptId, str]:
    """An attempt that its user has consented to, and its completion value."""
    begun = world.begin(caller)
    return begun.id, world.park(begun)


def spent(world: World, caller: Principal, attempt: AttemptId, completion: str) -> bool:
    """Whether the attempt is refused as spent, without a call to Salesforce."""
    asked = world.asked().get("token", 0)
    with pytest.raises(AttemptSpent):
        world.complete(caller, attempt, completion)
    return world.asked().get("token", 0) == asked


def test_the_user_sees_which_org_and_user_was_joined(world: World, ada: Principal) -> None:
    world.begin(ada)
    joined, person, user = world.connect(ada), world.person, world.user(ada)
    assert (joined.org.org_id, joined.org.salesforce_user) == (person.org.id, person.id)
    assert world.opened(ada) == joined
    assert (joined.row.generation, joined.row.version, joined.row.org_version) == (1, 1, 1)
    assert (joined.row.state, joined.row.connected_at) == (ConnectionState.CONNECTED, world.clock())
    assert (len(user.attempts), user.changes_on(world.clock() // DAY)) == (1, 1)


# Who may redeem, with what, and when


def test_nobody_but_the_user_who_began_can_redeem(world: World, ada: Principal, ben: Principal) -> None:
    attempt, completion = parked(world, ada)
    world.begin(ben)
    namesake = world.caller("ada", "umbrella")
    world.begin(namesake)
    assert all(spent(world, ben, attempt, completion) for _ in range(6))
    assert spent(world, namesake, attempt, completion)
    assert world.complete(ada, attempt, completion)
    assert world.cases.read_me(ben).connections == []


@pytest.mark.parametrize("attempt", ["0" * 64, "", "../me", "A" * 64])
def test_an_attempt_that_never_was_is_spent(world: World, ada: Principal, attempt: str) -> None:
    world.begin(ada)
    assert spent(world, ada, AttemptId(attempt), WRONG)


def test_an_attempt_without_a_consent_cannot_be_redeemed(world: World, ada: Principal) -> None:
    assert spent(world, ada, world.begin(ada).id, WRONG)


def test_four_wrong_values_leave_the_right_one_its_chance(world: World, ada: Principal) -> None:
    attempt, completion = parked(world, ada)
    assert all(spent(world, ada, attempt, WRONG) for _ in range(4))
    assert world.complete(ada, attempt, completion)


def test_five_wrong_values_spend_the_attempt(world: World, ada: Principal) -> None:
    attempt, completion = parked(world, ada)
    assert all(spent(world, ada, attempt, WRONG) for _ in range(5))
    assert spent(world, ada, attempt, completion)


def test_a_completion_value_lives_five_minutes(world: World, ada: Principal) -> None:
    first, second = parked(world, ada), parked(world, ada)
    world.clock.move(5 * MINUTE - 1)
    assert world.complete(ada, *first)
    world.clock.move(1)
    assert spent(world, ada, *second)


def test_a_completion_value_does_not_outlive_its_attempt(world: World, ada: Principal) -> None:
    first, second = world.begin(ada), world.begin(ada)
    world.clock.move(8 * MINUTE)
    values = world.park(first), world.park(second)
    world.clock.move(2 * MINUTE - 1)
    assert world.complete(ada, first.id, values[0])
    world.clock.move(1)
    assert spent(world, ada, second.id, values[1])


def test_a_value_is_redeemed_once(world: World, ada: Principal) -> None:
    attempt, completion = parked(world, ada)
    world.complete(ada, attempt, completion)
    assert spent(world, ada, attempt, completion)


def test_of_racing_completions_one_asks_salesforce_and_the_others_are_spent(world: World, ada: Principal) -> None:
    attempt, completion = parked(world, ada)
    answers = race(*[lambda: world.complete(ada, attempt, completion)] * 6)
    assert len([a for a in answers if isinstance(a, OpenConnection)]) == 1
    assert [a.slug for a in answers if isinstance(a, FlowRunnerError)] == ["attempt-spent"] * 5
    assert world.asked()["token"] == 1


# What Salesforce says


def test_while_salesforce_cannot_be_reached_the_attempt_stays_usable(world: World, ada: Principal) -> None:
    attempt, completion = parked(world, ada)
    with world.unreachable(), pytest.raises(SalesforceUnavailable):
        world.complete(ada, attempt, completion)
    assert world.complete(ada, attempt, completion)


def test_while_the_org_takes_no_sign_ins_the_attempt_stays_usable(world: World, ada: Principal) -> None:
    attempt, completion = parked(world, ada)
    world.plan("token", answer="login-rate")
    with pytest.raises(OrgLimit):
        world.complete(ada, attempt, completion)
    assert world.complete(ada, attempt, completion)


@pytest.mark.parametrize("weather", [{"drop": "before"}, {"drop": "after"}, {"answer": "html"}, {"answer": "too-busy"}])
def test_where_nobody_can_tell_whether_the_code_was_used_the_user_starts_over(
    world: World, ada: Principal, weather: dict[str, str]
) -> None:
    attempt, completion = parked(world, ada)
    world.plan("token", **weather)
    with pytest.raises(SalesforceUnavailable) as refused:
        world.complete(ada, attempt, completion)
    assert refused.value.next_action is NextAction.CONNECT
    assert spent(world, ada, attempt, completion)


def test_a_code_that_has_become_too_old_spends_the_attempt(world: World, ada: Principal) -> None:
    attempt, completion = parked(world, ada)
    world.salesforce.grants.age_codes(1_000)
    with pytest.raises(AttemptSpent):
        world.complete(ada, attempt, completion)
    assert spent(world, ada, attempt, completion)


def test_an_approval_without_the_scope_for_flows_is_refused_and_revoked(world: World, ada: Principal) -> None:
    world.switch(scope="web refresh_token")
    with pytest.raises(ScopeMissing):
        world.connect(ada)
    assert world.approvals() == 0
    assert world.cases.read_me(ada).connections == []


def test_an_org_that_the_tenant_does_not_allow_is_refused_and_what_was_granted_is_revoked(
    world: World, ada: Principal
) -> None:
    attempt, completion = parked(world, ada)
    world.allow(ada, "00D000000000001AAA")
    with pytest.raises(OrgNotAllowed):
        world.complete(ada, attempt, completion)
    assert world.approvals() == 0
    assert world.cases.read_me(ada).connections == []
    world.allow(ada, "00D000000000001AAA", world.person.org.id)
    assert world.connect(ada)


def test_what_could_not_be_stored_is_revoked(world: World, ada: Principal) -> None:
    attempt, completion = parked(world, ada)
    world.interruptions.fail("save_connection", StoreUnavailable())
    with pytest.raises(StoreUnavailable) as refused:
        world.complete(ada, attempt, completion)
    assert (world.approvals(), refused.value.next_action) == (0, NextAction.CONNECT)
    assert spent(world, ada, attempt, completion)


# The user's own count


@pytest.mark.parametrize("opened", [1, 5])
@pytest.mark.parametrize("method", ["user", "save_user"])
def test_an_attempt_that_could_not_be_counted_keeps_its_one_place_and_stays_usable(
    world: World, ada: Principal, opened: int, method: str
) -> None:
    attempt, completion = parked(world, ada)
    for _ in range(opened - 1):
        world.begin(ada)
    world.interruptions.fail(method, StoreUnavailable())
    with pytest.raises(StoreUnavailable):
        world.complete(ada, attempt, completion)
    assert "token" not in world.asked()
    assert len(world.user(ada).attempts) == opened
    assert world.complete(ada, attempt, completion)
    assert len(world.user(ada).attempts) == opened - 1


def test_an_attempt_whose_place_was_taken_meanwhile_is_not_given_back(world: World, ada: Principal) -> None:
    attempt, completion = parked(world, ada)
    for _ in range(4):
        world.begin(ada)
    world.plan("token", answer="login-rate")
    world.interruptions.before("user", lambda: world.begin(ada), call=2)
    with pytest.raises(OrgLimit):
        world.complete(ada, attempt, completion)
    assert len(world.user(ada).attempts) == 5
    assert spent(world, ada, attempt, completion)


def test_after_twenty_changes_no_attempt_is_completed(world: World, ada: Principal) -> None:
    attempt, completion = parked(world, ada)
    world.changed(ada, 20)
    with pytest.raises(TooManyChanges):
        world.complete(ada, attempt, completion)
    assert "token" not in world.asked()
    assert len(world.user(ada).attempts) == 1


# The same org again


def test_the_same_org_again_is_the_same_connection_with_a_new_grant(world: World, ada: Principal) -> None:
    first = world.connect(ada)
    world.clock.move(MINUTE)
    second = world.connect(ada)
    row = world.row(ada)
    assert (row.id, row.generation, row.version, row.org_version) == (first.row.id, 2, 1, 2)
    assert row.connected_at == first.row.connected_at + MINUTE
    assert world.opened(ada).grant == second.grant != first.grant
    assert world.cases.list_flows(ada, row.id)


def test_the_superseded_grant_is_revoked(world: World, ada: Principal) -> None:
    first = world.connect(ada)
    begun = world.begin(ada)
    world.complete(ada, begun.id, world.park(begun))
    (revoked,) = world.calls("revoke")
    assert revoked.body.startswith(f"token={first.grant.refresh_token}")
    assert world.approvals() == 1


def give_back(world: World, held: OpenConnection) -> None:
    """Let Salesforce answer the next exchange with the grant that it gave before."""
    identity, issued_at = identity_of(1), str(world.clock())
    answer = {
        "access_token": held.grant.access_token,
        "refresh_token": held.grant.refresh_token,
        "instance_url": held.org.instance_url,
        "id": identity,
        "issued_at": issued_at,
        "signature": sign(world.bench.environment["SALESFORCE_CLIENT_SECRET"], identity, issued_at),
        "scope": "lightning api web refresh_token",
    }
    world.plan("token", status=200, body=json.dumps(answer))


def test_a_grant_that_came_back_with_the_same_text_is_not_revoked(world: World, ada: Principal) -> None:
    first = world.connect(ada)
    attempt, completion = parked(world, ada)
    give_back(world, first)
    assert world.complete(ada, attempt, completion).row.generation == 2
    assert world.calls("revoke") == []
    assert world.cases.list_flows(ada, first.row.id)


def test_a_grant_that_came_back_and_could_not_be_stored_again_is_not_revoked(world: World, ada: Principal) -> None:
    first = world.connect(ada)
    attempt, completion = parked(world, ada)
    give_back(world, first)
    world.interruptions.fail("save_connection", StoreUnavailable())
    with pytest.raises(StoreUnavailable):
        world.complete(ada, attempt, completion)
    assert world.calls("revoke") == []
    assert world.cases.list_flows(ada, first.row.id)


def test_a_consent_supersedes_the_grant_that_a_refresh_has_stored_meanwhile(world: World, ada: Principal) -> None:
    first = world.connect(ada)
    attempt, completion = parked(world, ada)
    world.expire_sessions()
    world.interruptions.before("save_connection", lambda: world.cases.list_flows(ada, first.row.id))
    assert world.complete(ada, attempt, completion).row.generation == 2
    assert world.approvals() == 1
    assert world.cases.list_flows(ada, first.row.id)


def test_two_consents_for_one_new_org_at_once_are_one_connection_with_one_grant(world: World, ada: Principal) -> None:
    slower, faster = parked(world, ada), parked(world, ada)
    world.interruptions.before("save_connection", lambda: world.complete(ada, *faster))
    assert world.complete(ada, *slower).row.generation == 2
    assert world.row(ada).generation == 2
    assert world.approvals() == 1


def test_an_unreadable_earlier_grant_does_not_keep_the_user_from_a_new_one(world: World, ada: Principal) -> None:
    row = world.connect(ada).row
    world.inside(ada).rows.save_connection(replace(row, grant=row.org))
    assert world.connect(ada).row.generation == 2
    assert [event.name for event in world.events] == ["record_unreadable"]


# Ten connections


def joined(world: World, caller: Principal, number: int) -> OpenConnection:
    world.switch(id_url=identity_of(number), approval_limit=99)
    world.clock.move(SECOND)
    return world.connect(caller)


def test_a_user_has_at_most_ten_connections(world: World, ada: Principal) -> None:
    for number in range(10):
        joined(world, ada, number)
    with pytest.raises(TooManyConnections):
        joined(world, ada, 10)
    assert world.approvals() == 10
    assert joined(world, ada, 3).row.generation == 2
    assert len(world.cases.read_me(ada).connections) == 10


def test_ten_connections_are_the_limit_when_consents_race_too(world: World, ada: Principal) -> None:
    for number in range(9):
        joined(world, ada, number)
    world.interruptions.before("save_connection", lambda: joined(world, ada, 10))
    with pytest.raises(TooManyConnections):
        joined(world, ada, 9)
    assert len(world.cases.read_me(ada).connections) == world.approvals() == 10
