"""What each class of failed refresh does to the connection's row, and what its user is told: one table."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from shared.errors import (
    FlowRunnerError,
    NextAction,
    OrgLimit,
    OrgSetup,
    ReconnectNeeded,
    SalesforceUnavailable,
    SalesforceUnusable,
)
from shared.model.connections import Connection, Reason
from shared.model.refreshing import FailureClass, RefreshFailed

SECOND_MS = 1_000
SETUP_MS = 60 * SECOND_MS
"""How long nothing is asked for where an admin has to change something."""

REFUSED_MS = 600 * SECOND_MS
"""How long nothing is asked for where Salesforce refuses even a fresh session."""


@dataclass(frozen=True, slots=True)
class RefreshLimits:
    """Times in seconds: how long a claim lives, how long a token call may take, how young a grant is never refreshed.

    The lease is at least twice the deadline, so that a call and the write after it end inside it.
    """

    lease_s: int
    deadline_s: int
    floor_s: int

    @property
    def patience_s(self) -> int:
        """How long a call waits for another one's refresh."""
        return self.deadline_s + 5

    @property
    def lease_ms(self) -> int:
        """The lease in milliseconds."""
        return self.lease_s * SECOND_MS


@dataclass(frozen=True, slots=True)
class Handling:
    """`row` makes of the claimed row what is stored, `problem` of that row what the user is told."""

    row: Callable[[Connection, RefreshFailed, RefreshLimits], Connection]
    problem: Callable[[Connection, RefreshFailed], FlowRunnerError]


def held_back(row: Connection) -> FlowRunnerError:
    """Why a grant is not refreshed before the row's `held_until`."""
    left = max(-(-(row.held_until - row.read_at) // SECOND_MS), 1)
    if row.reason is Reason.OUTCOME_UNKNOWN:
        why = "Nobody can tell yet whether Salesforce renewed the session."
        return SalesforceUnavailable(why, retry_after=left, members={"cause": row.reason})
    if row.reason is Reason.LOGIN_LIMIT:
        return OrgLimit(retry_after=left, members={"cause": row.reason})
    return _setup(row.reason or Reason.SESSION_REFUSED, left)


def problem_of_ours(failed: RefreshFailed) -> FlowRunnerError:
    """What is told of a fault that only the operators can mend."""
    why = "Only the operators of FlowRunner can mend this."
    members, later = {"cause": failed.cause}, failed.retry_after
    return SalesforceUnusable(why, members=members, retry_after=later, next_action=NextAction.NONE)


def _setup(cause: Reason, retry_after: int) -> FlowRunnerError:
    members = {"cause": cause}
    if cause is Reason.UNEXPLAINED:
        why = "Salesforce does not say why it refuses. Connect again, or ask an admin."
        return OrgSetup(why, members=members, retry_after=retry_after, next_action=NextAction.RECONNECT)
    if cause is Reason.SESSION_REFUSED:
        return OrgSetup("Salesforce refuses even a fresh session.", members=members, retry_after=retry_after)
    why = "An admin of the Salesforce org has to change this."
    return OrgSetup(why, members=members, retry_after=retry_after)


def _waiting(row: Connection, failed: RefreshFailed, _: RefreshLimits) -> Connection:
    """The row as it was; but a limit of Salesforce's that lasts is remembered, or each call would ask again."""
    if failed.cause is None or failed.retry_after is None:
        return row.released()
    return row.held(failed.cause, row.saved_at + failed.retry_after * SECOND_MS)


def _away(row: Connection, failed: RefreshFailed) -> FlowRunnerError:
    return held_back(row) if failed.cause else SalesforceUnavailable(retry_after=failed.retry_after)


def _reconnect(row: Connection, _: RefreshFailed) -> FlowRunnerError:
    return ReconnectNeeded("Connect Salesforce again.", members={"reason": row.reason})


HANDLING: Mapping[FailureClass, Handling] = MappingProxyType(
    {
        FailureClass.TRANSIENT: Handling(
            _waiting,
            _away,
        ),
        FailureClass.UNCERTAIN: Handling(
            lambda row, _, limits: row.held(Reason.OUTCOME_UNKNOWN, row.saved_at + limits.lease_ms),
            lambda row, _: held_back(row),
        ),
        FailureClass.GRANT_DEAD: Handling(
            lambda row, _, __: row.ended(),
            _reconnect,
        ),
        FailureClass.OPERATOR: Handling(
            lambda row, _, __: row.released(),
            lambda _, failed: problem_of_ours(failed),
        ),
        FailureClass.ORG_SETUP: Handling(
            lambda row, failed, _: row.held(failed.cause or Reason.UNEXPLAINED, row.saved_at + SETUP_MS),
            lambda row, _: held_back(row),
        ),
    }
)
"""Each class of failure: its effect on the row, and its problem."""
