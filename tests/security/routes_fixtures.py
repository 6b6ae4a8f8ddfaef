"""Every route that acts for a user, with one good request of each."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import requests

from shared.devkit.routing import Router
from tests.security.journey_fixtures import BEGIN, Pane, World, new_key

PUBLIC = frozenset({"health", "ready", "auth_callback", "zz_fallback"})
"""Who asks these is not asked for a name; the callback has tests of its own."""

UNKNOWN_CONNECTION, UNKNOWN_ATTEMPT = "0" * 32, "0" * 64
UNKNOWN_VALUE = "A" * 43


@dataclass(frozen=True)
class Asked:
    """A request without its bearer."""

    method: str
    path: str
    body: object = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def by(self, pane: Pane, **headers: str) -> requests.Response:
        return pane.ask(self.method, self.path, self.body, **{**self.headers, **headers})

    def plainly(self, world: World, **headers: str) -> requests.Response:
        """Without a bearer, unless the headers hold one."""
        return world.ask(self.method, self.path, self.body, **{**self.headers, **headers})


def routes(
    connection: str = UNKNOWN_CONNECTION, attempt: str = UNKNOWN_ATTEMPT, completion: str = UNKNOWN_VALUE
) -> Mapping[str, Asked]:
    """A good request for each route that acts for a user, by the function's name."""
    flows = f"/v1/connections/{connection}/flows"
    return {
        "me": Asked("GET", "/v1/me"),
        "begin_connection": Asked("POST", "/v1/connections", BEGIN),
        "list_connections": Asked("GET", "/v1/connections"),
        "complete_connection": Asked("POST", f"/v1/connections/{attempt}/completion", {"completion": completion}),
        "read_connection": Asked("GET", f"/v1/connections/{connection}"),
        "list_flows": Asked("GET", flows),
        "describe_flow": Asked("GET", f"{flows}/Create_Case"),
        "run_flow": Asked("POST", f"{flows}/Count_Runs/runs", {}, {"Idempotency_Key": new_key()}),
        "end_connection": Asked("DELETE", f"/v1/connections/{connection}"),
        "enrol_tenant": Asked("POST", "/v1/tenants", {"provider": "google", "id": "newcomer.example"}),
    }


GUARDED = tuple(routes())
BY_ID = tuple(name for name, asked in routes().items() if UNKNOWN_CONNECTION in asked.path)
"""Routes that take the id of something that belongs to somebody (an attempt's is as long as two)."""


def uncovered(world: World) -> set[str]:
    """Served functions that stand in neither list, listed ones that are not served, and good requests that miss."""
    router = Router(world.host.functions)
    served = {f.name for f in world.host.functions if f.route is not None}
    found = {name: router.match(asked.method, asked.path) for name, asked in routes().items()}
    missed = {name for name, match in found.items() if match is None or match.function.name != name}
    return missed | (served ^ (PUBLIC | found.keys()))
