"""A fresh grant is stored before it is used, whatever the store does and whoever was there meanwhile."""

from dataclasses import replace

import pytest

from shared.errors import KeysUnavailable, ReconnectNeeded, SalesforceUnavailable, StoreUnavailable
from shared.model.connections import ConnectionState, OpenConnection, Reason
from shared.model.events import EventName
from shared.model.identity import Principal
from tests.usecases.faulty_fixtures import interrupted
from tests.usecases.world_fixtures import FLOOR_MS, SECOND, World, refusal

COMMIT = 2
"""The commit is a refresh's second write of the row; the first one is the claim."""


def in_use(world: World, caller: Principal) -> OpenConnection:
    """What is stored, once it is proved to be what was used last, and alive."""
    stored = world.opened(caller)
    assert world.bearers("list")[-1] == stored.grant.access_token
    assert (stored.row.claim, stored.row.reason) == (None, None)
    assert world.approvals() == 1
    world.expire_sessions()
    assert world.instance().list_flows(caller, stored.row.id)
    assert world.row(caller).version == stored.row.version + 1
    return stored


def touch(world: World, caller: Principal) -> None:
    """Change something else of the row."""
    world.inside(caller).rows.save_connection(replace(world.row(caller), reason=Reason.SESSION_REFUSED))


# The store at the commit


def test_a_store_that_is_away_is_asked_again_until_it_takes_the_grant(
    world: World, ada: Principal, expired: str
) -> None:
    before = world.opened(ada).grant
    for call in range(COMMIT, COMMIT + 5):
        world.interruptions.fail("save_connection", StoreUnavailable(), call=call)
        world.interruptions.before("pause", lambda: unused.append(world.bearers("list") == [before.access_token]))
    unused = list[bool]()
    assert world.cases.list_flows(ada, expired)
    assert (world.asked(), unused) == ({"list": 2, "token": 1}, [True] * 5)
    assert in_use(world, ada).row.version == 2
    assert EventName.GRANT_NOT_STORED not in world.told()


def test_a_store_that_stays_away_past_the_lease_costs_the_grant_and_an_alarm(
    world: World, ada: Principal, expired: str
) -> None:
    def away() -> None:
        world.clock.move(world.limits.lease_ms)
        raise StoreUnavailable

    before = world.row(ada)
    world.interruptions.before("save_connection", away, call=COMMIT)
    told = refusal(lambda: world.cases.list_flows(ada, expired))
    assert (type(told), told.next_action) == (StoreUnavailable, "retry")
    assert (world.asked(), world.told()) == ({"list": 1, "token": 1}, [EventName.GRANT_NOT_STORED])
    left = world.row(ada)
    assert left.claim is not None
    assert replace(left, claim=None, etag=before.etag) == before


def test_it_is_tried_for_the_last_time_when_the_lease_is_over(world: World, ada: Principal, expired: str) -> None:
    def away() -> None:
        world.clock.move(world.limits.lease_ms - 1)
        raise StoreUnavailable

    world.interruptions.before("save_connection", away, call=COMMIT)
    assert world.cases.list_flows(ada, expired)
    assert in_use(world, ada).row.version == 2


@pytest.mark.parametrize("touched", [False, True], ids=["as it was", "touched since"])
def test_the_own_write_is_recognised_when_its_answer_was_lost(
    world: World, ada: Principal, expired: str, *, touched: bool
) -> None:
    world.interruptions.lose("save_connection", StoreUnavailable(), call=COMMIT)
    if touched:
        world.interruptions.before("save_connection", lambda: touch(world, ada), call=COMMIT + 1)
    assert world.cases.list_flows(ada, expired)
    assert (world.asked(), world.row(ada).version) == ({"list": 2, "token": 1}, 2)
    assert world.bearers("list")[1] == world.opened(ada).grant.access_token


@pytest.mark.parametrize("away", [False, True], ids=["at once", "after the store was away"])
def test_an_unrelated_change_of_the_row_does_not_cost_the_rotated_token(
    world: World, ada: Principal, expired: str, *, away: bool
) -> None:
    world.interruptions.before("save_connection", lambda: touch(world, ada), call=COMMIT)
    if away:
        world.interruptions.fail("tenant_and_connection", StoreUnavailable(), call=3)
    assert world.cases.list_flows(ada, expired)
    assert (world.asked(), in_use(world, ada).row.version) == ({"list": 2, "token": 1}, 2)


# Somebody else meanwhile


def test_who_comes_after_the_lease_leaves_another_one_s_claim_alone(world: World, ada: Principal, expired: str) -> None:
    def claimed_by_another() -> None:
        world.clock.move(world.limits.lease_ms)
        world.inside(ada).rows.save_connection(replace(world.row(ada), claim="f" * 32))

    world.interruptions.before("save_connection", claimed_by_another, call=COMMIT)
    told = refusal(lambda: world.cases.list_flows(ada, expired))
    assert (type(told), told.retry_after) == (SalesforceUnavailable, 1)
    assert (world.row(ada).claim, world.row(ada).version, world.approvals()) == ("f" * 32, 1, 1)
    assert world.told() == [EventName.GRANT_NOT_STORED]


def test_a_grant_that_no_key_can_seal_is_revoked_once_its_connection_is_gone(world: World, ada: Principal) -> None:
    late, admitted = world.connect(ada), world.inside(ada)
    keyless = replace(admitted, sealer=interrupted(admitted.sealer, world.interruptions))
    commit = world.cases.list_flows.sessions.refresh.commit
    world.interruptions.fail("seal", KeysUnavailable())
    assert isinstance(refusal(lambda: commit(keyless, late, 0)), KeysUnavailable)
    assert world.approvals() == 1
    admitted.rows.forget_connection(late.row)
    world.interruptions.fail("seal", KeysUnavailable())
    assert isinstance(refusal(lambda: commit(keyless, late, 0)), ReconnectNeeded)
    assert (world.cases.read_me(ada).connections, world.approvals()) == ([], 0)


def test_a_newer_grant_that_came_of_ours_is_used_and_nothing_is_revoked(
    world: World, ada: Principal, expired: str
) -> None:
    def refreshed_again() -> None:
        world.clock.move(FLOOR_MS)
        world.plan("list", answer="session-expired")
        assert world.instance().list_flows(ada, expired)

    world.interruptions.lose("save_connection", StoreUnavailable(), call=COMMIT)
    world.interruptions.before("save_connection", refreshed_again, call=COMMIT + 1)
    assert world.cases.list_flows(ada, expired)
    assert "revoke" not in world.asked()
    assert in_use(world, ada).row.version == 3


def test_who_hears_late_that_an_old_grant_is_dead_uses_the_newer_one(
    world: World, ada: Principal, expired: str
) -> None:
    def refreshed() -> None:
        world.clock.move(FLOOR_MS)
        assert world.instance().list_flows(ada, expired)

    world.plan("token", answer="oauth-object")
    world.interruptions.before("save_connection", refreshed, call=COMMIT)
    assert world.cases.list_flows(ada, expired)
    assert world.told() == [EventName.GRANT_REFRESHED]
    assert in_use(world, ada).row.state is ConnectionState.CONNECTED


def test_a_late_grant_is_revoked_after_a_new_consent(world: World, ada: Principal, expired: str) -> None:
    world.interruptions.before("save_connection", lambda: world.connect(ada), call=COMMIT)
    assert world.cases.list_flows(ada, expired)
    assert in_use(world, ada).row.generation == 2


def test_a_late_word_that_the_old_grant_is_dead_does_not_touch_a_new_consent(
    world: World, ada: Principal, expired: str
) -> None:
    world.interruptions.before("refresh", lambda: world.connect(ada))
    assert world.cases.list_flows(ada, expired)
    assert (in_use(world, ada).row.generation, world.row(ada).version) == (2, 2)


def test_so_does_one_that_no_store_would_have_noted(world: World, ada: Principal, expired: str) -> None:
    def away() -> None:
        world.clock.move(world.limits.lease_ms)
        raise StoreUnavailable

    world.interruptions.before("refresh", lambda: world.connect(ada))
    world.interruptions.before("save_connection", away, call=COMMIT + 1)  # the new consent is a write, too
    assert world.cases.list_flows(ada, expired)
    assert in_use(world, ada).row.generation == 2


def test_a_late_grant_is_revoked_after_a_disconnect_and_no_row_comes_back(
    world: World, ada: Principal, expired: str
) -> None:
    world.interruptions.before("save_connection", lambda: world.cases.end_connection(ada, expired), call=COMMIT)
    assert isinstance(refusal(lambda: world.cases.list_flows(ada, expired)), ReconnectNeeded)
    assert (world.cases.read_me(ada).connections, world.approvals()) == ([], 0)


def test_a_late_grant_is_revoked_after_a_disconnect_and_a_new_consent(
    world: World, ada: Principal, expired: str
) -> None:
    def again() -> None:
        world.cases.end_connection(ada, expired)
        world.clock.move(SECOND)
        world.connect(ada)

    world.interruptions.before("save_connection", again, call=COMMIT)
    assert world.cases.list_flows(ada, expired)
    assert in_use(world, ada).row.generation == 1


def test_a_late_grant_that_a_new_consent_got_as_the_same_text_is_not_revoked(
    world: World, ada: Principal, expired: str
) -> None:
    def same_text() -> None:
        admitted, held = world.inside(ada), world.opened(ada)
        link = replace(held.row.link, generation=2, org_version=2)
        grant, org = world.cases.list_flows.sessions.grants.sealed(admitted, link, held.grant, held.org)
        admitted.rows.save_connection(replace(held.row, generation=2, org_version=2, grant=grant, org=org, claim=None))

    world.switch(rotation=False)
    world.interruptions.before("save_connection", same_text, call=COMMIT)
    refusal(lambda: world.cases.list_flows(ada, expired))
    assert (world.row(ada).generation, world.approvals(), world.asked().get("revoke", 0)) == (2, 1, 0)
