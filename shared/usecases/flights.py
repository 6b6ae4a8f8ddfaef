"""One call for all who ask for the same thing at the same time in this process."""

import copy
from collections.abc import Callable
from concurrent.futures import Future
from threading import Lock
from typing import Generic, TypeVar

from shared.errors import FlowRunnerError, SalesforceUnavailable

Result = TypeVar("Result")


class Flights(Generic[Result]):
    """The first to come makes the call; who comes while it is under way gets its result or its error. Thread-safe."""

    def __init__(self) -> None:
        self._turn = Lock()
        self._under_way: dict[tuple[object, ...], Future[Result]] = {}

    def __call__(self, key: tuple[object, ...], call: Callable[[], Result], patience_s: float) -> Result:
        """What the call gives. Raises what it raises, and SalesforceUnavailable when it takes longer than that."""
        with self._turn:
            earlier = self._under_way.get(key)
            flight = earlier or self._under_way.setdefault(key, Future())
        if earlier is None:
            self._fly(key, flight, call)
        return _landed(flight, patience_s)

    def _fly(self, key: tuple[object, ...], flight: Future[Result], call: Callable[[], Result]) -> None:
        try:
            flight.set_result(call())
        except FlowRunnerError as told:
            flight.set_exception(told)
        finally:
            with self._turn:
                del self._under_way[key]
            if not flight.done():  # something broke, and nobody shall wait for ever
                flight.set_exception(SalesforceUnavailable())


def _landed(flight: Future[Result], patience_s: float) -> Result:
    try:
        return flight.result(patience_s)
    except TimeoutError:
        raise SalesforceUnavailable(retry_after=1) from None
    except FlowRunnerError as told:
        # Whoever answers a client adds to the error's members, so each gets one of their own.
        own = copy.copy(told)
        own.members = dict(told.members)
        raise own from None
