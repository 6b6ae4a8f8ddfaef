"""The app's two client secrets: while one replaces the other, Salesforce takes either the old one or the new one."""

from collections.abc import Iterator
from threading import Lock

from shared.model.events import Event, EventName
from shared.ports import Emit


class ClientSecrets:
    """One or two secrets, in the order in which to try them. Thread-safe; shows itself to nobody."""

    def __init__(self, first: str, second: str, emit: Emit) -> None:
        self._all = tuple(filter(None, (first, second)))
        self._emit = emit
        self._turn = Lock()

    def __repr__(self) -> str:
        return "ClientSecrets(...)"

    def __iter__(self) -> Iterator[str]:
        """All of them, first the one that Salesforce took last."""
        return iter(self._all)

    def accepted(self, secret: str) -> None:
        """Try this one first from now on. That another one was refused before it is told, as somebody has to know."""
        with self._turn:
            if secret == self._all[0]:
                return
            self._all = tuple(sorted(self._all, key=lambda other: other != secret))
        self._emit(Event(EventName.CREDENTIALS_REFUSED))
