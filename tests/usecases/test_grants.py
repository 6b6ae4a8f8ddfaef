"""Grants: opened for one call, refreshed on a refused session, stored before use, and how they end."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Lock
from urllib.parse import parse_qs

import pytest

from shared.errors import (
    Conflict,
    FlowRunnerError,
    OrgNotAllowed,
    OrgSetup,
    ReconnectNeeded,
    SalesforceTimedOut,
    SalesforceUnavailable,
    SalesforceUnusable,
    StoreUnavailable,
)
from shared.model.connections import ConnectionState, Reason
from shared.model.events import EventName
from shared.model.identity import Principal
from shared.usecases.grants import LATE_MS
from shared.usecases.list_flows import DescribeFlow
from tests.usecases.world_fixtures import MINUTE, SECOND, WAIT_S, World, a_key, identity_of


@pytest.fixture
def connection(world: World, ada: Principal) -> str:
    """Ada's connection, whose session is over."""
    made = world.connect(ada).row.id
    world.expire_sessions()
    return made


def sent(world: World, endpoint: str, name: str) -> list[str]:
    """A form field of each call to an OAuth endpoint."""
    return [parse_qs(call.body)[name][0] for call in world.calls(endpoint)]


def bearers(world: World, endpoint: str) -> list[str]:
    return [(call.header("Authorization") or "").removeprefix("Bearer ") for call in world.calls(endpoint)]


def told(world: World) -> list[EventName]:
    return [event.name for event in world.events]


# Refresh


def test_a_refused_session_costs_one_refresh_and_the_caller_does_not_notice(
    world: World, ada: Principal, connection: str
) -> None:
    before = world.opened(ada)
    world.clock.move(MINUTE)
    assert world.cases.list_flows(ada, connection)
    after = world.opened(ada)
    assert world.asked() == {"list": 2, "token": 1}
    assert sent(world, "token", "refresh_token") == [before.grant.refresh_token]
    assert bearers(world, "list") == [before.grant.access_token, after.grant.access_token]
    assert (after.row.version, after.row.org_version, after.row.generation) == (2, 2, 1)
    assert after.row.refreshed_at == after.row.connected_at + MINUTE
    assert told(world) == [EventName.GRANT_REFRESHED]


def test_a_fresh_grant_is_stored_before_it_is_used(world: World, ada: Principal, connection: str) -> None:
    world.plan("list", answer="session-expired")
    with world.held("list", lambda: world.cases.list_flows(ada, connection)):
        assert world.salesforce.recorder.wait_for("list", 2, 20)
        assert world.opened(ada).grant.access_token == bearers(world, "list")[1]


def test_a_grant_that_cannot_be_stored_is_not_used_but_lost(world: World, ada: Principal, connection: str) -> None:
    before = world.row(ada)
    world.interruptions.fail("save_connection", StoreUnavailable())
    with pytest.raises(StoreUnavailable):
        world.cases.list_flows(ada, connection)
    assert world.asked() == {"list": 1, "token": 1}
    assert world.row(ada) == before
    assert told(world) == []
    with pytest.raises(ReconnectNeeded):  # the stored token was rotated out, and Salesforce takes that for a theft
        world.cases.list_flows(ada, connection)
    assert world.salesforce.recorder.events()["replay"] == 1
    assert world.row(ada).state is ConnectionState.NEEDS_RECONNECT


def test_without_rotation_the_refresh_token_lives_on(world: World, ada: Principal, connection: str) -> None:
    world.switch(rotation=False)
    before = world.opened(ada)
    assert world.cases.list_flows(ada, connection)
    after = world.opened(ada)
    assert after.grant.refresh_token == before.grant.refresh_token
    assert (after.row.version, after.grant.access_token != before.grant.access_token) == (2, True)


@pytest.mark.parametrize("answer", ["session-expired", "not-valid-for-rest"])
def test_a_session_that_no_refresh_cures_is_a_matter_of_the_org_s_setup(
    world: World, ada: Principal, connection: str, answer: str
) -> None:
    world.plan("list", answer="session-expired")
    world.plan("list", answer=answer)
    with pytest.raises(OrgSetup) as refused:
        world.cases.list_flows(ada, connection)
    assert "cause" in refused.value.members
    assert world.asked() == {"list": 2, "token": 1}
    assert world.row(ada).state is ConnectionState.CONNECTED


def test_one_call_refreshes_at_most_once_whatever_it_asks(world: World, ada: Principal, connection: str) -> None:
    world.plan("run", answer="session-expired", times=0)
    with pytest.raises(OrgSetup):
        world.run(ada, connection, "Daily_Digest", a_key())
    assert world.asked() == {"describe": 2, "token": 1, "run": 1}


def test_a_refusal_that_took_too_long_leaves_no_time_for_a_refresh(
    world: World, ada: Principal, connection: str
) -> None:
    with world.held("list", lambda: world.cases.list_flows(ada, connection)) as slow:
        world.clock.move(LATE_MS + 1)
    assert isinstance(slow.exception(), SalesforceTimedOut)
    assert world.asked() == {"list": 1}
    with world.held("list", lambda: world.cases.list_flows(ada, connection)) as in_time:
        world.clock.move(LATE_MS)
    assert in_time.result()


def test_a_fresh_session_that_somebody_else_has_ended_meanwhile_is_no_matter_of_setup(
    world: World, ada: Principal, connection: str
) -> None:
    world.plan("list", answer="session-expired", times=2)
    world.interruptions.before("tenant_and_connection", lambda: world.connect(ada), call=3)
    with pytest.raises(Conflict):
        world.cases.list_flows(ada, connection)


# Where the tokens are asked for, and what comes with them


def test_a_foreign_address_is_not_followed_and_the_rotated_token_is_kept(
    world: World, ada: Principal, connection: str
) -> None:
    before = world.opened(ada)
    world.switch(instance_url="https://acme.my.salesforce.com.evil.example")
    assert world.cases.list_flows(ada, connection)
    after = world.opened(ada)
    assert after.org == before.org
    assert after.grant.refresh_token != before.grant.refresh_token
    assert world.approvals() == 1


def test_somebody_else_s_session_is_refused_and_revoked(world: World, ada: Principal, connection: str) -> None:
    before = world.row(ada)
    world.switch(id_url=identity_of(7))
    with pytest.raises(SalesforceUnusable):
        world.cases.list_flows(ada, connection)
    assert (world.row(ada), world.approvals()) == (before, 0)
    assert world.asked() == {"list": 1, "token": 1, "revoke": 1}


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


def test_an_org_that_the_tenant_allows_no_more_is_not_asked(world: World, ada: Principal, connection: str) -> None:
    world.allow(ada, "00D000000000001AAA")
    with pytest.raises(OrgNotAllowed):
        world.cases.list_flows(ada, connection)
    with pytest.raises(OrgNotAllowed):
        world.run(ada, connection, "Daily_Digest", a_key())
    assert world.calls() == []
    assert world.row(ada).state is ConnectionState.CONNECTED


# Ends


def test_a_dead_grant_is_removed_and_asked_for_never_again(world: World, ada: Principal, connection: str) -> None:
    world.end_approvals()
    for _ in range(50):
        with pytest.raises(ReconnectNeeded) as refused:
            world.cases.list_flows(ada, connection)
        assert refused.value.members == {"reason": Reason.GRANT_ENDED}
    row = world.row(ada)
    assert world.asked() == {"list": 1, "token": 1}
    assert (row.state, row.reason, row.grant) == (ConnectionState.NEEDS_RECONNECT, Reason.GRANT_ENDED, None)
    assert told(world) == [EventName.GRANT_ENDED]


def test_a_new_consent_mends_a_dead_connection(world: World, ada: Principal, connection: str) -> None:
    world.end_approvals()
    with pytest.raises(ReconnectNeeded):
        world.cases.list_flows(ada, connection)
    assert world.connect(ada).row.id == connection
    assert world.cases.list_flows(ada, connection)
    assert world.row(ada).reason is None


@pytest.mark.parametrize(
    ("weather", "refusal"),
    [
        ({"answer": "contention"}, SalesforceUnavailable),
        ({"answer": "old-contention"}, SalesforceUnavailable),
        ({"answer": "too-busy"}, SalesforceUnavailable),
        ({"drop": "before"}, SalesforceUnavailable),
        ({"answer": "inactive-user"}, OrgSetup),
        ({"answer": "ip-restricted"}, OrgSetup),
        ({"answer": "invalid-client"}, SalesforceUnusable),
    ],
    ids=lambda given: "-".join(given.values()) if isinstance(given, dict) else "",
)
def test_nothing_but_a_dead_grant_touches_the_row(
    world: World, ada: Principal, connection: str, weather: dict[str, str], refusal: type[FlowRunnerError]
) -> None:
    before = world.row(ada)
    world.plan("token", **weather)
    with pytest.raises(refusal):
        world.cases.list_flows(ada, connection)
    assert world.row(ada) == before
    assert world.cases.list_flows(ada, connection)


# Others at the same time


def elsewhere(world: World) -> DescribeFlow:
    """A use case of another instance over the same store, which no lock of this process holds up."""
    here = world.cases.describe_flow
    return replace(here, grants=replace(here.grants, turns=(Lock(),)))


def test_two_calls_that_meet_the_same_expired_session_refresh_it_once(
    world: World, ada: Principal, connection: str
) -> None:
    described = world.asked().get("describe", 0)
    with (
        ThreadPoolExecutor(1) as threads,
        world.held("token", lambda: world.cases.list_flows(ada, connection)) as first,
    ):
        second = threads.submit(world.cases.describe_flow, ada, connection, "Daily_Digest")
        assert world.salesforce.recorder.wait_for("describe", described + 1, WAIT_S)
    assert first.result()
    assert second.result()
    assert world.asked()["token"] == 1
    assert world.row(ada).state is ConnectionState.CONNECTED


def test_who_refreshes_while_another_does_is_asked_to_come_back(world: World, ada: Principal, connection: str) -> None:
    with (
        world.held("token", lambda: world.cases.list_flows(ada, connection)) as first,
        pytest.raises(SalesforceUnavailable) as refused,
    ):
        elsewhere(world)(ada, connection, "Daily_Digest")
    assert refused.value.retry_after == 2
    assert first.result()
    assert world.row(ada).state is ConnectionState.CONNECTED
    assert world.cases.describe_flow(ada, connection, "Create_Case")
    assert world.asked()["token"] == 2


def test_who_finds_a_newer_grant_in_the_row_uses_it(world: World, ada: Principal, connection: str) -> None:
    world.interruptions.before(
        "tenant_and_connection", lambda: elsewhere(world)(ada, connection, "Daily_Digest"), call=2
    )
    assert world.cases.list_flows(ada, connection)
    assert world.asked() == {"list": 2, "describe": 2, "token": 1}
    assert bearers(world, "list")[1] == world.opened(ada).grant.access_token


def test_who_hears_late_that_an_old_grant_is_dead_uses_the_newer_one(
    world: World, ada: Principal, connection: str
) -> None:
    world.plan("token", answer="oauth-object")
    world.interruptions.before("save_connection", lambda: elsewhere(world)(ada, connection, "Daily_Digest"))
    assert world.cases.list_flows(ada, connection)
    assert world.row(ada).state is ConnectionState.CONNECTED
    assert told(world) == [EventName.GRANT_REFRESHED]


def test_a_late_grant_is_revoked_after_a_new_consent(world: World, ada: Principal, connection: str) -> None:
    world.interruptions.before("save_connection", lambda: world.connect(ada))
    assert world.cases.list_flows(ada, connection)
    assert (world.row(ada).generation, world.approvals()) == (2, 1)
    assert bearers(world, "list")[-1] == world.opened(ada).grant.access_token


def test_a_late_grant_is_revoked_after_a_disconnect(world: World, ada: Principal, connection: str) -> None:
    world.interruptions.before("save_connection", lambda: world.cases.end_connection(ada, connection))
    with pytest.raises(ReconnectNeeded):
        world.cases.list_flows(ada, connection)
    assert world.cases.read_me(ada).connections == []
    assert world.approvals() == 0


def test_a_late_grant_is_revoked_after_a_disconnect_and_a_new_consent(
    world: World, ada: Principal, connection: str
) -> None:
    def again() -> None:
        world.cases.end_connection(ada, connection)
        world.clock.move(SECOND)
        world.connect(ada)

    world.interruptions.before("save_connection", again)
    assert world.cases.list_flows(ada, connection)
    assert (world.row(ada).generation, world.approvals()) == (1, 1)


def test_who_refreshes_a_connection_that_has_just_been_ended_asks_salesforce_nothing_more(
    world: World, ada: Principal, connection: str
) -> None:
    world.interruptions.before("tenant_and_connection", lambda: world.cases.end_connection(ada, connection), call=2)
    with pytest.raises(ReconnectNeeded):
        world.cases.list_flows(ada, connection)
    assert "token" not in world.asked()
