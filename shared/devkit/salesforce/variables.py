"""A Flow's declared variables: how describe shows them, and which JSON values they take (contract 3.4, 3.5)."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from types import MappingProxyType

from shared.devkit.salesforce.answers import caller_error
from shared.devkit.salesforce.ids import is_id

_MOST = 2000
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_DATETIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,3})?Z")


@dataclass(frozen=True, slots=True)
class Variable:
    """An input or output of a Flow; `type` in capitals, `sobject` and `apex` name a record's or class's type."""

    name: str
    type: str = "STRING"
    collection: bool = False
    required: bool = False
    sobject: str | None = None
    apex: str | None = None
    choices: tuple[str, ...] = ()
    description: str | None = None

    def describe(self) -> dict[str, object]:
        """Return what describe tells of it; `apexClass` only where there is one, as newer keys come and go."""
        choices = [{"active": True, "label": each, "value": each} for each in self.choices]
        shown: dict[str, object] = {
            "byteLength": 0,
            "description": self.description,
            "label": self.name,
            "maxOccurs": _MOST if self.collection else 1,
            "name": self.name,
            "picklistValues": choices or None,
            "required": self.required,
            "sobjectType": self.sobject,
            "type": self.type,
        }
        return shown | ({"apexClass": self.apex} if self.apex else {})


def _is_number(value: object, _: Variable) -> bool:
    return type(value) in (int, float) and math.isfinite(float(str(value)))


def _is_date(value: object, _: Variable) -> bool:
    return isinstance(value, str) and bool(_DATE.fullmatch(value)) and _parses(date.fromisoformat, value)


def _is_datetime(value: object, _: Variable) -> bool:
    return isinstance(value, str) and bool(_DATETIME.fullmatch(value)) and _parses(datetime.fromisoformat, value)


def _parses(parse: Callable[[str], object], text: str) -> bool:
    try:
        parse(text)
    except ValueError:
        return False
    return True


def _is_choice(value: object, variable: Variable) -> bool:
    return value in variable.choices


def _is_choices(value: object, variable: Variable) -> bool:
    return isinstance(value, str) and all(part in variable.choices for part in value.split(";"))


def _is_record(value: object, variable: Variable) -> bool:
    """Take a reference alone: `{"attributes": {"type": ..}, "Id": ..}`."""
    return (
        isinstance(value, dict)
        and set(value) == {"attributes", "Id"}
        and value["attributes"] == {"type": variable.sobject}
        and is_id(value["Id"])
    )


_CHECKS: Mapping[str, Callable[[object, Variable], bool]] = MappingProxyType(
    {
        "STRING": lambda value, _: isinstance(value, str),
        "BOOLEAN": lambda value, _: isinstance(value, bool),
        "NUMBER": _is_number,
        "CURRENCY": _is_number,
        "DATE": _is_date,
        "DATETIME": _is_datetime,
        "PICKLIST": _is_choice,
        "MULTIPICKLIST": _is_choices,
        "SOBJECT": _is_record,
        "REFERENCE": lambda value, _: is_id(value),
        "APEX": lambda value, _: isinstance(value, dict),
    }
)


def check_inputs(declared: tuple[Variable, ...], given: Mapping[str, object]) -> None:
    """Refuse undeclared names (exact case), values of a wrong JSON type, and missing required inputs with 400."""
    by_name = {variable.name: variable for variable in declared}
    for name, value in given.items():
        if name not in by_name:
            raise caller_error("INVALID_FIELD", f"The Flow has no input variable {name}")
        if not _takes(by_name[name], value):
            raise caller_error("INVALID_TYPE", f"{name} is not a value of type {by_name[name].type}")
    missing = sorted(name for name, variable in by_name.items() if variable.required and name not in given)
    if missing:
        raise caller_error("REQUIRED_FIELD_MISSING", f"Required inputs are missing: {', '.join(missing)}")


def _takes(variable: Variable, value: object) -> bool:
    check = _CHECKS[variable.type]
    if not variable.collection:
        return check(value, variable)
    return isinstance(value, list) and len(value) <= _MOST and all(check(each, variable) for each in value)
