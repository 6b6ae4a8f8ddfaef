"""What a stored value can be: the words of the one list in `records.py`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

HIGHEST = 2**53 - 1
"""The highest number that every JSON reader keeps exactly."""


class Word(StrEnum):
    """What a stored value can be; nothing else is readable at rest (design decision 7)."""

    REF = "ref"
    RANDOM_ID = "random id"
    DIGEST = "digest"
    TIME = "time"
    STATE = "state"
    COUNT = "count"
    VERSION = "version"
    SETTING = "setting number"
    SEALED = "sealed"


class PageKind(StrEnum):
    """The three kinds that the security page names, and a fourth of ours: what it takes to keep them.

    Bookkeeping says nothing about a person: times, states, counts, versions, settings, and sealed keys.
    """

    IDENTITY = "user identity"
    GRANT = "Salesforce OAuth token"
    RUN = "run metadata"
    BOOKKEEPING = "settings and bookkeeping"


_TEXTS: Mapping[Word, re.Pattern[str]] = MappingProxyType(
    {
        Word.REF: re.compile(r"[0-9a-f]{32}"),
        Word.RANDOM_ID: re.compile(r"[0-9a-f]{32}"),
        Word.DIGEST: re.compile(r"[0-9a-f]{32}(?:[0-9a-f]{32})?"),
        Word.SEALED: re.compile(r"v1\.[0-9A-Za-z]{1,64}\.[0-9A-Za-z_-]{16}\.[0-9A-Za-z_-]{22,}"),
    }
)
_LOWEST: Mapping[Word, int] = MappingProxyType({Word.TIME: 0, Word.COUNT: 0, Word.VERSION: 1, Word.SETTING: 0})


@dataclass(frozen=True, slots=True)
class Field:
    """One stored field: what its value can be, and to which kind of the page it belongs.

    `states` is the closed set behind Word.STATE; `optional` allows null.
    """

    word: Word
    page: PageKind
    states: type[StrEnum] | None = None
    optional: bool = False

    def fits(self, value: object) -> bool:
        """Whether the value may be stored, or taken from the store, as this field."""
        match value:
            case None:
                return self.optional
            case bool():
                return False
            case int():
                return self.word in _LOWEST and _LOWEST[self.word] <= value <= HIGHEST
            case str() if self.states:
                return value in [str(state) for state in self.states]
            case str():
                return self.word in _TEXTS and _TEXTS[self.word].fullmatch(value) is not None
        return False
