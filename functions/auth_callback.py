"""Begin, finish, see and end a connection to a Salesforce org."""

import azure.functions as func

from functions._http import Edge, reply
from functions._pages import sent_on, unmade
from functions._reading import code_and_state, read
from shared.errors import NextAction
from shared.model.answers import BegunView, ConnectionList, ConnectionView, DisconnectedView
from shared.model.requests import BeginConnection, CompleteConnection
from shared.usecases.complete_connection import CompleteConnect
from shared.usecases.connect import BeginConnect, ParkCode
from shared.usecases.connections import EndConnection, ReadConnection, ReadMe


def connecting(edge: Edge, begin: BeginConnect, park: ParkCode, complete: CompleteConnect) -> func.Blueprint:
    """The three steps: begin here, consent at Salesforce, redeem in the pane that began."""
    routes = func.Blueprint()

    @routes.route(route="v1/connections", methods=["POST"], auth_level=func.AuthLevel.ANONYMOUS)
    @edge.answers
    def begin_connection(req: func.HttpRequest) -> func.HttpResponse:
        caller = edge.caller(req)
        begun = begin(caller, read(req, BeginConnection))
        return reply(201, BegunView(id=begun.id, authorize_url=begun.authorize_url, expires_at=begun.expires_at))

    @routes.route(route="v1/oauth/salesforce/callback", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
    @edge.pages(unmade)
    def auth_callback(req: func.HttpRequest) -> func.HttpResponse:
        return sent_on(park(*code_and_state(req)))

    @routes.route(route="v1/connections/{c}/completion", methods=["POST"], auth_level=func.AuthLevel.ANONYMOUS)
    @edge.answers
    def complete_connection(req: func.HttpRequest) -> func.HttpResponse:
        caller = edge.caller(req)
        joined = complete(caller, req.route_params["c"], read(req, CompleteConnection))
        return reply(200, ConnectionView.of(joined.row, joined.org))

    return routes


def connected(edge: Edge, mine: ReadMe, one: ReadConnection, end: EndConnection) -> func.Blueprint:
    """The caller's connections."""
    routes = func.Blueprint()

    @routes.route(route="v1/connections", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
    @edge.answers
    def list_connections(req: func.HttpRequest) -> func.HttpResponse:
        return reply(200, ConnectionList.of(mine(edge.caller(req)).connections))

    @routes.route(route="v1/connections/{c}", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
    @edge.answers
    def read_connection(req: func.HttpRequest) -> func.HttpResponse:
        row, org = one(edge.caller(req), req.route_params["c"])
        return reply(200, ConnectionView.of(row, org))

    @routes.route(route="v1/connections/{c}", methods=["DELETE"], auth_level=func.AuthLevel.ANONYMOUS)
    @edge.answers
    def end_connection(req: func.HttpRequest) -> func.HttpResponse:
        return _ended(revoked=end(edge.caller(req), req.route_params["c"]))

    return routes


def _ended(*, revoked: bool) -> func.HttpResponse:
    if revoked:
        return reply(204)
    return reply(200, DisconnectedView(revoked=False, next_action=NextAction.CHECK_SALESFORCE))
