"""What every answer carries: the header set, the correlation id, the ETag; and what a connection's says."""

from dataclasses import replace

import azure.functions as func
import pytest
from pydantic import JsonValue

from functions._http import Handler, reply, reply_tagged
from shared.errors import NextAction, NotSignedIn
from shared.model.answers import ConnectionView, DisconnectedView, HealthView
from shared.model.connections import Connection, OrgFacts, Reason
from tests.contract.store_fixtures import NOW, a_connection
from tests.edge.edge_fixtures import ERROR_STATUSES, OWN_ID, Desk, ask, document, fine, of_status, raising, refused

HEADER_SET = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Strict-Transport-Security": "max-age=63072000; includeSubDomains",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Vary": "Origin",
    "X-Request-Id": OWN_ID,
}
"""identity-contract 6.1, written out once more."""


def unchanged(req: func.HttpRequest) -> func.HttpResponse:
    answer = HealthView(status="ok")
    tag = reply_tagged(req, answer).headers["ETag"]
    return reply_tagged(ask(headers={"If-None-Match": tag}), answer)


GOOD: dict[int, Handler] = {
    200: fine,
    201: lambda _: reply(201, HealthView(status="made")),
    204: lambda _: reply(204),
    303: lambda _: reply(303, Location="https://add-in.example/done"),
    304: unchanged,
}
BAD: dict[int, Handler] = {status: raising(of_status(status)) for status in ERROR_STATUSES}


@pytest.mark.parametrize(("status", "handler"), [pytest.param(s, h, id=str(s)) for s, h in (GOOD | BAD).items()])
def test_every_answer_carries_the_header_set(status: int, handler: Handler) -> None:
    response = Desk().edge().answers(handler)(ask())
    assert response.status_code == status
    assert {name: response.headers.getlist(name) for name in HEADER_SET} == {n: [v] for n, v in HEADER_SET.items()}


def test_a_handlers_own_header_stands() -> None:
    own = Desk().edge().answers(lambda _: reply(200, Cache_Control="private"))(ask()).headers
    assert own.getlist("Cache-Control") == ["private"]
    assert own.getlist("Content-Type") == ["application/json; charset=utf-8"]


def test_an_answer_speaks_camel_case() -> None:
    answer = reply(200, DisconnectedView(revoked=False, next_action=NextAction.CHECK_SALESFORCE))
    assert document(answer) == {"revoked": False, "nextAction": "check-salesforce"}


DAY = 24 * 60 * 60 * 1_000
CONNECTED, ENDS = a_connection(), NOW + 30 * DAY


@pytest.mark.parametrize(
    ("row", "age_ms", "said"),
    [
        (CONNECTED, 23 * DAY - 1, ("connected", None, None, ENDS)),
        (CONNECTED, 23 * DAY, ("connected", None, "idle", ENDS)),
        (CONNECTED, 30 * DAY - 1, ("connected", None, "idle", ENDS)),
        (CONNECTED, 30 * DAY, ("needs-reconnect", "idle", None, None)),
        (CONNECTED.held(Reason.IP_RESTRICTED, NOW + DAY + 1), DAY, ("connected", "ip-restricted", None, ENDS)),
        (CONNECTED.held(Reason.SESSION_REFUSED, NOW), 24 * DAY, ("connected", None, "idle", ENDS)),
        (CONNECTED.ended(), 24 * DAY, ("needs-reconnect", "grant-ended", None, None)),
        (CONNECTED.ended(), 31 * DAY, ("needs-reconnect", "grant-ended", None, None)),
    ],
)
def test_a_connection_says_what_is_the_matter_and_when_it_will_end(
    row: Connection, age_ms: int, said: tuple[str, str | None, str | None, int | None]
) -> None:
    org = OrgFacts("00D", "005", "https://acme.my.salesforce.com", "https://login.salesforce.com", sandbox=False)
    found = document(reply(200, ConnectionView.of(replace(row, read_at=NOW + age_ms), org)))
    assert tuple(found[name] for name in ("state", "reason", "warning", "idleEndsAt")) == said


# The trace

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"


@pytest.mark.parametrize(
    "traceparent",
    [
        pytest.param(f"00-{TRACE}-{PARENT}-01", id="this version"),
        pytest.param(f"00-{TRACE}-{PARENT}-00", id="not sampled"),
        pytest.param(f"cc-{TRACE}-{PARENT}-01", id="a future version"),
        pytest.param(f"cc-{TRACE}-{PARENT}-01-what-will-be", id="a future version that says more"),
    ],
)
def test_a_trace_that_came_in_is_the_correlation_id(traceparent: str) -> None:
    assert refused(of_status(404), ask(headers={"traceparent": traceparent})).headers["X-Request-Id"] == TRACE


@pytest.mark.parametrize(
    "traceparent",
    [
        pytest.param("", id="empty"),
        pytest.param(f"00-{'0' * 32}-{PARENT}-01", id="a trace of zeros"),
        pytest.param(f"00-{TRACE}-{'0' * 16}-01", id="a parent of zeros"),
        pytest.param(f"00-{TRACE[:-1]}-{PARENT}-01", id="a trace too short"),
        pytest.param(f"00-{TRACE}0-{PARENT}-01", id="a trace too long"),
        pytest.param(f"00-{TRACE}-{PARENT[:-1]}-01", id="a parent too short"),
        pytest.param(f"00-{TRACE.upper()}-{PARENT}-01", id="upper case"),
        pytest.param(f"ff-{TRACE}-{PARENT}-01", id="the forbidden version"),
        pytest.param(f"00-{TRACE}-{PARENT}-01-more", id="this version that says more"),
        pytest.param(f"cc-{TRACE}-{PARENT}-01more", id="a future version run together"),
        pytest.param(f"00-{TRACE}-{PARENT}", id="no flags"),
        pytest.param(f"00-{TRACE}-{PARENT}-01\n", id="a newline behind"),
        pytest.param(f" 00-{TRACE}-{PARENT}-01", id="a blank before"),
        pytest.param(f"00-{'٤' * 32}-{PARENT}-01", id="digits of another script"),
        pytest.param(f"00-{TRACE}-{PARENT}-01,00-{TRACE}-{PARENT}-01", id="two at once"),
    ],
)
def test_a_trace_of_another_form_is_replaced_by_our_own(traceparent: str) -> None:
    response = refused(of_status(404), ask(headers={"traceparent": traceparent}))
    assert (response.headers["X-Request-Id"], document(response)["instance"]) == (OWN_ID, OWN_ID)


def test_the_correlation_id_of_header_problem_and_event_is_one() -> None:
    desk = Desk()
    request = ask(headers={"traceparent": f"00-{TRACE}-{PARENT}-01"})
    response = desk.edge().answers(raising(NotSignedIn()))(request)
    told: JsonValue = desk.events[0].facts["correlation_id"]
    assert [response.headers["X-Request-Id"], document(response)["instance"], told] == [TRACE] * 3


# ETag


def tag_of(status: str) -> str:
    return str(reply_tagged(ask(), HealthView(status=status)).headers["ETag"])


@pytest.mark.parametrize(
    "form", ["{}", "W/{}", '"other", {}', '{},"other"', "*"], ids=["alone", "weak", "last", "first", "any"]
)
def test_a_client_that_holds_the_answer_gets_304_and_no_body(form: str) -> None:
    held = form.format(tag_of("ok"))
    response = reply_tagged(ask(headers={"If-None-Match": held}), HealthView(status="ok"))
    assert (response.status_code, response.get_body(), response.headers["ETag"]) == (304, b"", tag_of("ok"))


@pytest.mark.parametrize("held", ["", '"other"', "not quoted", '""', ",", tag_of("old"), tag_of("ok").strip('"')])
def test_a_client_that_holds_another_answer_gets_this_one(held: str) -> None:
    response = reply_tagged(ask(headers={"If-None-Match": held}), HealthView(status="ok"))
    assert (response.status_code, document(response)) == (200, {"status": "ok"})
