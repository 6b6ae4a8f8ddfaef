"""Ending the records of runs whose end was never written."""

import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest

from shared.errors import FlowRunnerError, RecordUnreadable, StoreUnavailable
from shared.model.events import Event, EventName
from shared.model.identity import Principal, TenantState
from shared.model.runs import Outcome, Run, RunId
from shared.usecases.end_stale_runs import PAGE
from tests.usecases.world_fixtures import MINUTE, World, a_key


def left_open(world: World, caller: Principal) -> Run:
    """A run whose end could not be written."""
    key, connection = a_key(), world.connect(caller).row.id
    world.interruptions.fail("save_run", StoreUnavailable(), call=2)
    world.run(caller, connection, "Daily_Digest", key)
    world.events.clear()
    run = world.record(caller, key)
    assert run is not None
    return run


def now(world: World, caller: Principal, run: Run) -> Run:
    found = world.inside(caller).rows.run(run.user, run.id)
    assert found is not None
    return found


def ended(count: int, unreadable: int = 0) -> Event:
    return Event(EventName.STALE_RUNS_ENDED, {"count": count, "unreadable": unreadable})


def spoil(world: World, run: Run) -> None:
    """Make that run's record unreadable, as somebody with a database tool could."""
    with closing(sqlite3.connect(world.folder / "store.sqlite")) as connection, connection:
        connection.execute("UPDATE runs SET document = '{}' WHERE id = ?", (run.id,))


def test_only_a_run_older_than_fifteen_minutes_is_ended(world: World, ada: Principal) -> None:
    run = left_open(world, ada)
    world.clock.move(15 * MINUTE)
    assert world.cases.end_stale_runs() == 0
    assert now(world, ada, run) == run
    world.clock.move(1)
    assert world.cases.end_stale_runs() == 1
    after = now(world, ada, run)
    assert (after.outcome, after.finished_at) == (Outcome.UNKNOWN, world.clock())
    assert world.cases.end_stale_runs() == 0
    assert world.events == [ended(0), ended(1), ended(0)]


def test_a_run_that_was_finished_meanwhile_keeps_its_end(world: World, ada: Principal) -> None:
    run = left_open(world, ada)
    world.clock.move(16 * MINUTE)
    rows = world.inside(ada).rows
    world.interruptions.before("save_run", lambda: rows.save_run(run.ended(Outcome.SUCCESS, world.clock())))
    assert world.cases.end_stale_runs() == 0
    assert now(world, ada, run).outcome is Outcome.SUCCESS
    assert world.events == [ended(0)]


@pytest.mark.parametrize("method", ["stale_runs", "save_run"])
@pytest.mark.parametrize("error", [StoreUnavailable(), RecordUnreadable()], ids=lambda error: error.slug)
def test_a_tenant_that_cannot_be_read_is_told_and_does_not_stop_the_others(
    world: World, ada: Principal, method: str, error: FlowRunnerError
) -> None:
    other = world.caller("ada", "umbrella")
    runs = {world.admission.ref(caller.tenant): (caller, left_open(world, caller)) for caller in (ada, other)}
    world.clock.move(16 * MINUTE)
    world.interruptions.fail(method, error)
    assert world.cases.end_stale_runs() == 1
    skipped, *ended_ones = world.store.tenants()
    assert now(world, *runs[skipped]).outcome is Outcome.STARTED
    assert [now(world, *runs[ref]).outcome for ref in ended_ones] == [Outcome.UNKNOWN]
    facts = {"tenant_id": skipped, "error_code": error.slug, "exception": type(error).__name__}
    told = Event(EventName.TENANT_SKIPPED, facts)
    assert world.events == [told, ended(1)]


def test_a_record_that_cannot_be_read_is_counted_at_every_tick_and_stops_no_other(world: World, ada: Principal) -> None:
    spoiled = left_open(world, ada)
    world.clock.move(1)
    whole, late = left_open(world, ada), left_open(world, world.caller("ada", "umbrella"))
    spoil(world, spoiled)
    world.clock.move(16 * MINUTE)
    assert [world.cases.end_stale_runs() for _ in range(2)] == [2, 0]
    assert {now(world, ada, whole).outcome, now(world, world.caller("ada", "umbrella"), late).outcome} == {
        Outcome.UNKNOWN
    }
    assert world.events == [ended(2, unreadable=1), ended(0, unreadable=1)]


def test_an_error_that_nobody_foresaw_is_told_by_its_type_and_does_not_stop_the_other_tenants(
    world: World, ada: Principal
) -> None:
    for caller in (ada, world.caller("ada", "umbrella")):
        left_open(world, caller)
    world.clock.move(16 * MINUTE)
    world.interruptions.before("stale_runs", lambda: int("no number"))
    assert world.cases.end_stale_runs() == 1
    skipped = next(world.store.tenants())
    facts = {"tenant_id": skipped, "error_code": "internal", "exception": "ValueError"}
    assert world.events == [Event(EventName.TENANT_SKIPPED, facts), ended(1)]


def test_what_was_ended_before_a_tenant_broke_off_is_counted(world: World, ada: Principal) -> None:
    first = left_open(world, ada)
    world.clock.move(1)
    left_open(world, ada)
    world.clock.move(16 * MINUTE)
    world.interruptions.fail("save_run", StoreUnavailable(), call=2)
    assert world.cases.end_stale_runs() == 1
    assert now(world, ada, first).outcome is Outcome.UNKNOWN
    assert [event.name for event in world.events] == [EventName.TENANT_SKIPPED, EventName.STALE_RUNS_ENDED]


def test_runs_of_a_suspended_tenant_are_ended_too(world: World, ada: Principal) -> None:
    run = left_open(world, ada)
    admitted = world.inside(ada)
    admitted.rows.save_tenant(replace(admitted.tenant, state=TenantState.SUSPENDED))
    world.clock.move(16 * MINUTE)
    assert world.cases.end_stale_runs() == 1
    rows = world.store.tenant(admitted.tenant.ref)
    assert rows.stale_runs(world.clock(), PAGE) == []
    assert rows.run(run.user, run.id)


def test_many_stale_runs_are_ended_page_by_page(world: World, ada: Principal) -> None:
    run, rows = left_open(world, ada), world.inside(ada).rows
    for number in range(PAGE):
        rows.save_run(replace(run, id=RunId(f"{number:032x}"), etag=None))
    world.clock.move(16 * MINUTE)
    assert [world.cases.end_stale_runs() for _ in range(3)] == [PAGE, 1, 0]
