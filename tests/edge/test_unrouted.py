"""CORS, and the one function that answers where no route fits."""

from collections.abc import Callable

import azure.functions as func
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functions import about
from functions._http import Edge, Handler
from shared.errors import StoreUnavailable
from shared.model.identity import Role
from shared.usecases.check_readiness import CheckReadiness
from tests.edge.edge_fixtures import (
    ADD_IN,
    EXTENSION,
    Desk,
    ask,
    document,
    fine,
    of_status,
    principal,
    raising,
    refused,
)

ROUTES = (
    ("v1/things", ("GET", "POST")),
    ("v1/things/{t}", ("GET", "DELETE")),
    ("v1/things/{t}/parts/{p}/runs", ("POST",)),
    ("v1/odd.name", ("PUT",)),
)


def declared(edge: Edge) -> list[func.Blueprint]:
    """The app's own public routes, the sample ones, and a timer, which has no address."""
    routes = func.Blueprint()
    for number, (route, methods) in enumerate(ROUTES):
        for method in methods:
            handler = _named(f"{method.lower()}_{number}", edge.answers(fine))
            routes.route(route=route, methods=[method], auth_level=func.AuthLevel.ANONYMOUS)(handler)
    routes.timer_trigger(arg_name="timer", schedule="0 0 3 * * *")(lambda timer: None)  # noqa: ARG005
    return [about.blueprint(edge, CheckReadiness({}, lambda: 0)), routes]


def _named(name: str, handler: Handler) -> Handler:
    def known(req: func.HttpRequest) -> func.HttpResponse:
        return handler(req)

    known.__name__ = name
    return known


def handlers(*blueprints: func.Blueprint) -> dict[str, Handler]:
    """The functions that the engine would call, by name."""
    register = func.FunctionRegister(func.AuthLevel.FUNCTION, "function_app.py")
    for each in blueprints:
        register.register_functions(each)
    return {f.get_function_name() or "": f.get_user_function() for f in register.get_functions()}


def nothing() -> None:
    return


EDGE = Desk().edge()
(FALLBACK,) = handlers(about.fallback(EDGE, declared(EDGE))).values()


def unrouted(method: str, path: str, origin: str | None = None, asks: str | None = None) -> func.HttpResponse:
    headers = {"Origin": origin, "Access-Control-Request-Method": asks}
    given = {name: value for name, value in headers.items() if value is not None}
    return FALLBACK(ask(method, f"/{path}", headers=given, route={"path": path} if path else None))


def cors_headers(response: func.HttpResponse) -> dict[str, str]:
    return {name: value for name, value in response.headers.items() if name.lower().startswith("access-control-")}


# CORS on every answer: these two headers and no other, credentials least of all

EXPOSED = "ETag, Location, Retry-After, WWW-Authenticate, X-Request-Id"


@pytest.mark.parametrize("origin", [ADD_IN, EXTENSION], ids=["add-in", "extension"])
@pytest.mark.parametrize("handler", [fine, raising(of_status(401)), raising(ValueError())], ids=["200", "401", "500"])
def test_a_listed_origin_may_read_every_answer(origin: str, handler: Handler) -> None:
    response = Desk().edge().answers(handler)(ask(headers={"Origin": origin}))
    assert cors_headers(response) == {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Expose-Headers": EXPOSED,
    }


UNLISTED = [
    *("https://evil.example", "null", "*", "", f"{ADD_IN}.evil.example", "https://evil-add-in.example"),
    *("https://sub.add-in.example", "https://Add-In.example", "HTTPS://add-in.example", "http://add-in.example"),
    *(f"{ADD_IN}:443", f"{ADD_IN}/", f" {ADD_IN}", f"{ADD_IN} {EXTENSION}", f"{ADD_IN}, {EXTENSION}"),
    *("https://mail.google.com", f"{EXTENSION[:-1]}a"),
]


@pytest.mark.parametrize("origin", UNLISTED)
def test_no_other_origin_is_told_anything(origin: str) -> None:
    assert cors_headers(refused(of_status(404), ask(headers={"Origin": origin}))) == {}


@given(origin=st.text(max_size=40))
@settings(deadline=None, max_examples=60)
def test_no_text_but_a_listed_one_is_an_origin(origin: str) -> None:
    assert cors_headers(refused(of_status(404), ask(headers={"Origin": origin}))) == {}


@pytest.mark.parametrize("origin", [ADD_IN, "https://evil.example", None])
def test_caches_are_told_that_answers_differ_by_origin(origin: str | None) -> None:
    assert unrouted("OPTIONS", "v1/things", origin, "GET").headers["Vary"] == "Origin"


# Preflight


def test_a_preflight_of_a_listed_origin_learns_methods_headers_and_how_long_they_hold() -> None:
    response = unrouted("OPTIONS", "v1/things", ADD_IN, "POST")
    assert (response.status_code, response.get_body()) == (204, b"")
    assert cors_headers(response) == {
        "Access-Control-Allow-Origin": ADD_IN,
        "Access-Control-Expose-Headers": EXPOSED,
        "Access-Control-Allow-Methods": "GET, POST",
        "Access-Control-Allow-Headers": ("Authorization, Content-Type, Idempotency-Key, If-None-Match, traceparent"),
        "Access-Control-Max-Age": "600",
    }


@pytest.mark.parametrize("origin", UNLISTED)
def test_a_preflight_of_another_origin_gets_no_cors_header(origin: str) -> None:
    response = unrouted("OPTIONS", "v1/things", origin, "POST")
    assert (response.status_code, cors_headers(response)) == (204, {})


def test_a_preflight_of_an_unknown_address_is_404() -> None:
    assert unrouted("OPTIONS", "v1/nothing", ADD_IN, "POST").status_code == 404


# 404 and 405


@pytest.mark.parametrize(
    ("path", "allow"),
    [
        ("health", "GET"),
        ("ready", "GET"),
        ("v1/things", "GET, POST"),
        ("v1/things/42", "DELETE, GET"),
        ("v1/things/42/parts/Log_Mail/runs", "POST"),
        ("v1/odd.name", "PUT"),
    ],
)
def test_the_table_holds_each_declared_route_with_all_its_methods(path: str, allow: str) -> None:
    response = unrouted("PATCH", path)
    assert (response.status_code, response.headers["Allow"]) == (405, allow)
    assert document(response)["type"] == "https://flow-runner.com/problems/method-not-allowed"


@pytest.mark.parametrize(
    "path", ["V1/THINGS", "v1/Things", "v1/things/", "V1/things/"], ids=["capitals", "mixed", "slash", "both"]
)
def test_an_address_is_known_in_any_case_and_with_a_slash_behind(path: str) -> None:
    assert unrouted("PATCH", path).headers["Allow"] == "GET, POST"


UNKNOWN = [
    *("", "v1", "v1/thing", "v1/thingss", "v1//things", "/v1/things", "v1/things//", "v1/things/42/parts"),
    *("v1/things/4/2", "v1/oddXname", "v1/thing\u017f", "v1/things\n", "fallback", "admin/host/status", "../health"),
]


@pytest.mark.parametrize("path", UNKNOWN)
@pytest.mark.parametrize("method", ["GET", "PATCH", "OPTIONS"])
def test_an_address_that_no_route_has_is_404(method: str, path: str) -> None:
    response = unrouted(method, path)
    assert response.status_code == 404
    assert document(response)["detail"] == "There is nothing here"


def test_a_method_that_the_route_takes_is_never_called_not_allowed() -> None:
    assert unrouted("GET", "v1/things").status_code == 404


@given(path=st.text(max_size=60), method=st.sampled_from(["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"]))
@settings(deadline=None, max_examples=100)
def test_whatever_no_route_takes_is_204_404_or_405(path: str, method: str) -> None:
    assert unrouted(method, path).status_code in {204, 404, 405}


def test_the_fallback_is_the_last_by_name_since_the_platform_tries_routes_in_that_order() -> None:
    named = handlers(*declared(EDGE), about.fallback(EDGE, ()))
    assert named[max(named)].__name__ == "fallback"


# Health and readiness


def away() -> None:
    raise StoreUnavailable


def ready(keys: Callable[[], None] = nothing, roles: tuple[Role, ...] = ()) -> func.HttpResponse:
    """What GET /ready says to a caller of those roles, with a store that answers."""
    edge = Desk().edge(lambda _: principal(*roles))
    blueprint = about.blueprint(edge, CheckReadiness({"store": nothing, "keys": keys}, lambda: 0))
    return handlers(blueprint)["ready"](ask(headers={"Authorization": "Bearer t"}))


def test_an_app_whose_parts_answer_is_ready() -> None:
    assert (ready().status_code, document(ready())) == (200, {"status": "ready", "parts": None})


@pytest.mark.parametrize(
    ("roles", "parts"),
    [((), None), ((Role.ADMIN,), None), ((Role.OPERATOR,), {"store": True, "keys": False})],
    ids=["a user", "an admin", "an operator"],
)
def test_an_app_of_which_one_part_is_away_is_not_ready_and_tells_operators_alone_which(
    roles: tuple[Role, ...], parts: dict[str, bool] | None
) -> None:
    response = ready(away, roles)
    assert (response.status_code, response.headers["Retry-After"]) == (503, "10")
    assert document(response) == {"status": "not-ready", "parts": parts}
