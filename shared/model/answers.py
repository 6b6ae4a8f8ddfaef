"""What clients get as JSON, by name and type: the contract that add-ins are written against."""

from collections.abc import Iterable
from typing import Self

from pydantic import BaseModel, ConfigDict, JsonValue
from pydantic.alias_generators import to_camel

from shared.errors import NextAction
from shared.model.connections import Connection, ConnectionState, OrgFacts, Reason
from shared.model.flows import Flow, FlowId, FlowSummary
from shared.model.identity import Principal, Tenant
from shared.model.runs import FlowFault, Outcome, Run, RunAnswer


class Answer(BaseModel):
    """The root of every answer: camelCase on the wire, and no surprise members."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)

    def __repr_args__(self) -> Iterable[tuple[str | None, object]]:
        """Nothing: what goes to a client is never printed."""
        return ()


class HealthView(Answer):
    """The app answers."""

    status: str


class ReadinessView(Answer):
    """Whether everything that the app needs answers; `parts` is for operators only."""

    status: str
    parts: dict[str, bool] | None = None


class TenantView(Answer):
    """A tenant as its own people and operators see it: its ref, never its provider id."""

    ref: str
    provider: str
    state: str
    generation: int
    run_retention_days: int

    @classmethod
    def of(cls, tenant: Tenant, provider: str) -> Self:
        """The view of a tenant's row."""
        return cls(
            ref=tenant.ref,
            provider=provider,
            state=tenant.state,
            generation=tenant.generation,
            run_retention_days=tenant.retention.days,
        )


class ConnectionView(Answer):
    """A connection as its owner sees it. Ids are Salesforce's, 18 characters; null where our record does not open.

    `reason` is what is the matter, and may be told of a connection that still works. `idleEndsAt` (epoch
    milliseconds) is when Salesforce ends the grant unless a call renews it before; in the last week `warning` is
    `idle`.
    """

    id: str
    state: str
    reason: str | None
    org_id: str | None = None
    instance_host: str | None = None
    sandbox: bool | None = None
    salesforce_user: str | None = None
    warning: str | None = None
    idle_ends_at: int | None = None

    @classmethod
    def of(cls, row: Connection, org: OrgFacts | None) -> Self:
        """The view of a connection's row and its opened org facts."""
        if org is None:
            return cls(id=row.id, state=ConnectionState.NEEDS_RECONNECT, reason=Reason.RECORD_UNREADABLE)
        return cls(
            id=row.id,
            state=row.shown_state,
            reason=row.shown_reason,
            warning=row.warning,
            idle_ends_at=row.idle_ends_at if row.shown_state is ConnectionState.CONNECTED else None,
            org_id=org.org_id,
            instance_host=org.instance_url.partition("://")[2],
            sandbox=org.sandbox,
            salesforce_user=org.salesforce_user,
        )


class MeView(Answer):
    """The caller's own record."""

    tenant: TenantView
    roles: list[str]
    connections: list[ConnectionView]

    @classmethod
    def of(cls, caller: Principal, tenant: Tenant, joined: Iterable[tuple[Connection, OrgFacts | None]]) -> Self:
        """The view of a proved caller."""
        return cls(
            tenant=TenantView.of(tenant, caller.tenant.provider),
            roles=sorted(caller.roles),
            connections=[ConnectionView.of(row, org) for row, org in joined],
        )


class BegunView(Answer):
    """A connect attempt under way. `expiresAt` is in epoch milliseconds."""

    id: str
    authorize_url: str
    expires_at: int


class DisconnectedView(Answer):
    """A connection that is forgotten here, while Salesforce could not be told."""

    revoked: bool
    next_action: NextAction


class ConnectionList(Answer):
    """A page of connections."""

    items: list[ConnectionView]
    next_cursor: str | None = None

    @classmethod
    def of(cls, joined: Iterable[tuple[Connection, OrgFacts | None]]) -> Self:
        """All of them on one page."""
        return cls(items=[ConnectionView.of(row, org) for row, org in joined])


class FlowView(Answer):
    """A Flow in the list. `id` is the API name that addresses take, `flowId` the name by which runs know it."""

    id: str
    flow_id: str
    label: str
    kind: str
    runnable: bool
    reason: str | None

    @classmethod
    def of(cls, flow_id: FlowId, flow: FlowSummary) -> Self:
        """The view of a listed Flow."""
        return cls(id=flow.name, flow_id=flow_id, label=flow.label, kind=flow.kind, runnable=True, reason=None)


class FlowList(Answer):
    """A page of Flows."""

    items: list[FlowView]
    next_cursor: str | None = None

    @classmethod
    def of(cls, found: Iterable[tuple[FlowId, FlowSummary]]) -> Self:
        """All of them on one page."""
        return cls(items=[FlowView.of(flow_id, flow) for flow_id, flow in found])


class InputView(Answer):
    """A declared input, and where its value would come from: a part of the e-mail, or `none`.

    `recordType` is the type of record that an SOBJECT input refers to.
    """

    name: str
    label: str
    description: str | None
    type: str
    collection: bool
    required: bool
    source: str
    choices: list[str]
    record_type: str | None


class OutputView(Answer):
    """A declared output."""

    name: str
    label: str
    type: str
    collection: bool


class FlowDetail(FlowView):
    """A Flow with what it declares."""

    description: str | None
    inputs: list[InputView]
    outputs: list[OutputView]

    @classmethod
    def described(cls, flow_id: FlowId, flow: Flow) -> Self:
        """The view of a described Flow."""
        return cls(
            id=flow.name,
            flow_id=flow_id,
            label=flow.label,
            kind=flow.kind,
            runnable=flow.reason is None,
            reason=flow.reason,
            description=flow.description,
            inputs=[
                InputView(
                    name=i.name,
                    label=i.label,
                    description=i.description,
                    type=i.declared_type,
                    collection=i.collection,
                    required=i.required,
                    source=i.source,
                    choices=list(i.choices),
                    record_type=i.record_type,
                )
                for i in flow.inputs
            ],
            outputs=[
                OutputView(name=o.name, label=o.label, type=o.type, collection=o.collection) for o in flow.outputs
            ],
        )


class RunView(Answer):
    """A run's record. Times are epoch milliseconds; `flow` is a Flow's `flowId`."""

    id: str
    flow: str
    connection: str
    started_at: int
    finished_at: int | None
    outcome: Outcome

    @classmethod
    def of(cls, run: Run) -> Self:
        """The view of a run's row."""
        return cls(
            id=run.id,
            flow=run.flow,
            connection=run.connection,
            started_at=run.started_at,
            finished_at=run.finished_at,
            outcome=run.outcome,
        )


class FaultView(Answer):
    """What Salesforce said of a failed Flow, for the user to read."""

    code: str
    message: str

    @classmethod
    def of(cls, fault: FlowFault) -> Self:
        """The view of a fault."""
        return cls(code=fault.code, message=fault.message)


class RunResultView(Answer):
    """The answer to a run. `outputs` are null in a repeat (`replayed`): nothing kept them.

    `finished` is true once the Flow is known to have come to its end; a paused one has not.
    `sources` says for each declared input where its value came from: a part of the e-mail, `user` or `none`.
    """

    run: RunView
    outcome: Outcome
    finished: bool
    outputs: dict[str, JsonValue] | None
    replayed: bool
    next_action: NextAction
    sources: dict[str, str] | None
    fault: FaultView | None

    @classmethod
    def of(cls, answer: RunAnswer) -> Self:
        """The view of a run that has just ended, or of a repeat."""
        run, result = RunView.of(answer.run), answer.result
        outputs = result.outputs if result else None
        return cls(
            run=run,
            outcome=run.outcome,
            finished=result.finished if result else answer.run.ended_surely,
            outputs=dict(outputs.values) if outputs else None,
            replayed=result is None,
            next_action=answer.next_action,
            sources=dict(answer.inputs.sources) if answer.inputs else None,
            fault=FaultView.of(result.fault) if result and result.fault else None,
        )
