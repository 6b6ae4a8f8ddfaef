"""How errors look, and that nothing else leaves."""

import base64
import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import NoReturn, cast

import azure.functions as func
import pytest
from azure.functions.timer import TimerRequest

from functions._http import HEADERS, Edge, Handler
from shared import errors
from shared.errors import ClaimsNeeded, FieldError, FlowRunnerError, MethodNotAllowed, NotSignedIn
from shared.model.answers import RunView
from shared.model.connections import ConnectionId, Reason
from shared.model.events import EventName
from shared.model.flows import FlowId
from shared.model.identity import Principal, Role, UserId
from shared.model.refreshing import FailureClass, RefreshFailed
from shared.model.runs import Outcome, Run, RunId
from shared.usecases.refresh_failures import HANDLING, RefreshLimits
from tests.contract.store_fixtures import NOW, a_connection, hex_of
from tests.edge.edge_fixtures import (
    ADD_IN,
    ERROR_STATUSES,
    OWN_ID,
    Desk,
    ask,
    canary,
    document,
    everything,
    family,
    fine,
    of_status,
    principal,
    raising,
    refused,
    sample,
)

MEMBERS = ("type", "title", "status", "detail", "instance", "nextAction", "errors")
NEXT_ACTIONS = {"sign-in", "connect", "reconnect", "ask-admin", "fix-input", "retry", "check-salesforce", "none"}

EVERY_ERROR = [pytest.param(sample(kind), id=kind.__name__) for kind in family(FlowRunnerError)]


# Problems


@pytest.mark.parametrize("error", EVERY_ERROR)
def test_every_error_is_a_problem_of_rfc_9457(error: FlowRunnerError) -> None:
    response = refused(error)
    assert response.status_code == error.status
    assert response.headers["Content-Type"] == "application/problem+json; charset=utf-8"
    found = document(response)
    assert {name: found[name] for name in MEMBERS} == {
        "type": f"https://flow-runner.com/problems/{error.slug}",
        "title": error.title,
        "status": error.status,
        "detail": str(error),
        "instance": OWN_ID,
        "nextAction": str(error.next_action),
        "errors": [],
    }
    assert found["nextAction"] in NEXT_ACTIONS


@pytest.mark.parametrize("error", EVERY_ERROR)
def test_an_error_has_a_title_of_its_own_and_a_type_that_stands_in_an_address(error: FlowRunnerError) -> None:
    others = [kind for kind in family(FlowRunnerError) if kind is not type(error)]
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", error.slug)
    assert error.slug not in {kind.slug for kind in others}
    assert error.title not in {kind.title for kind in others}


def test_refused_places_come_as_json_pointers_with_a_reason() -> None:
    wrong = errors.InputRefused(errors=[FieldError("/inputs/amount", "must be a number"), FieldError("", "is bad")])
    assert document(refused(wrong))["errors"] == [
        {"pointer": "/inputs/amount", "detail": "must be a number"},
        {"pointer": "", "detail": "is bad"},
    ]


def test_a_problem_after_a_run_began_carries_the_run() -> None:
    run = Run(RunId("1" * 32), UserId("2" * 32), ConnectionId("3" * 32), FlowId("4" * 32), 5, Outcome.ERROR, 6)
    found = document(refused(errors.OrgLimit(members={"run": RunView.of(run)})))
    assert found["run"] == RunView.of(run).model_dump(mode="json", by_alias=True)


def test_a_plain_member_stands_beside_the_rest() -> None:
    found = document(refused(errors.OrgSetup(members={"cause": "api-disabled", "run": None})))
    assert (found["cause"], set(found)) == ("api-disabled", {"cause", *MEMBERS})


K, LATER = FailureClass, Reason.OUTCOME_UNKNOWN


@pytest.mark.parametrize(
    ("failed", "expected", "members", "retry_after"),
    [
        (RefreshFailed(K.TRANSIENT, retry_after=30), (503, "salesforce-unavailable", "retry"), {}, "30"),
        (RefreshFailed(K.TRANSIENT), (503, "salesforce-unavailable", "retry"), {}, "5"),
        (
            RefreshFailed(K.TRANSIENT, Reason.LOGIN_LIMIT, retry_after=3_600),
            (429, "org-limit", "retry"),
            {"cause": Reason.LOGIN_LIMIT},
            "3600",
        ),
        (RefreshFailed(K.UNCERTAIN), (503, "salesforce-unavailable", "retry"), {"cause": LATER}, "45"),
        (RefreshFailed(K.GRANT_DEAD), (409, "reconnect-needed", "reconnect"), {"reason": "grant-ended"}, None),
        *(
            (RefreshFailed(K.OPERATOR, cause), (502, "salesforce-unusable", "none"), {"cause": cause}, None)
            for cause in (Reason.OUR_CREDENTIALS, Reason.OUR_ADDRESS, Reason.OUR_REQUEST)
        ),
        *(
            (RefreshFailed(K.ORG_SETUP, cause), (403, "org-setup", "ask-admin"), {"cause": cause}, "60")
            for cause in (Reason.IP_RESTRICTED, Reason.USER_BLOCKED, Reason.APP_NOT_INSTALLED, Reason.APP_BLOCKED)
        ),
        (
            RefreshFailed(K.ORG_SETUP, Reason.UNEXPLAINED),
            (403, "org-setup", "reconnect"),
            {"cause": "refused-without-reason"},
            "60",
        ),
    ],
    ids=lambda value: str(getattr(value, "cause", None) or value),
)
def test_each_class_of_failed_refresh_is_a_problem_of_its_own(
    failed: RefreshFailed, expected: tuple[int, str, str], members: dict[str, str], retry_after: str | None
) -> None:
    row, limits = replace(a_connection().claimed(hex_of(1)), saved_at=NOW, read_at=NOW), RefreshLimits(45, 20, 60)
    handling = HANDLING[failed.kind]
    response = refused(handling.problem(handling.row(row, failed, limits), failed))
    found = document(response)
    status, slug, next_action = expected
    assert (response.status_code, response.headers.get("Retry-After")) == (status, retry_after)
    assert (found["type"], found["nextAction"]) == (f"https://flow-runner.com/problems/{slug}", next_action)
    assert {name: value for name, value in found.items() if name not in MEMBERS} == members


# The headers that go with some errors


def test_a_request_without_a_token_is_asked_for_one_in_one_word() -> None:
    assert refused(NotSignedIn()).headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("authorization", ["Bearer a.b.c", "Basic dTpw", "x"])
def test_a_token_that_proves_nothing_is_called_invalid_and_nothing_more(authorization: str) -> None:
    response = refused(NotSignedIn(), ask(headers={"Authorization": authorization}))
    assert response.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'


def test_only_a_401_asks_to_sign_in() -> None:
    asked = {s for s in ERROR_STATUSES if "WWW-Authenticate" in refused(of_status(s)).headers}
    assert asked == {401}


CHALLENGE = '{"access_token":{"acrs":{"essential":true,"value":"c1"}}}'


def test_a_claims_challenge_stands_in_the_header_in_base64() -> None:
    header = refused(ClaimsNeeded(CHALLENGE), ask(headers={"Authorization": "Bearer a.b.c"})).headers
    found = re.fullmatch(r'Bearer error="insufficient_claims", claims="([A-Za-z0-9+/=]+)"', header["WWW-Authenticate"])
    assert found
    assert json.loads(base64.b64decode(found[1], validate=True)) == json.loads(CHALLENGE)


def test_a_claims_challenge_stands_in_the_body_as_it_was_given() -> None:
    assert document(refused(ClaimsNeeded(CHALLENGE)))["claims"] == CHALLENGE


def test_a_browser_client_may_read_the_claims_challenge() -> None:
    header = refused(ClaimsNeeded(CHALLENGE), ask(headers={"Origin": ADD_IN})).headers
    assert "WWW-Authenticate" in header["Access-Control-Expose-Headers"].split(", ")


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        pytest.param(errors.OrgLimit(), "30", id="429 of no length of its own"),
        pytest.param(errors.TooManyChanges(retry_after=3_600), "3600", id="429 with its own"),
        pytest.param(errors.StoreUnavailable(), "5", id="503 of no length of its own"),
        pytest.param(errors.IssuerUnavailable(retry_after=12), "12", id="503 with its own"),
        pytest.param(errors.Conflict(retry_after=1), "1", id="another status with its own"),
    ],
)
def test_an_error_that_passes_says_when_to_come_back(error: FlowRunnerError, seconds: str) -> None:
    assert refused(error).headers["Retry-After"] == seconds


def test_a_405_lists_the_methods_in_the_order_given() -> None:
    assert refused(MethodNotAllowed(("DELETE", "GET"))).headers["Allow"] == "DELETE, GET"


# What was not foreseen


@pytest.mark.parametrize("error", [ValueError, errors.SessionExpired, KeyError])
def test_neither_the_request_nor_the_text_of_an_unforeseen_exception_leaves(error: type[Exception]) -> None:
    desk, secret = Desk(), canary()
    request = ask(
        "POST",
        f"/v1/{secret}?q={secret}",
        headers={"Authorization": secret, "Cookie": secret, "X-Odd": secret, "Origin": secret, "traceparent": secret},
        body=secret.encode(),
        route={"c": secret},
    )
    response = desk.edge().answers(raising(error(secret)))(request)
    assert (response.status_code, document(response)["detail"]) == (500, "Something went wrong on our side")
    assert secret not in everything(response) + desk.told()


def test_an_unforeseen_exception_is_told_by_type_and_place_alone() -> None:
    desk = Desk()
    desk.edge().answers(raising(ZeroDivisionError("x")))(ask("POST"))
    told = {"function": "failing", "method": "POST", "status": 500, "ms": 7, "correlation_id": OWN_ID}
    place = {"module": "tests.edge.edge_fixtures", "line": raising.__code__.co_firstlineno + 2}
    error = {"error_code": "internal", "exception": "ZeroDivisionError"}
    assert [(e.name, e.facts) for e in desk.events] == [(EventName.REQUEST, told | place | error)]


def test_a_foreseen_error_is_told_by_its_slug() -> None:
    desk = Desk()
    desk.edge().answers(raising(errors.OrgLimit("Come back tomorrow.")))(ask())
    assert desk.events[0].facts["error_code"] == "org-limit"
    assert "tomorrow" not in desk.told()


def test_a_good_answer_is_told_once_without_an_error() -> None:
    desk = Desk()
    desk.edge().answers(fine)(ask("PUT"))
    told = {"function": "fine", "method": "PUT", "status": 200, "ms": 7, "correlation_id": OWN_ID}
    assert [(e.name, e.facts) for e in desk.events] == [(EventName.REQUEST, told)]


@pytest.mark.parametrize("error", [ValueError, errors.StoreUnavailable])
def test_a_timer_lets_no_exception_pass_and_tells_its_type(error: type[Exception]) -> None:
    desk, secret = Desk(), canary()

    def nightly(_: func.TimerRequest) -> None:
        raise error(secret)

    desk.edge().ticks(nightly)(TimerRequest())
    assert [(e.name, e.facts["function"], e.facts["exception"]) for e in desk.events] == [
        (EventName.TIMER_FAILED, "nightly", error.__name__)
    ]
    assert secret not in desk.told()


def test_a_timer_that_goes_well_is_called_once_and_tells_nothing() -> None:
    desk, calls = Desk(), list[func.TimerRequest]()
    timer = TimerRequest()
    desk.edge().ticks(calls.append)(timer)
    assert (calls, desk.events) == ([timer], [])


# What breaks at the edge itself


def breaks(*_: object) -> NoReturn:
    raise ValueError(SECRET)


SECRET = canary()
EDGES: dict[str, Callable[[Edge], Edge]] = {
    "the clock": lambda edge: replace(edge, clock=breaks),
    "the randomness": lambda edge: replace(edge, randomness=breaks),
    "the list of origins": lambda edge: replace(edge, origins=cast("frozenset[str]", None)),
}


@pytest.mark.parametrize("part", EDGES)
@pytest.mark.parametrize("handler", [fine, raising(errors.OrgLimit()), raising(KeyError(SECRET))])
def test_an_edge_with_a_broken_part_answers_with_a_whole_problem_of_its_own(part: str, handler: Handler) -> None:
    desk = Desk()
    response = EDGES[part](desk.edge()).answers(handler)(ask(headers={"Origin": ADD_IN}))
    assert (response.status_code, document(response)["type"]) == (500, "https://flow-runner.com/problems/internal")
    assert document(response)["instance"] == response.headers["X-Request-Id"]
    assert re.fullmatch("[0-9a-f]{32}", response.headers["X-Request-Id"])
    assert all(name in response.headers for name in HEADERS)
    assert SECRET not in everything(response) + desk.told()
    assert [(e.name, e.facts["error_code"], e.facts["status"]) for e in desk.events] == [
        (EventName.REQUEST, "internal", 500)
    ]


def answering_nothing(_: func.HttpRequest) -> func.HttpResponse:
    return cast("func.HttpResponse", None)


def test_a_handler_without_an_answer_is_an_error_of_ours() -> None:
    desk = Desk()
    assert desk.edge().answers(answering_nothing)(ask()).status_code == 500
    assert desk.events[0].facts["error_code"] == "internal"


@pytest.mark.parametrize("error", [errors.OrgLimit(), KeyError(SECRET)])
def test_a_page_that_cannot_be_made_becomes_a_problem(error: Exception) -> None:
    desk = Desk()
    response = desk.edge().pages(breaks)(raising(error))(ask())
    assert (response.status_code, document(response)["status"]) == (500, 500)
    assert SECRET not in everything(response) + desk.told()


@pytest.mark.parametrize("handler", [fine, raising(KeyError(SECRET))])
@pytest.mark.parametrize("part", ["its way out", "the clock that stops the time"])
def test_telemetry_that_breaks_costs_no_answer(part: str, handler: Handler) -> None:
    whole = Desk().edge()
    broken = replace(whole, emit=breaks) if part == "its way out" else replace(whole, clock=iter([5]).__next__)
    assert everything(broken.answers(handler)(ask())) == everything(whole.answers(handler)(ask()))


def test_telemetry_that_breaks_lets_no_exception_of_a_timer_pass() -> None:
    replace(Desk().edge(), emit=breaks).ticks(breaks)(TimerRequest())


# Who asks


def test_the_caller_is_proved_from_the_authorization_header_alone() -> None:
    seen: list[str] = []

    def noting(token: str) -> Principal:
        seen.append(str(token))
        return principal()

    Desk().edge(noting).caller(ask(path="/v1/me?access_token=q", headers={"Authorization": "Bearer t", "Cookie": "c"}))
    assert seen == ["Bearer t"]


SIGNED = {"Authorization": "Bearer t"}


@pytest.mark.parametrize(
    ("headers", "role", "seen"),
    [
        pytest.param(SIGNED, Role.OPERATOR, True, id="an operator"),
        pytest.param(SIGNED, Role.ADMIN, False, id="an admin"),
        pytest.param({}, Role.OPERATOR, False, id="nobody, who is not even asked"),
    ],
)
def test_an_operator_alone_is_seen_on_a_public_route(headers: dict[str, str], role: Role, *, seen: bool) -> None:
    assert Desk().edge(lambda _: principal(role)).by_operator(ask(headers=headers)) is seen


@pytest.mark.parametrize(
    "error", [NotSignedIn(), ClaimsNeeded("{}"), errors.IssuerUnavailable(), errors.PersonalAccount()]
)
def test_a_public_route_answers_whoever_cannot_be_proved(error: FlowRunnerError) -> None:
    def refusing(_: str) -> Principal:
        raise error

    assert not Desk().edge(refusing).by_operator(ask(headers=SIGNED))
