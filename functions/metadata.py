"""The Flows a user may run over a connection, and what each declares."""

import azure.functions as func

from functions._http import Edge, reply_tagged
from shared.model.answers import FlowDetail, FlowList
from shared.usecases.list_flows import DescribeFlow, ListFlows


def blueprint(edge: Edge, flows: ListFlows, flow: DescribeFlow) -> func.Blueprint:
    """GET /v1/connections/{c}/flows and /flows/{f}; with an ETag, since lists seldom change."""
    routes = func.Blueprint()

    @routes.route(route="v1/connections/{c}/flows", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
    @edge.answers
    def list_flows(req: func.HttpRequest) -> func.HttpResponse:
        found = flows(edge.caller(req), req.route_params["c"])
        return reply_tagged(req, FlowList.of(found))

    @routes.route(route="v1/connections/{c}/flows/{f}", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
    @edge.answers
    def describe_flow(req: func.HttpRequest) -> func.HttpResponse:
        known = flow(edge.caller(req), req.route_params["c"], req.route_params["f"])
        return reply_tagged(req, FlowDetail.described(known.id, known.flow))

    return routes
