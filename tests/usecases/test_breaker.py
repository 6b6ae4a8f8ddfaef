"""No token is asked for while Salesforce refuses ourselves, and nobody's connection suffers for it."""

from dataclasses import dataclass, replace
from functools import partial

import pytest

from shared.errors import NextAction, SalesforceUnusable, StoreUnavailable
from shared.model.connections import Reason
from shared.model.events import EventName
from shared.model.identity import Principal
from shared.model.refreshing import FailureClass, RefreshFailed
from shared.usecases.breaker import Breaker
from tests.usecases.world_fixtures import BREAKER_S, SECOND, World, a_key, refusal

HOST, OTHER = "https://login.example", "https://other.example"
FAULT = RefreshFailed(FailureClass.OPERATOR, Reason.OUR_CREDENTIALS)


@dataclass
class Time:
    seconds: float = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def breaker(time: Time) -> Breaker:
    """Open for ten seconds since now."""
    made = Breaker(time, 10)
    assert made.probe(HOST) is None
    assert made.open(HOST, FAULT.cause)
    return made


def refused(breaker: Breaker, host: str = HOST) -> int | None:
    """For how many seconds more nothing passes; None when something has passed."""
    told = breaker.probe(host)
    assert told is None or (told.kind, told.cause) == (FAULT.kind, FAULT.cause)
    return told.retry_after if told else None


def test_nothing_passes_while_it_is_open_and_then_one_call_alone(breaker: Breaker, time: Time) -> None:
    assert (refused(breaker), refused(breaker, OTHER)) == (10, None)
    time.seconds += 9.5
    assert refused(breaker) == 1
    time.seconds += 0.5
    assert [refused(breaker) for _ in range(3)] == [None, 10, 10]


def test_a_probe_that_fails_opens_it_again_and_is_no_news(breaker: Breaker, time: Time) -> None:
    time.seconds += 10
    assert refused(breaker) is None
    time.seconds += 3
    assert not breaker.open(HOST, FAULT.cause)
    time.seconds += 9
    assert refused(breaker) == 1


def test_a_success_closes_it_and_the_next_fault_is_news(breaker: Breaker) -> None:
    breaker.close(HOST)
    assert [refused(breaker) for _ in range(3)] == [None] * 3
    assert breaker.open(HOST, FAULT.cause)


# Around connections


def test_a_fault_of_ours_stops_all_token_calls_touches_no_row_and_needs_no_reconnect(
    world: World, ada: Principal, ben: Principal, expired: str
) -> None:
    second = world.connect(ben).row.id
    world.expire_sessions()
    world.switch(client_secret="another")
    rows = world.row(ada), world.row(ben)
    for _ in range(20):
        for caller, connection in ((ada, expired), (ben, second)):
            told = refusal(partial(world.run, caller, connection, "Daily_Digest", a_key()))
            assert isinstance(told, SalesforceUnusable)
            assert (told.next_action, told.members["cause"]) == (NextAction.NONE, Reason.OUR_CREDENTIALS)
    assert world.asked()["token"] == 1
    assert [replace(row, etag=None) for row in (world.row(ada), world.row(ben))] == [
        replace(row, etag=None) for row in rows
    ]
    assert world.told().count(EventName.REFRESHES_SUSPENDED) == 1
    world.clock.move(BREAKER_S * SECOND)
    for _ in range(3):
        refusal(lambda: world.cases.list_flows(ada, expired))
    assert world.asked()["token"] == 2
    world.switch(client_secret="")
    world.clock.move(BREAKER_S * SECOND)
    assert world.cases.list_flows(ben, second)
    assert world.cases.list_flows(ada, expired)
    assert world.told().count(EventName.REFRESHES_SUSPENDED) == 1


@pytest.mark.parametrize("answer", ["oauth-object", "ip-restricted", "contention", "login-rate"])
def test_a_probe_that_salesforce_refuses_for_the_grant_s_sake_shows_that_it_takes_us_again(
    world: World, ada: Principal, ben: Principal, expired: str, answer: str
) -> None:
    second = world.connect(ben).row.id
    world.expire_sessions()
    world.plan("token", answer="invalid-client")
    refusal(lambda: world.cases.list_flows(ada, expired))
    world.clock.move(BREAKER_S * SECOND)
    world.plan("token", answer=answer, times=4 if answer == "contention" else 1)
    refusal(lambda: world.cases.list_flows(ada, expired))
    assert world.cases.list_flows(ben, second)


def test_a_call_that_gets_no_claim_leaves_the_probe_to_others(world: World, ada: Principal, expired: str) -> None:
    world.plan("token", answer="invalid-client")
    refusal(lambda: world.cases.list_flows(ada, expired))
    world.clock.move(BREAKER_S * SECOND)
    world.interruptions.fail("save_connection", StoreUnavailable())
    refusal(lambda: world.cases.list_flows(ada, expired))
    assert world.cases.list_flows(ada, expired)


def test_a_probe_that_salesforce_has_no_time_for_leaves_it_to_the_next(
    world: World, ada: Principal, expired: str
) -> None:
    world.plan("token", answer="invalid-client")
    refusal(lambda: world.cases.list_flows(ada, expired))
    world.clock.move(BREAKER_S * SECOND)
    world.plan("token", status=429, body="{}")
    refusal(lambda: world.cases.list_flows(ada, expired))
    assert world.cases.list_flows(ada, expired)


def test_a_request_of_ours_that_is_refused_for_one_grant_stops_nobody_else_s(
    world: World, ada: Principal, ben: Principal, expired: str
) -> None:
    second = world.connect(ben).row.id
    world.expire_sessions()
    world.plan("token", status=400, body='{"error": "invalid_scope"}')
    for _ in range(2):
        told = refusal(lambda: world.cases.list_flows(ada, expired))
        assert (told.status, told.members) == (502, {"cause": Reason.OUR_REQUEST})
    assert world.asked()["token"] == 1
    assert world.cases.list_flows(ben, second)
