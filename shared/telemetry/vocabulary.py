"""The closed list of facts that may leave, each with a grammar. What does not fit is dropped, never repaired."""

import re
from collections.abc import Mapping
from types import MappingProxyType

from shared.model.events import Event

_WORD = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_HEX_32 = re.compile(r"[0-9a-f]{32}")
_NUMBER = re.compile(r"[0-9]{1,15}")

GRAMMAR: Mapping[str, re.Pattern[str]] = MappingProxyType(
    {
        "function": _WORD,
        "method": re.compile(r"GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS"),
        "status": re.compile(r"[1-5][0-9][0-9]"),
        "ms": _NUMBER,
        "count": _NUMBER,
        "unreadable": _NUMBER,
        "error_code": _WORD,
        "reason": _WORD,
        "outcome": re.compile(r"started|success|error|unknown"),
        "provider": re.compile(r"entra|google"),
        "tenant_id": _HEX_32,
        "run_id": _HEX_32,
        "exception": re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}"),
        "module": re.compile(r"[a-z_][a-z0-9_.]{0,127}"),
        "line": _NUMBER,
        "correlation_id": _HEX_32,
    }
)
"""Every fact that may be told, by name, and the form that its value must have."""


def fitting(event: Event) -> dict[str, str]:
    """The facts of an event that are known and fit, as text, in the order of the list."""
    told = {name: str(value) for name, value in event.facts.items() if value is not None}
    return {name: told[name] for name, form in GRAMMAR.items() if name in told and form.fullmatch(told[name])}
