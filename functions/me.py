"""GET /v1/me: the caller's own record."""

import azure.functions as func

from functions._http import Edge, reply
from shared.model.answers import MeView
from shared.usecases.connections import ReadMe


def blueprint(edge: Edge, read_me: ReadMe) -> func.Blueprint:
    """The caller, their tenant, roles and connections."""
    routes = func.Blueprint()

    @routes.route(route="v1/me", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
    @edge.answers
    def me(req: func.HttpRequest) -> func.HttpResponse:
        known = read_me(edge.caller(req))
        return reply(200, MeView.of(known.principal, known.tenant, known.connections))

    return routes
