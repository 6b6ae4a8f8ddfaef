"""The edge: every answer leaves through here, with its headers, and every error becomes a problem (RFC 9457)."""

import base64
import hashlib
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import wraps
from types import MappingProxyType

import azure.functions as func
from pydantic import BaseModel, ConfigDict, JsonValue

from functions._reading import bearer, refuse_oversized, signed
from shared.errors import (
    ClaimsNeeded,
    FlowRunnerError,
    IssuerUnavailable,
    MethodNotAllowed,
    NotSignedIn,
    PersonalAccount,
)
from shared.model.answers import Answer
from shared.model.events import Event, EventName
from shared.model.identity import BearerToken, Principal, Role

PROBLEMS = "https://flow-runner.com/problems/"
RETRY_AFTER_S = {429: 30, 503: 5}
"""Seconds to wait where an error of that status names none of its own."""

_TRACEPARENT = re.compile(
    r"(?!ff|00.{54})[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?", re.ASCII
)
"""Version 00 has 55 characters and no more, a later one may say more, ff is none (W3C Trace Context, 3.2)."""

_JSON = "application/json; charset=utf-8"

HEADERS: Mapping[str, str] = MappingProxyType(
    {
        "Content-Type": _JSON,
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        "Strict-Transport-Security": "max-age=63072000; includeSubDomains",
        "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
        "Referrer-Policy": "no-referrer",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Vary": "Origin",
    }
)
"""On every answer, unless a handler has set its own (identity-contract 6.1)."""

EXPOSED = "ETag, Location, Retry-After, WWW-Authenticate, X-Request-Id"

UNTRACED = "0" * 32
"""The correlation id of a request that broke before it had one."""

Facts = dict[str, str | int | None]
Handler = Callable[[func.HttpRequest], func.HttpResponse]
Refusal = Callable[[FlowRunnerError, str], func.HttpResponse]
Tick = Callable[[func.TimerRequest], None]


class Problem(BaseModel):
    """A problem document. `instance` is the correlation id."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str
    instance: str
    nextAction: str  # noqa: N815  its name on the wire
    errors: list[dict[str, str]]


@dataclass(frozen=True, slots=True)
class Edge:
    """What all handlers share: who is calling, how an answer looks, and what is told of it.

    `origins` is the exact list of browser origins that may read our answers; a listed one proves nothing.
    """

    sign_in: Callable[[BearerToken], Principal]
    emit: Callable[[Event], None]
    clock: Callable[[], int]
    randomness: Callable[[int], bytes]
    origins: frozenset[str]

    def caller(self, req: func.HttpRequest) -> Principal:
        """The proved caller of a request. Raises what `SignIn` raises."""
        return self.sign_in(bearer(req))

    def by_operator(self, req: func.HttpRequest) -> bool:
        """Whether a public route is asked by an operator, who may see more."""
        try:
            return signed(req) and Role.OPERATOR in self.caller(req).roles
        except (NotSignedIn, PersonalAccount, ClaimsNeeded, IssuerUnavailable):
            return False

    def answers(self, handler: Handler) -> Handler:
        """The same handler with our headers on every answer and a problem for every error."""
        return self._wrapped(handler, problem)

    def pages(self, refusal: Refusal) -> Callable[[Handler], Handler]:
        """As `answers`, for addresses that a person's browser opens; `refusal` makes the page of an error."""

        def decorate(handler: Handler) -> Handler:
            return self._wrapped(handler, refusal)

        return decorate

    def ticks(self, tick: Tick) -> Tick:
        """The same timer, of which no exception reaches the host: that would write its text to telemetry."""

        @wraps(tick)
        def ticked(timer: func.TimerRequest) -> None:
            try:
                tick(timer)
            except Exception as broken:  # noqa: BLE001  the last stop before the host
                self._tell(EventName.TIMER_FAILED, {"function": tick.__name__, **_trace(broken)})

        return ticked

    def _wrapped(self, handler: Handler, refusal: Refusal) -> Handler:
        @wraps(handler)
        def answered(req: func.HttpRequest) -> func.HttpResponse:
            began, correlation = None, UNTRACED
            facts: Facts = {"function": handler.__name__}
            try:
                began = self.clock()
                correlation = self._correlation(req)
                facts["method"] = req.method
                response = self._answer(handler, refusal, req, correlation, facts)
            except Exception as broken:  # noqa: BLE001  the last stop before the host, which would write its text
                facts |= {"error_code": FlowRunnerError.slug, **_trace(broken)}
                response = _dressed(problem(FlowRunnerError(), correlation), correlation)
            facts |= {"status": response.status_code, "correlation_id": correlation}
            self._tell(EventName.REQUEST, facts, began)
            return response

        return answered

    def _answer(
        self, handler: Handler, refusal: Refusal, req: func.HttpRequest, correlation: str, facts: Facts
    ) -> func.HttpResponse:
        """The handler's answer, or the refusal that an error becomes; `facts` learns of the error."""
        try:
            refuse_oversized(req)
            response = handler(req)
        except FlowRunnerError as error:
            facts |= {"error_code": error.slug} | (_trace(error.__cause__) if error.__cause__ else {})
            response = refusal(error, correlation)
            _challenge(response, error, req)
        except Exception as broken:  # noqa: BLE001  so that a browser gets a page for it too
            facts |= {"error_code": FlowRunnerError.slug, **_trace(broken)}
            response = refusal(FlowRunnerError(), correlation)
        self._dress(response, req, correlation)
        return response

    def _tell(self, name: EventName, facts: Facts, began: int | None = None) -> None:
        """Tell telemetry, which must not cost an answer that stands."""
        with suppress(Exception):
            took: Facts = {} if began is None else {"ms": self.clock() - began}
            self.emit(Event(name, facts | took))

    def _correlation(self, req: func.HttpRequest) -> str:
        """The caller's trace id (W3C Trace Context), or one of our own: 32 lower hex."""
        given = _TRACEPARENT.fullmatch(req.headers.get("traceparent", ""))
        return given[1] if given else self.randomness(16).hex()

    def _dress(self, response: func.HttpResponse, req: func.HttpRequest, correlation: str) -> None:
        _dressed(response, correlation)
        origin = req.headers.get("Origin", "")
        if origin in self.origins:
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Access-Control-Expose-Headers"] = EXPOSED


def _dressed(response: func.HttpResponse, correlation: str) -> func.HttpResponse:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers["X-Request-Id"] = correlation
    return response


def reply(status: int, answer: Answer | None = None, **headers: str) -> func.HttpResponse:
    """An answer as JSON, or one without a body. Headers are named with `_` for `-`."""
    body = answer.model_dump_json(by_alias=True) if answer else None
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return func.HttpResponse(body, status_code=status, headers={"Content-Type": _JSON, **named})


def reply_tagged(req: func.HttpRequest, answer: Answer) -> func.HttpResponse:
    """An answer with an ETag, or 304 when the client says that it holds this very one (RFC 9110, 13.1.2)."""
    body = answer.model_dump_json(by_alias=True)
    tag = f'"{hashlib.sha256(body.encode()).hexdigest()[:32]}"'
    held = {each.strip().removeprefix("W/") for each in req.headers.get("If-None-Match", "").split(",")}
    if held & {tag, "*"}:
        return reply(304, ETag=tag)
    return func.HttpResponse(body, status_code=200, headers={"Content-Type": _JSON, "ETag": tag})


def problem(error: FlowRunnerError, correlation: str) -> func.HttpResponse:
    """An error as problem+json. `errors` names refused places by JSON pointer (RFC 6901), never their values."""
    document = Problem(
        type=PROBLEMS + error.slug,
        title=error.title,
        status=error.status,
        detail=str(error),
        instance=correlation,
        nextAction=error.next_action,
        errors=[{"pointer": e.pointer, "detail": e.why} for e in error.errors],
        **_members(error.members),
    )
    return func.HttpResponse(
        document.model_dump_json(),
        status_code=error.status,
        headers={"Content-Type": "application/problem+json; charset=utf-8"},
    )


def _members(members: Mapping[str, object]) -> dict[str, JsonValue]:
    return {
        name: value.model_dump(mode="json", by_alias=True) if isinstance(value, BaseModel) else str(value)
        for name, value in members.items()
        if value is not None
    }


def _challenge(response: func.HttpResponse, error: FlowRunnerError, req: func.HttpRequest) -> None:
    """The headers that go with some errors: how to sign in, when to come back, which methods there are."""
    wait = error.retry_after or RETRY_AFTER_S.get(error.status)
    if wait:
        response.headers["Retry-After"] = str(wait)
    if isinstance(error, MethodNotAllowed):
        response.headers["Allow"] = ", ".join(error.allow)
    if isinstance(error, ClaimsNeeded):
        claims = base64.b64encode(error.claims.encode()).decode()
        response.headers["WWW-Authenticate"] = f'Bearer error="insufficient_claims", claims="{claims}"'
    if isinstance(error, NotSignedIn):
        response.headers["WWW-Authenticate"] = 'Bearer error="invalid_token"' if signed(req) else "Bearer"


def _trace(broken: BaseException) -> Facts:
    """Where an unforeseen exception was raised and of what type; its text may hold anything and stays here."""
    step = broken.__traceback__
    while step and step.tb_next:
        step = step.tb_next
    place: Facts = {"module": step.tb_frame.f_globals.get("__name__"), "line": step.tb_lineno} if step else {}
    return {"exception": type(broken).__name__, **place}
