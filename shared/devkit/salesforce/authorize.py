"""The authorize page and its form (salesforce-contract.md section 2.2)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from urllib.parse import urlencode

from shared.devkit.salesforce.answers import RefusedError, unknown
from shared.devkit.salesforce.app import NAME, SCOPES, App
from shared.devkit.salesforce.cookies import with_cookie
from shared.devkit.salesforce.grants import GrantBook
from shared.devkit.salesforce.page import consent_page, error_page
from shared.devkit.salesforce.people import USERS, User, find_user
from shared.devkit.salesforce.routes import Route
from shared.devkit.salesforce.steering import Steering
from shared.devkit.salesforce.strictness import form_of, query_of
from shared.devkit.tls import Answer, Request

_NEEDED = ("response_type", "client_id", "redirect_uri", "scope", "state", "code_challenge", "code_challenge_method")
_OPTIONS: Mapping[str, str] = MappingProxyType(
    {
        "prompt": r"(?:login|consent|select_account)(?: (?:login|consent|select_account))*",
        "display": r"popup|page|touch",
        "login_hint": r".*",
        "nonce": r".*",
    }
)
_PARAMETERS = (*_NEEDED, *_OPTIONS)
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")
_DENIED = "end-user denied authorization"
_BLOCKED = "this app is blocked by <b>your admin</b>"
"""Descriptions are foreign text, so this one is markup."""


def _stop(code: str, reason: str) -> RefusedError:
    return RefusedError(error_page(code, reason))


@dataclass(frozen=True, slots=True)
class Authorization:
    """The two endpoints that a person's browser sees."""

    app: App
    grants: GrantBook
    steering: Steering

    def authorize(self, request: Request, _: Route) -> Answer:
        """Show the page that asks for consent. Raises RefusedError with the error page."""
        asked = query_of(request, _PARAMETERS)
        scopes = self._check(asked)
        hinted = find_user(asked.get("login_hint", "")) or USERS[0]
        names = dict.fromkeys(user.username for user in (*USERS, hinted))
        return consent_page(NAME, asked, scopes, names, hinted.username)

    def consent(self, request: Request, _: Route) -> Answer:
        """Send the person back to the callback, with a code or an error. Raises RefusedError with the error page."""
        form = form_of(request, (*_PARAMETERS, "username", "decision"))
        username, decision = form.pop("username", ""), form.pop("decision", "")
        scopes = self._check(form)
        user = find_user(username)
        if user is None:
            raise _stop("invalid_login", "there is no such user")
        if decision not in ("allow", "deny"):
            raise unknown(f"decision {decision}")
        outcome = self._outcome(form, scopes, user, denied=decision == "deny")
        location = f"{self.app.redirect_uri}?{urlencode(outcome | {'state': form['state']})}"
        return with_cookie(Answer(302, headers=(("Location", location),)), user)

    def _outcome(self, form: Mapping[str, str], scopes: frozenset[str], user: User, *, denied: bool) -> dict[str, str]:
        steered = self.steering.switches.consent_error
        if denied:
            return {"error": "access_denied", "error_description": _DENIED}
        if steered:
            return {"error": steered, "error_description": _BLOCKED}
        return {"code": self.grants.issue_code(user, scopes, form["redirect_uri"], form["code_challenge"])}

    def _check(self, asked: Mapping[str, str]) -> frozenset[str]:
        """Return the scopes that are asked for. What is wrong never reaches the callback."""
        for name in _NEEDED:
            if not asked.get(name):
                raise _stop("invalid_request", f"{name} is missing")
        for name, pattern in _OPTIONS.items():
            if name in asked and not re.fullmatch(pattern, asked[name]):
                raise unknown(f"{name} {asked[name]}")
        if asked["client_id"] != self.app.client_id:
            raise _stop("invalid_client_id", "client identifier invalid")
        if asked["redirect_uri"] != self.app.redirect_uri:
            raise _stop("redirect_uri_mismatch", "redirect_uri must match configuration")
        return _checked_request(asked)


def _checked_request(asked: Mapping[str, str]) -> frozenset[str]:
    if asked["response_type"] != "code":
        raise _stop("unsupported_response_type", "response type not supported")
    if asked["code_challenge_method"] != "S256" or not _CHALLENGE.fullmatch(asked["code_challenge"]):
        raise _stop("invalid_request", "code challenge invalid")
    scopes = frozenset(asked["scope"].split(" "))
    if not scopes <= SCOPES:
        raise _stop("invalid_scope", "the requested scope is not allowed")
    return scopes
