"""HTTP messages, without a socket: what is read, what is refused, what is written."""

from contextlib import suppress
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.devkit.host_messages import (
    BODY_MAX,
    HEADERS_MAX,
    Head,
    Response,
    Unreadable,
    encode,
    read_body,
    read_head,
)

LINE = b"GET / HTTP/1.1\r\n"
HOST = b"Host: app.test\r\n"
POST = b"POST / HTTP/1.1\r\n" + HOST


def parsed(message: bytes) -> tuple[Head, bytes]:
    stream = BytesIO(message)
    head = read_head(stream)
    assert head is not None
    return head, read_body(stream, head)


@pytest.mark.parametrize(
    "message",
    [
        b"GET\r\n\r\n",
        b"GET  / HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET / HTTP/2.0\r\n" + HOST + b"\r\n",
        b"GET / http/1.1\r\n" + HOST + b"\r\n",
        b"GET / HTTP/1.1\n" + HOST + b"\r\n",
        b"GET v1/me HTTP/1.1\r\n" + HOST + b"\r\n",
        b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n",
        b"CONNECT app.test:443 HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET /\xc3\xa4 HTTP/1.1\r\n" + HOST + b"\r\n",
        b"G{T / HTTP/1.1\r\n" + HOST + b"\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        LINE + b"\r\n",
        LINE + HOST + HOST + b"\r\n",
        LINE + HOST + b"No colon\r\n\r\n",
        LINE + HOST + b"Space before : x\r\n\r\n",
        LINE + HOST + b": nameless\r\n\r\n",
        LINE + HOST + b"X: a\r\n folded\r\n\r\n",
        LINE + HOST + b"X: a\x00b\r\n\r\n",
        LINE + HOST + b"X: a\rb\r\n\r\n",
        LINE + HOST + b"X: a\n\r\n",
        LINE + HOST,
        LINE + HOST + b"X: cut",
    ],
)
def test_a_malformed_head_is_refused(message: bytes) -> None:
    with pytest.raises(Unreadable):
        read_head(BytesIO(message))


@pytest.mark.parametrize(
    "rest",
    [
        b"Content-Length: 5\r\n\r\nfour",
        b"Content-Length: -1\r\n\r\n",
        b"Content-Length: +1\r\n\r\nx",
        b"Content-Length: 0x1\r\n\r\nx",
        b"Content-Length: \r\n\r\n",
        b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: identity\r\n\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\nx\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n3\r\nab",
        b"Transfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n1;" + b"e" * 5000 + b"\r\na\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n",
    ],
)
def test_a_malformed_body_is_refused(rest: bytes) -> None:
    with pytest.raises(Unreadable):
        parsed(POST + rest)


def test_two_lengths_are_refused_even_when_they_agree() -> None:
    with pytest.raises(Unreadable):
        parsed(POST + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\nx")


class Measured(BytesIO):
    """A stream that remembers the most that it was asked for at once."""

    largest = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.largest = max(self.largest, size or 0)
        return super().read(size)


@pytest.mark.parametrize(
    "rest",
    [
        f"Content-Length: {BODY_MAX + 1}\r\n\r\n",
        f"Transfer-Encoding: chunked\r\n\r\n{BODY_MAX + 1:x}\r\n",
        f"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n{BODY_MAX:x}\r\n",
    ],
)
def test_a_body_above_the_limit_is_refused_before_it_is_read(rest: str) -> None:
    stream = Measured(POST + rest.encode())
    head = read_head(stream)
    assert head is not None
    with pytest.raises(Unreadable):
        read_body(stream, head)
    assert stream.largest < 10


@pytest.mark.parametrize(("extra", "taken"), [(0, True), (1, False)])
def test_headers_are_taken_up_to_64_kb_together(extra: int, taken: bool) -> None:  # noqa: FBT001 - a parameter
    half = (HEADERS_MAX - len(HOST)) // 2
    wide = b"A: " + b"a" * (half - 5) + b"\r\n"
    rest = HEADERS_MAX - len(HOST) - len(wide) + extra
    message = LINE + HOST + wide + b"B: " + b"b" * (rest - 5) + b"\r\n\r\n"
    if taken:
        head = read_head(BytesIO(message))
        assert head is not None
        assert len(head.headers["b"]) == rest - 5
    else:
        with pytest.raises(Unreadable):
            read_head(BytesIO(message))


def test_a_request_line_above_64_kb_is_refused() -> None:
    with pytest.raises(Unreadable):
        read_head(BytesIO(b"GET /" + b"a" * HEADERS_MAX + b" HTTP/1.1\r\n" + HOST + b"\r\n"))


def test_a_chunked_body_is_put_together_and_its_trailers_are_dropped() -> None:
    chunks = b"3\r\nabc\r\n0A;name=value\r\n0123456789\r\n0\r\nX-Trailer: t\r\n\r\n"
    head, body = parsed(POST + b"Transfer-Encoding: Chunked\r\n\r\n" + chunks)
    assert body == b"abc0123456789"
    assert "x-trailer" not in head.headers


def test_the_next_message_begins_where_the_last_one_ended() -> None:
    stream = BytesIO(POST + b"Content-Length: 3\r\n\r\nabc\r\n" + POST.replace(b"POST /", b"PUT /second") + b"\r\n")
    first = read_head(stream)
    assert first is not None
    assert read_body(stream, first) == b"abc"
    second = read_head(stream)
    assert second is not None
    assert (second.method, second.target) == ("PUT", "/second")
    assert read_body(stream, second) == b""
    assert read_head(stream) is None


def test_a_repeated_header_is_joined_by_a_comma() -> None:
    head, _ = parsed(LINE + HOST + b"X-A: 1\r\nx-a:2\r\nX-B:\t\r\n\r\n")
    assert head.headers == {"host": "app.test", "x-a": "1,2", "x-b": ""}


def test_an_absolute_address_is_reduced_to_its_path() -> None:
    head, _ = parsed(b"get http://other.test/v1/me?a=b HTTP/1.1\r\n" + HOST + b"\r\n")
    assert (head.method, head.target) == ("GET", "/v1/me?a=b")


@pytest.mark.parametrize(
    ("message", "kept"),
    [
        (LINE + HOST, True),
        (LINE + HOST + b"Connection: keep-alive\r\n", True),
        (LINE + HOST + b"Connection: Close\r\n", False),
        (LINE + HOST + b"Connection: te, close\r\n", False),
        (b"GET / HTTP/1.0\r\n", False),
    ],
)
def test_a_connection_is_kept_unless_the_client_says_otherwise(message: bytes, kept: bool) -> None:  # noqa: FBT001
    head, _ = parsed(message + b"\r\n")
    assert head.keep_alive is kept


@given(st.binary(max_size=200) | st.binary(max_size=100).map(lambda rest: POST + rest))
def test_no_bytes_raise_anything_but_unreadable(message: bytes) -> None:
    stream = BytesIO(message)
    with suppress(Unreadable):
        head = read_head(stream)
        assert head is None or isinstance(read_body(stream, head), bytes)


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=5))
def test_any_chunking_of_a_body_reads_the_same(parts: list[bytes]) -> None:
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)
    _, body = parsed(POST + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n")
    assert body == b"".join(parts)


def test_an_answer_has_the_apps_headers_and_a_length() -> None:
    response = Response(201, (("X-Own", "1"), ("Set-Cookie", "a=b"), ("Set-Cookie", "c=d")), b"body")
    lines = b"HTTP/1.1 201 Created\r\nX-Own: 1\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d\r\nContent-Length: 4\r\n\r\n"
    assert encode(response, "GET") == lines + b"body"
    assert encode(response, "HEAD") == lines


def test_framing_is_the_hosts_alone() -> None:
    given_by_app = (("Content-Length", "99"), ("transfer-encoding", "chunked"), ("Connection", "close"))
    assert encode(Response(200, given_by_app, b"x"), "GET") == b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"


@pytest.mark.parametrize(("status", "line"), [(204, b"204 No Content"), (304, b"304 Not Modified")])
def test_an_answer_that_has_no_body_has_no_length_either(status: int, line: bytes) -> None:
    assert encode(Response(status, (), b"ignored"), "GET") == b"HTTP/1.1 " + line + b"\r\n\r\n"


def test_a_status_without_a_phrase_is_sent() -> None:
    assert encode(Response(499, (), b""), "GET").startswith(b"HTTP/1.1 499 \r\n")


@pytest.mark.parametrize("status", [-1, 0, 100, 103, 199, 1000])
def test_a_status_that_ends_no_exchange_is_refused(status: int) -> None:
    with pytest.raises(ValueError, match="status"):
        encode(Response(status, (), b""), "GET")


@pytest.mark.parametrize("header", [("X", "a\r\nY: b"), ("X\n", "a"), ("X", "a\0"), ("X", "ä")])
def test_a_header_that_cannot_be_sent_is_refused(header: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match=r"line end|ascii"):
        encode(Response(200, (header,), b""), "GET")
