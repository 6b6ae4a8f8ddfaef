"""Which values a declared input takes: one table of types (users.md, section 2, point 6).

A value arrives as JSON, typed by a user or filled from the e-mail, and leaves as the JSON that Salesforce
takes (salesforce-contract 3.5). A wrong one raises ValueError with a reason that never holds the value.
"""

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType

from pydantic import JsonValue

TEXT_MAX = 131_072
COLLECTION_MAX = 2_000

_DECIMAL = re.compile(r"-?\d{1,18}(\.\d{1,18})?", re.ASCII)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_INSTANT = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})", re.ASCII)
_RECORD_ID = re.compile(r"[A-Za-z0-9]{15}([A-Za-z0-9]{3})?")


class InputType(StrEnum):
    """The types of Flow inputs, as describe spells them; anything else is `UNSUPPORTED`."""

    STRING = "STRING"
    BOOLEAN = "BOOLEAN"
    NUMBER = "NUMBER"
    DOUBLE = "DOUBLE"
    INTEGER = "INTEGER"
    CURRENCY = "CURRENCY"
    DATE = "DATE"
    DATETIME = "DATETIME"
    PICKLIST = "PICKLIST"
    MULTIPICKLIST = "MULTIPICKLIST"
    SOBJECT = "SOBJECT"
    REFERENCE = "REFERENCE"
    UNSUPPORTED = "UNSUPPORTED"

    @classmethod
    def _missing_(cls, value: object) -> "InputType":  # noqa: ARG003  the hook's signature is enum's
        return cls.UNSUPPORTED


def _text(value: JsonValue) -> JsonValue:
    if not isinstance(value, str):
        raise ValueError("must be a text")
    if len(value) > TEXT_MAX:
        raise ValueError(f"must be at most {TEXT_MAX} characters")
    return value


def _boolean(value: JsonValue) -> JsonValue:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def _number(value: JsonValue) -> JsonValue:
    if isinstance(value, str) and _DECIMAL.fullmatch(value):
        number = Decimal(value)
        if number == number.to_integral_value():
            return int(number)
        if Decimal(repr(float(number))) != number:
            raise ValueError("must be a number of at most 15 digits")
        return float(number)
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max:
        return value
    raise ValueError("must be a number")


def _whole(value: JsonValue) -> JsonValue:
    number = _number(value)
    if not isinstance(number, int):
        raise ValueError("must be a whole number")
    return number


def _day(value: JsonValue) -> JsonValue:
    why = "must be a date such as 2026-11-23"
    if not isinstance(value, str) or not _DATE.fullmatch(value):
        raise ValueError(why)
    try:
        return date.fromisoformat(value).isoformat()
    except ValueError:
        raise ValueError(why) from None


def _instant(value: JsonValue) -> JsonValue:
    why = "must be an instant such as 2026-11-23T19:00:00Z (RFC 3339)"
    if not isinstance(value, str) or not _INSTANT.fullmatch(value):
        raise ValueError(why)
    try:
        moment = datetime.fromisoformat(value.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(why) from None
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _choices(value: JsonValue) -> JsonValue:
    if value and isinstance(value, list) and all(isinstance(v, str) and v and ";" not in v for v in value):
        return _text(";".join(v for v in value if isinstance(v, str)))
    return _text(value)


def _record(value: JsonValue) -> JsonValue:
    why = 'must be a record reference such as {"attributes": {"type": "Contact"}, "Id": "003..."}'
    match value:
        case {"attributes": {"type": str(kind), **more}, "Id": str(record), **rest} if not more and not rest:
            if re.fullmatch(r"[A-Za-z]\w{0,79}", kind, re.ASCII) and _RECORD_ID.fullmatch(record):
                return value
    raise ValueError(why)


_TYPES: Mapping[InputType, Callable[[JsonValue], JsonValue]] = MappingProxyType(
    {
        InputType.STRING: _text,
        InputType.BOOLEAN: _boolean,
        InputType.NUMBER: _number,
        InputType.DOUBLE: _number,
        InputType.INTEGER: _whole,
        InputType.CURRENCY: _number,
        InputType.DATE: _day,
        InputType.DATETIME: _instant,
        InputType.PICKLIST: _text,
        InputType.MULTIPICKLIST: _choices,
        InputType.SOBJECT: _record,
        InputType.REFERENCE: _text,
    }
)


def record_types(value: JsonValue) -> Iterator[str]:
    """The record types that an accepted value refers to: one for each record, none for anything else."""
    for each in value if isinstance(value, list) else [value]:
        match each:
            case {"attributes": {"type": str(kind)}}:
                yield kind


def accept(kind: InputType, value: JsonValue, *, collection: bool) -> JsonValue:
    """The value as Salesforce takes it. Raises ValueError with a reason for the user, never with the value."""
    take = _TYPES.get(kind)
    if take is None:
        raise ValueError("has a type that cannot be filled from here")
    if not collection:
        return take(value)
    if not isinstance(value, list):
        raise ValueError("must be a list")
    if len(value) > COLLECTION_MAX:
        raise ValueError(f"must hold at most {COLLECTION_MAX} values")
    return [take(item) for item in value]
