"""The devkit's Salesforce: one org host with TLS, one login host without, both on loopback."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Self

from shared.devkit.salesforce.answers import RefusedError, unknown
from shared.devkit.salesforce.app import App
from shared.devkit.salesforce.authorize import Authorization
from shared.devkit.salesforce.callers import credential_of
from shared.devkit.salesforce.cookies import with_cookie
from shared.devkit.salesforce.grants import GrantBook
from shared.devkit.salesforce.recording import Recorder
from shared.devkit.salesforce.rest import DAILY_CALLS, RestEndpoints
from shared.devkit.salesforce.routes import DATA, Route, route_of
from shared.devkit.salesforce.steer import PREFIX, SteerEndpoints
from shared.devkit.salesforce.steering import Endpoint, Plan, Steering
from shared.devkit.salesforce.strictness import check_body, check_headers
from shared.devkit.salesforce.tokens import TokenEndpoint
from shared.devkit.tls import LOOPBACK, Answer, DevelopmentCA, Listener, Request

UNKNOWN = "unknown"
"""The recorder's name for a call to no endpoint at all."""

REFUSED = "refused-as-unknown"
"""The recorder's event for each 501: something that the contract does not know."""

_NOT_IMPLEMENTED = 501
_DROPPED = Answer(0, dropped=True)

_Work = Callable[[Request, Route], Answer]


class SalesforceServer:
    """A Salesforce that speaks salesforce-contract.md and refuses what that does not know; thread-safe.

    `recorder` has what was sent, `steering` decides what happens next, `grants` holds codes and tokens.
    Ports are 0 until the first start when none are given; a later start takes the same ones again.
    """

    def __init__(
        self,
        ca: DevelopmentCA,
        *,
        client_id: str,
        client_secret: str,
        redirect_uri: str,
        port: int = 0,
        tls_port: int = 0,
    ) -> None:
        self.recorder = Recorder()
        self.steering = Steering()
        self.grants = GrantBook(self.recorder.count)
        self._plain = Listener(partial(self._answer, secure=False), port=port)
        self._secure = Listener(partial(self._answer, secure=True), port=tls_port, context=ca.server_context())
        app = App(client_id, client_secret, redirect_uri)
        self._steer = SteerEndpoints(self.steering, self.recorder, self.grants)
        self._tokens = TokenEndpoint(app, self.grants, self.steering, lambda: self.instance_url)
        self._rest = RestEndpoints(self.grants, self.steering, self.recorder)
        self._works = self._all_works(Authorization(app, self.grants, self.steering))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def base_url(self) -> str:
        """The login host, plain http, where `/_steer` is too; known after the first start."""
        return f"http://{LOOPBACK}:{self._plain.port}"

    @property
    def instance_url(self) -> str:
        """The org's own host, TLS under the devkit's CA; known after the first start."""
        return f"https://{LOOPBACK}:{self._secure.port}"

    def start(self) -> None:
        """Serve both hosts. Raises OSError when a port is taken; then neither is served."""
        self.steering.stopping.clear()
        self._plain.start()
        try:
            self._secure.start()
        except OSError:
            self._plain.stop()
            raise

    def stop(self) -> None:
        """Let held calls go and close both hosts; what is recorded and granted stays."""
        self.steering.stopping.set()
        self._plain.stop()
        self._secure.stop()

    def _all_works(self, authorization: Authorization) -> Mapping[Endpoint, _Work]:
        return {
            "authorize": authorization.authorize,
            "consent": authorization.consent,
            "token": self._tokens.token,
            "revoke": self._tokens.revoke,
            "versions": self._rest.versions,
            "limits": self._rest.limits,
            "list": self._rest.list,
            "describe": self._rest.describe,
            "run": self._rest.run,
        }

    def _answer(self, request: Request, *, secure: bool) -> Answer:
        if not secure and request.path.startswith(f"{PREFIX}/"):
            return self._steer.answer(request)
        try:
            route = route_of(request)
        except RefusedError as refused:
            call = self.recorder.record(request, UNKNOWN, secure=secure)
            answer = self._refused(refused)
        else:
            call = self.recorder.record(request, route.endpoint, secure=secure)
            answer = self._planned(request, route)
        if answer.dropped:
            return answer
        call.status = answer.status
        return self._dressed(request, answer)

    def _planned(self, request: Request, route: Route) -> Answer:
        """Return what the plan for this call makes of it."""
        credential = credential_of(request)
        if route.endpoint == "token":
            self.grants.note_refresh(credential)
        owner = self.grants.owner(credential)
        plan = self.steering.take(route.endpoint, owner.username if owner else "")
        try:
            _check(request)
        except RefusedError as refused:
            return self._refused(refused)
        answer = self._carried_out(request, route, plan)
        planned = _DROPPED if plan.drop else plan.replacement() or answer
        if answer.told and planned is not answer:
            answer.told(None)
        return replace(planned, drip_s=plan.drip)

    def _carried_out(self, request: Request, route: Route, plan: Plan) -> Answer:
        guarded = route.endpoint == "token" and plan.works()
        try:
            with self._tokens.overlap(request) if guarded else nullcontext():
                self.steering.pause(plan.delay, plan.hold)
                answer = self._worked(request, route) if plan.works() else _DROPPED
                self.steering.pause(plan.delay_after, plan.hold_after)
                return answer
        except RefusedError as refused:
            return self._refused(refused)

    def _worked(self, request: Request, route: Route) -> Answer:
        try:
            return self._works[route.endpoint](request, route)
        except RefusedError as refused:
            return self._refused(refused)

    def _refused(self, refused: RefusedError) -> Answer:
        if refused.answer.status == _NOT_IMPLEMENTED:
            self.recorder.count(REFUSED)
        return refused.answer

    def _dressed(self, request: Request, answer: Answer) -> Answer:
        """Return an answer with what every one carries: a cookie, a request id, and for REST the limits."""
        session = self._rest.session(request)
        headers = [("x-sfdc-request-id", uuid.uuid4().hex)]
        if request.path.startswith(DATA):
            headers.append(("Sforce-Limit-Info", f"api-usage={self._rest.used()}/{DAILY_CALLS}"))
        dressed = replace(answer, headers=(*answer.headers, *headers))
        return with_cookie(dressed, session.user if session else None)


def _check(request: Request) -> None:
    """Refuse what no endpoint takes."""
    check_headers(request)
    check_body(request)
    if request.header("Authorization") is not None and not request.path.startswith(DATA):
        raise unknown(f"header Authorization at {request.path}")
