"""Lists and descriptions of Flows in memory, for minutes: each would cost the org a call of its daily budget."""

from collections.abc import Sequence
from threading import Lock

from cachetools import TTLCache

from shared.model.flows import Flow, FlowSummary
from shared.ports import Clock

LISTS_MAX = 500
FLOWS_MAX = 2_000

Key = tuple[str, ...]


class RecentFlows:
    """Keeps each for `ttl_s` seconds, the latest 500 lists and 2,000 descriptions; thread-safe.

    Never outputs: it has no place for them. What a key stands for is the caller's.
    """

    def __init__(self, ttl_s: float, clock: Clock) -> None:
        self._lock = Lock()
        self._lists = TTLCache[Key, tuple[FlowSummary, ...]](LISTS_MAX, ttl_s * 1_000, clock)
        self._flows = TTLCache[Key, Flow](FLOWS_MAX, ttl_s * 1_000, clock)

    def flows(self, key: Key) -> Sequence[FlowSummary] | None:
        """The kept list, if it is fresh."""
        with self._lock:
            return self._lists.get(key)

    def keep_flows(self, key: Key, flows: Sequence[FlowSummary]) -> None:
        """Keep a list."""
        with self._lock:
            self._lists[key] = tuple(flows)

    def flow(self, key: Key) -> Flow | None:
        """The kept description, if it is fresh."""
        with self._lock:
            return self._flows.get(key)

    def keep_flow(self, key: Key, flow: Flow) -> None:
        """Keep a description."""
        with self._lock:
            self._flows[key] = flow
