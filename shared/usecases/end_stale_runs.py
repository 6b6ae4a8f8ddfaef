"""End the records of runs whose end was never written: nobody knows how they ended."""

from collections import Counter
from dataclasses import dataclass

from shared.errors import Conflict, FlowRunnerError
from shared.model.events import Event, EventName
from shared.model.identity import TenantRef
from shared.model.runs import Outcome, Run
from shared.ports import Clock, Emit, Store, TenantStore

STALE_AFTER_MS = 15 * 60 * 1_000
"""Far beyond the platform's cut of 230 s: a run that old has no process left that could finish it."""

PAGE = 200


@dataclass(frozen=True, slots=True)
class EndStaleRuns:
    """Turns runs that stayed `started` into `unknown`.

    A row that cannot be read is counted and left; a tenant at which something breaks does not stop the others.
    """

    store: Store
    clock: Clock
    emit: Emit

    def __call__(self) -> int:
        """How many records were ended."""
        counted = Counter[str]()
        for ref in self.store.tenants():
            self._tenant(ref, counted)
        facts = {"count": counted["ended"], "unreadable": counted["unreadable"]}
        self.emit(Event(EventName.STALE_RUNS_ENDED, facts))
        return counted["ended"]

    def _tenant(self, ref: TenantRef, counted: Counter[str]) -> None:
        try:
            rows = self.store.tenant(ref)
            for run in rows.stale_runs(self.clock() - STALE_AFTER_MS, PAGE):
                counted[self._end(rows, run)] += 1
        except Exception as error:  # noqa: BLE001  the other tenants' turn comes all the same
            slug = error.slug if isinstance(error, FlowRunnerError) else FlowRunnerError.slug
            facts = {"tenant_id": ref, "error_code": slug, "exception": type(error).__name__}
            self.emit(Event(EventName.TENANT_SKIPPED, facts))

    def _end(self, rows: TenantStore, run: Run | None) -> str:
        if run is None:
            return "unreadable"
        try:
            rows.save_run(run.ended(Outcome.UNKNOWN, self.clock()))
        except Conflict:
            return "finished after all"
        return "ended"
