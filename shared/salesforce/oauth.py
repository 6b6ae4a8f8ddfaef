"""Salesforce's OAuth 2.0 endpoints: the web server flow with PKCE, refresh and revoke (salesforce-contract 2)."""

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from urllib.parse import quote, urlencode

from shared.errors import (
    AttemptSpent,
    FlowRunnerError,
    ReconnectNeeded,
    SalesforceUnavailable,
    SalesforceUnusable,
    ScopeMissing,
    SessionExpired,
)
from shared.model.connections import Consent, Environment, Grant, OrgFacts, Reason
from shared.salesforce.faults import Fault, FaultKind, classify, error_of
from shared.salesforce.hosts import Hosts
from shared.salesforce.pool import Pool
from shared.salesforce.replies import Reply, Unanswered, read_json

SCOPE = "lightning api web refresh_token offline_access"
"""What is asked for, always in this order."""

_ENOUGH = frozenset({"api", "full"})
_TOKEN = re.compile(r"[\x21-\x7e]{1,16384}", re.ASCII)
_SANDBOX_HOST = ".sandbox.my.salesforce.com"
_CODE_IS_SPENT = frozenset({FaultKind.RECONNECT, FaultKind.RESTART_CONNECT, FaultKind.REFRESH_CONTENTION})
_UNCERTAIN = frozenset({FaultKind.UPSTREAM_DOWN, FaultKind.UNUSABLE})


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a token answer says; what is missing or no text is empty. Nothing in it is believed yet."""

    access_token: str = field(default="", repr=False)
    refresh_token: str = field(default="", repr=False)
    signature: str = field(default="", repr=False)
    scope: str = field(default="", repr=False)
    instance_url: str = field(default="", repr=False)
    id: str = field(default="", repr=False)
    issued_at: str = field(default="", repr=False)

    @classmethod
    def of(cls, reply: Reply) -> "_Answer":
        try:
            value = read_json(reply.body)
        except ValueError:
            return cls()
        given = value if isinstance(value, dict) else {}
        texts = {wanted.name: given.get(wanted.name) for wanted in fields(cls)}
        return cls(**{name: text for name, text in texts.items() if isinstance(text, str)})

    def grant(self, earlier_refresh_token: str = "") -> Grant:
        """The pair. Without rotation the earlier refresh token lives on. Raises SalesforceUnusable."""
        refresh_token = self.refresh_token or earlier_refresh_token
        if not all(_TOKEN.fullmatch(token) for token in (self.access_token, refresh_token)):
            raise SalesforceUnusable("Salesforce gave no usable token.")
        return Grant(self.access_token, refresh_token)


@dataclass(frozen=True, slots=True)
class OAuthClient:
    """The service as Salesforce knows it. Each call is sent once and never repeated; times are in seconds."""

    hosts: Hosts
    pool: Pool = field(repr=False)
    client_id: str
    client_secret: str = field(repr=False)
    redirect_uri: str
    connect_s: float
    deadline_s: float

    def login_origin(self, environment: Environment, my_domain: str | None) -> str:
        """Where to send the user. Raises InputRefused (`/myDomain`)."""
        return self.hosts.login_origin(environment, my_domain)

    def authorize_url(self, consent: Consent, state: str) -> str:
        """Where the user consents, with PKCE S256 (RFC 7636). Raises SalesforceUnusable for a foreign host."""
        challenge = base64.urlsafe_b64encode(hashlib.sha256(consent.verifier.encode()).digest()).rstrip(b"=")
        asked = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": self.redirect_uri,
            "scope": SCOPE,
            "state": state,
            "code_challenge": challenge.decode(),
            "code_challenge_method": "S256",
            "prompt": "login consent",
        }
        origin = self.hosts.login_again(consent.login_origin)
        return f"{origin}/services/oauth2/authorize?{urlencode(asked, quote_via=quote)}"

    def exchange(self, consent: Consent, code: str) -> tuple[Grant, OrgFacts]:
        """Redeem a code. What was granted and may not be kept is revoked before the refusal is told.

        Raises AttemptSpent, ScopeMissing, OrgSetup, OrgLimit, SalesforceUnusable, SalesforceUnavailable.
        """
        origin = self.hosts.login_again(consent.login_origin)
        reply = self._ask(
            origin,
            {
                "grant_type": "authorization_code",
                "code": code,
                "redirect_uri": self.redirect_uri,
                "code_verifier": consent.verifier,
            },
        )
        if isinstance(reply, Unanswered):
            raise SalesforceUnavailable("Connect Salesforce again.")
        answer, fault = _Answer.of(reply), _fault(reply)
        try:
            if fault:
                raise AttemptSpent() if fault.kind in _CODE_IS_SPENT else _error(fault)
            return self._joined(consent, answer)
        except FlowRunnerError:
            self._drop(origin, answer)
            raise

    def refresh(self, org: OrgFacts, grant: Grant) -> tuple[Grant, OrgFacts]:
        """A fresh grant, asked for where the old one was issued, once.

        Raises ReconnectNeeded when the grant is dead; SalesforceUnavailable, OrgSetup, OrgLimit or
        SalesforceUnusable when it is not. Where nobody can tell whether the token was rotated, the member
        `cause` is `refresh-outcome-unknown`.
        """
        origin = self.hosts.login_again(org.login_origin)
        if not grant.refresh_token:
            raise ReconnectNeeded("Connect Salesforce again.")
        reply = self._ask(origin, {"grant_type": "refresh_token", "refresh_token": grant.refresh_token})
        if isinstance(reply, Unanswered):
            raise SalesforceUnavailable() if reply is Unanswered.NOT_SENT else _uncertain()
        answer, fault = _Answer.of(reply), _fault(reply)
        try:
            if fault:
                raise _refresh_error(fault)
            # The signature proves the id alone, and the id has to be the one we know; so it adds nothing here,
            # while a client secret that changes would end every user's grant.
            if self.hosts.identity(answer.id) != (org.org_id, org.salesforce_user):
                raise SalesforceUnusable("Salesforce renewed somebody else's session.")
            return answer.grant(grant.refresh_token), replace(org, instance_url=self._moved(org, answer))
        except FlowRunnerError:
            self._drop(origin, answer)
            raise

    def revoke(self, org: OrgFacts, grant: Grant) -> bool:
        """End a grant, its access tokens included. True when it is gone, False when nobody can tell. Never raises."""
        try:
            origin = self.hosts.login_again(org.login_origin)
        except SalesforceUnusable:
            return False
        return self._revoke(origin, grant.refresh_token or grant.access_token)

    def _ask(self, origin: str, form: Mapping[str, str]) -> Reply | Unanswered:
        app = {"client_id": self.client_id, "client_secret": self.client_secret}
        return self.pool.post_form(f"{origin}/services/oauth2/token", {**form, **app}, self._wait)

    @property
    def _wait(self) -> tuple[float, float]:
        return self.connect_s, self.deadline_s

    def _joined(self, consent: Consent, answer: _Answer) -> tuple[Grant, OrgFacts]:
        """The grant and its org, once both addresses, the signature and the scopes have passed."""
        instance = self.hosts.instance(answer.instance_url)
        org, user = self.hosts.identity(answer.id)
        if not self._signed(answer):
            raise SalesforceUnusable("Salesforce's signature is wrong.")
        if not _ENOUGH & set(answer.scope.split()):
            raise ScopeMissing("The app's scope `api` is missing.")
        if not answer.refresh_token:
            raise ScopeMissing("The app's scope `refresh_token` is missing.")
        sandbox = consent.sandbox or instance.endswith(_SANDBOX_HOST)
        return answer.grant(), OrgFacts(org, user, instance, consent.login_origin, sandbox)

    def _signed(self, answer: _Answer) -> bool:
        """Whether the answer's `signature` proves its `id` (contract 2.4), compared in constant time."""
        signed = f"{answer.id}{answer.issued_at}".encode()
        right = base64.b64encode(hmac.digest(self.client_secret.encode(), signed, "sha256"))
        return hmac.compare_digest(right, answer.signature.encode())

    def _moved(self, org: OrgFacts, answer: _Answer) -> str:
        """The org's address, which may change at a refresh (contract 2.5); a foreign one is not followed."""
        try:
            return self.hosts.instance(answer.instance_url)
        except SalesforceUnusable:
            return org.instance_url

    def _drop(self, origin: str, answer: _Answer) -> None:
        """Revoke what was granted, best effort: a grant that nobody keeps should not live on."""
        self._revoke(origin, answer.refresh_token or answer.access_token)

    def _revoke(self, origin: str, token: str) -> bool:
        if not token:
            return True
        reply = self.pool.post_form(f"{origin}/services/oauth2/revoke", {"token": token}, self._wait)
        if isinstance(reply, Unanswered):
            return False
        fault = _fault(reply)
        return fault is None or fault.kind is FaultKind.ALREADY_GONE


def _fault(reply: Reply) -> Fault | None:
    return classify(reply.status, reply.headers, reply.body, reply.path)


def _error(fault: Fault) -> FlowRunnerError:
    error = error_of(fault)
    # No session is asked for here, so nothing that `grants` could cure may come out of here.
    return SalesforceUnusable() if isinstance(error, SessionExpired) else error


def _refresh_error(fault: Fault) -> FlowRunnerError:
    if fault.kind in _UNCERTAIN:
        return _uncertain()
    # The words for a spent code are, at a refresh, the older ones for two refreshes at once (contract 2.7).
    contended = fault.kind is FaultKind.RESTART_CONNECT
    return _error(replace(fault, kind=FaultKind.REFRESH_CONTENTION) if contended else fault)


def _uncertain() -> FlowRunnerError:
    return SalesforceUnavailable(members={"cause": Reason.OUTCOME_UNKNOWN})
