"""What may be told to telemetry: a name from a closed list, and facts with a grammar each."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class EventName(StrEnum):
    """Everything that the middleware tells about itself."""

    REQUEST = "request"
    SIGN_IN_REFUSED = "sign_in_refused"
    RUN_CALL_BROKE = "run_call_broke"
    RUN_RECORD_LEFT_OPEN = "run_record_left_open"
    GRANT_ENDED = "grant_ended"
    GRANT_REFRESHED = "grant_refreshed"
    GRANT_NOT_REFRESHED = "grant_not_refreshed"
    GRANT_NOT_STORED = "grant_not_stored"
    GRANT_NOT_REVOKED = "grant_not_revoked"
    CREDENTIALS_REFUSED = "credentials_refused"
    REFRESHES_SUSPENDED = "refreshes_suspended"
    RECORD_UNREADABLE = "record_unreadable"
    STALE_RUNS_ENDED = "stale_runs_ended"
    TENANT_SKIPPED = "tenant_skipped"
    TIMER_FAILED = "timer_failed"


@dataclass(frozen=True, slots=True)
class Event:
    """One event. Facts that the vocabulary does not know, or that do not fit, are dropped before they leave."""

    name: EventName
    facts: Mapping[str, str | int | None] = field(default_factory=dict)
