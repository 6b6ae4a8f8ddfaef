"""Salesforce ids in one form, so that one org never becomes two tenants (salesforce-contract 1)."""

import re

_CHECK = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
_BLOCK = 5
_SHORT = 15
_ID = re.compile(r"[A-Za-z0-9]{15}(?:[A-Z0-5]{3})?", re.ASCII)


def normalised(text: str) -> str:
    """The id with its 18 characters. Raises ValueError for anything else, a wrong checksum included."""
    if not _ID.fullmatch(text):
        raise ValueError("is no Salesforce id")
    short = text[:_SHORT]
    full = short + "".join(_checked(short[start : start + _BLOCK]) for start in range(0, _SHORT, _BLOCK))
    if text not in {short, full}:
        raise ValueError("has a wrong checksum")
    return full


def _checked(block: str) -> str:
    """The letter for five characters: bit i is set where character i is a capital."""
    return _CHECK[sum(character.isupper() << i for i, character in enumerate(block))]
