"""Run one Flow as the caller, hand back its outputs, remember only that it ran."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from shared.errors import Conflict, FlowNotRunnable, FlowRunnerError, IdempotencyKeyReused, InputRefused, NextAction
from shared.model.answers import RunView
from shared.model.events import Event, EventName
from shared.model.flows import Flow, FlowInputs, flow_name
from shared.model.identity import Principal
from shared.model.requests import RunFlowBody
from shared.model.runs import FlowResult, Outcome, Run, RunAnswer, RunId
from shared.ports import Clock, Emit
from shared.usecases.admission import Admission, Admitted
from shared.usecases.list_flows import Catalogue, flow_id
from shared.usecases.sessions import Sessions


@dataclass(frozen=True, slots=True)
class RunFlow:
    """Runs a Flow at most once for a user and Idempotency-Key.

    The record is written immediately before the one call that cannot be undone, and finished after it. A key
    seen before gets the record as it stands: nothing is sent, and outputs are gone because nothing kept them.
    """

    admission: Admission
    sessions: Sessions
    catalogue: Catalogue
    clock: Clock
    emit: Emit

    def __call__(self, caller: Principal, connection: str, name: str, key: str, asked: RunFlowBody) -> RunAnswer:
        """The answer. A problem before the record is written leaves the key free; one after it carries `run`."""
        proved = flow_name(name)
        admitted, row = self.admission.connected(caller, connection)
        flow = flow_id(admitted, self.sessions.org(admitted, row), proved)
        run = Run(RunId(admitted.digest("run", row.user, key)), row.user, row.id, flow, self.clock())
        # A repeat must send nothing, not even a describe; where none would be sent it is looked for below.
        repeat = None if self.catalogue.holds(admitted, row, proved) else _repeat(admitted, run)
        if repeat:
            return repeat
        live = self.sessions.live(admitted, row)
        described = self.catalogue.flow(admitted, live, proved)
        try:
            inputs = _inputs(described, asked)
            started = admitted.rows.save_run(replace(run, started_at=self.clock()))
        except (FlowNotRunnable, InputRefused, Conflict):  # none of which may make a key look free that has run
            repeat = _repeat(admitted, run)
            if repeat is None:
                raise
            return repeat
        return self._recorded(admitted, started, inputs, lambda: live.ask(lambda org: org.run(proved, inputs)))

    def _recorded(self, admitted: Admitted, run: Run, inputs: FlowInputs, call: Callable[[], FlowResult]) -> RunAnswer:
        """Make the call and write how it ended, whatever it was."""
        try:
            result = call()
        except FlowRunnerError as refused:  # before the Flow began
            refused.members["run"] = RunView.of(self._ended(admitted, run, Outcome.ERROR))
            raise
        except Exception as broken:  # noqa: BLE001  whatever broke, the Flow may have run, and that is the answer
            facts = {"tenant_id": admitted.tenant.ref, "run_id": run.id, "exception": type(broken).__name__}
            self.emit(Event(EventName.RUN_CALL_BROKE, facts))
            result = FlowResult(Outcome.UNKNOWN, finished=False, next_action=NextAction.CHECK_SALESFORCE)
        return RunAnswer(self._ended(admitted, run, result.outcome, paused=not result.finished), result, inputs)

    def _ended(self, admitted: Admitted, run: Run, outcome: Outcome, *, paused: bool = False) -> Run:
        """Finish the record; a paused Flow has an outcome and no end.

        Where the store is away the caller still gets the answer, and a timer ends the run.
        """
        ended = run.ended(outcome, None if paused and outcome is Outcome.SUCCESS else self.clock())
        try:
            return admitted.rows.save_run(ended)
        except FlowRunnerError:
            facts = {"tenant_id": admitted.tenant.ref, "run_id": run.id}
            self.emit(Event(EventName.RUN_RECORD_LEFT_OPEN, facts))
            return ended


def _inputs(flow: Flow, asked: RunFlowBody) -> FlowInputs:
    if flow.reason:
        raise FlowNotRunnable("One of its inputs has a type that cannot be filled from here.")
    return flow.bind(asked.email, asked.inputs)


def _repeat(admitted: Admitted, asked: Run) -> RunAnswer | None:
    """The answer to a key that was seen before. Raises IdempotencyKeyReused when it was used for something else."""
    earlier = admitted.rows.run(asked.user, asked.id)
    if earlier is None:
        return None
    if not earlier.same_target(asked):
        raise IdempotencyKeyReused("Make a new key for each run.")
    return RunAnswer(earlier)
