"""The five classes of failure: what each does to the row, what its user is told, and what comes after."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest

from shared.errors import NextAction, ReconnectNeeded, StoreUnavailable
from shared.model.answers import ConnectionView
from shared.model.connections import Connection, ConnectionState, Reason
from shared.model.events import EventName
from shared.model.identity import Principal
from shared.model.refreshing import FailureClass
from shared.telemetry.vocabulary import fitting
from shared.usecases.refresh_failures import HANDLING
from tests.usecases.world_fixtures import DAY, FLOOR_MS, LIMITS, MINUTE, SECOND, World, refusal

R = Reason
Effect = Callable[[Connection, int], Connection]
LEASE_S, FLOOR_S, HOUR_S = LIMITS.lease_s, LIMITS.floor_s, 3_600
RETRY, NONE, ADMIN, RECONNECT = NextAction.RETRY, NextAction.NONE, NextAction.ASK_ADMIN, NextAction.RECONNECT


def as_before(row: Connection, _: int) -> Connection:
    return row


def dead(row: Connection, _: int) -> Connection:
    return replace(row, state=ConnectionState.NEEDS_RECONNECT, reason=R.GRANT_ENDED, grant=None)


def held(reason: Reason, seconds: int) -> Effect:
    doubts = int(reason is R.OUTCOME_UNKNOWN)
    return lambda row, now: replace(row, reason=reason, held_until=now + seconds * SECOND, doubts=doubts)


Told = tuple[int, NextAction, Reason | None, int | None]
"""Status, next action, cause, and Retry-After in seconds."""

AWAY: Told = (503, RETRY, None, 30)
UNKNOWN: tuple[FailureClass, Effect, Told] = (
    FailureClass.UNCERTAIN,
    held(R.OUTCOME_UNKNOWN, LEASE_S),
    (503, RETRY, R.OUTCOME_UNKNOWN, LEASE_S),
)


def oauth(error: str) -> dict[str, object]:
    return {"status": 400, "body": f'{{"error": "{error}"}}'}


def transient(told: Told = AWAY) -> tuple[FailureClass, Effect, Told]:
    return FailureClass.TRANSIENT, as_before, told


def operator(cause: Reason) -> tuple[FailureClass, Effect, Told]:
    return FailureClass.OPERATOR, as_before, (502, NONE, cause, None)


def setup(cause: Reason, action: NextAction = ADMIN) -> tuple[FailureClass, Effect, Told]:
    return FailureClass.ORG_SETUP, held(cause, FLOOR_S), (403, action, cause, FLOOR_S)


TABLE: list[tuple[dict[str, object], tuple[FailureClass, Effect, Told]]] = [
    ({"answer": "too-busy"}, UNKNOWN),
    ({"answer": "html"}, UNKNOWN),
    ({"status": 429, "body": "{}"}, transient()),
    (
        {"answer": "login-rate"},
        (FailureClass.TRANSIENT, held(R.LOGIN_LIMIT, HOUR_S), (429, RETRY, R.LOGIN_LIMIT, HOUR_S)),
    ),
    ({"answer": "contention", "times": 4}, transient((503, RETRY, None, 2))),
    ({"answer": "old-contention", "times": 4}, transient((503, RETRY, None, 2))),
    ({"drop": "before"}, UNKNOWN),
    ({"drop": "after"}, UNKNOWN),
    ({"answer": "empty"}, UNKNOWN),
    ({"status": 502, "body": "{}"}, UNKNOWN),
    ({"status": 504, "body": ""}, UNKNOWN),
    ({"answer": "html-200", "processed": True}, UNKNOWN),
    ({"answer": "empty-200", "processed": True}, UNKNOWN),
    ({"answer": "oauth-object"}, (FailureClass.GRANT_DEAD, dead, (409, RECONNECT, None, None))),
    ({"answer": "invalid-client"}, operator(R.OUR_CREDENTIALS)),
    ({"answer": "invalid-client-id"}, operator(R.OUR_CREDENTIALS)),
    ({"answer": "ip-restricted-by-app"}, operator(R.OUR_ADDRESS)),
    (oauth("unsupported_grant_type"), operator(R.OUR_REQUEST)),
    ({"answer": "inactive-user"}, setup(R.USER_BLOCKED)),
    ({"answer": "ip-restricted"}, setup(R.IP_RESTRICTED)),
    (oauth("OAUTH_EC_APP_NOT_FOUND"), setup(R.APP_NOT_INSTALLED)),
    (oauth("OAUTH_APP_ACCESS_DENIED"), setup(R.APP_NOT_ALLOWED)),
    (oauth("OAUTH_APP_BLOCKED"), setup(R.APP_BLOCKED)),
    (oauth("something_new"), setup(R.UNEXPLAINED, RECONNECT)),
    ({"answer": "authentication-failure"}, setup(R.UNEXPLAINED, RECONNECT)),
    ({"answer": "no-description"}, setup(R.UNEXPLAINED, RECONNECT)),
]


@pytest.mark.parametrize(
    ("weather", "expected"), TABLE, ids=[f"{'-'.join(map(str, weather.values()))}" for weather, _ in TABLE]
)
def test_a_failed_refresh_does_this_to_the_row_and_is_told_so(
    world: World,
    ada: Principal,
    expired: str,
    weather: dict[str, object],
    expected: tuple[FailureClass, Effect, Told],
) -> None:
    (kind, effect, told), before, claims = expected, world.row(ada), list[int]()
    world.interruptions.before("refresh", lambda: claims.append(world.clock()))
    world.plan("token", **weather)
    error = refusal(lambda: world.cases.list_flows(ada, expired))
    after = world.row(ada)
    assert after == effect(replace(before, etag=after.etag), claims[0])
    assert (error.status, error.next_action, error.members.get("cause"), error.retry_after) == told
    assert error.members.keys() <= {"cause", "reason"}
    assert world.bearers("list") == [world.bearers("list")[0]]
    event = world.events[-1]
    assert (event.name is EventName.GRANT_ENDED, event.facts["error_code"]) == (kind is FailureClass.GRANT_DEAD, kind)
    assert all(fitting(each).keys() == {name for name, fact in each.facts.items() if fact} for each in world.events)


def test_every_class_is_in_that_table() -> None:
    assert {kind for _, (kind, _, _) in TABLE} == set(FailureClass) == set(HANDLING)


# Uncertain


@pytest.mark.parametrize("drop", ["before", "after"])
def test_while_the_outcome_is_unknown_the_old_session_serves_and_no_token_is_asked_for(
    world: World, ada: Principal, expired: str, drop: str
) -> None:
    world.connect(ada)
    world.clock.move(FLOOR_MS)
    old = world.opened(ada).grant.access_token
    world.plan("list", answer="session-expired")
    world.plan("token", drop=drop)
    refusal(lambda: world.cases.list_flows(ada, expired))
    world.clock.move(LEASE_S * SECOND - 1)
    world.plan("list", answer="session-expired")
    told = refusal(lambda: world.cases.list_flows(ada, expired))
    assert (told.status, told.retry_after, told.members) == (503, 1, {"cause": R.OUTCOME_UNKNOWN})
    assert world.cases.list_flows(ada, expired)
    assert (world.bearers("list"), world.asked()["token"]) == ([old] * 3, 1)
    row, org = world.cases.read_connection(ada, expired)
    assert (ConnectionView.of(row, org).state, ConnectionView.of(row, org).reason) == ("connected", R.OUTCOME_UNKNOWN)


@pytest.mark.parametrize(("drop", "alive"), [("before", True), ("after", False)])
def test_after_the_hold_one_attempt_shows_what_had_become_of_it(
    world: World, ada: Principal, expired: str, drop: str, *, alive: bool
) -> None:
    world.plan("token", drop=drop)
    refusal(lambda: world.cases.list_flows(ada, expired))
    world.clock.move(LEASE_S * SECOND)
    if alive:
        assert world.cases.list_flows(ada, expired)
        assert (world.row(ada).reason, world.row(ada).held_until, world.row(ada).version) == (None, 0, 2)
    else:
        for _ in range(5):
            told = refusal(lambda: world.cases.list_flows(ada, expired))
            assert (type(told), told.members) == (ReconnectNeeded, {"reason": R.OUTCOME_UNKNOWN})
        assert (world.row(ada).state, world.row(ada).grant) == (ConnectionState.NEEDS_RECONNECT, None)
    assert world.asked()["token"] == 2


def test_there_is_one_attempt_a_hold(world: World, ada: Principal, expired: str) -> None:
    world.plan("token", drop="before", times=3)
    for number in range(3):
        for _ in range(4):
            assert refusal(lambda: world.cases.list_flows(ada, expired)).members == {"cause": R.OUTCOME_UNKNOWN}
        assert world.asked()["token"] == number + 1
        world.clock.move(LEASE_S * SECOND)
    assert world.cases.list_flows(ada, expired)
    assert world.row(ada).version == 2


def test_a_transient_failure_after_an_unknown_outcome_leaves_the_doubt(
    world: World, ada: Principal, expired: str
) -> None:
    for weather in ({"drop": "after"}, {"answer": "too-busy"}, {}):
        world.plan("token", **weather)
        told = refusal(lambda: world.cases.list_flows(ada, expired))
        world.clock.move(LEASE_S * SECOND)
    assert (type(told), told.members) == (ReconnectNeeded, {"reason": R.OUTCOME_UNKNOWN})


# The org's setup


def test_what_an_admin_has_to_change_is_remembered_and_asked_again_after_a_while(
    world: World, ada: Principal, expired: str
) -> None:
    world.plan("token", answer="ip-restricted", times=2)
    for second in range(FLOOR_S):
        told = refusal(lambda: world.cases.list_flows(ada, expired))
        assert (told.status, told.members, told.retry_after) == (403, {"cause": R.IP_RESTRICTED}, FLOOR_S - second)
        world.clock.move(SECOND)
    assert world.asked()["token"] == 1
    refusal(lambda: world.cases.list_flows(ada, expired))
    row, _ = world.cases.read_connection(ada, expired)
    assert (row.shown_state, row.shown_reason) == ("connected", R.IP_RESTRICTED)
    world.clock.move(FLOOR_S * SECOND)
    assert world.cases.list_flows(ada, expired)
    assert (world.asked()["token"], world.row(ada).reason, world.row(ada).held_until) == (3, None, 0)


# Operator: the breaker is in test_breaker


@pytest.mark.parametrize(("taken", "works"), [("second", True), ("neither", False)])
def test_the_second_client_secret_is_tried_once_and_then_used(
    deploy: Callable[..., World], capsys: pytest.CaptureFixture[str], taken: str, *, works: bool
) -> None:
    world = deploy(SALESFORCE_SECOND_SECRET="second")
    ada = world.caller("ada")
    connection = world.connect(ada).row.id
    world.switch(client_secret=taken)
    for flow in ("Daily_Digest", "Create_Case"):
        world.expire_sessions()
        if works:
            assert world.cases.describe_flow(ada, connection, flow)
        else:
            assert refusal(partial(world.cases.describe_flow, ada, connection, flow)).status == 502
    first = world.bench.environment["SALESFORCE_CLIENT_SECRET"]
    used = world.sent("token", "client_secret")
    assert used == ([first, "second", "second"] if works else [first, "second"] * 2)
    assert capsys.readouterr().out.count("credentials_refused") == int(works)
    assert (world.row(ada).state, world.row(ada).reason) == (ConnectionState.CONNECTED, None)


# Ends


def test_a_dead_grant_is_removed_although_the_store_is_away_for_a_moment(
    world: World, ada: Principal, expired: str
) -> None:
    world.end_approvals()

    def away() -> None:
        world.clock.move(5 * SECOND)
        raise StoreUnavailable

    for call in range(2, 7):
        world.interruptions.before("save_connection", away, call=call)
    refusal(lambda: world.cases.list_flows(ada, expired))
    assert world.row(ada).grant is None
    world.clock.move(MINUTE)
    refusal(lambda: world.cases.list_flows(ada, expired))
    assert world.asked()["token"] == 1


def test_a_doubt_outlives_other_failures(world: World, ada: Principal, expired: str) -> None:
    for weather in ({"drop": "after"}, {"answer": "ip-restricted"}, {}):
        world.plan("token", **weather)
        told = refusal(lambda: world.cases.list_flows(ada, expired))
        world.clock.move(MINUTE)
    assert told.members == {"reason": R.OUTCOME_UNKNOWN}


def test_a_doubt_is_over_with_the_next_fresh_grant(world: World, ada: Principal, expired: str) -> None:
    world.plan("token", drop="before")
    refusal(lambda: world.cases.list_flows(ada, expired))
    assert world.row(ada).doubts == 1
    world.clock.move(MINUTE)
    assert world.cases.list_flows(ada, expired)
    world.end_approvals()
    assert refusal(lambda: world.instance().list_flows(ada, expired)).members == {"reason": R.GRANT_ENDED}


# Idle


def test_a_grant_that_was_idle_for_too_long_ends_with_that_reason(world: World, ada: Principal, expired: str) -> None:
    world.clock.move(31 * DAY)
    world.salesforce.grants.age_approvals(world.person, 31)
    told = refusal(lambda: world.cases.list_flows(ada, expired))
    assert (type(told), told.members) == (ReconnectNeeded, {"reason": R.IDLE})
    assert (world.row(ada).state, world.row(ada).reason) == (ConnectionState.NEEDS_RECONNECT, R.IDLE)
