"""Stop asking a token endpoint that refuses ourselves: more calls would mend nothing, and might get us locked out."""

from math import ceil
from threading import Lock

from shared.model.refreshing import RefreshFailed
from shared.ports import Ticks


class Breaker:
    """Open for `rest_s` seconds after a fault of ours, for each login host. Thread-safe.

    After the rest one call is let through; another fault opens it again, and `close` ends it.
    """

    def __init__(self, ticks: Ticks, rest_s: float) -> None:
        self._ticks = ticks
        self._rest_s = rest_s
        self._turn = Lock()
        self._open: dict[str, tuple[float, RefreshFailed]] = {}

    def fault(self, host: str) -> RefreshFailed | None:
        """Why the host may not be asked now, with the rest of the time; None when it may."""
        until, fault = self._open.get(host, (0.0, None))
        left = until - self._ticks()
        return RefreshFailed(fault.kind, fault.cause, retry_after=ceil(left)) if fault and left > 0 else None

    def probe(self, host: str) -> RefreshFailed | None:
        """The same, for who asks the host at once: an open breaker lets one through after each rest."""
        with self._turn:
            fault = self.fault(host)
            if fault is None and host in self._open:
                self._open[host] = (self._ticks() + self._rest_s, self._open[host][1])
            return fault

    def open(self, host: str, fault: RefreshFailed) -> bool:
        """Stop the calls to that host. True when it was closed before: the moment to tell somebody."""
        with self._turn:
            news = host not in self._open
            self._open[host] = (self._ticks() + self._rest_s, fault)
            return news

    def close(self, host: str) -> None:
        """The host takes us again."""
        with self._turn:
            self._open.pop(host, None)
