"""What the answer to a refresh says of the grant, where it brings no fresh one (salesforce-contract 2.7)."""

from collections.abc import Mapping
from types import MappingProxyType

from shared.model.connections import Reason
from shared.model.refreshing import Again, FailureClass, RefreshFailed
from shared.salesforce.fault_tables import OURS, SOON_S, FaultKind
from shared.salesforce.faults import Fault, fault_of
from shared.salesforce.replies import Reply, Unanswered

CONTENTION_S = 2

CLASSES: Mapping[FaultKind, FailureClass] = MappingProxyType(
    {
        FaultKind.RECONNECT: FailureClass.GRANT_DEAD,
        FaultKind.REFRESH_CONTENTION: FailureClass.TRANSIENT,
        FaultKind.CODE_EXPIRED: FailureClass.TRANSIENT,
        FaultKind.RESTART_CONNECT: FailureClass.ORG_SETUP,
        FaultKind.ORG_LIMIT: FailureClass.TRANSIENT,
        FaultKind.UNEXPLAINED: FailureClass.ORG_SETUP,
        FaultKind.USER_BLOCKED: FailureClass.ORG_SETUP,
        FaultKind.CONFIGURATION: FailureClass.ORG_SETUP,
        FaultKind.UPSTREAM_DOWN: FailureClass.UNCERTAIN,
        FaultKind.UNUSABLE: FailureClass.UNCERTAIN,
    }
)
"""The class of each fault that the token endpoint can answer with. Causes that are OURS are the operators' to mend."""

# The words for a spent code are, at a refresh, the older ones for two refreshes at once (contract 2.7).
_CONTENDED = frozenset({FaultKind.REFRESH_CONTENTION, FaultKind.CODE_EXPIRED})
_NOT_DONE, _REFUSED, _TOO_SLOW = frozenset({420, 429}), range(300, 500), 408


def failure_of(reply: Reply | Unanswered) -> RefreshFailed | None:
    """Why an answer brings no fresh grant; None where it may."""
    if isinstance(reply, Unanswered):
        return _unanswered(reply)
    fault = fault_of(reply)
    return _refused(reply.status, fault) if fault else None


def _unanswered(why: Unanswered) -> RefreshFailed:
    if why is Unanswered.NOT_SENT:
        return RefreshFailed(FailureClass.TRANSIENT, retry_after=SOON_S, again=Again.AT_ONCE)
    return RefreshFailed(FailureClass.UNCERTAIN)


def _refused(status: int, fault: Fault) -> RefreshFailed:
    if fault.cause in OURS:
        return RefreshFailed(FailureClass.OPERATOR, fault.cause)
    if fault.kind in _CONTENDED:
        return RefreshFailed(FailureClass.TRANSIENT, retry_after=CONTENTION_S, again=Again.LATER)
    if fault.kind is FaultKind.UPSTREAM_DOWN and status in _NOT_DONE:
        return RefreshFailed(FailureClass.TRANSIENT, retry_after=fault.retry_after)
    if fault.kind is FaultKind.UNUSABLE and status in _REFUSED and status != _TOO_SLOW:
        # A refusal that we do not understand. It may be for our address, so no grant is dead for it.
        return RefreshFailed(FailureClass.ORG_SETUP, Reason.UNEXPLAINED)
    kind = CLASSES.get(fault.kind, FailureClass.UNCERTAIN)
    return RefreshFailed(kind, fault.cause, retry_after=fault.retry_after)
