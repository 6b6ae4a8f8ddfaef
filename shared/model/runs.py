"""The one thing that we remember of a run: that it happened, and how it ended."""

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import NewType

from shared.errors import NextAction
from shared.model.connections import ConnectionId
from shared.model.flows import FlowId, FlowInputs, FlowOutputs
from shared.model.identity import UserId

RunId = NewType("RunId", str)
"""32 lower hex: a keyed digest of user and Idempotency-Key, so the first write is the mark."""

IDEMPOTENCY_KEY = r"[A-Za-z0-9_-]{16,64}"


class Outcome(StrEnum):
    """How a run ended. `unknown`: the call left us and its answer never came; the Flow may have run."""

    STARTED = "started"
    SUCCESS = "success"
    ERROR = "error"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Run:
    """A run as stored: ids that we made, times (epoch milliseconds), outcome. Nothing of what it carried."""

    id: RunId
    user: UserId
    connection: ConnectionId
    flow: FlowId
    started_at: int
    outcome: Outcome = Outcome.STARTED
    finished_at: int | None = None
    etag: str | None = None

    def ended(self, outcome: Outcome, at: int | None) -> "Run":
        """The same run with its outcome, and when it came to its end: never (None), while its Flow is paused."""
        return replace(self, outcome=outcome, finished_at=at)

    @property
    def ended_surely(self) -> bool:
        """Whether the Flow is known to have come to its end."""
        return self.finished_at is not None and self.outcome is not Outcome.UNKNOWN

    def same_target(self, other: "Run") -> bool:
        """Whether both aim at the same Flow over the same connection."""
        return (self.connection, self.flow) == (other.connection, other.flow)


@dataclass(frozen=True, slots=True)
class FlowFault:
    """What Salesforce said of a failed Flow: for the user's eyes, never for store or telemetry."""

    code: str = field(repr=False)
    message: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class FlowResult:
    """What came back from the one call of a run. Lives in memory only."""

    outcome: Outcome
    finished: bool
    outputs: FlowOutputs | None = field(default=None, repr=False)
    fault: FlowFault | None = field(default=None, repr=False)
    next_action: NextAction = NextAction.NONE


@dataclass(frozen=True, slots=True)
class RunAnswer:
    """What the caller gets: the record, and, unless it is a repeat, what came back and whence inputs were filled."""

    run: Run
    result: FlowResult | None = field(default=None, repr=False)
    inputs: FlowInputs | None = field(default=None, repr=False)

    @property
    def next_action(self) -> NextAction:
        """What the user should do about it."""
        if self.result:
            return self.result.next_action
        return NextAction.CHECK_SALESFORCE if self.run.outcome is Outcome.UNKNOWN else NextAction.NONE
