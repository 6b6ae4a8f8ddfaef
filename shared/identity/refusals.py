"""Why a token was refused: a closed set of words for telemetry, none of which reaches the caller."""

from enum import StrEnum

import jwt

from shared.errors import FlowRunnerError


class Reason(StrEnum):
    """Which check failed; never what the token held."""

    HEADER = "header"
    JSON = "json"
    JOSE_HEADER = "jose_header"
    UNKNOWN_ISSUER = "unknown_issuer"
    UNKNOWN_KEY = "unknown_key"
    SIGNATURE = "signature"
    TIMES = "times"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    TENANT = "tenant"
    ISSUER = "issuer"
    KEY_ISSUER = "key_issuer"
    AUDIENCE = "audience"
    VERSION = "version"
    CLIENT = "client"
    SCOPE = "scope"
    APP_ONLY = "app_only"
    SUBJECT = "subject"
    EMAIL_UNVERIFIED = "email_unverified"
    DOMAIN = "domain"
    MALFORMED = "malformed"


class Refused(Exception):
    """One check failed. Never leaves `identity`."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


_LIBRARY_REASONS: tuple[tuple[type[Exception], Reason], ...] = (
    (jwt.ExpiredSignatureError, Reason.EXPIRED),
    (jwt.ImmatureSignatureError, Reason.NOT_YET_VALID),
    (jwt.InvalidSignatureError, Reason.SIGNATURE),
    (jwt.InvalidAudienceError, Reason.AUDIENCE),
)


def require(condition: object, reason: Reason) -> None:
    """Raise Refused for that reason unless the condition holds."""
    if not condition:
        raise Refused(reason)


def word_for(error: Exception) -> str:
    """The word that telemetry may say about an error: a Reason, or the slug of one of our own errors."""
    if isinstance(error, Refused):
        return error.reason
    if isinstance(error, FlowRunnerError):
        return error.slug.replace("-", "_")
    return next((reason for kind, reason in _LIBRARY_REASONS if isinstance(error, kind)), Reason.MALFORMED)
