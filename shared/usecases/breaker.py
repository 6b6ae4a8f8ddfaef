"""Stop asking a token endpoint that refuses ourselves: more calls would mend nothing, and might get us locked out."""

from math import ceil
from threading import Lock

from shared.model.connections import Reason
from shared.model.refreshing import FailureClass, RefreshFailed
from shared.ports import Ticks


class Breaker:
    """Open for `rest_s` seconds after a fault of ours, for a login host or for one connection. Thread-safe.

    After the rest one call is let through; another fault opens it again, and `close` ends it.
    """

    def __init__(self, ticks: Ticks, rest_s: float) -> None:
        self._ticks = ticks
        self._rest_s = rest_s
        self._turn = Lock()
        self._open: dict[str, tuple[float, Reason | None]] = {}

    def fault(self, *places: str) -> RefreshFailed | None:
        """Why none of these may be asked now, with the rest of the time; None when they may."""
        for place in places:
            until, cause = self._open.get(place, (0.0, None))
            left = until - self._ticks()
            if left > 0:
                return RefreshFailed(FailureClass.OPERATOR, cause, retry_after=ceil(left))
        return None

    def probe(self, *places: str) -> RefreshFailed | None:
        """The same, for who asks at once: an open breaker lets one through after each rest."""
        with self._turn:
            fault = self.fault(*places)
            for place in places if fault is None else ():
                if place in self._open:
                    self._open[place] = (self._ticks() + self._rest_s, self._open[place][1])
            return fault

    def open(self, place: str, cause: Reason | None) -> bool:
        """Stop the calls there. True when it was closed before: the moment to tell somebody."""
        with self._turn:
            news = place not in self._open
            self._open[place] = (self._ticks() + self._rest_s, cause)
            return news

    def give_back(self, *places: str) -> None:
        """The call that was let through has shown nothing: the next one may."""
        with self._turn:
            for place in self._open.keys() & set(places):
                self._open[place] = (self._ticks(), self._open[place][1])

    def close(self, *places: str) -> None:
        """We are taken there again."""
        with self._turn:
            for place in places:
                self._open.pop(place, None)
