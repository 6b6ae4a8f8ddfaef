"""Timers: NCRONTAB schedules in UTC, and one run of a timer at a time."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from croniter import croniter

_FIELDS = 6
_SETTING = re.compile(r"%([^%]+)%")


class ScheduleRefused(Exception):
    """A schedule that is none; the text says which timer and why."""


def resolve(timer: str, schedule: str, environment: Mapping[str, str]) -> str:
    """A schedule with each `%SETTING%` replaced from the environment.

    Raises ScheduleRefused for a setting that is missing and for anything but six NCRONTAB fields.
    """
    for name in _SETTING.findall(schedule):
        if not environment.get(name, "").strip():
            raise ScheduleRefused(f"{name} is missing: it holds the schedule of {timer}.")
    resolved = _SETTING.sub(lambda found: environment[found[1]].strip(), schedule)
    if len(resolved.split()) != _FIELDS or not croniter.is_valid(resolved, second_at_beginning=True):
        raise ScheduleRefused(f"The schedule of {timer} is not six NCRONTAB fields.")
    return resolved


def next_after(schedule: str, instant: datetime) -> datetime:
    """The first occurrence after an instant. Day and weekday must both match, as in NCRONTAB."""
    occurrence = croniter(schedule, instant, second_at_beginning=True, day_or=False).get_next(datetime)
    return occurrence if isinstance(occurrence, datetime) else instant


class Timer:
    """A timer function: runs by hand and by schedule exclude each other, and missed occurrences are not made up."""

    def __init__(self, name: str, schedule: str, run: Callable[[str, Mapping[str, object]], bool]) -> None:
        self.name = name
        self._schedule = schedule
        self._run = run
        self._lock = threading.Lock()
        self._last: datetime | None = None

    def fire(self) -> bool:
        """Run now, after any run that is under way; True when it ended well."""
        with self._lock:
            started = datetime.now(UTC)
            ended_well = self._run(self.name, self._occurrence(started))
            self._last = started
            return ended_well

    def keep(self, stopping: threading.Event) -> None:
        """Fire at each occurrence until told to stop."""
        occurrence = datetime.now(UTC)
        while True:
            now = datetime.now(UTC)
            occurrence = next_after(self._schedule, max(now, occurrence))  # a wait that ends early must not fire twice
            if stopping.wait((occurrence - now).total_seconds()):
                return
            self.fire()

    def settle(self, timeout_s: float) -> bool:
        """Wait for a run that is under way and let none begin after it; True when none is left."""
        return self._lock.acquire(timeout=max(0.0, timeout_s))

    def _occurrence(self, started: datetime) -> Mapping[str, object]:
        """What the platform tells a timer function (its TimerInfo)."""
        status = {
            "Last": "0001-01-01T00:00:00+00:00" if self._last is None else self._last.isoformat(),
            "LastUpdated": "0001-01-01T00:00:00+00:00" if self._last is None else self._last.isoformat(),
            "Next": next_after(self._schedule, started).isoformat(),
        }
        return {"Schedule": {"AdjustForDST": True}, "ScheduleStatus": status, "IsPastDue": False}
