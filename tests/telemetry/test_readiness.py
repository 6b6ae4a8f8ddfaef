"""Readiness: asked at most every ten seconds, by one caller at a time, for whoever calls."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pytest

from shared.errors import KeysUnavailable, StoreUnavailable
from shared.usecases.check_readiness import CheckReadiness

WAIT_S = 20
"""Far longer than anything here takes; it ends a test that would hang."""


@dataclass
class Part:
    """A dependency that counts its pings, and can be held open by a test."""

    error: Exception | None = None
    pings: int = 0
    asked: threading.Event = field(default_factory=threading.Event)
    open: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.open.set()

    def __call__(self) -> None:
        self.pings += 1
        self.asked.set()
        assert self.open.wait(WAIT_S)
        if self.error:
            raise self.error


@dataclass
class Watch:
    now: int = 1_790_000_000_000

    def __call__(self) -> int:
        return self.now


Result = Mapping[str, bool]


def started(call: Callable[[], Result], results: list[Result]) -> threading.Thread:
    thread = threading.Thread(target=lambda: results.append(call()))
    thread.start()
    return thread


def test_each_part_says_whether_it_answers() -> None:
    pings = {"store": Part(StoreUnavailable()), "keys": Part(KeysUnavailable()), "other": Part()}
    assert CheckReadiness(pings, Watch())() == {"store": False, "keys": False, "other": True}


@pytest.mark.parametrize(
    ("later", "pings"), [(0, 1), (9_999, 1), (10_000, 2), (-9_999, 1), (-10_000, 2), (86_400_000, 2)]
)
def test_an_answer_serves_for_ten_seconds_by_a_clock_that_may_go_back(later: int, pings: int) -> None:
    store, clock = Part(), Watch()
    readiness = CheckReadiness({"store": store}, clock)
    readiness()
    clock.now += later
    readiness()
    assert store.pings == pings


def test_a_part_that_comes_back_is_seen_at_the_next_asking() -> None:
    store, clock = Part(StoreUnavailable()), Watch()
    readiness = CheckReadiness({"store": store}, clock)
    before = readiness()
    store.error = None
    clock.now += 10_000
    assert (before, readiness()) == ({"store": False}, {"store": True})


def test_while_one_caller_waits_for_a_part_the_others_get_the_last_answer() -> None:
    store, clock, results = Part(), Watch(), list[Result]()
    readiness = CheckReadiness({"store": store}, clock)
    readiness()
    store.asked.clear()
    store.open.clear()
    store.error = StoreUnavailable()
    clock.now += 10_000
    waiting = started(readiness, results)
    assert store.asked.wait(WAIT_S)
    assert [readiness() for _ in range(5)] == [{"store": True}] * 5
    assert (store.pings, results) == (2, [])
    store.open.set()
    waiting.join(WAIT_S)
    assert results == [{"store": False}]


def test_the_first_callers_wait_for_the_first_answer_rather_than_get_none() -> None:
    store, results = Part(), list[Result]()
    store.open.clear()
    readiness = CheckReadiness({"store": store}, Watch())
    threads = [started(readiness, results) for _ in range(4)]
    assert store.asked.wait(WAIT_S)
    store.open.set()
    for thread in threads:
        thread.join(WAIT_S)
    assert (results, store.pings) == ([{"store": True}] * 4, 1)


def test_a_part_that_breaks_unforeseen_is_heard_and_leaves_the_turn_to_the_next() -> None:
    store = Part(ZeroDivisionError())
    readiness = CheckReadiness({"store": store}, Watch())
    with pytest.raises(ZeroDivisionError):
        readiness()
    store.error = None
    assert readiness() == {"store": True}
