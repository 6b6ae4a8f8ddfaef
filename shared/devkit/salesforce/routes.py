"""Which endpoint a call is for; what the contract does not know is refused by name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from shared.devkit.salesforce.answers import unknown
from shared.devkit.salesforce.steering import Endpoint
from shared.devkit.tls import Request

DATA = "/services/data"
"""Where REST begins."""

_VERSION = rf"{DATA}/v(?P<version>[1-9]\d{{1,2}})\.0"
_NAME = r"(?!\w*__\w*__)(?P<flow>[A-Za-z][A-Za-z0-9_]{0,96})"

_ROUTES: Final[tuple[tuple[str, str, Endpoint], ...]] = (
    ("GET", "/services/oauth2/authorize", "authorize"),
    ("POST", "/services/oauth2/authorize", "consent"),
    ("POST", "/services/oauth2/token", "token"),
    ("POST", "/services/oauth2/revoke", "revoke"),
    ("GET", f"{DATA}/?", "versions"),
    ("GET", f"{_VERSION}/limits/?", "limits"),
    ("GET", f"{_VERSION}/actions/custom/flow", "list"),
    ("GET", f"{_VERSION}/actions/custom/flow/{_NAME}", "describe"),
    ("POST", f"{_VERSION}/actions/custom/flow/{_NAME}", "run"),
)


@dataclass(frozen=True, slots=True)
class Route:
    """Where a call goes. `version` (66 for v66.0) and `flow` are 0 and empty where the path has none."""

    endpoint: Endpoint
    version: int = 0
    flow: str = ""


def route_of(request: Request) -> Route:
    """Return where a call goes. Raises RefusedError for an unknown path, and for a method that it does not take."""
    known = False
    for method, pattern, endpoint in _ROUTES:
        found = re.fullmatch(pattern, request.path)
        if found and method == request.method:
            parts = found.groupdict()
            return Route(endpoint, int(parts.get("version", 0)), parts.get("flow", ""))
        known = known or found is not None
    raise unknown(f"method {request.method} at {request.path}" if known else f"path {request.path}")
