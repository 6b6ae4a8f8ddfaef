"""Salesforce's errors in our words: one pure function, and one table from its verdicts to our errors.

Salesforce has six shapes of error, gives one code opposite meanings, and answers 200 where something failed
(salesforce-contract 3.2). Status, code and message are read together, here and nowhere else.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from shared.errors import (
    AttemptSpent,
    FieldError,
    FlowForbidden,
    FlowNotFound,
    FlowRunnerError,
    InputRefused,
    NextAction,
    OrgLimit,
    OrgSetup,
    ReconnectNeeded,
    SalesforceUnavailable,
    SalesforceUnusable,
    SessionExpired,
)
from shared.model.connections import Reason
from shared.salesforce.fault_tables import (
    LATER_S,
    OAUTH_RULES,
    OURS,
    REST_RULES,
    SOON_S,
    STATUS_KINDS,
    FaultKind,
    Rule,
)
from shared.salesforce.replies import Reply, read_json

__all__ = ["Fault", "FaultKind", "classify", "error_of", "fault_of"]


@dataclass(frozen=True, slots=True)
class Fault:
    """An answer that is not what was asked for. `code` is Salesforce's own, `retry_after` is in seconds.

    `message` is Salesforce's text, for errors of a Flow alone and for the user's eyes alone: it may quote records.
    """

    kind: FaultKind
    code: str = ""
    cause: Reason | None = None
    retry_after: int | None = None
    message: str = field(default="", repr=False)


_UNUSABLE = Fault(FaultKind.UNUSABLE)
_OAUTH = re.compile(r"/services/oauth2/(\w+)", re.ASCII)
_ONE_FLOW = re.compile(r"(?:^|/)actions/custom/flow/[^/?#]", re.ASCII)
_CODE = re.compile(r"[A-Z][A-Z0-9_]{0,79}|[a-z][a-z0-9_]{0,79}", re.ASCII)
_TOKEN_WORD = re.compile(r"(Bad|Wrong|Missing)_\w{1,40}", re.ASCII)
_SECONDS = re.compile(r"[0-9]{1,4}", re.ASCII)
_MESSAGE_MAX = 1_000
_FOR_THE_USER = frozenset({FaultKind.FLOW_ERROR, FaultKind.CONTENTION})
_GOOD, _REFUSED, _DOWN, _TOO_MANY = range(200, 300), range(400, 500), 500, frozenset({420, 429})
_OK, _BAD_REQUEST, _UNAUTHORIZED, _EMPTY = 200, 400, 401, frozenset({204, 304})


def fault_of(reply: Reply) -> Fault | None:
    """What is wrong with an answer that has come whole."""
    return classify(reply.status, reply.headers, reply.body, reply.path)


def classify(status: int, headers: Mapping[str, str], body: str, path: str) -> Fault | None:
    """What is wrong with an answer of Salesforce; None when it can be used. Never raises, whatever the bytes.

    `path` is what was asked for: it tells OAuth from REST, and a Flow's own address from others.
    """
    if status in _EMPTY:
        return None
    try:
        value = read_json(body)
    except ValueError:
        return _of_text(status, headers, body.strip("\ufeff \t\r\n"), path)
    parts = _object(value).get("compositeResponse")
    if isinstance(parts, list) and status in _GOOD and not _endpoint(path):
        return _first(_of_part(part, headers) for part in parts)
    return _of_json(status, headers, value, path)


def _of_text(status: int, headers: Mapping[str, str], text: str, path: str) -> Fault | None:
    """No JSON: nothing at all, a word, or a page for people, whatever the content type says."""
    endpoint = _endpoint(path)
    if status == _OK and not text and endpoint == "revoke":
        return None
    if text.startswith("<"):
        return _down(headers)
    word = _TOKEN_WORD.fullmatch(text)
    if word:
        return _of_word(status, headers, word[1], endpoint)
    return _of_status(status, headers, {} if endpoint else STATUS_KINDS)


def _of_word(status: int, headers: Mapping[str, str], word: str, endpoint: str) -> Fault:
    """What userinfo says of a session. Elsewhere a 401 alone is believed about one (contract 3.6)."""
    if endpoint == "userinfo" and status in _REFUSED:
        return Fault(FaultKind.CALLER_ERROR if word == "Missing" else FaultKind.SESSION_EXPIRED)
    return _of_status(status, headers, STATUS_KINDS if status == _UNAUTHORIZED and not endpoint else {})


def _of_part(part: object, headers: Mapping[str, str]) -> Fault | None:
    """One part of a composite: its own status and body; a composite inside it is not looked into."""
    status = _object(part).get("httpStatusCode")
    if not isinstance(status, int):
        return _UNUSABLE
    return None if status in _EMPTY else _of_json(status, headers, _object(part).get("body"), "")


def _of_json(status: int, headers: Mapping[str, str], value: object, path: str) -> Fault | None:
    endpoint = _endpoint(path)
    if endpoint or (status not in _GOOD and isinstance(_object(value).get("error"), str)):
        return _of_oauth(status, headers, _object(value), endpoint)
    entries = [_object(entry) for entry in (value if isinstance(value, list) else [value])]
    results = [entry for entry in entries if "isSuccess" in entry]
    if results:
        return _first(_of_result(status, headers, result) for result in results)
    if status not in _GOOD:
        return _of_rest(status, headers, entries, path)
    # Describe gives an object and a run has results; an empty list at this address is neither.
    return _UNUSABLE if _ONE_FLOW.search(path) and not isinstance(value, dict) else None


def _of_oauth(status: int, headers: Mapping[str, str], answer: Mapping[str, object], endpoint: str) -> Fault | None:
    error = answer.get("error")
    if status >= _DOWN or not isinstance(error, str):
        if status not in _GOOD:
            return _of_status(status, headers, {})
        proved = all(isinstance(answer.get(name), str) for name in ("id", "access_token"))
        return _UNUSABLE if endpoint == "token" and not proved else None
    if endpoint == "revoke" and error == "invalid_token":
        return Fault(FaultKind.ALREADY_GONE, error)
    rule = _rule(OAUTH_RULES, error.lower(), answer.get("error_description"), status)
    fault = _ruled(rule, error) if rule else Fault(FaultKind.UNUSABLE, _code(error))
    return _unless_too_many(status, headers, fault)


def _unless_too_many(status: int, headers: Mapping[str, str], fault: Fault) -> Fault:
    """The fault, but of an answer to too many calls a limit alone is believed: no token is dead for that."""
    return _down(headers) if status in _TOO_MANY and fault.kind is not FaultKind.ORG_LIMIT else fault


def _of_result(status: int, headers: Mapping[str, str], result: Mapping[str, object]) -> Fault | None:
    """One action result (contract 3.5). Outputs may hold names like the envelope's; only the envelope is read."""
    if result["isSuccess"] is False:
        return _flow_error(result.get("errors"))
    if result["isSuccess"] is not True or status not in _GOOD:
        return _of_status(status, headers, {})
    interview = _object(result.get("outputValues")).get("Flow__InterviewStatus")
    if interview is None or interview == "Finished":
        return None
    return Fault(FaultKind.FLOW_ERROR if interview == "Error" else FaultKind.PENDING)


def _flow_error(errors: object) -> Fault:
    told = errors if isinstance(errors, list) else [errors]
    first = next((error for error in told if isinstance(error, dict)), {})
    return Fault(FaultKind.FLOW_ERROR, _code(first.get("statusCode")), message=_shown(first.get("message")))


def _of_rest(status: int, headers: Mapping[str, str], entries: Iterable[Mapping[str, object]], path: str) -> Fault:
    if status >= _DOWN:
        return _down(headers)
    errors = [entry for entry in entries if isinstance(entry.get("errorCode"), str)]
    for error in errors:
        rule = _rule(REST_RULES, error["errorCode"], error.get("message"), status)
        if rule:
            return _ruled(rule, error["errorCode"], error.get("message"))
    if errors and status == _BAD_REQUEST:
        # The set of codes is open: at a Flow's address an unknown one comes from automation inside the org.
        code, message = errors[0]["errorCode"], errors[0].get("message")
        kind = FaultKind.FLOW_ERROR if _ONE_FLOW.search(path) else FaultKind.CALLER_ERROR
        return _ruled(Rule("", "", kind), code, message)
    return _of_status(status, headers, STATUS_KINDS, errors[0]["errorCode"] if errors else "")


def _of_status(status: int, headers: Mapping[str, str], kinds: Mapping[int, FaultKind], code: object = "") -> Fault:
    if status >= _DOWN or status in _TOO_MANY:
        return _down(headers)
    return Fault(kinds.get(status, FaultKind.UNUSABLE), _code(code))


def _down(headers: Mapping[str, str]) -> Fault:
    told = next((value for name, value in headers.items() if name.lower() == "retry-after"), "")
    seconds = min(int(told), LATER_S) if _SECONDS.fullmatch(told) else SOON_S
    return Fault(FaultKind.UPSTREAM_DOWN, retry_after=seconds)


def _endpoint(path: str) -> str:
    """The OAuth endpoint of an address, or nothing."""
    found = _OAUTH.search(path)
    return found[1] if found else ""


def _object(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _first(faults: Iterable[Fault | None]) -> Fault | None:
    return next(filter(None, faults), None)


def _rule(rules: Iterable[Rule], code: object, message: object, status: int) -> Rule | None:
    text = message.lower() if isinstance(message, str) else ""
    here = (rule for rule in rules if rule.code in (code, "*") and rule.status in (None, status))
    return next((rule for rule in here if rule.part in text), None)


def _ruled(rule: Rule, code: object, message: object = "") -> Fault:
    shown = _shown(message) if rule.kind in _FOR_THE_USER else ""
    return Fault(rule.kind, _code(code), rule.cause, rule.retry_after, shown)


def _code(text: object) -> str:
    return text if isinstance(text, str) and _CODE.fullmatch(text) else ""


def _shown(text: object) -> str:
    """A message as a user may see it: short, and without what no screen can print."""
    return "".join(c if c.isprintable() else " " for c in text[:_MESSAGE_MAX]) if isinstance(text, str) else ""


def error_of(fault: Fault) -> FlowRunnerError | SessionExpired:
    """The error to raise for a fault, in our own words alone."""
    return _ERRORS[fault.kind](fault)


def _misconfigured(fault: Fault) -> FlowRunnerError:
    members = {"cause": fault.cause} if fault.cause else {}
    if fault.cause in OURS:
        why = "Only the operators of FlowRunner can mend this."
        return SalesforceUnusable(why, members=members, next_action=NextAction.NONE)
    return OrgSetup("An admin of the Salesforce org has to change this.", members=members)


def _away(fault: Fault) -> FlowRunnerError:
    return SalesforceUnavailable(retry_after=fault.retry_after or SOON_S)


def _unusable(_: Fault) -> FlowRunnerError:
    return SalesforceUnusable()


_ERRORS: Mapping[FaultKind, Callable[[Fault], FlowRunnerError | SessionExpired]] = MappingProxyType(
    {
        FaultKind.SESSION_EXPIRED: lambda _: SessionExpired(),
        FaultKind.RECONNECT: lambda _: ReconnectNeeded("Connect Salesforce again."),
        FaultKind.UNEXPLAINED: lambda _: AttemptSpent(),
        FaultKind.REFRESH_CONTENTION: lambda _: SalesforceUnavailable(retry_after=2),
        FaultKind.RESTART_CONNECT: lambda _: AttemptSpent(),
        FaultKind.CODE_EXPIRED: lambda _: AttemptSpent(),
        FaultKind.USER_BLOCKED: _misconfigured,
        FaultKind.CONFIGURATION: _misconfigured,
        FaultKind.ORG_LIMIT: lambda fault: OrgLimit(retry_after=fault.retry_after),
        FaultKind.FORBIDDEN: lambda _: FlowForbidden(),
        FaultKind.NOT_FOUND: lambda _: FlowNotFound(),
        FaultKind.CALLER_ERROR: lambda _: InputRefused(errors=[FieldError("/inputs", "is refused by Salesforce")]),
        FaultKind.CONTENTION: _away,
        FaultKind.FLOW_ERROR: _unusable,
        FaultKind.PENDING: _unusable,
        FaultKind.UPSTREAM_DOWN: _away,
        FaultKind.UNUSABLE: _unusable,
        FaultKind.ALREADY_GONE: lambda _: ReconnectNeeded("Connect Salesforce again."),
    }
)
