"""What Salesforce's error words mean, as data: salesforce-contract 2.7 for OAuth, 3.3 for REST."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from shared.model.connections import Reason


class FaultKind(StrEnum):
    """What an answer means for us: a closed set."""

    SESSION_EXPIRED = "session-expired"
    """A 401: the access token is dead and nothing was done; a refresh may cure it. (userinfo says it with a 403.)"""
    RECONNECT = "reconnect"
    """The refresh token is dead: only the user can connect again."""
    UNEXPLAINED = "unexplained"
    """The refresh token is refused for a reason that we do not know, which need not be that it is dead."""
    REFRESH_CONTENTION = "refresh-contention"
    """Another refresh with the same token is under way; the token is not dead."""
    RESTART_CONNECT = "restart-connect"
    """The authorization code or its verifier cannot be used."""
    CODE_EXPIRED = "code-expired"
    """The authorization code is spent; at a refresh, contention in Salesforce's older words."""
    USER_BLOCKED = "user-blocked"
    """The user or the org cannot log in until an admin acts."""
    CONFIGURATION = "configuration"
    """Something is set up wrongly, at the org or at us; `cause` says what. Never a reason to drop a grant."""
    ORG_LIMIT = "org-limit"
    """A limit of the org or the user is reached; `retry_after` says when to come back."""
    FORBIDDEN = "forbidden"
    """The user lacks a right."""
    NOT_FOUND = "not-found"
    """Unknown, inactive, not visible to this user, or a newer API version than the org has."""
    CALLER_ERROR = "caller-error"
    """What was sent cannot be taken, and nothing was done."""
    CONTENTION = "contention"
    """Somebody else holds a lock in the org; the same may work later."""
    FLOW_ERROR = "flow-error"
    """The Flow, or automation that it set off, faulted; `message` is for the user."""
    PENDING = "pending"
    """The Flow was accepted and has not finished: it waits for something in the org."""
    UPSTREAM_DOWN = "upstream-down"
    """Salesforce is away, too busy, or shows a page to people. What was sent may have been done."""
    UNUSABLE = "unusable"
    """An answer that nobody can use or trust: no JSON, no identity, another shape than expected, a redirect."""
    ALREADY_GONE = "already-gone"
    """The token to revoke is unknown: for a revocation that is success."""


OURS = frozenset({Reason.OUR_ADDRESS, Reason.OUR_CREDENTIALS, Reason.OUR_REQUEST})
"""Causes that no customer's admin can mend."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One row: what a code means where the message, in lower case, holds this part. `retry_after` in seconds.

    `status`: the row is for answers of that status alone.
    """

    code: str
    part: str
    kind: FaultKind
    cause: Reason | None = None
    retry_after: int | None = None
    status: int | None = None


LATER_S = 3_600
SOON_S = 30
_K, _C = FaultKind, Reason

OAUTH_RULES: Sequence[Rule] = (
    Rule("invalid_grant", "expired access/refresh token", _K.RECONNECT),
    Rule("invalid_grant", "token request is already being processed", _K.REFRESH_CONTENTION),
    Rule("invalid_grant", "expired authorization code", _K.CODE_EXPIRED),
    Rule("invalid_grant", "invalid authorization code", _K.RESTART_CONNECT),
    Rule("invalid_grant", "code verifier", _K.RESTART_CONNECT),
    Rule("invalid_grant", "code_verifier", _K.RESTART_CONNECT),
    Rule("invalid_grant", "inactive user", _K.USER_BLOCKED, _C.USER_BLOCKED),
    Rule("invalid_grant", "inactive organization", _K.USER_BLOCKED, _C.USER_BLOCKED),
    Rule("invalid_grant", "user is locked", _K.USER_BLOCKED, _C.USER_BLOCKED),
    Rule("invalid_grant", "frozen", _K.USER_BLOCKED, _C.USER_BLOCKED),
    Rule("invalid_grant", "ip restricted by app developer", _K.CONFIGURATION, _C.OUR_ADDRESS),
    Rule("invalid_grant", "ip restricted", _K.CONFIGURATION, _C.IP_RESTRICTED),
    Rule("invalid_client_id", "", _K.CONFIGURATION, _C.OUR_CREDENTIALS),
    Rule("invalid_client", "", _K.CONFIGURATION, _C.OUR_CREDENTIALS),
    Rule("invalid_client_credentials", "", _K.CONFIGURATION, _C.OUR_CREDENTIALS),
    Rule("rate_limit_exceeded", "", _K.ORG_LIMIT, _C.LOGIN_LIMIT, retry_after=LATER_S),
    Rule("*", "login rate exceeded", _K.ORG_LIMIT, _C.LOGIN_LIMIT, retry_after=LATER_S),
    Rule("server_error", "", _K.UPSTREAM_DOWN, retry_after=SOON_S),
    Rule("temporarily_unavailable", "", _K.UPSTREAM_DOWN, retry_after=SOON_S),
    Rule("invalid_grant", "", _K.UNEXPLAINED, _C.UNEXPLAINED),
    Rule("invalid_request", "code verifier", _K.RESTART_CONNECT),
    Rule("invalid_request", "code_verifier", _K.RESTART_CONNECT),
    Rule("invalid_request", "", _K.CONFIGURATION, _C.OUR_REQUEST),
    Rule("unsupported_grant_type", "", _K.CONFIGURATION, _C.OUR_REQUEST),
    Rule("unsupported_token_type", "", _K.CONFIGURATION, _C.OUR_REQUEST),
    Rule("redirect_uri_mismatch", "", _K.CONFIGURATION, _C.OUR_REQUEST),
    Rule("invalid_scope", "", _K.CONFIGURATION, _C.OUR_REQUEST),
    Rule("oauth_app_blocked", "", _K.CONFIGURATION, _C.APP_BLOCKED),
    Rule("oauth_ec_app_not_found", "", _K.CONFIGURATION, _C.APP_NOT_INSTALLED),
    Rule("oauth_app_access_denied", "", _K.CONFIGURATION, _C.APP_NOT_ALLOWED),
)
"""Errors of the token endpoint and of revoke, in lower case; `*` is any. First match wins (contract 2.7, 2.2)."""

REST_RULES: Sequence[Rule] = (
    Rule("INVALID_SESSION_ID", "not valid for use with the rest api", _K.CONFIGURATION, _C.SESSION_NOT_FOR_REST),
    Rule("INVALID_SESSION_ID", "", _K.SESSION_EXPIRED, status=401),
    Rule("INVALID_SESSION_ID", "", _K.UNUSABLE),
    Rule("INVALID_AUTH_HEADER", "", _K.CONFIGURATION, _C.OUR_REQUEST),
    Rule("REQUEST_LIMIT_EXCEEDED", "concurrent", _K.ORG_LIMIT, retry_after=SOON_S),
    Rule("REQUEST_LIMIT_EXCEEDED", "", _K.ORG_LIMIT, retry_after=LATER_S),
    Rule("API_DISABLED_FOR_ORG", "", _K.CONFIGURATION, _C.API_DISABLED),
    Rule("API_CURRENTLY_DISABLED", "", _K.CONFIGURATION, _C.API_DISABLED),
    Rule("FUNCTIONALITY_NOT_ENABLED", "", _K.CONFIGURATION, _C.API_DISABLED),
    Rule("INSUFFICIENT_ACCESS", "", _K.FORBIDDEN),
    Rule("INSUFFICIENT_ACCESS_OR_READONLY", "", _K.FORBIDDEN),
    Rule("NOT_FOUND", "", _K.NOT_FOUND),
    Rule("MALFORMED_ID", "", _K.CALLER_ERROR),
    Rule("INVALID_FIELD", "", _K.CALLER_ERROR),
    Rule("JSON_PARSER_ERROR", "", _K.CALLER_ERROR),
    Rule("MALFORMED_QUERY", "", _K.CALLER_ERROR),
    Rule("INVALID_TYPE", "", _K.CALLER_ERROR),
    Rule("REQUIRED_FIELD_MISSING", "", _K.CALLER_ERROR),
    Rule("UNABLE_TO_LOCK_ROW", "", _K.CONTENTION),
    Rule("CANNOT_EXECUTE_FLOW_TRIGGER", "", _K.FLOW_ERROR),
    Rule("FIELD_CUSTOM_VALIDATION_EXCEPTION", "", _K.FLOW_ERROR),
    Rule("SERVER_UNAVAILABLE", "", _K.UPSTREAM_DOWN),
)
"""Codes of REST below status 500. First match wins (contract 3.3)."""

STATUS_KINDS: Mapping[int, FaultKind] = MappingProxyType(
    {
        300: _K.CALLER_ERROR,
        401: _K.SESSION_EXPIRED,
        403: _K.FORBIDDEN,
        404: _K.NOT_FOUND,
        414: _K.CALLER_ERROR,
        431: _K.CALLER_ERROR,
    }
)
"""What a status of REST says where no code does (contract 3.3)."""
