"""What a request may hold: one bearer token, a strict JSON body, an Idempotency-Key, each of limited size."""

import json
import math
import re
from typing import TypeVar
from urllib.parse import parse_qsl, urlsplit

import azure.functions as func
from pydantic import ValidationError

from shared.errors import (
    AttemptSpent,
    BodyTooLarge,
    FieldError,
    HeadersTooLarge,
    IdempotencyKeyNeeded,
    InputRefused,
    MalformedRequest,
    NotJson,
)
from shared.model.body import Body
from shared.model.identity import BearerToken
from shared.model.runs import IDEMPOTENCY_KEY

ERRORS_MAX = 50
"""Refused places that are named; a body can hold twenty thousand."""

BODY_MAX = 256 * 1024
HEADERS_MAX = 24 * 1024
"""Below the platform's own 32 KB, so that it is our problem that a client reads."""

CALLBACK_VALUE_MAX = 4_096
_MEDIA_TYPE = re.compile(r'application/json([ \t]*;[ \t]*charset=("utf-8"|utf-8))?', re.IGNORECASE | re.ASCII)
_HALF_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_HALF = re.compile("[\ud800-\udfff]")
_SHOWN = re.compile(r"\w{1,80}", re.ASCII)

Asked = TypeVar("Asked", bound=Body)


class _Twice:
    """Stands where an object held a name twice, so that the place can be pointed at."""

    def __init__(self, name: str) -> None:
        self.name = name


def refuse_oversized(req: func.HttpRequest) -> None:
    """Raise HeadersTooLarge above 24 KB of headers, BodyTooLarge above 256 KB of body."""
    if sum(len(f"{name}: {value}\r\n".encode(errors="replace")) for name, value in req.headers.items()) > HEADERS_MAX:
        raise HeadersTooLarge
    if len(req.get_body()) > BODY_MAX:
        raise BodyTooLarge


def bearer(req: func.HttpRequest) -> BearerToken:
    """The Authorization header as it came. Tokens in query, cookie or body are not looked at."""
    return BearerToken(req.headers.get("Authorization", ""))


def signed(req: func.HttpRequest) -> bool:
    """Whether the request carries an Authorization header at all."""
    return "Authorization" in req.headers


def idempotency_key(req: func.HttpRequest) -> str:
    """The run's key. Raises IdempotencyKeyNeeded for none or one of another form."""
    key = str(req.headers.get("Idempotency-Key", ""))
    if not re.fullmatch(IDEMPOTENCY_KEY, key, re.ASCII):
        raise IdempotencyKeyNeeded("Send 16 to 64 letters, digits, - or _, new for each run.")
    return key


def read(req: func.HttpRequest, model: type[Asked]) -> Asked:
    """The body as that model. Raises NotJson, MalformedRequest, InputRefused with a pointer for each place up to 50."""
    if not _MEDIA_TYPE.fullmatch(req.headers.get("Content-Type", "").strip()):
        raise NotJson
    raw = req.get_body()
    _check_json(raw)
    try:
        return model.model_validate_json(raw)
    except ValidationError as wrong:
        found = wrong.errors(include_url=False, include_context=False, include_input=False)[:ERRORS_MAX]
        if any(e["type"] == "json_invalid" for e in found):
            raise MalformedRequest("The body is not JSON (RFC 8259).") from None
        raise InputRefused(errors=[FieldError(_pointer(e["loc"]), _why(e["type"], e["msg"])) for e in found]) from None


def code_and_state(req: func.HttpRequest) -> tuple[str, str, str | None]:
    """State, code and issuer of Salesforce's redirect; the code is empty when it brings an error instead.

    Raises AttemptSpent for anything else. Each parameter stands once, is of limited length, and unknown ones are
    ignored (identity-contract 5.2, step 3).
    """
    try:
        query = urlsplit(req.url).query
        pairs = parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=20)
    except ValueError:
        raise AttemptSpent from None
    wanted = [(name, value) for name, value in pairs if name in {"state", "code", "iss", "error"}]
    given = dict(wanted)
    whole = len(given) == len(wanted) and all(len(value) <= CALLBACK_VALUE_MAX for _, value in wanted)
    one_of_both = bool(given.get("code")) != bool(given.get("error"))
    if not whole or _HALF_ESCAPE.search(query) or not given.get("state") or not one_of_both:
        raise AttemptSpent
    return given["state"], given.get("code", ""), given.get("iss")


def _check_json(raw: bytes) -> None:
    """Refuse what JSON parsers read differently: a name twice, a byte order mark, NaN, broken UTF-8."""
    try:
        document = _DECODER.decode(raw.decode("utf-8", errors="strict"))
        _refuse_unclear(document, ())
    except (ValueError, RecursionError):
        raise MalformedRequest("The body is not JSON (RFC 8259).") from None


def _refuse_unclear(value: object, place: tuple[str | int, ...]) -> None:
    match value:
        case _Twice(name=name):
            where = FieldError(_pointer((*place, name)), "stands twice")
            raise MalformedRequest("The body names something twice.", errors=[where])
        case str() if _HALF.search(value):
            where = FieldError(_pointer(place), "ends or begins in the middle of a character")
            raise MalformedRequest("The body holds half a character (a lone surrogate).", errors=[where])
        case dict():
            for name, member in value.items():
                _refuse_unclear(member, (*place, name))
        case list():
            for index, member in enumerate(value):
                _refuse_unclear(member, (*place, index))


def _members(pairs: list[tuple[str, object]]) -> object:
    members: dict[str, object] = {}
    for name, value in pairs:
        if name in members:
            return _Twice(name)
        members[name] = value
    return members


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("out of range")
    return number


def _no_constant(_: str) -> float:
    raise ValueError("no JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_members, parse_float=_finite, parse_constant=_no_constant)


def _pointer(place: tuple[str | int, ...]) -> str:
    """The JSON pointer of a place, as far as its names are plain: a caller's own text is not repeated."""
    shown = ""
    for part in place:
        if not _SHOWN.fullmatch(str(part)):
            break
        shown += f"/{part}"
    return shown


def _why(kind: str, message: str) -> str:
    return {"extra_forbidden": "is not a member of this request", "missing": "is required"}.get(kind, message)
