"""Salesforce ids in their two forms (salesforce-contract.md section 1)."""

from __future__ import annotations

import re

_CHECK = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
_SHORT = 15
_ID = re.compile(r"[A-Za-z0-9]{15}(?:[A-Z0-5]{3})?")


def to_18(short: str) -> str:
    """Return a 15-character id with its 3-character checksum, one letter for each 5 characters."""
    blocks = (short[start : start + 5] for start in (0, 5, 10))
    return short + "".join(_CHECK[sum(c.isupper() << i for i, c in enumerate(block))] for block in blocks)


def is_id(text: object) -> bool:
    """Tell whether this is an id of 15 characters, or of 18 with the right checksum."""
    if not isinstance(text, str) or not _ID.fullmatch(text):
        return False
    return len(text) == _SHORT or to_18(text[:_SHORT]) == text


def make_id(prefix: str, number: int) -> str:
    """Return the 18-character id of the numbered record of a kind, such as `003` for contacts."""
    return to_18(f"{prefix}5gK0{number:06d}Ab")
