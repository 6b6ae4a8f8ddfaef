"""HTTP/1.1 messages on a stream (RFC 9112): strict in what is read, and nothing added to what is written."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from io import BufferedIOBase
from typing import Final

HEADERS_MAX: Final = 64 * 1024
"""Bytes of all header lines together, and of the request line."""

BODY_MAX: Final = 100 * 1024 * 1024
"""Bytes of a body: the platform's own limit."""

BARE_500: Final = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb") (?:(?i:https?)://[^/?#\s]+)?(/[\x21-\x7e]*) HTTP/1\.([01])\r\n")
_HEADER_LINE = re.compile(rb"(" + _TOKEN + rb"):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*?)[ \t]*\r\n")
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\r\n]*)?\r\n")
_LENGTH = re.compile(r"[0-9]{1,10}")
_LINE_END = re.compile(r"[\r\n\0]")
_FRAMING = frozenset({"content-length", "transfer-encoding", "connection", "keep-alive"})
_CHUNK_LINE_MAX = 4096
_NO_BODY = frozenset({204, 304})
_FINAL = range(200, 1000)
_PHRASES = {status.value: status.phrase for status in HTTPStatus}


class Unreadable(Exception):
    """What arrived is no HTTP message that this host takes; the connection is closed without an answer."""


@dataclass(frozen=True, slots=True)
class Head:
    """A request without its body: names in lower case, values of a repeated header joined by a comma."""

    method: str
    target: str
    headers: Mapping[str, str]
    keep_alive: bool

    @property
    def expects_continue(self) -> bool:
        """Whether the client waits for a word before it sends the body."""
        return self.headers.get("expect", "").lower() == "100-continue"


@dataclass(frozen=True, slots=True)
class Response:
    """What the app answers: header names and values in order, as the app gave them."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


def read_head(stream: BufferedIOBase) -> Head | None:
    """The next request's head, or None when the client ended before one began. Raises Unreadable."""
    line = stream.readline(HEADERS_MAX + 1)
    if line == b"\r\n":
        line = stream.readline(HEADERS_MAX + 1)
    if not line:
        return None
    found = _REQUEST_LINE.fullmatch(line)
    if found is None:
        raise Unreadable
    method, target, version = found.groups()
    headers = _headers(stream)
    if version == b"1" and "host" not in headers:
        raise Unreadable
    closing = version == b"0" or "close" in re.split(r"[ ,]+", headers.get("connection", "").lower())
    return Head(method.decode().upper(), target.decode(), headers, not closing)


def read_body(stream: BufferedIOBase, head: Head) -> bytes:
    """The body that belongs to a head, chunks put together. Raises Unreadable."""
    coding, length = head.headers.get("transfer-encoding"), head.headers.get("content-length", "0")
    if coding is not None:
        if coding.lower() != "chunked" or "content-length" in head.headers:
            raise Unreadable
        return b"".join(_chunks(stream))
    if not _LENGTH.fullmatch(length) or int(length) > BODY_MAX:
        raise Unreadable
    return _exactly(stream, int(length))


def encode(response: Response, method: str) -> bytes:
    """The bytes of an answer. Raises ValueError for a status or a header that cannot be sent."""
    body = b"" if response.status in _NO_BODY else response.body
    lines = [f"HTTP/1.1 {_status(response.status)}"]
    lines += [_field(name, value) for name, value in response.headers if name.lower() not in _FRAMING]
    if response.status not in _NO_BODY:
        lines.append(f"Content-Length: {len(body)}")
    head = "\r\n".join([*lines, "", ""]).encode("ascii")
    return head if method == "HEAD" else head + body


def _headers(stream: BufferedIOBase) -> dict[str, str]:
    headers: dict[str, str] = {}
    left = HEADERS_MAX
    while (line := stream.readline(left + 3)) != b"\r\n":
        left -= len(line)
        found = _HEADER_LINE.fullmatch(line)
        if found is None or left < 0:
            raise Unreadable
        name, value = found[1].decode().lower(), found[2].decode("latin-1")
        if name not in headers:
            headers[name] = value
        elif name == "host":
            raise Unreadable
        else:
            headers[name] += "," + value
    return headers


def _chunks(stream: BufferedIOBase) -> Iterator[bytes]:
    total = 0
    while True:
        found = _CHUNK_LINE.fullmatch(stream.readline(_CHUNK_LINE_MAX))
        if found is None:
            raise Unreadable
        size = int(found[1], 16)
        total += size
        if total > BODY_MAX:
            raise Unreadable
        if not size:
            _headers(stream)  # trailers: read and dropped
            return
        yield _exactly(stream, size)
        if stream.read(2) != b"\r\n":
            raise Unreadable


def _exactly(stream: BufferedIOBase, size: int) -> bytes:
    body = stream.read(size) if size else b""
    if len(body) != size:
        raise Unreadable
    return body


def _status(status: int) -> str:
    if status not in _FINAL:
        raise ValueError("The status is none of an answer.")
    return f"{status} {_PHRASES.get(status, '')}"


def _field(name: str, value: str) -> str:
    field = f"{name}: {value}"
    if _LINE_END.search(field):
        raise ValueError("A header holds a line end.")
    return field
