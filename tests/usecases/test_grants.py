"""Grants: which login host and whose they are, and how they end at Salesforce."""

import pytest

from shared.errors import ReconnectNeeded
from shared.model.connections import ConnectionState, Reason
from shared.model.events import EventName
from shared.model.identity import Principal
from tests.usecases.world_fixtures import World, identity_of, refusal


def test_a_grant_stays_with_the_login_host_that_issued_it(world: World, ada: Principal) -> None:
    own, world.username = world.salesforce.instance_url, "cleo@acme.example.uat"
    begun = world.begin(ada, "sandbox", myDomain=own)
    parked = world.cases.park_code(*world.answer_without_page(begun), own)
    joined = world.complete(ada, begun.id, parked.completion)
    world.expire_sessions()
    assert world.cases.list_flows(ada, joined.row.id)
    assert world.opened(ada).org == joined.org
    assert (joined.org.login_origin, joined.org.sandbox) == (own, True)
    assert world.cases.end_connection(ada, joined.row.id)
    assert [call.secure for call in world.calls() if "oauth2" in call.path] == [True] * 3


def test_without_rotation_the_refresh_token_lives_on(world: World, ada: Principal, expired: str) -> None:
    world.switch(rotation=False)
    before = world.opened(ada)
    assert world.cases.list_flows(ada, expired)
    after = world.opened(ada)
    assert after.grant.refresh_token == before.grant.refresh_token
    assert (after.row.version, after.grant.access_token != before.grant.access_token) == (2, True)


def test_a_session_that_salesforce_hands_out_again_is_a_refresh_like_any_other(
    world: World, ada: Principal, expired: str
) -> None:
    world.switch(same_access_token=True)
    before = world.opened(ada)
    world.plan("list", answer="session-expired")
    assert world.cases.list_flows(ada, expired)
    assert world.opened(ada).grant.refresh_token != before.grant.refresh_token
    assert (world.row(ada).version, world.asked()["token"]) == (2, 1)


@pytest.mark.parametrize(
    "switch", [{"instance_url": "https://acme.my.salesforce.com.evil.example"}, {"omit": ["instance_url"]}]
)
def test_an_address_that_is_foreign_or_missing_is_not_followed_and_the_rotated_token_is_kept(
    world: World, ada: Principal, expired: str, switch: dict[str, object]
) -> None:
    before = world.opened(ada)
    world.switch(**switch)
    assert world.cases.list_flows(ada, expired)
    after = world.opened(ada)
    assert after.org == before.org
    assert after.grant.refresh_token != before.grant.refresh_token
    assert world.approvals() == 1


def test_somebody_else_s_session_is_refused_and_revoked_and_used_by_nobody(
    world: World, ada: Principal, expired: str
) -> None:
    world.switch(id_url=identity_of(7))
    assert isinstance(refusal(lambda: world.cases.list_flows(ada, expired)), ReconnectNeeded)
    assert (world.row(ada).grant, world.row(ada).state) == (None, ConnectionState.NEEDS_RECONNECT)
    assert (world.approvals(), world.asked()) == (0, {"list": 1, "token": 1, "revoke": 1})


def test_a_dead_grant_is_removed_and_asked_for_never_again(world: World, ada: Principal, expired: str) -> None:
    world.end_approvals()
    for _ in range(1_001):
        told = refusal(lambda: world.cases.list_flows(ada, expired))
        assert (told.status, told.next_action, told.members) == (409, "reconnect", {"reason": Reason.GRANT_ENDED})
    row = world.row(ada)
    assert world.asked() == {"list": 1, "token": 1}
    assert (row.state, row.reason, row.grant) == (ConnectionState.NEEDS_RECONNECT, Reason.GRANT_ENDED, None)
    assert (row.claim, row.held_until) == (None, 0)
    assert world.told() == [EventName.GRANT_ENDED]


def test_a_new_consent_mends_a_dead_connection(world: World, ada: Principal, expired: str) -> None:
    world.end_approvals()
    assert isinstance(refusal(lambda: world.cases.list_flows(ada, expired)), ReconnectNeeded)
    assert world.connect(ada).row.id == expired
    assert world.cases.list_flows(ada, expired)
    assert (world.row(ada).state, world.row(ada).reason) == (ConnectionState.CONNECTED, None)


def test_six_reconnects_and_refreshes_never_meet_the_limit_of_five_approvals(world: World, ada: Principal) -> None:
    for _ in range(7):
        connection = world.connect(ada).row.id
        world.expire_sessions()
        assert world.cases.describe_flow(ada, connection, "Daily_Digest")
        assert world.approvals() == 1
    families = world.salesforce.grants.ledger.families(world.username)
    assert [family.ended for family in families] == ["revoked"] * 6 + [""]  # none of them by "approval-limit"
