"""Scenarios 2, 7 and 8: Salesforce may have renewed the grant, and nobody here has heard of it."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from shared.devkit.workbench import Workbench
from tests.lifecycle.instances_fixtures import (
    ENDED_S,
    FLOOR_S,
    HASTY_DEADLINE_S,
    HASTY_LEASE_S,
    LEASE_S,
    OK,
    Answered,
    Instance,
    Member,
    starting,
    told,
)
from tests.lifecycle.relay_fixtures import Relay, joining_through
from tests.security.journey_fixtures import WAIT_S

NOBODY_KNOWS = (503, "salesforce-unavailable", "refresh-outcome-unknown")
GONE = (409, "reconnect-needed", "refresh-outcome-unknown")


def test_a_dripping_answer_ends_in_time_and_who_waits_elsewhere_does_not_send_the_token_again(
    hasty: list[Instance],
) -> None:
    """Scenario 2. Each byte comes well within any timeout; all of them take over ten times the deadline."""
    eve = Member.joining(hasty)
    eve.expire()
    eve.plan("token", drip=0.05)
    began = time.monotonic()
    with ThreadPoolExecutor(3) as pool:
        calls = [pool.submit(eve.ask_now, 0)]
        assert eve.world.salesforce.grants.ledger.wait_for(eve.person.username, lambda f: f.asked == 1, WAIT_S)
        calls += [pool.submit(eve.ask_now, at) for at in (0, 1)]
        answers = [call.result(WAIT_S) for call in calls]
    assert HASTY_DEADLINE_S <= time.monotonic() - began < 3 * HASTY_DEADLINE_S
    assert [told(answer, "cause") for answer in answers] == [NOBODY_KNOWS] * 3
    assert all(0 < int(answer.headers["Retry-After"]) <= HASTY_LEASE_S for answer in answers)
    assert (eve.family.asked, eve.family.replays) == (1, [])
    assert eve.stands() == (1, 1, "connected", "refresh-outcome-unknown", False)


def test_a_holder_that_is_killed_after_the_rotation_costs_one_attempt_and_nobody_else_anything(
    bench: Workbench, instances: list[Instance], ada: Member, ben: Member
) -> None:
    """Scenario 7. Who meets the claim of the dead waits; at its end one of them tries, and Salesforce sees a replay."""
    salesforce = instances[0].salesforce
    with starting(bench, 1) as doomed, ThreadPoolExecutor(2 * len(instances)) as pool:
        ada.expire()
        with ada.held(ada.at(doomed).ask_now, after=True) as lost:
            doomed[0].host.kill()
            assert isinstance(lost.exception(WAIT_S), requests.ConnectionError)
            assert ada.stands() == (1, 1, "connected", None, True)
        met = salesforce.recorder.counters()["list"] + 2 * len(instances)
        waiting = [pool.submit(ada.ask_now, at) for at in range(len(instances)) for _ in range(2)]
        assert salesforce.recorder.wait_for("list", met, WAIT_S)
        salesforce.grants.expire_sessions(ben.person)
        assert [told(ben.ask_now(at)) for at in range(len(instances))] == [OK] * len(instances)
        assert (ada.family.asked, ada.stands()[-1]) == (1, True)
        ada.world.later(ENDED_S)
        assert [told(answer.result(WAIT_S), "reason") for answer in waiting] == [GONE] * len(waiting)
        doomed[0].host.start()
        assert [told(each.ask(), "reason") for each in (ada, ada.at(doomed), ben.at(doomed))] == [GONE, GONE, OK]
        assert (ada.family.asked, len(ada.family.replays), ada.family.ended) == (2, 1, "family-revoked")
        assert ada.stands() == (1, 1, "needs-reconnect", "refresh-outcome-unknown", False)
        ada.at(doomed).reconnect()
    assert (told(ada.ask()), ada.stands()) == (OK, (2, 1, "connected", None, False))
    assert (ben.stands(), ben.family.asked, ben.family.replays) == ((1, 2, "connected", None, False), 1, [])


def test_a_holder_that_is_killed_before_salesforce_heard_of_it_costs_nothing(
    bench: Workbench, instances: list[Instance], ada: Member
) -> None:
    """Scenario 7, the other side of the window."""
    with starting(bench, 1) as doomed:
        ada.expire()
        with ada.held(ada.at(doomed).ask_now, drop="before") as lost:
            doomed[0].host.kill()
            assert isinstance(lost.exception(WAIT_S), requests.ConnectionError)
    ada.world.later(ENDED_S)
    assert [told(ada.ask(at)) for at in range(len(instances))] == [OK] * len(instances)
    assert (ada.family.asked, ada.stands()) == (2, (1, 2, "connected", None, False))


@pytest.mark.parametrize(
    ("drop", "end", "stands"),
    [
        ("before", OK, (1, 2, "connected", None, False)),
        ("after", GONE, (1, 1, "needs-reconnect", "refresh-outcome-unknown", False)),
    ],
)
def test_after_a_lost_answer_the_old_session_serves_on_and_one_attempt_settles_it(
    ada: Member, drop: str, end: Answered, stands: tuple[object, ...]
) -> None:
    """Scenario 8. The session is refused once although it lives; then it really ends."""
    ada.world.later(2 * FLOOR_S)
    ada.plan("list", answer="session-expired")
    ada.plan("token", drop=drop)
    first = ada.ask()
    assert told(first, "cause") == NOBODY_KNOWS
    assert 0 < int(first.headers["Retry-After"]) <= LEASE_S
    assert [told(ada.ask(at)) for at in range(4)] == [OK] * 4
    assert ada.shown() == ("connected", "refresh-outcome-unknown", None)
    ada.world.salesforce.grants.expire_sessions(ada.person)
    assert [told(ada.ask(at), "cause") for at in range(4)] == [NOBODY_KNOWS] * 4
    assert ada.family.asked == 1
    ada.world.later(LEASE_S)
    assert [told(ada.ask(at), "reason") for at in range(4)] == [end] * 4
    assert (ada.family.asked, ada.stands()) == (2, stands)


@pytest.mark.parametrize(("refusals", "first"), [(1, OK), (2, (503, "salesforce-unavailable", "retry"))])
def test_what_was_never_sent_is_sent_again_at_once_and_is_no_doubt(
    bench: Workbench, refusals: int, first: Answered
) -> None:
    """Scenario 8, the contrast: the connection breaks before TLS stands."""
    assert bench.salesforce is not None
    with Relay(bench.salesforce.instance_url) as relay:
        known = f"{bench.environment['SF_EXTRA_ORIGINS']} {relay.origin}"
        with starting(bench, 1, SF_EXTRA_ORIGINS=known) as instances:
            fay = joining_through(relay, instances)
            fay.expire()
            relay.refuse(refusals)
            assert [told(fay.ask()), told(fay.ask())] == [first, OK]
            assert (relay.refusals, fay.family.asked) == (0, 1)
            assert fay.stands() == (1, 2, "connected", None, False)
