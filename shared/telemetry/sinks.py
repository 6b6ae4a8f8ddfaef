"""Where events go. Nothing else in the app writes a log line."""

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TextIO

from shared.model.events import Event
from shared.ports import Clock
from shared.telemetry.vocabulary import fitting

FOREIGN = ("azure", "charset_normalizer", "msal", "requests", "simple_salesforce", "urllib3", "werkzeug", "zeep")
"""Loggers of the libraries we call: they write host names, addresses and answers."""


@dataclass(frozen=True, slots=True)
class LineSink:
    """Writes an event as one line: time, name, facts as `name=value`. Never raises."""

    stream: TextIO
    clock: Clock

    def __call__(self, event: Event) -> None:
        """Tell one event."""
        facts = "".join(f" {name}={value}" for name, value in fitting(event).items())
        try:
            moment = datetime.fromtimestamp(self.clock() / 1_000, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            self.stream.write(f"{moment} {event.name}{facts}\n")
            self.stream.flush()
        except (OSError, OverflowError, ValueError):  # a closed pipe must not cost a request its answer
            return


def silence_foreign() -> None:
    """Let no library write a line: what they would say holds hosts, addresses or answers."""
    for name in FOREIGN:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
