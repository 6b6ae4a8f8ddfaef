"""Timers: end the records of runs whose end was never written."""

import azure.functions as func

from functions._http import Edge
from shared.usecases.end_stale_runs import EndStaleRuns


def blueprint(edge: Edge, end_stale_runs: EndStaleRuns) -> func.Blueprint:
    """The stale-run timer; its schedule is the setting STALE_RUN_SCHEDULE."""
    timers = func.Blueprint()

    @timers.timer_trigger(arg_name="timer", schedule="%STALE_RUN_SCHEDULE%", run_on_startup=False)
    @edge.ticks
    def stale_run_timer(timer: func.TimerRequest) -> None:  # noqa: ARG001  it asks nothing
        end_stale_runs()

    return timers
