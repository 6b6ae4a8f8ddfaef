"""One line for each event, whatever happens to the stream, and silence from everybody else."""

import io
import logging
import os
from collections.abc import Iterator
from contextlib import suppress
from typing import TextIO

import pytest

from shared.model.events import Event, EventName
from shared.telemetry.sinks import FOREIGN, LineSink, silence_foreign

NOON = 1_764_000_000_123
"""2025-11-24T16:00:00.123Z"""


def lines(*events: Event) -> list[str]:
    stream = io.StringIO()
    sink = LineSink(stream, lambda: NOON)
    for event in events:
        sink(event)
    return stream.getvalue().split("\n")


def test_an_event_is_one_line_of_time_name_and_facts_in_the_order_of_the_list() -> None:
    event = Event(EventName.REQUEST, {"ms": 12, "status": 200, "function": "me", "path": "/v1/me"})
    assert lines(event, Event(EventName.STALE_RUNS_ENDED)) == [
        "2025-11-24T16:00:00.123000Z request function=me status=200 ms=12",
        "2025-11-24T16:00:00.123000Z stale_runs_ended",
        "",
    ]


@pytest.mark.parametrize("break_", ["\n", "\r", "\r\n", "\u2028", "\u0085", "\x0b", "\x1b[2K"])
def test_a_fact_cannot_begin_a_line_of_its_own(break_: str) -> None:
    event = Event(EventName.REQUEST, {"function": f"me{break_}x", "reason": f"{break_}x", "module": f"a{break_}b"})
    assert lines(event) == ["2025-11-24T16:00:00.123000Z request", ""]


class Full(io.StringIO):
    """A disk without room, seen at the flush."""

    def flush(self) -> None:
        raise OSError(28, "No space left on device")


def tell(stream: TextIO) -> None:
    LineSink(stream, lambda: NOON)(Event(EventName.REQUEST, {"status": 200}))


def test_a_closed_stream_costs_no_request_its_answer() -> None:
    stream = io.StringIO()
    stream.close()
    tell(stream)


def test_a_full_disk_costs_no_request_its_answer() -> None:
    tell(Full())


def test_a_broken_pipe_costs_no_request_its_answer() -> None:
    read, write = os.pipe()
    os.close(read)
    with suppress(BrokenPipeError), os.fdopen(write, "w") as stream:
        tell(stream)


@pytest.mark.parametrize("moment", [-1, 10**18, 10**25], ids=["before 1970", "after all calendars", "beyond"])
def test_a_clock_that_is_far_off_costs_no_request_its_answer(moment: int) -> None:
    LineSink(io.StringIO(), lambda: moment)(Event(EventName.REQUEST, {"status": 200}))


# Foreign loggers


class Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.NOTSET)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture(name="kept")
def _kept() -> Iterator[Kept]:
    """What reaches the root logger, as the Functions worker would send it on; levels are put back afterwards."""
    root, handler = logging.getLogger(), Kept()
    levels = {name: logging.getLogger(name).level for name in FOREIGN}
    before = root.level
    root.setLevel(logging.NOTSET)
    root.addHandler(handler)
    yield handler
    root.removeHandler(handler)
    root.setLevel(before)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


LIBRARIES = ["azure", "charset_normalizer", "msal", "requests", "simple_salesforce", "urllib3", "werkzeug", "zeep"]
"""Everything deployed that has a logger."""


@pytest.mark.parametrize("child", ["", ".deeper", ".deeper.still"])
@pytest.mark.parametrize("library", LIBRARIES)
def test_no_library_of_ours_writes_a_line_however_urgent(kept: Kept, library: str, child: str) -> None:
    silence_foreign()
    for level in (logging.DEBUG, logging.WARNING, logging.CRITICAL):
        logging.getLogger(library + child).log(level, "https://acme.my.salesforce.com")
    assert kept.records == []


def test_the_hosts_own_loggers_still_speak(kept: Kept) -> None:
    silence_foreign()
    logging.getLogger("azure_functions_worker").warning("x")
    assert [r.name for r in kept.records] == ["azure_functions_worker"]
