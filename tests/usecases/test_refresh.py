"""One refresh across all instances: the claim in the row, those who wait for it, its lease, and what a crash leaves."""

import re
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import TypeVar

import pytest

from shared.errors import (
    FlowRunnerError,
    ReconnectNeeded,
    RecordUnreadable,
    SalesforceUnavailable,
    StoreUnavailable,
    TenantSuspended,
)
from shared.model.connections import STORE_CLOCK_MS, Connection, ConnectionState, Reason
from shared.model.events import EventName
from shared.model.identity import Principal, TenantState
from tests.usecases.faulty_fixtures import Killed
from tests.usecases.world_fixtures import MINUTE, SECOND, WAIT_S, World, refusal

Answer = TypeVar("Answer")

LEASE_MS = 45 * SECOND
PATIENCE_MS = 25 * SECOND
SLOWEST_MS = LEASE_MS - 20 * SECOND
"""How long a claim's write may take and still leave time for a token call."""

SKEWS = (0, 5 * MINUTE, -5 * MINUTE)


def elsewhere(world: World, caller: Principal, connection: str, ahead_ms: int = 0) -> FlowRunnerError | None:
    """What another instance tells a caller whose session is over; None when all is well."""
    try:
        world.instance(ahead_ms).describe_flow(caller, connection, "Daily_Digest")
    except FlowRunnerError as told:
        return told
    return None


def killed(world: World, caller: Principal, connection: str, moment: str) -> None:
    """A process that dies at that moment of its refresh."""
    world.interruptions.fail(moment, Killed())
    with pytest.raises(Killed):
        world.cases.list_flows(caller, connection)


def ended(world: World, held: "Future[Answer]") -> Callable[[], object]:
    """Lets a call that Salesforce holds come to its end."""

    def end() -> object:
        world.let_go()
        return held.result(WAIT_S)

    return end


def busy(told: FlowRunnerError | None) -> bool:
    """Whether somebody is to come back in a second, since another call is at it."""
    return isinstance(told, SalesforceUnavailable) and told.retry_after == 1


def unclaimed(row: Connection) -> Connection:
    return replace(row, claim=None, etag=None)


# The claim


def test_a_claim_stands_before_the_token_call_and_is_gone_with_the_commit(
    world: World, ada: Principal, expired: str
) -> None:
    before, seen = world.row(ada), list[Connection]()
    world.interruptions.before("refresh", lambda: seen.append(world.row(ada)))
    assert world.cases.list_flows(ada, expired)
    (claimed,) = seen
    assert re.fullmatch("[0-9a-f]{32}", claimed.claim or "")
    assert unclaimed(claimed) == unclaimed(before)
    assert (world.row(ada).claim, world.row(ada).version) == (None, 2)


def test_a_claim_that_cannot_be_written_costs_nobody_anything(world: World, ada: Principal, expired: str) -> None:
    before = world.row(ada)
    world.interruptions.fail("save_connection", StoreUnavailable())
    told = refusal(lambda: world.cases.list_flows(ada, expired))
    assert (type(told), told.status, told.next_action) == (StoreUnavailable, 503, "retry")
    assert (world.asked(), world.row(ada)) == ({"list": 1}, before)
    assert world.cases.list_flows(ada, expired)
    assert world.asked()["token"] == 1


@pytest.mark.parametrize(("slow_ms", "tokens"), [(SLOWEST_MS, 1), (SLOWEST_MS + 1, 0)])
def test_who_has_no_time_left_after_a_slow_claim_does_not_call_and_gives_it_back(
    world: World, ada: Principal, expired: str, slow_ms: int, tokens: int
) -> None:
    before = world.row(ada)
    world.interruptions.before("save_connection", lambda: world.clock.move(slow_ms))
    if tokens:
        assert world.cases.list_flows(ada, expired)
    else:
        assert busy(refusal(lambda: world.cases.list_flows(ada, expired)))
        assert unclaimed(world.row(ada)) == unclaimed(before)
    assert world.asked().get("token", 0) == tokens
    assert world.row(ada).claim is None


def test_the_token_that_is_sent_is_the_one_in_the_claimed_row(world: World, ada: Principal, expired: str) -> None:
    def change() -> None:
        world.inside(ada).rows.save_connection(replace(world.row(ada), grant=world.row(ada).org))

    world.interruptions.before("tenant_and_connection", change, call=2)
    assert isinstance(refusal(lambda: world.cases.list_flows(ada, expired)), RecordUnreadable)
    assert (world.asked(), world.row(ada).claim) == ({"list": 1}, None)


# Those who come meanwhile


def test_calls_of_one_process_share_a_flight(world: World, ada: Principal, expired: str) -> None:
    nested = list[FlowRunnerError]()
    impatient = replace(world.limits, deadline_s=-5)

    def join() -> None:
        here = world.cases.list_flows
        refresh = replace(here.sessions.refresh, limits=impatient)
        nested.append(refusal(lambda: replace(here, sessions=replace(here.sessions, refresh=refresh))(ada, expired)))

    world.interruptions.before("refresh", join)
    assert world.cases.list_flows(ada, expired)
    assert [busy(told) for told in nested] == [True]
    assert world.asked() == {"list": 3, "token": 1}


def test_another_instance_waits_and_uses_what_was_stored(world: World, ada: Principal, expired: str) -> None:
    with world.held("token", lambda: world.instance().list_flows(ada, expired)) as first:
        world.interruptions.before("pause", ended(world, first))
        assert world.cases.describe_flow(ada, expired, "Daily_Digest")
    assert world.asked()["token"] == 1
    assert world.bearers("describe")[1] == world.bearers("list")[1] == world.opened(ada).grant.access_token


def test_who_finds_a_newer_grant_in_the_row_uses_it(world: World, ada: Principal, expired: str) -> None:
    world.interruptions.before("tenant_and_connection", lambda: elsewhere(world, ada, expired), call=2)
    assert world.cases.list_flows(ada, expired)
    assert world.asked() == {"list": 2, "describe": 2, "token": 1}
    assert world.bearers("list")[1] == world.opened(ada).grant.access_token


def test_who_loses_the_claim_to_another_uses_what_that_one_has_stored(
    world: World, ada: Principal, expired: str
) -> None:
    world.interruptions.before("save_connection", lambda: elsewhere(world, ada, expired))
    assert world.cases.list_flows(ada, expired)
    assert world.asked() == {"list": 2, "describe": 2, "token": 1}


def test_who_finds_that_the_other_gave_up_makes_the_call(world: World, ada: Principal, expired: str) -> None:
    other = partial(world.instance().list_flows, ada, expired)
    with world.held("token", lambda: refusal(other), status=429, body="{}") as first:
        world.interruptions.before("pause", ended(world, first))
        assert world.cases.describe_flow(ada, expired, "Daily_Digest")
    assert isinstance(first.result(), SalesforceUnavailable)


@pytest.mark.parametrize("ahead_ms", SKEWS)
def test_who_runs_out_of_patience_is_asked_to_come_back_and_calls_nobody(
    world: World, ada: Principal, expired: str, ahead_ms: int
) -> None:
    told = list[tuple[FlowRunnerError | None, int]]()

    def call() -> None:
        began = world.clock()
        told.append((elsewhere(world, ada, expired, ahead_ms), world.clock() - began))

    world.interruptions.before("refresh", call)
    assert world.cases.list_flows(ada, expired)
    assert [(busy(error), waited) for error, waited in told] == [(True, PATIENCE_MS)]
    assert (world.asked()["token"], world.salesforce.recorder.events().get("replay")) == (1, None)


def test_who_refreshes_a_connection_that_has_just_been_ended_asks_salesforce_nothing_more(
    world: World, ada: Principal, expired: str
) -> None:
    world.interruptions.before("tenant_and_connection", lambda: world.cases.end_connection(ada, expired), call=2)
    assert isinstance(refusal(lambda: world.cases.list_flows(ada, expired)), ReconnectNeeded)
    assert "token" not in world.asked()


def test_who_finds_that_the_grant_has_ended_meanwhile_leaves_the_row_alone(
    world: World, ada: Principal, expired: str
) -> None:
    seen = list[Connection]()
    world.plan("token", answer="oauth-object")
    world.interruptions.before("tenant_and_connection", lambda: elsewhere(world, ada, expired), call=2)
    world.interruptions.before("tenant_and_connection done", lambda: seen.append(world.row(ada)), call=2)
    told = refusal(lambda: world.cases.list_flows(ada, expired))
    assert (type(told), told.members) == (ReconnectNeeded, {"reason": Reason.GRANT_ENDED})
    assert (world.asked()["token"], [world.row(ada)]) == (1, seen)


# A claim that was left behind


@pytest.mark.parametrize("ahead_ms", SKEWS)
def test_a_crash_before_the_call_blocks_until_the_lease_ends_by_the_store_s_clock(
    world: World, ada: Principal, expired: str, ahead_ms: int
) -> None:
    killed(world, ada, expired, "refresh")
    world.clock.move(LEASE_MS - PATIENCE_MS)
    assert busy(elsewhere(world, ada, expired, ahead_ms))
    assert world.asked().get("token", 0) == 0
    world.clock.move(STORE_CLOCK_MS)
    began = world.clock()
    assert (elsewhere(world, ada, expired, ahead_ms), world.clock()) == (None, began)
    assert (world.asked()["token"], world.row(ada).version, world.row(ada).reason) == (1, 2, None)


def test_who_waits_when_the_lease_ends_makes_the_call(world: World, ada: Principal, expired: str) -> None:
    killed(world, ada, expired, "refresh")
    world.clock.move(LEASE_MS - PATIENCE_MS + 2 * STORE_CLOCK_MS)
    assert elsewhere(world, ada, expired) is None


def test_after_a_crash_with_the_answer_one_attempt_is_made_and_then_the_truth_is_told(
    world: World, ada: Principal, ben: Principal, expired: str
) -> None:
    other = world.connect(ben, "ben@acme.example").row.id
    killed(world, ada, expired, "refresh done")
    world.clock.move(LEASE_MS + STORE_CLOCK_MS)
    for _ in range(5):
        told = elsewhere(world, ada, expired)
        assert isinstance(told, ReconnectNeeded)
        assert told.members == {"reason": Reason.OUTCOME_UNKNOWN}
    row = world.row(ada)
    assert (row.state, row.reason, row.grant) == (ConnectionState.NEEDS_RECONNECT, Reason.OUTCOME_UNKNOWN, None)
    assert (world.asked()["token"], world.salesforce.recorder.events()["replay"]) == (2, 1)
    assert world.told() == [EventName.GRANT_ENDED]
    assert world.cases.list_flows(ben, other)


def test_a_claim_whose_answer_was_lost_is_one_that_was_left_behind(world: World, ada: Principal, expired: str) -> None:
    world.interruptions.lose("save_connection", StoreUnavailable())
    assert isinstance(refusal(lambda: world.cases.list_flows(ada, expired)), StoreUnavailable)
    assert busy(refusal(lambda: world.cases.list_flows(ada, expired)))
    assert world.asked().get("token", 0) == 0
    world.clock.move(LEASE_MS)
    assert world.cases.list_flows(ada, expired)
    assert (world.asked()["token"], world.row(ada).reason) == (1, None)


@pytest.mark.parametrize("theirs", ["f" * 32, None], ids=["claimed by another", "changed"])
def test_who_gives_a_claim_back_does_so_over_other_changes_and_takes_nobody_else_s(
    world: World, ada: Principal, expired: str, theirs: str | None
) -> None:
    def change() -> None:
        row = replace(world.row(ada), reason=Reason.IP_RESTRICTED)
        world.inside(ada).rows.save_connection(replace(row, claim=theirs or row.claim))

    world.plan("token", status=429, body="{}")
    world.interruptions.before("save_connection", change, call=2)
    assert isinstance(refusal(lambda: world.cases.list_flows(ada, expired)), SalesforceUnavailable)
    assert (world.row(ada).claim, world.row(ada).reason) == (theirs, Reason.IP_RESTRICTED)


def test_a_tenant_that_is_suspended_in_the_middle_of_a_call_gets_no_token(
    world: World, ada: Principal, expired: str
) -> None:
    def suspended() -> None:
        admitted = world.inside(ada)
        admitted.rows.save_tenant(replace(admitted.tenant, state=TenantState.SUSPENDED))

    world.interruptions.before("tenant_and_connection", suspended, call=2)
    assert isinstance(refusal(lambda: world.cases.list_flows(ada, expired)), TenantSuspended)
    assert "token" not in world.asked()


# The same token once more, where it is certainly unused


@pytest.mark.parametrize("answer", ["contention", "old-contention"])
def test_a_refresh_that_salesforce_is_busy_with_is_waited_for(
    world: World, ada: Principal, expired: str, answer: str
) -> None:
    world.plan("token", answer=answer, times=3)
    assert world.cases.list_flows(ada, expired)
    assert (world.asked()["token"], len(set(world.sent("token", "refresh_token")))) == (4, 1)
    assert (world.row(ada).version, world.told()) == (2, [EventName.GRANT_REFRESHED])


def unreachable(world: World, until: Callable[[ExitStack], None]) -> ExitStack:
    """Salesforce takes no connection from the next refresh on; `until` plans when that ends, at last with the block."""
    away = ExitStack()
    world.interruptions.before("refresh", lambda: away.enter_context(world.unreachable()))
    until(away)
    return away


def test_a_connection_that_was_refused_is_tried_again_at_once(world: World, ada: Principal, expired: str) -> None:
    with unreachable(world, lambda away: world.interruptions.before("refresh", away.close, call=2)):
        began = world.clock()
        assert world.cases.list_flows(ada, expired)
    assert (world.clock() - began, world.asked()["token"], world.row(ada).version) == (0, 1, 2)


def test_a_connection_that_is_refused_twice_leaves_everything_as_it_was(
    world: World, ada: Principal, expired: str
) -> None:
    before = world.row(ada)
    with unreachable(world, lambda _: None):
        told = refusal(lambda: world.cases.list_flows(ada, expired))
    assert (type(told), told.retry_after, told.members) == (SalesforceUnavailable, 30, {})
    assert unclaimed(world.row(ada)) == unclaimed(before)
    assert world.cases.list_flows(ada, expired)
