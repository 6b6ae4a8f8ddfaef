"""Threads and processes that share one store: one winner each time, nothing lost, nothing half."""

import multiprocessing
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from shared.ports import Store
from tests.contract.races_fixtures import (
    WAIT_S,
    Gate,
    Opened,
    arriving,
    claiming,
    creating,
    forgetting,
    race_processes,
    race_threads,
    store_there,
    writing,
)
from tests.contract.store_fixtures import (
    NOW,
    REF,
    USER,
    SetClock,
    a_connection,
    a_run,
    an_attempt,
    hex_of,
    open_store,
)

Work = Callable[..., list[bool]]
Race = Callable[[Work, int, int], list[list[bool]]]


def in_threads(store: Store, work: Work, racers: int, rounds: int) -> list[list[bool]]:
    return race_threads(work, [(lambda: store, racer, rounds) for racer in range(racers)])


def in_processes(backend: str, folder: Path, work: Work, racers: int, rounds: int) -> list[list[bool]]:
    opened: Opened = partial(store_there, backend, str(folder))
    return race_processes(work, [(opened, racer, rounds) for racer in range(racers)])


@pytest.fixture(params=["threads", "processes"])
def race(request: pytest.FixtureRequest, store: Store, backend: str, tmp_path: Path) -> Race:
    """A race of threads over one store, or of processes over the same file."""
    return partial(in_threads, store) if request.param == "threads" else partial(in_processes, backend, tmp_path)


def one_winner_each(results: list[list[bool]]) -> bool:
    return all(sum(round_) == 1 for round_ in zip(*results, strict=True))


def test_of_all_who_claim_a_connection_at_once_exactly_one_wins(store: Store, race: Race) -> None:
    store.tenant(REF).save_connection(a_connection())
    results = race(claiming, 4, 25)

    assert one_winner_each(results)
    _, last = store.tenant(REF).tenant_and_connection(a_connection().id)
    assert last is not None
    (winner,) = (racer for racer, won in enumerate(results) if won[-1])
    assert last.claim == hex_of(24 * 100 + winner)
    assert replace(last, claim=None, reason=None, doubts=0, etag=None) == a_connection()


def test_of_all_who_create_one_row_exactly_one_wins(store: Store, race: Race) -> None:
    results = race(creating, 4, 25)

    assert one_winner_each(results)
    for number in range(25):
        run = store.tenant(REF).run(USER, a_run(number).id)
        assert run is not None
        assert results[run.started_at - NOW][number]


def test_a_connection_is_forgotten_or_replaced_but_never_both(store: Store, race: Race) -> None:
    for number in range(25):
        store.tenant(REF).save_connection(a_connection(number))
    results = race(forgetting, 3, 25)

    assert one_winner_each(results)
    there = [store.tenant(REF).tenant_and_connection(a_connection(n).id)[1] is not None for n in range(25)]
    assert there == [not forgotten for forgotten in results[0]]


def test_all_threads_of_a_worker_write_at_once_and_nothing_is_lost(store: Store) -> None:
    results = in_threads(store, arriving, 128, 4)

    assert all(all(saved) for saved in results)
    assert len(store.tenant(REF).stale_runs(NOW + 1, 1_000)) == 128 * 4


def test_processes_that_all_open_a_new_store_first_agree_on_it(backend: str, tmp_path: Path) -> None:
    folder = tmp_path / "new"
    results = in_processes(backend, folder, arriving, 4, 5)

    assert all(all(saved) for saved in results)
    assert len(open_store(backend, folder, SetClock()).tenant(REF).stale_runs(NOW + 1, 1_000)) == 20


def test_threads_that_all_open_a_new_store_first_agree_on_it(backend: str, tmp_path: Path) -> None:
    for attempt in range(5):
        opened: Opened = partial(store_there, backend, str(tmp_path / f"new{attempt}"))
        race_threads(arriving, [(opened, racer, 2) for racer in range(16)])

        assert len(opened().tenant(REF).stale_runs(NOW + 1, 1_000)) == 32


def test_a_reader_sees_whole_rows_that_never_go_back(store: Store) -> None:
    rows = store.tenant(REF)
    rows.save_connection(a_connection())

    def look(gate: Gate, writes: bool) -> bool:  # noqa: FBT001
        gate.wait(WAIT_S)
        seen = []
        for _ in range(60):
            _, row = rows.tenant_and_connection(a_connection().id)
            assert row is not None
            assert row.refreshed_at - row.connected_at == row.version - 1
            seen.append(row.version)
            if writes:
                rows.save_connection(replace(row, version=row.version + 1, refreshed_at=row.refreshed_at + 1))
        return seen == sorted(seen)

    assert all(race_threads(look, [(True,), (False,), (False,)]))


def test_a_writer_that_is_killed_leaves_a_store_with_all_that_it_was_told_is_saved(
    store: Store, backend: str, tmp_path: Path
) -> None:
    context = multiprocessing.get_context("spawn")
    heard, told = context.Pipe(duplex=False)
    writer = context.Process(target=writing, args=(told, partial(store_there, backend, str(tmp_path))))
    writer.start()
    told.close()
    saved = [heard.recv() for _ in range(40)]
    writer.kill()
    writer.join(WAIT_S)
    while heard.poll():
        try:
            saved.append(heard.recv())
        except EOFError:
            break

    rows = store.tenant(REF)
    assert all(rows.run(USER, a_run(number).id) for number in saved)
    assert rows.save_run(a_run(10_000)).etag
    assert open_store(backend, tmp_path, SetClock()).attempt(an_attempt().id).save(an_attempt()).etag
