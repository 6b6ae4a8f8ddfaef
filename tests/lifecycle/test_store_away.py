"""Scenarios 3, 4 and 5: the store refuses, before the refresh, after it, or only seems to."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial

from shared.model.connections import ConnectionId
from shared.model.identity import TenantRef
from shared.store.sqlite import SqliteStore
from tests.lifecycle.instances_fixtures import HASTY_LEASE_S, OK, Instance, Member, endpoints, now, refusing, told
from tests.security.journey_fixtures import WAIT_S, at_once

AWAY = (503, "store-unavailable", "retry")


def test_where_the_store_takes_no_claim_no_token_is_sent(ada: Member) -> None:
    """Scenario 3. Somebody else holds the write lock for longer than anybody waits."""
    ada.expire()
    before = ada.row
    with ada.world.database() as database:
        database.execute("BEGIN IMMEDIATE")
        answers = at_once(*[lambda at=at: ada.ask_now(at) for at in range(4)])
        database.execute("ROLLBACK")
    assert [told(answer) for answer in answers] == [AWAY] * 4
    assert all(int(answer.headers["Retry-After"]) > 0 for answer in answers)
    assert (ada.family.asked, ada.row) == (0, before)
    assert [told(ada.ask(at)) for at in range(4)] == [OK] * 4
    assert (ada.family.asked, ada.stands()) == (1, (1, 2, "connected", None, False))


def test_a_store_that_refuses_the_fresh_grant_for_a_while_gets_it_before_anybody_uses_it(ada: Member) -> None:
    """Scenario 4. The answer comes while the store refuses; by its own clock it takes changes again a second later."""
    ada.expire()
    with ExitStack() as refusal, ada.world.overheard() as calls:
        with ada.held(ada.ask_now, after=True) as call:
            back = time.time() + 1.5
            refusal.enter_context(refusing(ada, back))
        assert told(call.result(WAIT_S)) == OK
    assert endpoints(calls) == [("list", 401), ("token", 200), ("list", 200)]
    assert ada.family.rotations[0].told_at < back * 1_000 <= calls[-1].at
    assert (ada.family.asked, ada.family.replays) == (1, [])
    assert ada.stands() == (1, 2, "connected", None, False)


def test_a_store_that_refuses_for_longer_than_the_lease_is_an_alarm_and_then_a_doubt(hasty: list[Instance]) -> None:
    """Scenario 4. What the store never got is lost; until the lease ends nobody sends the spent token."""
    gil = Member.joining(hasty)
    gil.expire()
    with ExitStack() as refusal, ThreadPoolExecutor(1) as pool:
        with gil.held(gil.ask_now, after=True) as holder:
            refusal.enter_context(refusing(gil))
            waiter = pool.submit(gil.ask_now, 1)
        assert [told(holder.result(WAIT_S)), told(waiter.result(WAIT_S))] == [AWAY] * 2
        assert (gil.family.asked, gil.stands()) == (1, (1, 1, "connected", None, True))
    assert len(hasty[0].lines(f"grant_not_stored tenant_id={gil.panes[0].tenant_ref()}")) == 1
    gil.world.later(HASTY_LEASE_S + 2)
    gone = (409, "reconnect-needed", "refresh-outcome-unknown")
    assert [told(gil.ask(at), "reason") for at in (0, 1, 0)] == [gone] * 3
    assert (gil.family.asked, len(gil.family.replays)) == (2, 1)


def test_another_writer_of_the_row_costs_the_fresh_grant_nothing(ada: Member) -> None:
    """Scenario 5b. Somebody writes the row between claim and commit."""
    ada.expire()
    rows = SqliteStore(ada.world.folder / "store.sqlite", partial(now, ada.world)).tenant(
        TenantRef(ada.panes[0].tenant_ref())
    )
    with ada.held(ada.ask_now, after=True) as call:
        _, row = rows.tenant_and_connection(ConnectionId(ada.connection))
        assert row is not None
        assert rows.save_connection(row).etag != row.etag
    assert told(call.result(WAIT_S)) == OK
    assert (ada.family.asked, ada.stands()) == (1, (1, 2, "connected", None, False))
    ada.expire()
    assert [told(ada.ask(at)) for at in range(4)] == [OK] * 4
    assert (ada.family.asked, ada.family.replays) == (2, [])
