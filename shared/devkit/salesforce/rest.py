"""REST: versions, limits, and the Flows as actions (salesforce-contract.md section 3)."""

from __future__ import annotations

from dataclasses import dataclass

from shared.devkit.salesforce.answers import (
    NOT_FOR_REST,
    SESSION_EXPIRED,
    RefusedError,
    caller_error,
    json_answer,
    not_found,
    rest_error,
    unknown,
)
from shared.devkit.salesforce.callers import BEARER
from shared.devkit.salesforce.flows import CATALOGUE, Flow, Run
from shared.devkit.salesforce.grants import GrantBook, Session
from shared.devkit.salesforce.people import User
from shared.devkit.salesforce.recording import Recorder
from shared.devkit.salesforce.results import INTERVIEW, result_answer
from shared.devkit.salesforce.routes import DATA, Route
from shared.devkit.salesforce.steering import Steering
from shared.devkit.salesforce.strictness import json_of, query_of
from shared.devkit.salesforce.variables import check_inputs
from shared.devkit.tls import Answer, Request

DAILY_CALLS = 5000
"""The org's budget of calls in 24 hours; nothing enforces it."""

_OLDEST = 31
_SEASONS = ("Summer", "Winter", "Spring")
_COUNTED = ("limits", "list", "describe", "run")


@dataclass(frozen=True, slots=True)
class RestEndpoints:
    """What is below /services/data. Every method raises RefusedError for what the contract refuses."""

    grants: GrantBook
    steering: Steering
    recorder: Recorder

    def versions(self, request: Request, _: Route) -> Answer:
        """List the API versions, oldest first; nobody has to sign in."""
        query_of(request, ())
        return json_answer(200, [_version(number) for number in range(_OLDEST, self._newest() + 1)])

    def limits(self, request: Request, route: Route) -> Answer:
        """Tell how much of the daily budget is left."""
        self._user(request, route)
        return json_answer(200, {"DailyApiRequests": {"Max": DAILY_CALLS, "Remaining": DAILY_CALLS - self.used()}})

    def list(self, request: Request, route: Route) -> Answer:
        """List the Flows that this user may run."""
        user = self._user(request, route)
        seen = [flow for flow in CATALOGUE.values() if _may_run(user, flow)]
        return json_answer(200, {"actions": [_listed(flow, route.version) for flow in seen]})

    def describe(self, request: Request, route: Route) -> Answer:
        """Tell a Flow's inputs and outputs."""
        flow = self._flow(request, route)
        described = {
            "description": flow.description,
            "inputs": [variable.describe() for variable in flow.inputs],
            "label": flow.label,
            "name": flow.name,
            "outputs": [variable.describe() for variable in (*flow.outputs, *INTERVIEW)],
            "standard": False,
            "targetEntityName": None,
            "type": "FLOW",
        }
        return json_answer(200, described)

    def run(self, request: Request, route: Route) -> Answer:
        """Run a Flow as this user. The recorder counts it as `ran:<name>`, faults included."""
        flow = self._flow(request, route)
        inputs = _inputs_of(request)
        check_inputs(flow.inputs, inputs)
        count = self.recorder.count(f"ran:{flow.name}")
        ending = flow.run(Run(inputs, count, lambda seconds: self.steering.pause(seconds, "")))
        return result_answer(flow.name, ending, self.steering.switches.result_form)

    def session(self, request: Request) -> Session | None:
        """Return the live session of a call's bearer token."""
        return self.grants.session((request.header("Authorization") or "").removeprefix(BEARER))

    def used(self) -> int:
        """Return how many calls of the daily budget are spent."""
        counters = self.recorder.counters()
        return sum(counters.get(endpoint, 0) for endpoint in _COUNTED)

    def _newest(self) -> int:
        return self.steering.switches.newest_version

    def _user(self, request: Request, route: Route) -> User:
        query_of(request, ())
        if not _OLDEST <= route.version <= self._newest():
            raise not_found()
        if not (request.header("Authorization") or "").startswith(BEARER):
            raise RefusedError(rest_error(401, "INVALID_AUTH_HEADER", "INVALID_HEADER_TYPE"))
        session = self.session(request)
        if session is None:
            raise RefusedError(rest_error(401, "INVALID_SESSION_ID", SESSION_EXPIRED))
        if "api" not in session.scopes:
            raise RefusedError(rest_error(401, "INVALID_SESSION_ID", NOT_FOR_REST))
        return session.user

    def _flow(self, request: Request, route: Route) -> Flow:
        user = self._user(request, route)
        flow = CATALOGUE.get(route.flow)
        if flow is None or not _may_run(user, flow):
            raise not_found()
        return flow


def _may_run(user: User, flow: Flow) -> bool:
    return flow.callable and flow.name not in user.blind_to


def _inputs_of(request: Request) -> dict[str, object]:
    """Return the one element of `inputs`. The API takes a batch; we promised never to send one."""
    body = json_of(request)
    if not isinstance(body, dict) or not isinstance(body.get("inputs"), list):
        raise caller_error("REQUIRED_FIELD_MISSING", "inputs is required, even when it is empty")
    for name in body:
        if name != "inputs":
            raise unknown(f"body field {name}")
    elements = body["inputs"]
    if len(elements) != 1 or not isinstance(elements[0], dict):
        raise caller_error("JSON_PARSER_ERROR", "inputs takes exactly one element")
    return elements[0]


def _listed(flow: Flow, version: int) -> dict[str, object]:
    url = f"{DATA}/v{version}.0/actions/custom/flow/{flow.name}"
    return {"label": flow.label, "name": flow.name, "type": "FLOW", "url": url}


def _version(number: int) -> dict[str, object]:
    """Return a version as listed: three releases a year, v31.0 being Summer '14."""
    label = f"{_SEASONS[(number - _OLDEST) % 3]} '{14 + (number - _OLDEST + 2) // 3}"
    return {"label": label, "url": f"{DATA}/v{number}.0", "version": f"{number}.0"}
