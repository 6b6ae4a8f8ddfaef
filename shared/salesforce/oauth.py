"""Salesforce's OAuth 2.0 endpoints: the web server flow with PKCE, refresh and revoke (salesforce-contract 2)."""

import base64
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from urllib.parse import quote, urlencode

from shared.errors import (
    AttemptSpent,
    FlowRunnerError,
    NextAction,
    SalesforceTimedOut,
    SalesforceUnavailable,
    SalesforceUnusable,
    ScopeMissing,
    SessionExpired,
)
from shared.model.connections import SCOPES, Consent, Environment, Grant, OrgFacts, Reason
from shared.model.refreshing import FailureClass, RefreshFailed
from shared.ports import Ticks
from shared.salesforce.client_secrets import ClientSecrets
from shared.salesforce.faults import Fault, FaultKind, error_of, fault_of
from shared.salesforce.hosts import Hosts, identity_of, ids_of
from shared.salesforce.pool import Pool
from shared.salesforce.refresh_failures import failure_of
from shared.salesforce.replies import Reply, Unanswered, read_json

SCOPE = " ".join(sorted(SCOPES))
"""What is asked for, always in this order."""

_TOKEN = re.compile(r"[\x21-\x7e]{1,16384}", re.ASCII)
_START_OVER = "Nobody can tell whether Salesforce took the consent. Connect Salesforce again."
_OK = 200
_LASTING = frozenset({"refresh_token", "offline_access"})
_CODE_IS_SPENT = frozenset(
    {
        FaultKind.RECONNECT,
        FaultKind.UNEXPLAINED,
        FaultKind.RESTART_CONNECT,
        FaultKind.CODE_EXPIRED,
        FaultKind.REFRESH_CONTENTION,
    }
)


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

    def grant(self, earlier_refresh_token: str = "") -> Grant | None:
        """The pair, if it is usable. Without rotation the earlier refresh token lives on."""
        pair = (self.access_token, self.refresh_token or earlier_refresh_token)
        return Grant(*pair) if all(_TOKEN.fullmatch(token) for token in pair) else None


@dataclass(frozen=True, slots=True)
class OAuthClient:
    """The service as Salesforce knows it. Times are in seconds; only refused credentials make a call be sent again."""

    hosts: Hosts
    pool: Pool = field(repr=False)
    client_id: str
    secrets: ClientSecrets
    redirect_uri: str
    connect_s: float
    deadline_s: float
    ticks: Ticks

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

        Raises AttemptSpent, ScopeMissing, OrgSetup, OrgLimit, SalesforceUnusable, SalesforceUnavailable,
        SalesforceTimedOut. The same code may be tried again only where `next_action` is `retry`: where it is
        `connect` nobody can tell whether the code was used, or it was.
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
            raise _unredeemed(reply)
        answer, fault = _Answer.of(reply), fault_of(reply)
        try:
            if fault:
                raise _exchange_error(fault)
            return self._joined(consent, answer)
        except FlowRunnerError as refused:
            self._drop(origin, answer)
            if isinstance(refused, SalesforceUnusable) and refused.next_action is NextAction.RETRY:
                refused.next_action = NextAction.CONNECT  # the code is used up
            raise

    def refresh(self, org: OrgFacts, grant: Grant) -> tuple[Grant, OrgFacts]:
        """A fresh grant, asked for where the old one was issued, once. Raises RefreshFailed."""
        try:
            origin = self.hosts.login_again(org.login_origin)
        except SalesforceUnusable:
            raise RefreshFailed(FailureClass.OPERATOR, Reason.OUR_REQUEST) from None
        reply = self._ask(origin, {"grant_type": "refresh_token", "refresh_token": grant.refresh_token})
        failed = failure_of(reply)
        if isinstance(reply, Unanswered):
            raise failed or RefreshFailed(FailureClass.UNCERTAIN)
        answer = _Answer.of(reply)
        # What is odd about a good answer is no reason to throw its token away: that would end the grant.
        if failed and not (reply.status == _OK and answer.grant(grant.refresh_token)):
            raise failed
        return self._kept(origin, org, grant, answer)

    def revoke(self, org: OrgFacts, grant: Grant) -> bool:
        """End a grant, its access tokens included. True when it is gone, False when nobody can tell. Never raises."""
        try:
            origin = self.hosts.login_again(org.login_origin)
        except SalesforceUnusable:
            return False
        return self._revoke(origin, grant.refresh_token or grant.access_token)

    def _ask(self, origin: str, form: Mapping[str, str]) -> Reply | Unanswered:
        """The answer. Refused credentials have used up nothing, so the second client secret is tried once.

        Both tries share one deadline: whoever holds a claim counts on it.
        """
        reply: Reply | Unanswered = Unanswered.NOT_SENT
        until = self.ticks() + self.deadline_s
        for secret in self.secrets:
            left = until - self.ticks()
            if left <= 0:
                break
            app = {"client_id": self.client_id, "client_secret": secret}
            wait = min(self.connect_s, left), left
            reply = self.pool.post_form(f"{origin}/services/oauth2/token", {**form, **app}, wait)
            failed = failure_of(reply)
            if failed is None or failed.cause is not Reason.OUR_CREDENTIALS:
                if not isinstance(reply, Unanswered):
                    self.secrets.accepted(secret)
                break
        return reply

    @property
    def _wait(self) -> tuple[float, float]:
        return self.connect_s, self.deadline_s

    def _joined(self, consent: Consent, answer: _Answer) -> tuple[Grant, OrgFacts]:
        """The grant and its org, once both addresses, the signature and the scopes have passed."""
        login = consent.login_origin
        instance = self.hosts.instance_at(login, answer.instance_url)
        sandbox = self.hosts.sandbox(instance, said=consent.sandbox)
        org, user = identity_of(answer.id, (login, instance), sandbox=sandbox)
        if not self._signed(answer):
            raise SalesforceUnusable("Salesforce's signature is wrong.")
        complaint = _scope_complaint(answer)
        if complaint:
            raise ScopeMissing(complaint)
        grant = answer.grant()
        if grant is None:
            raise SalesforceUnusable("Salesforce gave no usable token.")
        return grant, OrgFacts(org, user, instance, login, sandbox)

    def _kept(self, origin: str, org: OrgFacts, grant: Grant, answer: _Answer) -> tuple[Grant, OrgFacts]:
        """The fresh grant and the org as the answer shows it: the same one, which may have moved.

        The signature proves the id alone, and the id has to be the one we know; so it adds nothing here, while a
        client secret that changes would end every user's grant.
        """
        if ids_of(answer.id) not in {None, (org.org_id, org.salesforce_user)}:  # somebody else's: of no use to anybody
            self._revoke(origin, answer.refresh_token or grant.refresh_token)
            raise RefreshFailed(FailureClass.GRANT_DEAD)
        fresh = answer.grant(grant.refresh_token)
        if fresh is None:
            raise RefreshFailed(FailureClass.UNCERTAIN)
        instance = self._moved(org, answer)
        return fresh, replace(org, instance_url=instance, sandbox=self.hosts.sandbox(instance, said=org.sandbox))

    def _signed(self, answer: _Answer) -> bool:
        """Whether the answer's `signature` proves its `id` (contract 2.4), compared in constant time."""
        signed = f"{answer.id}{answer.issued_at}".encode()
        given = answer.signature.encode()
        digests = (hmac.digest(secret.encode(), signed, "sha256") for secret in self.secrets)
        return any(hmac.compare_digest(base64.b64encode(digest), given) for digest in digests)

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
        fault = fault_of(reply)
        return fault is None or fault.kind is FaultKind.ALREADY_GONE


def _scope_complaint(answer: _Answer) -> str:
    """Nothing, where exactly what was asked for is granted, whichever synonym is named (contract 2.2)."""
    asked, granted = (_folded(scopes) for scopes in (SCOPES, answer.scope.split()))
    missing = asked - (granted if answer.refresh_token else granted - _LASTING)
    if missing:
        return f"Of the app's scopes these are missing: {', '.join(f'`{scope}`' for scope in sorted(missing))}."
    return "" if granted == asked else "Salesforce granted more than FlowRunner asked for."


def _folded(scopes: Iterable[str]) -> frozenset[str]:
    return frozenset("refresh_token" if scope in _LASTING else scope for scope in scopes)


def _unredeemed(why: Unanswered) -> FlowRunnerError:
    if why is Unanswered.NOT_SENT:
        return SalesforceUnavailable()
    kind = SalesforceTimedOut if why is Unanswered.TIMED_OUT else SalesforceUnavailable
    return kind(_START_OVER, next_action=NextAction.CONNECT)


def _exchange_error(fault: Fault) -> FlowRunnerError:
    if fault.kind in _CODE_IS_SPENT:
        return AttemptSpent()
    if fault.kind is FaultKind.UPSTREAM_DOWN:
        return SalesforceUnavailable(_START_OVER, retry_after=fault.retry_after, next_action=NextAction.CONNECT)
    return _error(fault)


def _error(fault: Fault) -> FlowRunnerError:
    error = error_of(fault)
    # No session is asked for here, so nothing that a refresh could cure may come out of here.
    return SalesforceUnusable() if isinstance(error, SessionExpired) else error
