"""The token endpoint and revoke (salesforce-contract.md sections 2.3 to 2.8)."""

from __future__ import annotations

import base64
import hmac
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

from shared.devkit.salesforce.answers import RefusedError, json_answer, oauth_error, text_answer, unknown
from shared.devkit.salesforce.app import App
from shared.devkit.salesforce.cookies import with_cookie
from shared.devkit.salesforce.grants import LASTING, Approval, Asked, Code, GrantBook
from shared.devkit.salesforce.people import User
from shared.devkit.salesforce.routes import Route
from shared.devkit.salesforce.steering import Steering
from shared.devkit.salesforce.strictness import form_of
from shared.devkit.tls import Answer, Request

_SHARED = ("grant_type", "client_id", "client_secret", "format")
_OF_GRANT = {
    "authorization_code": ("code", "redirect_uri", "code_verifier"),
    "refresh_token": ("refresh_token",),
}
_ALL = (*_SHARED, *(name for names in _OF_GRANT.values() for name in names))
_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")


def sign(client_secret: str, identity: str, issued_at: str) -> str:
    """Return the `signature` of a token answer (contract 2.4): base64 of the HMAC-SHA-256 of `id` + `issued_at`."""
    digest = hmac.digest(client_secret.encode(), (identity + issued_at).encode(), "sha256")
    return base64.b64encode(digest).decode()


def identity_url(user: User, id_form: int) -> str:
    """Return the `id` of a token answer; `id_form` is the length of its ids, 15 or 18."""
    host = "test" if user.org.sandbox else "login"
    return f"https://{host}.salesforce.com/id/{user.org.id[:id_form]}/{user.id[:id_form]}"


def _refused(error: str, description: str) -> RefusedError:
    return RefusedError(oauth_error(error, description))


@dataclass(frozen=True, slots=True)
class TokenEndpoint:
    """Codes and refresh tokens in, tokens out. `instance_url` tells the org's address."""

    app: App
    grants: GrantBook
    steering: Steering
    instance_url: Callable[[], str]

    def token(self, request: Request, _: Route) -> Answer:
        """Answer a code exchange or a refresh. Raises RefusedError for every row of contract 2.7."""
        form = self._form(request)
        return self._exchange(form) if form["grant_type"] == "authorization_code" else self._refresh(form, request.at)

    @contextmanager
    def overlap(self, request: Request) -> Iterator[None]:
        """Keep a second refresh with the same token out from a call's arrival to its answer.

        Raises RefusedError as GrantBook.refreshing. A call that is no refresh, or is wrong, is left alone.
        """
        try:
            token = self._form(request).get("refresh_token")
        except RefusedError:
            token = None
        if token is None:
            yield
            return
        switches = self.steering.switches
        with self.grants.refreshing(token, guard=switches.overlap_guard, contention=switches.contention_text):
            yield

    def revoke(self, request: Request, _: Route) -> Answer:
        """Answer 200 without a body. Raises RefusedError with `invalid_token` for an unknown token."""
        token = form_of(request, ("token",)).get("token", "")
        if not self.grants.revoke(token):
            raise _refused("invalid_token", "the token is unknown or already revoked")
        return text_answer(200, "")

    def _form(self, request: Request) -> dict[str, str]:
        """Return the fields of a call by our app, all of them there and none too many."""
        form = form_of(request, _ALL)
        grant_type = form.get("grant_type", "")
        if grant_type not in _OF_GRANT:
            raise _refused("unsupported_grant_type", "grant type not supported")
        for name in form:
            if name not in (*_SHARED, *_OF_GRANT[grant_type]):
                raise unknown(f"form field {name} with grant_type {grant_type}")
        if form.get("format", "json") != "json":
            raise unknown(f"format {form['format']}")
        self._authenticate(form)
        for name in _OF_GRANT[grant_type]:
            if not form.get(name):
                raise _refused("invalid_grant" if name == "code_verifier" else "invalid_request", f"{name} missing")
        return form

    def _authenticate(self, form: Mapping[str, str]) -> None:
        if form.get("client_id") != self.app.client_id:
            raise _refused("invalid_client_id", "client identifier invalid")
        if form.get("client_secret") not in self._secrets():
            raise _refused("invalid_client", "invalid client credentials")

    def _secrets(self) -> list[str]:
        return self.steering.switches.client_secret.split() or [self.app.client_secret]

    def _exchange(self, form: Mapping[str, str]) -> Answer:
        if not _VERIFIER.fullmatch(form["code_verifier"]):
            raise _refused("invalid_grant", "invalid code verifier")
        code = self.grants.redeem(form["code"], form["redirect_uri"], form["code_verifier"])
        access, refresh = self.grants.approve(code.user, code.scopes, self.steering.switches)
        return self._answer(code, form["client_secret"], access, refresh)

    def _refresh(self, form: Mapping[str, str], at: int) -> Answer:
        secret = form["client_secret"]
        asked = Asked(form["refresh_token"], at, self._secrets().index(secret))
        renewed = self.grants.renew(asked, self.steering.switches)
        if renewed.rotation is None:
            return self._answer(renewed.approval, secret, renewed.access, "")
        answer = self._answer(renewed.approval, secret, renewed.access, renewed.refresh)
        return replace(answer, told=partial(self.grants.ledger.tell, renewed.rotation))

    def _answer(self, granted: Code | Approval, secret: str, access: str, refresh: str) -> Answer:
        switches, user = self.steering.switches, granted.user
        identity = switches.id_url or identity_url(user, switches.id_form)
        issued_at = str(time.time_ns() // 1_000_000)
        body = {
            "access_token": access,
            "refresh_token": refresh,
            "signature": switches.signature or sign(secret, identity, issued_at),
            "scope": switches.scope or _granted(granted.scopes),
            "instance_url": switches.instance_url or self.instance_url(),
            "id": identity,
            "token_type": "Bearer",
            "issued_at": issued_at,
        }
        kept = {name: value for name, value in body.items() if value and name not in switches.omit}
        return with_cookie(json_answer(200, kept), user)


def _granted(scopes: frozenset[str]) -> str:
    """Return scopes in another order than asked, with one synonym for both, as Salesforce does."""
    lasting = ["refresh_token"] if scopes & LASTING else []
    return " ".join((*lasting, *sorted(scopes - LASTING, reverse=True)))
