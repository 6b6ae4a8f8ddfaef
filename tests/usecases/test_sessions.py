"""A session in use: renewed once in a call when Salesforce refuses it, and what that costs where nothing helps."""

from dataclasses import replace
from functools import partial

import pytest

from shared.errors import OrgNotAllowed, OrgSetup, SalesforceTimedOut, StoreUnavailable
from shared.model.connections import ConnectionState, Reason
from shared.model.events import EventName
from shared.model.identity import Principal
from shared.model.requests import CompleteConnection, RunFlowBody
from shared.usecases.refresh_failures import REFUSED_MS, RefreshLimits
from shared.usecases.sessions import LATE_S
from tests.usecases.world_fixtures import FLOOR_MS, MINUTE, SECOND, WAIT_S, World, a_key, refusal


def without_floor(world: World) -> World:
    """The same deployment, where a grant may be refreshed as soon as it is there."""
    return replace(world, limits=RefreshLimits(lease_s=45, deadline_s=20, floor_s=0))


def test_a_refused_session_costs_one_refresh_and_the_caller_does_not_notice(
    world: World, ada: Principal, expired: str
) -> None:
    before = world.opened(ada)
    world.clock.move(MINUTE)
    assert world.cases.list_flows(ada, expired)
    after = world.opened(ada)
    assert world.asked() == {"list": 2, "token": 1}
    assert world.sent("token", "refresh_token") == [before.grant.refresh_token]
    assert world.bearers("list") == [before.grant.access_token, after.grant.access_token]
    assert (after.row.version, after.row.org_version, after.row.generation) == (2, 2, 1)
    assert after.row.refreshed_at == world.clock()
    assert world.told() == [EventName.GRANT_REFRESHED]


def test_one_call_refreshes_at_most_once_whatever_it_asks(world: World, ada: Principal, expired: str) -> None:
    world.plan("run", answer="session-expired", times=0)
    assert isinstance(refusal(lambda: without_floor(world).run(ada, expired, "Daily_Digest", a_key())), OrgSetup)
    assert world.asked() == {"describe": 2, "token": 1, "run": 1}


def test_a_refusal_that_took_too_long_leaves_no_time_for_a_refresh(world: World, ada: Principal, expired: str) -> None:
    with world.held("list", lambda: world.cases.list_flows(ada, expired)) as slow:
        world.clock.move(LATE_S * SECOND + 1)
    assert isinstance(slow.exception(), SalesforceTimedOut)
    assert world.asked() == {"list": 1}
    with world.held("list", lambda: world.cases.list_flows(ada, expired)) as in_time:
        world.clock.move(LATE_S * SECOND)
    assert in_time.result()


def test_a_refresh_that_took_too_long_leaves_no_time_for_a_second_try(
    world: World, ada: Principal, expired: str
) -> None:
    world.interruptions.before("refresh done", lambda: world.clock.move((LATE_S + world.limits.lease_s) * SECOND + 1))
    assert isinstance(refusal(lambda: world.cases.list_flows(ada, expired)), SalesforceTimedOut)
    assert world.asked() == {"list": 1, "token": 1}
    assert world.cases.list_flows(ada, expired)
    assert world.asked() == {"list": 2, "token": 1}


def test_an_org_that_the_tenant_allows_no_more_is_not_asked(world: World, ada: Principal, expired: str) -> None:
    world.allow(ada, "00D000000000001AAA")
    assert isinstance(refusal(lambda: world.cases.list_flows(ada, expired)), OrgNotAllowed)
    assert isinstance(refusal(lambda: world.run(ada, expired, "Daily_Digest", a_key())), OrgNotAllowed)
    assert world.calls() == []
    assert world.row(ada).state is ConnectionState.CONNECTED


# A session that no refresh cures


def refused_again(world: World, caller: Principal, connection: str) -> int:
    """In how many seconds the next token may be asked for, as a call is told that finds its session refused."""
    told = refusal(lambda: world.cases.list_flows(caller, connection))
    assert isinstance(told, OrgSetup)
    assert (told.next_action, told.members) == ("ask-admin", {"cause": Reason.SESSION_REFUSED})
    assert told.retry_after is not None
    return told.retry_after


def test_it_costs_one_token_call_in_ten_minutes_whatever_is_asked_and_the_next_success_forgets_it(
    world: World, ada: Principal, expired: str
) -> None:
    world.plan("list", answer="session-expired", times=0)
    for number in range(200):
        assert refused_again(world, ada, expired) == 600 - 3 * number
        world.clock.move(REFUSED_MS // 200)
    assert world.asked() == {"list": 201, "token": 1}
    assert world.cases.read_connection(ada, expired)[0].shown_reason is None
    assert refused_again(world, ada, expired) == 600
    assert world.asked()["token"] == 2
    row, _ = world.cases.read_connection(ada, expired)
    assert (row.shown_state, row.shown_reason) == (ConnectionState.CONNECTED, Reason.SESSION_REFUSED)
    world.salesforce.steering.reset()
    assert world.cases.list_flows(ada, expired)
    assert (world.row(ada).reason, world.row(ada).version) == (None, 3)
    assert world.asked()["token"] == 2


def test_an_answer_to_one_question_gives_no_token_call_to_another_that_is_refused(
    world: World, ada: Principal, expired: str
) -> None:
    world.plan("run", answer="session-expired", times=0)
    for _ in range(10):
        elsewhere = world.instance()
        assert elsewhere.describe_flow(ada, expired, "Daily_Digest")
        told = refusal(partial(elsewhere.run_flow, ada, expired, "Daily_Digest", a_key(), RunFlowBody(inputs={})))
        assert isinstance(told, OrgSetup)
        world.clock.move(REFUSED_MS // 10 - 1)
    assert world.asked()["token"] == 1


def test_a_store_that_is_away_then_costs_nobody_the_answer(world: World, ada: Principal, expired: str) -> None:
    world.plan("list", answer="session-expired", times=2)
    refused_again(world, ada, expired)
    world.interruptions.fail("save_connection", StoreUnavailable())
    assert world.cases.list_flows(ada, expired)
    assert world.row(ada).reason is Reason.SESSION_REFUSED


@pytest.mark.parametrize("answer", ["not-valid-for-rest", "api-disabled"])
def test_what_salesforce_says_of_a_fresh_session_is_the_cause(
    world: World, ada: Principal, expired: str, answer: str
) -> None:
    world.plan("list", answer="session-expired")
    world.plan("list", answer=answer)
    told = refusal(lambda: world.cases.list_flows(ada, expired))
    causes = {"not-valid-for-rest": Reason.SESSION_NOT_FOR_REST, "api-disabled": Reason.API_DISABLED}
    assert (type(told), told.members) == (OrgSetup, {"cause": causes[answer]})
    assert (world.row(ada).state, world.row(ada).reason) == (ConnectionState.CONNECTED, None)


@pytest.mark.parametrize("refused", [2, 3])
def test_a_fresh_session_that_a_new_consent_has_ended_meanwhile_is_no_matter_of_setup(
    world: World, ada: Principal, expired: str, refused: int
) -> None:
    def again() -> None:
        world.connect(ada)

    world.plan("list", answer="session-expired", times=refused)
    world.interruptions.before("tenant_and_connection", again, call=3)
    if refused == 2:
        assert world.cases.list_flows(ada, expired)
    else:
        assert isinstance(refusal(lambda: world.cases.list_flows(ada, expired)), OrgSetup)
    assert (world.row(ada).generation, world.asked().get("token", 0)) == (2, 0)


@pytest.mark.parametrize(("age_ms", "tokens"), [(FLOOR_MS - 1, 0), (FLOOR_MS, 1)])
def test_a_young_grant_is_not_refreshed(world: World, ada: Principal, age_ms: int, tokens: int) -> None:
    connection = world.connect(ada).row.id
    world.plan("describe", answer="session-expired")
    assert world.cases.describe_flow(ada, connection, "Daily_Digest")  # the first grant was never refreshed, so it may
    world.clock.move(age_ms)
    world.plan("list", answer="session-expired", times=2)
    refused_again(world, ada, connection)
    assert world.asked()["token"] == 1 + tokens


@pytest.mark.parametrize("ahead_ms", [4 * MINUTE, -4 * MINUTE])
def test_an_instance_whose_clock_is_wrong_makes_no_grant_that_is_young_for_longer(
    world: World, ada: Principal, ahead_ms: int
) -> None:
    begun = world.begin(ada)
    completion = CompleteConnection(completion=world.park(begun))
    connection = world.instance(ahead_ms).complete_connect(ada, begun.id, completion).row.id
    world.expire_sessions()
    assert world.cases.list_flows(ada, connection)


def test_without_a_floor_a_grant_is_refreshed_at_any_age(world: World, ada: Principal) -> None:
    lower = without_floor(world)
    connection = lower.connect(ada).row.id
    for _ in range(2):
        world.salesforce.grants.expire_sessions(world.person)
        assert lower.cases.describe_flow(ada, connection, "Daily_Digest")
        lower.plan("list", answer="session-expired")
        assert lower.cases.list_flows(ada, connection)
        world.clock.move(400_000)
    assert world.row(ada).version == 5


def test_a_fresh_grant_is_stored_before_it_is_used(world: World, ada: Principal, expired: str) -> None:
    world.plan("list", answer="session-expired")
    with world.held("list", lambda: world.cases.list_flows(ada, expired)):
        assert world.salesforce.recorder.wait_for("list", 2, WAIT_S)
        assert world.opened(ada).grant.access_token == world.bearers("list")[1]
