"""The devkit's Salesforce as a whole: two listeners, what every answer carries, and what it does not know."""

import re
import socket
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
import requests
from hypothesis import given, strategies
from simple_salesforce.api import Salesforce

from shared.devkit.salesforce import SalesforceServer
from shared.devkit.salesforce.answers import RefusedError
from shared.devkit.salesforce.routes import route_of
from shared.devkit.salesforce.server import REFUSED, UNKNOWN
from shared.devkit.tls import DevelopmentCA, Request
from tests.devkit.salesforce_fixtures import (
    BEN,
    CLIENT_ID,
    FLOWS,
    REDIRECT_URI,
    WAIT_S,
    Client,
    answered,
    bearer,
    salesforce,
)

LIMITS = "/services/data/v66.0/limits"
EVERYWHERE = ["/services/data", LIMITS, "/services/oauth2/authorize", "/nowhere"]


@pytest.fixture
def client(ca: DevelopmentCA, http: requests.Session) -> Iterator[Client]:
    with salesforce(ca, http) as made:
        yield made


def server_at(ca: DevelopmentCA, *, port: int = 0, tls_port: int = 0) -> SalesforceServer:
    return SalesforceServer(
        ca, client_id=CLIENT_ID, client_secret="x", redirect_uri=REDIRECT_URI, port=port, tls_port=tls_port
    )


def cookie(answer: requests.Response) -> str:
    return answer.headers["Set-Cookie"].partition(";")[0]


# The two listeners.


def test_the_login_host_is_plain_and_the_instance_has_tls(client: Client) -> None:
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", client.server.base_url)
    assert re.fullmatch(r"https://127\.0\.0\.1:\d+", client.server.instance_url)


def test_both_answer_rest_and_the_recorder_knows_which(client: Client) -> None:
    for url in (client.server.base_url, client.server.instance_url):
        assert client.http.get(f"{url}/services/data", timeout=WAIT_S).status_code == 200
    assert [call.secure for call in client.server.recorder.calls("versions")] == [False, True]


def test_the_instance_is_trusted_under_the_devkits_ca_alone(client: Client) -> None:
    port = int(client.server.instance_url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)) as plain, pytest.raises(ssl.SSLCertVerificationError):
        ssl.create_default_context().wrap_socket(plain, server_hostname="127.0.0.1")


def test_a_restart_keeps_addresses_and_tokens(client: Client) -> None:
    tokens, before = client.connect(), (client.server.base_url, client.server.instance_url)
    client.server.stop()
    client.server.start()
    assert (client.server.base_url, client.server.instance_url) == before
    assert client.alive(tokens["access_token"])


def test_fixed_ports_are_taken(ca: DevelopmentCA, client: Client) -> None:
    ports = [int(url.rpartition(":")[2]) for url in (client.server.base_url, client.server.instance_url)]
    client.server.stop()
    with server_at(ca, port=ports[0], tls_port=ports[1]) as other:
        assert (other.base_url, other.instance_url) == (client.server.base_url, client.server.instance_url)


def test_a_taken_port_leaves_nothing_served(ca: DevelopmentCA, client: Client) -> None:
    server = server_at(ca, tls_port=int(client.server.instance_url.rpartition(":")[2]))
    with pytest.raises(OSError, match="in use"):
        server.start()
    with pytest.raises(requests.ConnectionError):
        client.http.get(f"{server.base_url}/services/data", timeout=WAIT_S)


def test_a_restart_forgets_the_stop(client: Client) -> None:
    client.server.stop()
    client.server.start()
    client.server.steering.plan({"endpoint": "versions", "delay": 0.3})
    assert client.get("/services/data").elapsed.total_seconds() >= 0.3


def test_a_stop_lets_held_calls_go(client: Client) -> None:
    access = client.connect()["access_token"]
    client.server.steering.plan({"endpoint": "run", "hold": "never", "delay": 60.0})

    def call() -> None:
        with suppress(requests.ConnectionError):  # the answer may still arrive, or the connection be cut first
            client.run(access, "Count_Runs")

    caller = threading.Thread(target=call)
    caller.start()
    assert client.server.recorder.wait_for("run", 1, WAIT_S)
    client.server.stop()
    assert client.server.recorder.wait_for_event("ran:Count_Runs", 1, WAIT_S)
    caller.join(WAIT_S)


def test_it_prints_nothing(client: Client, capfd: pytest.CaptureFixture[str]) -> None:
    client.run(client.connect()["access_token"], "Faulty_Flow")
    client.get("/nowhere")
    client.steer("plan", endpoint="nowhere")
    assert capfd.readouterr() == ("", "")


# What every answer carries.


@pytest.mark.parametrize("path", EVERYWHERE)
def test_every_answer_has_an_id_and_a_cookie(client: Client, path: str) -> None:
    headers = client.get(path).headers
    assert re.fullmatch(r"[0-9a-f]{32}", headers["x-sfdc-request-id"])
    assert headers["Set-Cookie"].startswith("BrowserId=")


def test_request_ids_differ(client: Client) -> None:
    assert len({client.get("/services/data").headers["x-sfdc-request-id"] for _ in range(5)}) == 5


def test_only_rest_tells_the_limits(client: Client) -> None:
    told = ["Sforce-Limit-Info" in client.get(path).headers for path in EVERYWHERE]
    assert told == [True, True, False, False]


def test_refused_calls_spend_the_budget_too(client: Client) -> None:
    answers = [client.get(LIMITS, "x") for _ in range(3)]
    assert [answer.headers["Sforce-Limit-Info"] for answer in answers] == [f"api-usage={n}/5000" for n in (1, 2, 3)]


def test_each_user_has_a_cookie_of_their_own(client: Client) -> None:
    ada, ben = client.connect()["access_token"], client.connect(BEN)["access_token"]
    assert cookie(client.get(LIMITS, ada)) == cookie(client.get(FLOWS, ada))
    assert cookie(client.get(LIMITS, ada)) != cookie(client.get(LIMITS, ben))


def test_nobodys_cookie_is_always_another(client: Client) -> None:
    assert cookie(client.get("/services/data")) != cookie(client.get("/services/data"))


def test_the_token_answer_sets_the_cookie_of_its_user(client: Client) -> None:
    answer = client.exchange(client.code())
    assert len(answer.raw.headers.getlist("Set-Cookie")) == 1
    assert cookie(answer) == cookie(client.get(LIMITS, answered(answer)["access_token"]))


def test_a_cookie_that_comes_back_is_noticed(client: Client) -> None:
    sent = cookie(client.get("/services/data"))
    client.get("/services/data")
    assert client.server.recorder.cookies() == [sent]


# What it does not know.


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/services/oauth2/introspect",
        "/services/oauth2/userinfo",
        "/services/oauth2/singleaccess",
        "/services/data/v66.0",
        "/services/data/v66.0/query",
        "/services/data/v66/limits",
        "/services/data/v66.0/actions/custom/flow/",
        "/services/data/v66.0/actions/custom/flow/Create_Case/",
        "/services/data/v66.0/actions/custom/flow/1Case",
        "/services/data/v66.0/actions/custom/flow/A__B__C",
        "/services/data/v66.0/actions/custom/flow/..",
        "/services/data/v66.0/actions/custom/flow/Create%20Case",
        "/services/data/v66.0/actions/custom/apex",
    ],
)
def test_an_unknown_path_is_refused_by_name(client: Client, path: str) -> None:
    request = client.http.prepare_request(requests.Request("GET", client.server.instance_url))
    request.url = client.server.instance_url + path
    answer = client.http.send(request, timeout=WAIT_S)
    assert (answer.status_code, answer.json()["unknown"]) == (501, f"path {path}")
    assert client.server.recorder.counters() == {UNKNOWN: 1}


@given(strategies.text(min_size=1).filter(lambda text: "services" not in text))
def test_no_path_outside_the_contract_has_a_route(path: str) -> None:
    with pytest.raises(RefusedError):
        route_of(Request("GET", path, "", (), b""))


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/services/oauth2/authorize"),
        ("GET", "/services/oauth2/token"),
        ("POST", "/services/data"),
        ("HEAD", LIMITS),
        ("PATCH", FLOWS),
        ("DELETE", f"{FLOWS}/Create_Case"),
        ("OPTIONS", f"{FLOWS}/Create_Case"),
    ],
)
def test_an_unknown_method_is_refused_by_name(client: Client, method: str, path: str) -> None:
    answer = client.http.request(method, client.server.instance_url + path, timeout=WAIT_S)
    assert answer.status_code == 501
    assert method == "HEAD" or answer.json()["unknown"] == f"method {method} at {path}"


@pytest.mark.parametrize(
    ("name", "value", "named"),
    [
        ("X-Forwarded-For", "10.0.0.1", "header X-Forwarded-For"),
        ("traceparent", "00-1-1-01", "header traceparent"),
        ("Sforce-Call-Options", "client=Other", "header Sforce-Call-Options with the value client=Other"),
        ("X-PrettyPrint", "2", "header X-PrettyPrint with the value 2"),
    ],
)
def test_an_unknown_header_is_refused_by_name(client: Client, name: str, value: str, named: str) -> None:
    answer = client.get("/services/data", headers={name: value})
    assert (answer.status_code, answer.json()["unknown"]) == (501, named)


def test_a_body_on_a_get_is_refused_by_name(client: Client) -> None:
    url = f"{client.server.instance_url}/services/data"
    assert client.http.get(url, data=b"x", timeout=WAIT_S).json()["unknown"] == "body of a GET"


def test_every_such_refusal_is_counted(client: Client) -> None:
    client.get("/nowhere")
    client.get("/services/data?x=1")
    client.get("/services/data", headers={"X-Other": "1"})
    assert client.server.recorder.events() == {REFUSED: 3}


def test_a_planned_501_is_not_such_a_refusal(client: Client) -> None:
    client.server.steering.plan({"endpoint": "versions", "status": 501})
    client.get("/services/data")
    assert client.server.recorder.events() == {}


# Together.


def test_simple_salesforce_finds_nothing_unknown(client: Client) -> None:
    access = client.connect()["access_token"]
    org = Salesforce(instance_url=client.server.instance_url, session_id=access, session=client.http, version="66.0")
    org.headers["Sforce-Call-Options"] = "client=FlowRunner"
    listed = org.restful("actions/custom/flow", timeout=WAIT_S)
    ran = org.restful("actions/custom/flow/Daily_Digest", method="POST", json={"inputs": [{}]}, timeout=WAIT_S)
    assert listed
    assert len(listed["actions"]) > 8
    assert ran
    assert ran[0]["outputValues"]["message"] == "Sent"
    assert REFUSED not in client.server.recorder.events()


def test_many_callers_at_once_are_all_counted(client: Client, ca: DevelopmentCA) -> None:
    access = client.connect()["access_token"]
    url = f"{client.server.instance_url}{FLOWS}/Count_Runs"

    def run(_: int) -> float:
        with requests.Session() as session:
            session.trust_env = False
            answer = session.post(url, json={"inputs": [{}]}, headers=bearer(access), verify=str(ca.ca_pem), timeout=30)
            return float(answer.json()[0]["outputValues"]["runs"])

    with ThreadPoolExecutor(8) as pool:
        runs = list(pool.map(run, range(40)))
    assert sorted(runs) == [float(number) for number in range(1, 41)]
    assert client.server.recorder.counters()["run"] == 40
