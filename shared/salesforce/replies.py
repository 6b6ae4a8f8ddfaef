"""What Salesforce answered, before anybody has judged it."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that has come whole. Its body shows itself to nobody; `path` is what was asked."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: str = field(repr=False)
    path: str = field(repr=False)


class Unanswered(StrEnum):
    """Why there is no answer. Only after `not-sent` is it certain that Salesforce has done nothing."""

    NOT_SENT = "not-sent"
    TIMED_OUT = "timed-out"
    LOST = "lost"
    TOO_LARGE = "too-large"


DEPTH_MAX = 200
"""The deepest nesting that is read. Our answers are written by pydantic, which gives up above 253 levels."""


def read_json(text: str) -> object:
    """The JSON value of a text. Raises ValueError for everything else, however odd.

    What no JSON writer could give back is not passed on: numbers that are none and values nested too deeply are
    refused, half surrogate pairs become question marks.
    """
    try:
        value: object = json.loads(text, parse_constant=_refuse, parse_float=_finite)
        _measure(value)
        if "\\ud" in text.lower():
            value = json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    return value


def _measure(value: object) -> None:
    level = [value]
    for _ in range(DEPTH_MAX):
        level = [inner for outer in level for inner in _within(outer) if isinstance(inner, dict | list)]
        if not level:
            return
    raise ValueError("is nested too deeply")


def _within(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _refuse(_: str) -> object:
    raise ValueError("is no JSON number")


def _finite(digits: str) -> float:
    number = float(digits)
    if number in {float("inf"), float("-inf")}:
        raise ValueError("is larger than any number")
    return number
