"""POST /v1/connections/{c}/flows/{f}/runs: run one Flow as the signed-in user."""

import azure.functions as func

from functions._http import Edge, reply
from functions._reading import idempotency_key, read
from shared.model.answers import RunResultView
from shared.model.requests import RunFlowBody
from shared.usecases.run_flow import RunFlow


def blueprint(edge: Edge, run: RunFlow) -> func.Blueprint:
    """Run a Flow once for a user and Idempotency-Key."""
    routes = func.Blueprint()

    @routes.route(route="v1/connections/{c}/flows/{f}/runs", methods=["POST"], auth_level=func.AuthLevel.ANONYMOUS)
    @edge.answers
    def run_flow(req: func.HttpRequest) -> func.HttpResponse:
        caller = edge.caller(req)
        key, asked = idempotency_key(req), read(req, RunFlowBody)
        ended = run(caller, req.route_params["c"], req.route_params["f"], key, asked)
        return reply(200, RunResultView.of(ended))

    return routes
