"""One call for all who ask for the same thing at the same time in one process."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Semaphore

import pytest

from shared.errors import FlowRunnerError, ReconnectNeeded, SalesforceUnavailable
from shared.usecases.flights import Flights
from tests.usecases.world_fixtures import WAIT_S

KEY = ("connection", 1)
FOLLOWERS = 3


class Telling(str):
    """A text that tells when it is looked up."""

    __slots__ = ("seen",)
    seen: Semaphore

    def __hash__(self) -> int:
        self.seen.release()
        return super().__hash__()


def never() -> str:
    raise AssertionError("this was another one's call")


def flown(end: Callable[[], str]) -> tuple[Callable[[], str], list["Future[str]"]]:
    """A leader's flight that ends so once three followers have joined it, and theirs."""
    flights, seen, threads, followers = Flights[str](), Semaphore(0), ThreadPoolExecutor(FOLLOWERS), list[Future[str]]()

    def lead() -> str:
        for _ in range(FOLLOWERS):
            name = Telling(KEY[0])
            name.seen = seen
            followers.append(threads.submit(flights, (name, KEY[1]), never, WAIT_S))
            assert seen.acquire(timeout=WAIT_S)
        return end()

    def fly() -> str:
        with threads:
            return flights(KEY, lead, WAIT_S)

    return fly, followers


def test_who_comes_while_a_call_is_under_way_gets_its_result() -> None:
    leader, followers = flown(lambda: "result")
    assert leader() == "result"
    assert [follower.result() for follower in followers] == ["result"] * FOLLOWERS


def test_each_gets_the_error_as_a_copy_of_their_own() -> None:
    told = ReconnectNeeded("why", members={"reason": "x"}, retry_after=7)

    def end() -> str:
        raise told

    leader, followers = flown(end)
    with pytest.raises(ReconnectNeeded) as refused:
        leader()
    errors = [refused.value, *(follower.exception() for follower in followers)]
    for number, error in enumerate(errors):
        assert isinstance(error, FlowRunnerError)
        assert (error.detail, error.retry_after, error.members) == ("why", 7, {"reason": "x"})
        error.members["run"] = number
    assert len({id(error) for error in (told, *errors)}) == FOLLOWERS + 2


def test_nobody_waits_for_ever_when_the_leader_breaks() -> None:
    def end() -> str:
        raise ZeroDivisionError

    leader, followers = flown(end)
    with pytest.raises(ZeroDivisionError):
        leader()
    told = [follower.exception() for follower in followers]
    assert [isinstance(each, SalesforceUnavailable) and each.retry_after for each in told] == [None] * FOLLOWERS


def test_patience_ends_with_a_word_on_when_to_come_back() -> None:
    flights = Flights[str]()

    def lead() -> str:
        with pytest.raises(SalesforceUnavailable) as refused:
            flights(KEY, never, 0.0)
        return str(refused.value.retry_after)

    assert flights(KEY, lead, WAIT_S) == "1"


def test_another_key_and_a_later_call_are_flights_of_their_own() -> None:
    flights = Flights[str]()
    assert flights(KEY, lambda: flights(("connection", 2), lambda: "other", WAIT_S), WAIT_S) == "other"
    assert flights(KEY, lambda: "later", WAIT_S) == "later"
