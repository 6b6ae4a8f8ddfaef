"""Answers in Salesforce's shapes, the six error shapes among them (salesforce-contract.md section 3.2)."""

from __future__ import annotations

import json
from types import MappingProxyType

from shared.devkit.tls import Answer

JSON = "application/json;charset=UTF-8"
HTML = "text/html;charset=UTF-8"
TEXT = "text/plain"

EXPIRED = "expired access/refresh token"
CONTENTION = "token request is already being processed"
OLD_CONTENTION = "expired authorization code"
SESSION_EXPIRED = "Session expired or invalid"
NOT_FOR_REST = "This session is not valid for use with the REST API"


class RefusedError(Exception):
    """A call that ends with an answer of its own before it is processed."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


def text_answer(status: int, body: str, content_type: str = JSON) -> Answer:
    """Return an answer with a body of text."""
    return Answer(status, body.encode(), (("Content-Type", content_type),))


def json_answer(status: int, body: object) -> Answer:
    """Return an answer with a JSON body."""
    return text_answer(status, json.dumps(body))


def oauth_error(error: str, description: str = "", status: int = 400) -> Answer:
    """Return shape 1, the OAuth object; an empty description is left out."""
    described = {"error_description": description} if description else {}
    return json_answer(status, {"error": error, **described})


def rest_error(status: int, code: str, message: str) -> Answer:
    """Return shape 2, the REST list."""
    return json_answer(status, [{"message": message, "errorCode": code, "fields": []}])


def unknown(what: str) -> RefusedError:
    """Return the refusal of something that the contract does not know: 501, and what it was."""
    return RefusedError(json_answer(501, {"error": "not_implemented", "unknown": what}))


def not_found() -> RefusedError:
    """Return the 404 of REST; here `fields` is absent and the code comes first, as it may."""
    body = [{"errorCode": "NOT_FOUND", "message": "The requested resource does not exist"}]
    return RefusedError(json_answer(404, body))


def caller_error(code: str, message: str) -> RefusedError:
    """Return the 400 of REST for input that is wrong."""
    return RefusedError(rest_error(400, code, message))


_MAINTENANCE = "<html><head><title>Maintenance</title></head><body>We are down for maintenance.</body></html>"
_FAULT = "An error occurred when executing a flow interview."


def failed_action(name: str) -> dict[str, object]:
    """Return the result of a Flow that faulted; it tells nothing (contract 3.5)."""
    return {
        "actionName": name,
        "errors": [{"statusCode": "UNKNOWN_EXCEPTION", "message": _FAULT, "fields": []}],
        "isSuccess": False,
        "outputValues": None,
    }


_FAILED_ACTION = [failed_action("Create_Case")]
_FAILED_PART = {"compositeResponse": [{"body": [{"errorCode": "NOT_FOUND"}], "httpStatusCode": 404}]}

NAMED = MappingProxyType(
    {
        # the six shapes
        "oauth-object": oauth_error("invalid_grant", EXPIRED),
        "rest-list": rest_error(400, "INVALID_FIELD", "No such column"),
        "action-result": json_answer(400, _FAILED_ACTION),
        "action-result-500": json_answer(500, _FAILED_ACTION),
        "html": text_answer(503, _MAINTENANCE, HTML),
        "plain-text": text_answer(403, "Bad_OAuth_Token"),
        "composite": json_answer(200, _FAILED_PART),
        "empty": text_answer(500, ""),
        # answers that look like a success
        "html-200": text_answer(200, _MAINTENANCE, HTML),
        "empty-200": text_answer(200, ""),
        "empty-list": json_answer(200, []),
        "no-content": Answer(204),
        # both meanings of 401 and 403
        "session-expired": rest_error(401, "INVALID_SESSION_ID", SESSION_EXPIRED),
        "not-valid-for-rest": rest_error(401, "INVALID_SESSION_ID", NOT_FOR_REST),
        "daily-limit": rest_error(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded."),
        "concurrent-limit": rest_error(403, "REQUEST_LIMIT_EXCEEDED", "ConcurrentPerOrgLongTxn Limit exceeded."),
        "no-access": rest_error(403, "INSUFFICIENT_ACCESS", "insufficient access rights on cross-reference id"),
        "api-disabled": rest_error(403, "API_DISABLED_FOR_ORG", "API is not enabled for this Organization"),
        # other rows of the contract's tables (2.7 and 3.3)
        "not-found": not_found().answer,
        "locked-row": rest_error(400, "UNABLE_TO_LOCK_ROW", "unable to obtain exclusive access to this record"),
        "too-busy": rest_error(503, "SERVER_UNAVAILABLE", "Server too busy"),
        "contention": oauth_error("invalid_grant", CONTENTION),
        "old-contention": oauth_error("invalid_grant", OLD_CONTENTION),
        "inactive-user": oauth_error("invalid_grant", "inactive user"),
        "ip-restricted": oauth_error("invalid_grant", "ip restricted"),
        "ip-restricted-by-app": oauth_error("invalid_grant", "ip restricted by app developer"),
        "authentication-failure": oauth_error("invalid_grant", "authentication failure"),
        "no-description": oauth_error("invalid_grant"),
        "invalid-client": oauth_error("invalid_client", "invalid client credentials"),
        "invalid-client-id": oauth_error("invalid_client_id", "client identifier invalid"),
        "login-rate": oauth_error("rate_limit_exceeded", "login rate exceeded"),
        "invalid-token": oauth_error("invalid_token", "the token is unknown"),
        "unsupported-token-type": oauth_error("unsupported_token_type", "this token type is not supported"),
    }
)
"""Whole answers that can be steered in by name."""
