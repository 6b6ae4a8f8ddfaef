"""Small apps for the host to serve, and a client that sees every byte."""

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

from shared.devkit.host import Host

HEAD_LINES = """
import azure.functions as func
app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
"""

ONE_ROUTE = (
    HEAD_LINES
    + """
@app.route(route="ping", methods=["GET"])
def ping(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("pong")
"""
)


def write_app(folder: Path, source: str, *, prefix: str | None = "") -> Path:
    """Write an app into a new folder; without a prefix host.json says nothing of routes."""
    folder.mkdir(parents=True)
    (folder / "function_app.py").write_text(source)
    http = {} if prefix is None else {"routePrefix": prefix}
    (folder / "host.json").write_text(json.dumps({"version": "2.0", "extensions": {"http": http}}))
    return folder


def address_of(host: Host) -> tuple[str, int]:
    parts = urlsplit(host.base_url)
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, parts.port


@contextmanager
def connected(host: Host) -> Iterator[socket.socket]:
    with socket.create_connection(address_of(host), timeout=20) as connection:
        yield connection


def sent(host: Host, message: bytes) -> bytes:
    """Everything that the host sends back until it hangs up."""
    with connected(host) as connection:
        with suppress(ConnectionError):
            connection.sendall(message)
        return until_end(connection)


def until_end(connection: socket.socket) -> bytes:
    received = b""
    with suppress(ConnectionError):
        while part := connection.recv(65536):
            received += part
    return received


def until(connection: socket.socket, complete: Callable[[bytes], bool]) -> bytes:
    """What arrives until it is complete; fails when the host hangs up before."""
    received = b""
    while not complete(received):
        part = connection.recv(65536)
        assert part, received
        received += part
    return received


def get(path: str, *headers: str, method: str = "GET", body: bytes = b"", close: bool = True) -> bytes:
    """The bytes of a request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: app.test", *headers, *["Connection: close"] * close]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body
