"""Which Flows a user may run, and what each declares."""

from collections.abc import Sequence
from dataclasses import dataclass

from shared.model.connections import Connection, ConnectionState, OrgFacts
from shared.model.flows import Flow, FlowId, FlowName, FlowSummary, flow_name
from shared.model.identity import Principal
from shared.ports import FlowCache
from shared.usecases.admission import Admission, Admitted
from shared.usecases.sessions import LiveConnection, Sessions


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Lists and descriptions, kept in memory for minutes: each costs the org a call of its daily budget.

    They are kept by connection and consent, so they show one user's rights and die with a new sign-in.
    """

    kept: FlowCache

    def flows(self, admitted: Admitted, live: LiveConnection) -> Sequence[FlowSummary]:
        """The user's Flows."""
        key = _key(admitted, live.row)
        flows = self.kept.flows(key)
        if flows is None:
            flows = live.ask(lambda org: org.flows())
            self.kept.keep_flows(key, flows)
        return flows

    def flow(self, admitted: Admitted, live: LiveConnection, name: FlowName) -> Flow:
        """One Flow with what it declares. Raises FlowNotFound, FlowForbidden."""
        key = (*_key(admitted, live.row), name)
        flow = self.kept.flow(key)
        if flow is None:
            flow = live.ask(lambda org: org.flow(name))
            self.kept.keep_flow(key, flow)
        return flow

    def holds(self, admitted: Admitted, row: Connection, name: FlowName) -> bool:
        """Whether a usable connection's Flow can be described without a call."""
        known = self.kept.flow((*_key(admitted, row), name)) is not None
        return known and row.state is ConnectionState.CONNECTED


@dataclass(frozen=True, slots=True)
class KnownFlow:
    """A Flow with the name that we made for it."""

    id: FlowId
    flow: Flow


@dataclass(frozen=True, slots=True)
class ListFlows:
    """The Flows that the caller may run over one connection."""

    admission: Admission
    sessions: Sessions
    catalogue: Catalogue

    def __call__(self, caller: Principal, connection: str) -> Sequence[tuple[FlowId, FlowSummary]]:
        """Each Flow with our name for it."""
        admitted, row = self.admission.connected(caller, connection)
        live = self.sessions.live(admitted, row)
        return [(flow_id(admitted, live.org, f.name), f) for f in self.catalogue.flows(admitted, live)]


@dataclass(frozen=True, slots=True)
class DescribeFlow:
    """What one Flow declares."""

    admission: Admission
    sessions: Sessions
    catalogue: Catalogue

    def __call__(self, caller: Principal, connection: str, name: str) -> KnownFlow:
        """The Flow with our name for it. Raises FlowNotFound before any call for a name that no Flow can have."""
        proved = flow_name(name)
        admitted, row = self.admission.connected(caller, connection)
        live = self.sessions.live(admitted, row)
        return KnownFlow(flow_id(admitted, live.org, proved), self.catalogue.flow(admitted, live, proved))


def flow_id(admitted: Admitted, org: OrgFacts, name: FlowName) -> FlowId:
    """Our name for a Flow: it says neither org nor API name, and needs no table."""
    return FlowId(admitted.digest("flow", org.org_id, name))


def _key(admitted: Admitted, row: Connection) -> tuple[str, ...]:
    return (admitted.tenant.ref, row.id, str(row.generation), str(row.connected_at))
