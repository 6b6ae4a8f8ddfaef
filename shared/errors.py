"""Everything that can go wrong, in the words a client gets (RFC 9457).

    FlowRunnerError
      MalformedRequest  IdempotencyKeyNeeded                    400
      NotSignedIn  ClaimsNeeded                                 401
      PersonalAccount  TenantNotEnrolled  TenantSuspended       403
      NotAllowed  OrgNotAllowed  ScopeMissing
      FlowForbidden  OrgSetup
      RouteNotFound  ConnectionNotFound  FlowNotFound           404
      MethodNotAllowed                                          405
      Conflict  ReconnectNeeded  AttemptSpent                   409
      TooManyConnections  FlowNotRunnable
      TenantDeleted                                             410
      BodyTooLarge                                              413
      NotJson                                                   415
      InputRefused  IdempotencyKeyReused                        422
      TooManyAttempts  TooManyChanges  OrgLimit                 429
      HeadersTooLarge                                           431
      RecordUnreadable                                          500
      SalesforceUnusable                                        502
      SalesforceUnavailable  StoreUnavailable                   503
      KeysUnavailable  IssuerUnavailable
      SalesforceTimedOut                                        504

An error says what happened and what to do next in our own words, and never repeats what a caller,
a mailbox or an org has sent. `SessionExpired` alone never reaches a client: it asks `grants` to refresh.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import ClassVar


class NextAction(StrEnum):
    """What the user should do about it: the closed set that an add-in has buttons for."""

    SIGN_IN = "sign-in"
    CONNECT = "connect"
    RECONNECT = "reconnect"
    ASK_ADMIN = "ask-admin"
    FIX_INPUT = "fix-input"
    RETRY = "retry"
    CHECK_SALESFORCE = "check-salesforce"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class FieldError:
    """One refused place of a request: a JSON pointer (RFC 6901) and why, without the value."""

    pointer: str
    why: str


class BadSettings(Exception):
    """The configuration cannot be used; the text is one sentence that names the setting."""


class SessionExpired(Exception):
    """Salesforce refused the access token before doing anything; a refresh may cure it."""


class FlowRunnerError(Exception):
    """The root: what a client is told. Subclasses fix slug, status, title and next action.

    `detail` is our own sentence, `errors` are refused places, `retry_after` is in seconds,
    `members` are further public members of the problem (such as `run`), `next_action` is this one's where it
    differs from its kind's.
    """

    slug: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "Something went wrong on our side"
    next_action: NextAction = NextAction.NONE

    def __init__(
        self,
        detail: str = "",
        *,
        errors: Sequence[FieldError] = (),
        retry_after: int | None = None,
        members: Mapping[str, object] = MappingProxyType({}),
        next_action: NextAction | None = None,
    ) -> None:
        super().__init__(detail or self.title)
        self.detail = detail
        self.errors = tuple(errors)
        self.retry_after = retry_after
        self.members = dict(members)
        self.next_action = next_action or type(self).next_action


class MalformedRequest(FlowRunnerError):
    """The request cannot be read: not JSON, a name twice, a parameter twice."""

    slug, status, title = "malformed-request", 400, "The request cannot be read"
    next_action = NextAction.FIX_INPUT


class IdempotencyKeyNeeded(FlowRunnerError):
    """A run came without a usable Idempotency-Key."""

    slug, status, title = "idempotency-key-needed", 400, "A run needs an Idempotency-Key"
    next_action = NextAction.FIX_INPUT


class NotSignedIn(FlowRunnerError):
    """No token, or one that proves nothing. One text for every reason, so that nobody learns from it."""

    slug, status, title = "not-signed-in", 401, "Sign in first"
    next_action = NextAction.SIGN_IN


class ClaimsNeeded(FlowRunnerError):
    """The token is good but the tenant's conditional access wants more; `claims` is its challenge (JSON text)."""

    slug, status, title = "claims-needed", 401, "Your organisation asks for a stronger sign-in"
    next_action = NextAction.SIGN_IN

    def __init__(self, claims: str) -> None:
        super().__init__("Sign in again with the claims given here.", members={"claims": claims})
        self.claims = claims


class PersonalAccount(FlowRunnerError):
    """A Microsoft or Google account that belongs to no organisation."""

    slug, status, title = "personal-account", 403, "Personal accounts cannot use FlowRunner"
    next_action = NextAction.NONE


class TenantNotEnrolled(FlowRunnerError):
    """A proved caller whose organisation we do not know."""

    slug, status, title = "tenant-not-enrolled", 403, "Your organisation does not use FlowRunner yet"
    next_action = NextAction.ASK_ADMIN


class TenantSuspended(FlowRunnerError):
    """The organisation is known and switched off for now."""

    slug, status, title = "tenant-suspended", 403, "FlowRunner is switched off for your organisation"
    next_action = NextAction.ASK_ADMIN


class TenantDeleted(FlowRunnerError):
    """The organisation is being erased or has been."""

    slug, status, title = "tenant-deleted", 410, "Your organisation has left FlowRunner"
    next_action = NextAction.ASK_ADMIN


class NotAllowed(FlowRunnerError):
    """A proved caller without the role that the route asks for."""

    slug, status, title = "not-allowed", 403, "Your role does not allow this"
    next_action = NextAction.ASK_ADMIN


class OrgNotAllowed(FlowRunnerError):
    """The Salesforce org is not among those that the tenant allows."""

    slug, status, title = "org-not-allowed", 403, "Your organisation does not allow this Salesforce org"
    next_action = NextAction.ASK_ADMIN


class ScopeMissing(FlowRunnerError):
    """Salesforce granted less than a Flow needs."""

    slug, status, title = "scope-missing", 403, "Salesforce did not grant what FlowRunner needs"
    next_action = NextAction.ASK_ADMIN


class FlowForbidden(FlowRunnerError):
    """Salesforce says that this user may not run the Flow."""

    slug, status, title = "flow-forbidden", 403, "You may not run this Flow"
    next_action = NextAction.ASK_ADMIN


class OrgSetup(FlowRunnerError):
    """The org or the user is set up in a way that an admin has to change; member `cause` says which."""

    slug, status, title = "org-setup", 403, "Salesforce is not set up for FlowRunner"
    next_action = NextAction.ASK_ADMIN


class RouteNotFound(FlowRunnerError):
    """There is nothing at this address."""

    slug, status, title = "not-found", 404, "There is nothing here"
    next_action = NextAction.NONE


class MethodNotAllowed(FlowRunnerError):
    """The address exists, the method does not; `allow` lists those that do."""

    slug, status, title = "method-not-allowed", 405, "This address does not take that method"
    next_action = NextAction.NONE

    def __init__(self, allow: Sequence[str]) -> None:
        super().__init__()
        self.allow = tuple(allow)


class ConnectionNotFound(FlowRunnerError):
    """The caller has no such connection; somebody else's looks the same."""

    slug, status, title = "connection-not-found", 404, "You have no such connection"
    next_action = NextAction.CONNECT


class FlowNotFound(FlowRunnerError):
    """Unknown, inactive or not visible to this user."""

    slug, status, title = "flow-not-found", 404, "There is no such Flow for you"
    next_action = NextAction.FIX_INPUT


class Conflict(FlowRunnerError):
    """Somebody changed the same record in between."""

    slug, status, title = "conflict", 409, "Something else changed this at the same time"
    next_action = NextAction.RETRY


class ReconnectNeeded(FlowRunnerError):
    """Salesforce ended the connection; only the user can make a new one."""

    slug, status, title = "reconnect-needed", 409, "Salesforce ended the connection"
    next_action = NextAction.RECONNECT


class AttemptSpent(FlowRunnerError):
    """The connect attempt is unknown, over, used, or not the caller's: one text for all."""

    slug, status, title = "attempt-spent", 409, "This connect attempt can no longer be used"
    next_action = NextAction.CONNECT


class TooManyConnections(FlowRunnerError):
    """The user holds as many connections as we keep."""

    slug, status, title = "too-many-connections", 409, "You have too many connections"
    next_action = NextAction.FIX_INPUT


class FlowNotRunnable(FlowRunnerError):
    """The Flow exists, but cannot be run from here; `detail` says why."""

    slug, status, title = "flow-not-runnable", 409, "This Flow cannot be run from here"
    next_action = NextAction.ASK_ADMIN


class BodyTooLarge(FlowRunnerError):
    """More than 256 KB."""

    slug, status, title = "body-too-large", 413, "The request is too large"
    next_action = NextAction.FIX_INPUT


class NotJson(FlowRunnerError):
    """A body of another media type than application/json."""

    slug, status, title = "not-json", 415, "The body must be application/json"
    next_action = NextAction.FIX_INPUT


class InputRefused(FlowRunnerError):
    """The request is readable, and something in it cannot be taken; `errors` says where."""

    slug, status, title = "invalid-input", 422, "Something in the request cannot be taken"
    next_action = NextAction.FIX_INPUT


class IdempotencyKeyReused(FlowRunnerError):
    """The key was used for another connection or Flow."""

    slug, status, title = "idempotency-key-reused", 422, "This Idempotency-Key was used for another run"
    next_action = NextAction.FIX_INPUT


class TooManyAttempts(FlowRunnerError):
    """Five connect attempts of this user are open."""

    slug, status, title = "too-many-attempts", 429, "Too many connect attempts are open"
    next_action = NextAction.RETRY


class TooManyChanges(FlowRunnerError):
    """Twenty connects and disconnects of this user today."""

    slug, status, title = "too-many-changes", 429, "Too many connects and disconnects today"
    next_action = NextAction.RETRY


class OrgLimit(FlowRunnerError):
    """The org has used up its calls, or runs too many slow ones at once."""

    slug, status, title = "org-limit", 429, "Your Salesforce org takes no more calls for now"
    next_action = NextAction.RETRY


class HeadersTooLarge(FlowRunnerError):
    """More header bytes than any client of ours sends."""

    slug, status, title = "headers-too-large", 431, "The request's headers are too large"
    next_action = NextAction.FIX_INPUT


class RecordUnreadable(FlowRunnerError):
    """A stored record does not open: changed, moved, rolled back, or of an unknown form. Never guessed at."""

    slug, status, title = "record-unreadable", 500, "A stored record cannot be trusted"
    next_action = NextAction.ASK_ADMIN


class SalesforceUnusable(FlowRunnerError):
    """Salesforce answered something that cannot be used or trusted."""

    slug, status, title = "salesforce-unusable", 502, "Salesforce gave an answer that cannot be used"
    next_action = NextAction.RETRY


class SalesforceUnavailable(FlowRunnerError):
    """Salesforce is away or too busy; nothing was done."""

    slug, status, title = "salesforce-unavailable", 503, "Salesforce is not available right now"
    next_action = NextAction.RETRY


class StoreUnavailable(FlowRunnerError):
    """Our database is away; nothing was done."""

    slug, status, title = "store-unavailable", 503, "FlowRunner's database is not available right now"
    next_action = NextAction.RETRY


class KeysUnavailable(FlowRunnerError):
    """Our vault is away, or a tenant's key is; nothing was done."""

    slug, status, title = "keys-unavailable", 503, "FlowRunner's key vault is not available right now"
    next_action = NextAction.RETRY


class IssuerUnavailable(FlowRunnerError):
    """The identity provider's keys cannot be had, so nobody new can be proved (and nobody is refused)."""

    slug, status, title = "issuer-unavailable", 503, "The sign-in service is not available right now"
    next_action = NextAction.RETRY


class SalesforceTimedOut(FlowRunnerError):
    """Salesforce did not answer a question in time; nothing was changed."""

    slug, status, title = "salesforce-timed-out", 504, "Salesforce did not answer in time"
    next_action = NextAction.RETRY
