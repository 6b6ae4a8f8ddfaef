"""What operators may do: enrol a tenant."""

import azure.functions as func

from functions._http import Edge, reply
from functions._reading import read
from shared.model.answers import TenantView
from shared.model.requests import EnrolTenant
from shared.usecases.enrol import EnrolByOperator


def blueprint(edge: Edge, enrol: EnrolByOperator) -> func.Blueprint:
    """POST /v1/tenants, for operators."""
    routes = func.Blueprint()

    @routes.route(route="v1/tenants", methods=["POST"], auth_level=func.AuthLevel.ANONYMOUS)
    @edge.answers
    def enrol_tenant(req: func.HttpRequest) -> func.HttpResponse:
        caller = edge.caller(req)
        asked = read(req, EnrolTenant)
        return reply(201, TenantView.of(enrol(caller, asked), asked.provider))

    return routes
