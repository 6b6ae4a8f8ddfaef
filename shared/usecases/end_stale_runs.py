"""End the records of runs whose end was never written: nobody knows how they ended."""

from dataclasses import dataclass

from shared.errors import Conflict, FlowRunnerError
from shared.model.events import Event, EventName
from shared.model.identity import TenantRef
from shared.model.runs import Outcome
from shared.ports import Clock, Emit, Store

STALE_AFTER_MS = 15 * 60 * 1_000
"""Far beyond the platform's cut of 230 s: a run that old has no process left that could finish it."""

PAGE = 200


@dataclass(frozen=True, slots=True)
class EndStaleRuns:
    """Turns runs that stayed `started` into `unknown`; a tenant that cannot be read does not stop the others."""

    store: Store
    clock: Clock
    emit: Emit

    def __call__(self) -> int:
        """How many records were ended."""
        ended = sum(self._tenant(ref) for ref in self.store.tenants())
        self.emit(Event(EventName.STALE_RUNS_ENDED, {"count": ended}))
        return ended

    def _tenant(self, ref: TenantRef) -> int:
        rows = self.store.tenant(ref)
        ended = 0
        try:
            for run in rows.stale_runs(self.clock() - STALE_AFTER_MS, PAGE):
                try:
                    rows.save_run(run.ended(Outcome.UNKNOWN, self.clock()))
                    ended += 1
                except Conflict:  # it was finished after all
                    continue
        except FlowRunnerError as error:
            self.emit(Event(EventName.TENANT_SKIPPED, {"tenant_id": ref, "error_code": error.slug}))
        return ended
