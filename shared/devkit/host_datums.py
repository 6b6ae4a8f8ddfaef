"""HTTP to and from the engine's own intermediate type, the Datum (azure-facts.md section 1)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from http.cookies import SimpleCookie
from typing import Protocol, cast
from urllib.parse import parse_qsl

from azure_functions_runtime.bindings.datumdef import Datum

from shared.devkit.host_messages import Head, Response
from shared.devkit.routing import Match

_TEXT = (("Content-Type", "text/plain; charset=utf-8"),)


class Value(Protocol):
    """A Datum as the engine hands it back."""

    type: str
    value: object


def http_datum(match: Match, head: Head, body: bytes) -> Datum:
    """A request as the platform hands it to the engine: every part decoded, the body as it came."""
    _, _, query = head.target.partition("?")
    value = {
        "method": Datum(head.method, "string"),
        "url": Datum(f"http://{head.headers.get('host', '')}{head.target}", "string"),
        "headers": _strings(head.headers),
        "params": _strings(match.params),
        "query": _strings(_query(query)),
        "body": Datum(body, "bytes"),
    }
    return Datum(value, "http")


def _strings(values: Mapping[str, str]) -> dict[str, object]:
    return {name: Datum(value, "string") for name, value in values.items()}


def _query(text: str) -> dict[str, str]:
    """The query as the platform hands it over: values of one name joined by a comma, empty ones left out."""
    values: dict[str, str] = {}
    spelled: dict[str, str] = {}
    for given, value in parse_qsl(text) if text else ():
        name = spelled.setdefault(given.lower(), given)
        values[name] = f"{values[name]},{value}" if name in values else value
    return values


def response_of(returned: Value) -> Response:
    """What a function returned: an HTTP answer, or text, which the platform sends as 200."""
    if returned.type != "http":
        return Response(200, _TEXT, str(returned.value).encode())
    parts = cast(Mapping[str, Value], returned.value)
    headers = cast(Mapping[str, Value], parts["headers"])
    cookies = cast(Iterable[SimpleCookie] | None, parts["cookies"]) or ()
    return Response(
        int(str(parts["status_code"].value)),
        (
            *((name, str(datum.value)) for name, datum in headers.items()),
            *(("Set-Cookie", morsel.OutputString()) for cookie in cookies for morsel in cookie.values()),
        ),
        cast(bytes, parts["body"].value),
    )
