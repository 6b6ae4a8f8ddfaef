"""The app's two client secrets: while one replaces the other, Salesforce takes either the old one or the new one."""

from collections.abc import Iterator

from shared.model.events import Event, EventName
from shared.ports import Emit


class ClientSecrets:
    """The secret to use, and a second one for when Salesforce refuses it. Thread-safe; shows itself to nobody."""

    def __init__(self, first: str, second: str, emit: Emit) -> None:
        self._all = tuple(filter(None, (first, second)))
        self._emit = emit
        self._told: set[str] = set()
        self.current = first

    def __repr__(self) -> str:
        return "ClientSecrets(...)"

    def __iter__(self) -> Iterator[str]:
        """All of them, the current one first."""
        return iter(sorted(self._all, key=lambda secret: secret != self.current))

    def refused(self, secret: str) -> bool:
        """Take the other one from now on, and tell of it once. True when there is one to try."""
        others = [other for other in self._all if other != secret]
        if others and self.current == secret:
            self.current = others[0]
            if secret not in self._told:
                self._told.add(secret)
                self._emit(Event(EventName.CREDENTIALS_REFUSED))
        return bool(others)
