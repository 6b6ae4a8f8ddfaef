"""Whether the app is well, and what is answered where no route fits."""

import re
from collections.abc import Iterable, Mapping

import azure.functions as func
from azure.functions.decorators.http import HttpTrigger

from functions._http import Edge, reply
from shared.errors import MethodNotAllowed, RouteNotFound
from shared.model.answers import HealthView, ReadinessView
from shared.usecases.check_readiness import CheckReadiness

METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")
REQUEST_HEADERS = "Authorization, Content-Type, Idempotency-Key, If-None-Match, traceparent"

Routes = tuple[tuple[re.Pattern[str], frozenset[str]], ...]


def blueprint(edge: Edge, readiness: CheckReadiness) -> func.Blueprint:
    """GET /health and /ready, for everybody."""
    routes = func.Blueprint()

    @routes.route(route="health", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
    @edge.answers
    def health(req: func.HttpRequest) -> func.HttpResponse:  # noqa: ARG001  it asks nothing
        return reply(200, HealthView(status="ok"))

    @routes.route(route="ready", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
    @edge.answers
    def ready(req: func.HttpRequest) -> func.HttpResponse:
        return _state(readiness(), detailed=edge.by_operator(req))

    return routes


def fallback(edge: Edge, known: Iterable[func.Blueprint]) -> func.Blueprint:
    """Every address and method that no route takes: 404, 405 with Allow, and CORS preflight, all with our headers.

    In Azure the platform would answer these by itself and without them.
    """
    routes = func.Blueprint()
    table = _table(known)

    # The platform tries routes in the order of their functions' names, so this one's must come last.
    @routes.function_name("zz_fallback")
    @routes.route(route="{*path}", methods=list(METHODS), auth_level=func.AuthLevel.ANONYMOUS)
    @edge.answers
    def fallback(req: func.HttpRequest) -> func.HttpResponse:
        return _unrouted(edge, req, _methods(table, req.route_params.get("path", "")))

    return routes


def _unrouted(edge: Edge, req: func.HttpRequest, methods: tuple[str, ...]) -> func.HttpResponse:
    if not methods or req.method in methods:  # a spelling that the host's router did not take for that route
        raise RouteNotFound
    if req.method != "OPTIONS":
        raise MethodNotAllowed(methods)
    asked = "Access-Control-Request-Method" in req.headers
    if not asked or req.headers.get("Origin") not in edge.origins:
        return reply(204, Allow=", ".join(methods))
    return reply(
        204,
        Access_Control_Allow_Methods=", ".join(methods),
        Access_Control_Allow_Headers=REQUEST_HEADERS,
        Access_Control_Max_Age="600",
    )


def _state(parts: Mapping[str, bool], *, detailed: bool) -> func.HttpResponse:
    whole = all(parts.values())
    view = ReadinessView(status="ready" if whole else "not-ready", parts=dict(parts) if detailed else None)
    return reply(200, view) if whole else reply(503, view, Retry_After="10")


def _table(known: Iterable[func.Blueprint]) -> Routes:
    """Each route's pattern and methods, as they were declared."""
    register = func.FunctionRegister(func.AuthLevel.ANONYMOUS, "function_app.py")
    for each in known:
        register.register_functions(each)
    found: dict[str, set[str]] = {}
    for function in register.get_functions():
        trigger = function.get_trigger()
        if isinstance(trigger, HttpTrigger):
            found.setdefault(trigger.route or "", set()).update(m.value for m in trigger.methods or ())
    return tuple((_pattern(route), frozenset(methods)) for route, methods in found.items())


def _pattern(route: str) -> re.Pattern[str]:
    parts = ("[^/]+" if part.startswith("{") else re.escape(part) for part in route.split("/"))
    return re.compile("/".join(parts), re.IGNORECASE | re.ASCII)


def _methods(table: Routes, path: str) -> tuple[str, ...]:
    """The methods that some route of that path takes; the host lets one slash behind pass, and so do we."""
    taken = (methods for pattern, methods in table if pattern.fullmatch(path.removesuffix("/")))
    return tuple(sorted(frozenset[str]().union(*taken)))
