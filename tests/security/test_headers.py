"""The header set of identity-contract 6 on every answer that leaves over the wire, whatever its status."""

import json
from collections.abc import Callable, Mapping
from types import MappingProxyType

import pytest
import requests

from shared.devkit.salesforce import consent
from tests.security.journey_fixtures import BEGIN, CALLBACK, World, slug

HEADERS: Mapping[str, str] = MappingProxyType(
    {
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        "Strict-Transport-Security": "max-age=63072000; includeSubDomains",
        "Referrer-Policy": "no-referrer",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Vary": "Origin",
    }
)
API_POLICY = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
PAGE_POLICY = API_POLICY.replace("frame", "style-src 'sha256-{}'; frame", 1)
EXPOSED = "ETag, Location, Retry-After, WWW-Authenticate, X-Request-Id"
FORBIDDEN = {"Set-Cookie", "Server", "X-Powered-By", "Access-Control-Allow-Credentials", "Date"}


def spent(world: World) -> requests.Response:
    pane = world.pane()
    return pane.complete(pane.begin().id, "A" * 43)


def disconnected(world: World) -> requests.Response:
    pane = world.pane()
    return pane.ask("DELETE", f"/v1/connections/{pane.connect()}")


def unchanged(world: World) -> requests.Response:
    pane = world.pane()
    path = f"/v1/connections/{pane.connect()}/flows"
    return pane.ask("GET", path, If_None_Match=pane.ask("GET", path).headers["ETag"])


def with_tenant(world: World, **change: object) -> requests.Response:
    """An answer to a member of a tenant whose row says this."""
    pane = world.pane()
    pane.begin()
    world.rewrite(f"t:{pane.tenant_ref()}", lambda row: row | change)
    return pane.ask("GET", "/v1/me")


def too_many(world: World) -> requests.Response:
    pane = world.pane()
    for _ in range(5):
        pane.begin()
    return pane.begin_with({})


def listing(world: World, **plan: object) -> requests.Response:
    """A list of Flows, where Salesforce answers by that plan."""
    pane = world.pane()
    connection = pane.connect()
    world.steer("list", **plan)
    return pane.ask("GET", f"/v1/connections/{connection}/flows")


STATUSES: Mapping[int, Callable[[World], requests.Response]] = {
    200: lambda w: w.ask("GET", "/health"),
    201: lambda w: w.pane().begin_with({}),
    204: disconnected,
    303: lambda w: w.browse(consent(w.pane().begin().url)),
    304: unchanged,
    400: lambda w: w.pane().ask("POST", "/v1/connections", b"{"),
    401: lambda w: w.ask("GET", "/v1/me"),
    403: lambda w: w.pane().ask("GET", "/v1/me"),
    404: lambda w: w.ask("GET", "/v1/nowhere"),
    405: lambda w: w.ask("PUT", "/v1/me"),
    409: spent,
    410: lambda w: with_tenant(w, state="closing"),
    413: lambda w: w.pane().ask("POST", "/v1/connections", b" " * (256 * 1024 + 1)),
    415: lambda w: w.pane().ask("POST", "/v1/connections", BEGIN, Content_Type="text/plain"),
    422: lambda w: w.pane().begin_with({"environment": "moon"}),
    429: too_many,
    431: lambda w: w.ask("GET", "/health", X_Long="a" * 30_000),
    500: lambda w: with_tenant(w, form=2),
    502: lambda w: listing(w, answer="empty-200"),
    503: lambda w: listing(w, answer="html"),
}


def dressed(answer: requests.Response) -> bool:
    """Whether an answer has all headers that every one has, and none that it may not have."""
    worn = answer.headers
    digest = worn["Content-Security-Policy"].partition("'sha256-")[2].partition("'")[0]
    policy = PAGE_POLICY.format(digest) if worn["Content-Type"].startswith("text/html") else API_POLICY
    return (
        worn.items() >= HEADERS.items()
        and worn["Content-Security-Policy"] == policy
        and len(worn["X-Request-Id"]) == 32
        and not FORBIDDEN & worn.keys()
    )


def is_problem(answer: requests.Response, status: int) -> bool:
    """Whether an answer is a problem that names its own status and correlation id, and says when to come back."""
    problem = answer.json()
    waits = status not in {429, 503} or int(answer.headers["Retry-After"]) > 0
    whole = problem.keys() >= {"type", "title", "status", "detail", "instance", "nextAction", "errors"}
    named = (problem["status"], problem["instance"]) == (status, answer.headers["X-Request-Id"])
    return bool(slug(answer)) and whole and named and waits


@pytest.mark.parametrize("status", STATUSES)
def test_an_answer_of_every_status_wears_the_whole_set(world: World, status: int) -> None:
    answer = STATUSES[status](world)
    assert answer.status_code == status, answer.text
    assert dressed(answer)
    assert status < 400 or is_problem(answer, status)


def test_a_question_that_salesforce_does_not_answer_in_time_is_dressed_too(hasty_world: World) -> None:
    answer = listing(hasty_world, hold="never")
    assert is_problem(answer, 504)
    assert dressed(answer)


# --- what no route takes


@pytest.mark.parametrize("method", ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"])
@pytest.mark.parametrize("path", ["/", "/v1/nowhere", "/admin/host/status", "/api/v1/me"])
def test_nothing_stands_at_other_addresses(world: World, method: str, path: str) -> None:
    answer = world.ask(method, path)
    assert answer.status_code == 404
    assert dressed(answer)


@pytest.mark.parametrize("method", ["PUT", "PATCH", "HEAD", "DELETE"])
def test_a_method_that_an_address_does_not_take_is_told_those_that_it_takes(world: World, method: str) -> None:
    answer = world.ask(method, "/v1/connections")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, POST")
    assert dressed(answer)


@pytest.mark.parametrize("size", [256 * 1024 + 1, 3 * 1024 * 1024])
def test_a_body_that_is_too_large_is_refused_by_the_app_itself(world: World, size: int) -> None:
    body = json.dumps({**BEGIN, "myDomain": "a" * size}).encode()
    with world.untouched():
        answer = world.pane().ask("POST", "/v1/connections", body)
    assert (answer.status_code, slug(answer)) == (413, "body-too-large")


def test_a_body_of_just_the_limit_is_read(world: World) -> None:
    body = json.dumps(BEGIN).encode()
    answer = world.pane().ask("POST", "/v1/connections", body + b" " * (256 * 1024 - len(body)))
    assert answer.status_code == 201


@pytest.mark.parametrize("name", ["X_Long", "Authorization", "Cookie", "Origin"])
def test_headers_that_are_too_large_are_refused_by_the_app_itself(world: World, name: str) -> None:
    with world.untouched():
        answer = world.ask("GET", "/v1/me", **{name: "a" * 25_000})
    assert (answer.status_code, slug(answer)) == (431, "headers-too-large")


# --- browsers


def origins(world: World) -> list[str]:
    listed: str = world.bench.environment["CORS_ORIGINS"]
    return listed.split()


@pytest.mark.parametrize("status", [200, 401, 404, 405, 431])
def test_a_listed_origin_may_read_answers_of_every_status(world: World, status: int) -> None:
    for origin in origins(world):
        world.http.headers["Origin"] = origin
        answer = STATUSES[status](world)
        del world.http.headers["Origin"]
        assert answer.headers["Access-Control-Allow-Origin"] == origin
        assert answer.headers["Access-Control-Expose-Headers"] == EXPOSED
        assert dressed(answer)


STRANGE = (
    "null",
    "*",
    "https://mail.google.com",
    "https://evil.example",
    "{0}.evil.example",
    "{0}/",
    "{0}:1",
    "HTTP{0}",
)


@pytest.mark.parametrize("spelling", STRANGE)
def test_an_origin_that_is_not_listed_may_read_nothing(world: World, spelling: str) -> None:
    asking = {"Origin": spelling.format(origins(world)[0]), "Access_Control_Request_Method": "GET"}
    for answer in (world.ask(method, "/v1/me", **asking) for method in ("GET", "OPTIONS")):
        assert not [name for name in answer.headers if name.lower().startswith("access-control-")]
        assert dressed(answer)


ONE = f"/v1/connections/{'0' * 32}"
METHODS = {"/v1/me": "GET", "/v1/connections": "GET, POST", ONE: "DELETE, GET", f"{ONE}/flows/Create_Case/runs": "POST"}


@pytest.mark.parametrize("path", METHODS)
def test_a_preflight_names_the_exact_methods_and_headers(world: World, path: str) -> None:
    origin = origins(world)[0]
    with world.untouched():
        answer = world.ask("OPTIONS", path, Origin=origin, Access_Control_Request_Method="POST")
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["Access-Control-Allow-Methods"] == METHODS[path]
    assert (answer.headers["Access-Control-Allow-Origin"], answer.headers["Access-Control-Max-Age"]) == (origin, "600")
    allowed = set(answer.headers["Access-Control-Allow-Headers"].split(", "))
    assert {"Authorization", "Content-Type", "Idempotency-Key"} <= allowed - {"*"}
    assert dressed(answer)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
def test_a_request_that_any_page_could_send_changes_nothing(world: World, kind: str) -> None:
    with world.untouched():
        answer = world.pane().ask("POST", "/v1/connections", BEGIN, Content_Type=kind)
    assert (answer.status_code, slug(answer)) == (415, "not-json")


def test_the_callback_s_page_wears_a_page_s_set_and_runs_no_script(world: World) -> None:
    page = world.ask("GET", CALLBACK)
    assert (page.headers["Content-Type"], page.headers["X-Frame-Options"]) == ("text/html; charset=utf-8", "DENY")
    assert dressed(page)
    assert not [word for word in ("<script", "src=", "href=", "<form", "http") if word in page.text]
