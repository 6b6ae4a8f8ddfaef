"""The host with a real engine and real sockets: what reaches the app, and what reaches the client."""

import http.client
import json
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from http import HTTPStatus
from pathlib import Path

import pytest
import requests

from shared.devkit.host import Host
from tests.worker.host_fixtures import HEAD_LINES, address_of, connected, get, sent, until, until_end, write_app

THREADS = 128
APP = (
    HEAD_LINES
    + """
import hashlib, json, logging, threading

logging.basicConfig(level=logging.DEBUG)

together = threading.Barrier(128)

def told(**facts: object) -> func.HttpResponse:
    return func.HttpResponse(json.dumps(facts), mimetype="application/json")

@app.route(route="plain", methods=["GET", "HEAD"])
def plain(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("plain", headers={"X-Own": "1"})

@app.route(route="seen/{Who}", methods=["GET", "POST"])
def seen(req: func.HttpRequest) -> func.HttpResponse:
    body = req.get_body()
    return told(method=req.method, url=req.url, params=dict(req.params), route=dict(req.route_params),
                headers=dict(req.headers), length=len(body), digest=hashlib.sha256(body).hexdigest())

@app.route(route="seen/fixed", methods=["GET"])
def fixed(req: func.HttpRequest) -> func.HttpResponse:
    return told(fixed=True)

@app.route(route="status/{code}", methods=["GET"])
def status(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("never sent", status_code=int(req.route_params["code"]))

@app.route(route="cookies", methods=["GET"])
def cookies(req: func.HttpRequest) -> func.HttpResponse:
    answer = func.HttpResponse("")
    answer.headers.add("Set-Cookie", "a=1; Path=/; Secure")
    answer.headers.add("Set-Cookie", "b=2")
    return answer

@app.route(route="text", methods=["GET"])
def text(req: func.HttpRequest) -> str:
    return "only text"

@app.route(route="unsendable", methods=["GET"])
def unsendable(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("", status_code=req.params["status"], headers={"X-Own": req.params["value"]})

@app.route(route="raise", methods=["POST"])
def raising(req: func.HttpRequest) -> func.HttpResponse:
    class Odd(Exception):
        def __repr__(self) -> str:
            return req.get_body().decode()
    try:
        raise KeyError(req.get_body())
    except KeyError as cause:
        raise Odd(req.get_body(), req.params["q"], req.headers["authorization"]) from cause

@app.route(route="exit", methods=["GET"])
def exiting(req: func.HttpRequest) -> func.HttpResponse:
    raise SystemExit("gone")

@app.route(route="together", methods=["GET"])
def meet(req: func.HttpRequest) -> func.HttpResponse:
    together.wait(20)
    return func.HttpResponse("met")

@app.route(route="{*path}", methods=["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"])
def zz_fallback(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(f"fallback for {req.route_params.get('path')}", status_code=404)
"""
)


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("output") / "host.log"


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory, output: Path) -> Iterator[Host]:
    with Host(write_app(tmp_path_factory.mktemp("serving") / "app", APP), {}, output=output) as serving:
        yield serving


@pytest.fixture
def client() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        yield session


def test_an_answer_is_the_apps_with_a_length_and_nothing_more(host: Host) -> None:
    head = b"HTTP/1.1 200 OK\r\nX-Own: 1\r\ncontent-type: text/plain; charset=utf-8\r\nContent-Length: 5\r\n\r\n"
    assert sent(host, get("/plain")) == head + b"plain"


def test_head_is_the_same_without_the_body(host: Host) -> None:
    two = get("/plain", method="HEAD", close=False) + get("/plain", method="HEAD")
    head = b"HTTP/1.1 200 OK\r\nX-Own: 1\r\ncontent-type: text/plain; charset=utf-8\r\nContent-Length: 5\r\n\r\n"
    assert sent(host, two) == head * 2


@pytest.mark.parametrize("status", [HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED])
def test_an_answer_of_a_status_without_body_is_its_head_alone(host: Host, status: HTTPStatus) -> None:
    two = get(f"/status/{status.value}", close=False) + get(f"/status/{status.value}")
    head = f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: text/plain; charset=utf-8\r\n\r\n"
    assert sent(host, two) == head.encode() * 2


def test_both_cookies_are_sent(host: Host, client: requests.Session) -> None:
    answer = client.get(f"{host.base_url}/cookies")
    assert answer.raw.headers.getlist("Set-Cookie") == ["a=1; Path=/; Secure", "b=2"]


def test_a_function_may_answer_with_text(host: Host, client: requests.Session) -> None:
    answer = client.get(f"{host.base_url}/text")
    assert (answer.status_code, answer.text) == (200, "only text")
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"


def test_a_function_sees_the_request_as_the_platform_hands_it_over(host: Host, client: requests.Session) -> None:
    url = f"{host.base_url}/seen/A%20b%2Fc?x=1&y=&X=2&z=%C3%A4+%2B"
    facts = client.post(url, data=b"body", headers={"X-Own": "Value"}).json()
    assert facts["method"] == "POST"
    assert facts["url"] == url
    assert facts["route"] == {"Who": "A b%2Fc"}
    assert facts["params"] == {"x": "1,2", "z": "ä +"}
    assert facts["headers"]["x-own"] == "Value"
    assert facts["digest"] == sha256(b"body").hexdigest()


def test_a_repeated_header_reaches_the_function_joined(host: Host) -> None:
    answer = sent(host, get("/seen/x", "X-Own: 1", "x-own: 2"))
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["headers"]["x-own"] == "1,2"


def test_a_literal_wins_over_a_parameter(host: Host, client: requests.Session) -> None:
    assert client.get(f"{host.base_url}/SEEN/Fixed/").json() == {"fixed": True}


def test_a_path_that_matches_by_another_method_only_falls_to_the_more_general_route(
    host: Host, client: requests.Session
) -> None:
    assert client.post(f"{host.base_url}/seen/fixed").json()["route"] == {"Who": "fixed"}
    answer = client.delete(f"{host.base_url}/seen/fixed")
    assert (answer.status_code, answer.text) == (404, "fallback for seen/fixed")


def test_a_method_that_nothing_takes_is_hung_up_on(host: Host) -> None:
    assert sent(host, get("/plain", method="TRACE")) == b""


def test_headers_of_nearly_64_kb_reach_the_app(host: Host) -> None:
    wide = "w" * 60_000
    answer = sent(host, get("/seen/x", f"X-Wide: {wide}"))
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["headers"]["x-wide"] == wide


def test_more_than_a_hundred_headers_reach_the_app(host: Host) -> None:
    answer = sent(host, get("/seen/x", *[f"X-{number}: {number}" for number in range(300)]))
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["headers"]["x-299"] == "299"


@pytest.mark.parametrize(
    "message",
    [
        get("/plain", "X-Wide: " + "w" * 66_000),
        get("/plain", "Content-Length: 104857601", method="POST"),
        get("/plain", "Content-Length: 1", "Content-Length: 2", method="POST", body=b"xy"),
        get("/plain", "Content-Length: 5", "Transfer-Encoding: chunked", method="POST", body=b"0\r\n\r\n"),
        b"GET /plain HTTP/1.1\r\n\r\n",
        b"nonsense\r\n\r\n",
    ],
)
def test_a_malformed_or_oversized_message_is_hung_up_on(host: Host, message: bytes) -> None:
    assert sent(host, message) == b""


def test_a_large_body_reaches_the_app_whole(host: Host, client: requests.Session) -> None:
    body = secrets.token_bytes(3_000_000)
    facts = client.post(f"{host.base_url}/seen/x", data=body).json()
    assert (facts["length"], facts["digest"]) == (len(body), sha256(body).hexdigest())


def test_a_chunked_body_reaches_the_app_whole(host: Host, client: requests.Session) -> None:
    facts = client.post(f"{host.base_url}/seen/x", data=iter([b"one", b"two" * 9000, b"three"])).json()
    assert facts["digest"] == sha256(b"one" + b"two" * 9000 + b"three").hexdigest()


def test_a_client_that_waits_for_leave_to_send_its_body_is_given_it(host: Host) -> None:
    with connected(host) as connection:
        connection.sendall(get("/seen/x", "Expect: 100-continue", "Content-Length: 4", method="POST"))
        assert until(connection, lambda got: got.endswith(b"\r\n\r\n")) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"body")
        assert b'"length": 4' in until_end(connection)


def test_a_connection_serves_many_requests(host: Host) -> None:
    connection = http.client.HTTPConnection(*address_of(host), timeout=20)
    connection.connect()
    used = connection.sock
    for method, path, status in (("GET", "/plain", 200), ("POST", "/nowhere", 404), ("GET", "/status/204", 204)):
        connection.request(method, path, body=b"x" if method == "POST" else None)
        answer = connection.getresponse()
        assert (answer.status, connection.sock) == (status, used)
        answer.read()
    connection.close()


def test_as_many_functions_wait_at_once_as_there_are_threads(host: Host) -> None:
    with ThreadPoolExecutor(THREADS) as clients:
        answers = list(clients.map(lambda _: sent(host, get("/together")), range(THREADS)))
    assert all(answer.endswith(b"\r\n\r\nmet") for answer in answers)


def test_a_function_that_raises_leaves_a_bare_500_and_its_type_alone(host: Host, output: Path) -> None:
    text, query, token = (secrets.token_hex(16) for _ in range(3))
    headers = (f"Authorization: Bearer {token}", f"Content-Length: {len(text)}")
    answer = sent(host, get(f"/raise?q={query}", *headers, method="POST", body=text.encode()))
    assert answer == b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"
    written = output.read_text()
    assert "raising failed: Odd\n" in written
    assert not [secret for secret in (text, query, token) if secret in written]
    assert "Traceback" not in written


def test_a_function_that_wants_to_end_the_process_does_not(host: Host, output: Path) -> None:
    assert sent(host, get("/exit")).startswith(b"HTTP/1.1 500 ")
    assert "exiting failed: SystemExit\n" in output.read_text()
    assert sent(host, get("/plain")).endswith(b"plain")


@pytest.mark.parametrize(
    ("query", "kind"),
    [("status=200&value=%C3%A4", "UnicodeEncodeError"), ("status=7&value=a", "ValueError"), ("status=x&value=a", "")],
)
def test_an_answer_that_cannot_be_sent_is_a_failure_of_its_function(
    host: Host, output: Path, query: str, kind: str
) -> None:
    before = len(output.read_text())
    assert sent(host, get(f"/unsendable?{query}")).startswith(b"HTTP/1.1 500 ")
    assert f"unsendable failed: {kind}" in output.read_text()[before:]


def test_requests_leave_no_line_behind(host: Host, output: Path) -> None:
    before = output.read_text()
    canary = secrets.token_hex(16)
    sent(host, get(f"/{canary}?{canary}", f"X-Own: {canary}", method="POST"))
    sent(host, f"{canary}\r\n\r\n".encode())
    assert output.read_text() == before
