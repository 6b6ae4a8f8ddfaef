"""What a call may contain. Anything else is refused with 501 and its name: that is what makes this a test."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from urllib.parse import parse_qsl

from shared.devkit.salesforce.answers import caller_error, unknown
from shared.devkit.tls import Request

_STANDARD = frozenset(
    {
        "accept", "accept-charset", "accept-encoding", "accept-language", "authorization", "cache-control",
        "connection", "content-length", "content-type", "cookie", "date", "dnt", "expect", "from", "host",
        "if-match", "if-modified-since", "if-none-match", "if-unmodified-since", "keep-alive", "origin",
        "pragma", "priority", "range", "referer", "te", "upgrade", "upgrade-insecure-requests", "user-agent",
    }
)  # fmt: skip
_BROWSER = "sec-"
_VENDOR = {"x-prettyprint": "1", "sforce-call-options": "client=FlowRunner"}
_FORM = "application/x-www-form-urlencoded"


def check_headers(request: Request) -> None:
    """Refuse a header that is neither HTTP's own nor one of the two vendor headers we send, with their values."""
    for name, value in request.headers:
        key = name.lower()
        if key not in _STANDARD and not key.startswith(_BROWSER) and _VENDOR.get(key) != value:
            raise unknown(f"header {name}" + (f" with the value {value}" if key in _VENDOR else ""))


def check_body(request: Request) -> None:
    """Refuse a body on a method that has none."""
    if request.method == "GET" and request.body:
        raise unknown("body of a GET")


def query_of(request: Request, known: Iterable[str]) -> dict[str, str]:
    """Return the query's parameters, each at most once and known."""
    return _parameters(request.query, known, "query parameter")


def form_of(request: Request, known: Iterable[str]) -> dict[str, str]:
    """Return a form's fields, each at most once and known; parameters in the query are refused."""
    query_of(request, ())
    content_type = request.header("Content-Type") or ""
    if content_type.partition(";")[0].strip().lower() != _FORM:
        raise unknown(f"content type {content_type}")
    return _parameters(request.body.decode("ascii", "replace"), known, "form field")


def _parameters(text: str, known: Iterable[str], kind: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text), errors="strict")
    except ValueError:
        raise unknown(f"{kind}s that do not decode") from None
    names = [name for name, _ in pairs]
    for name in names:
        if name not in set(known):
            raise unknown(f"{kind} {name}")
        if names.count(name) > 1:
            raise unknown(f"{kind} {name} more than once")
    return dict(pairs)


def json_of(request: Request) -> object:
    """Return a JSON body; duplicate names, NaN and broken UTF-8 are refused with 400 as a parser error."""
    if not re.fullmatch(r"application/json(?:; ?charset=utf-8)?", (request.header("Content-Type") or "").lower()):
        raise unknown(f"content type {request.header('Content-Type')}")
    try:
        return json.loads(request.body, object_pairs_hook=_single, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise caller_error("JSON_PARSER_ERROR", "Unexpected character in the request") from None


def _single(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("duplicate name")
    return dict(pairs)


def _no_constant(text: str) -> object:
    raise ValueError(text)
