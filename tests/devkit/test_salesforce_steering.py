"""Steering the devkit's Salesforce: plans, gates and switches, from a test and from another process."""

from collections.abc import Callable, Iterator
from time import monotonic

import pytest
import requests

from shared.devkit.salesforce.answers import NAMED
from shared.devkit.salesforce.steering import ENDPOINTS, Endpoint, Plan, Steering
from shared.devkit.tls import DevelopmentCA
from tests.devkit.salesforce_fixtures import ADA, BEN, FLOWS, WAIT_S, Client, Held, Json, answered, salesforce

LIMITS = "/services/data/v66.0/limits"


@pytest.fixture
def client(ca: DevelopmentCA, http: requests.Session) -> Iterator[Client]:
    with salesforce(ca, http) as made:
        yield made


def form(client: Client, path: str) -> requests.Response:
    return client.http.post(f"{client.server.base_url}/services/oauth2/{path}", {"token": "x"}, timeout=WAIT_S)


CALLS: dict[Endpoint, Callable[[Client], requests.Response]] = {
    "authorize": lambda client: client.http.get(client.authorize_url(), timeout=WAIT_S),
    "consent": lambda client: form(client, "authorize"),
    "token": lambda client: form(client, "token"),
    "revoke": lambda client: form(client, "revoke"),
    "versions": lambda client: client.get("/services/data"),
    "limits": lambda client: client.get(LIMITS),
    "list": lambda client: client.get(FLOWS),
    "describe": lambda client: client.get(f"{FLOWS}/Create_Case"),
    "run": lambda client: client.run("x", "Create_Case"),
}


def report(client: Client) -> Json:
    body = client.http.get(f"{client.server.base_url}/_steer/report", timeout=WAIT_S).json()
    assert isinstance(body, dict)
    return body


def reported_call(client: Client) -> Json:
    calls = report(client)["calls"]
    assert isinstance(calls, list)
    [call] = calls
    assert isinstance(call, dict)
    return call


# Plans.


def test_there_is_a_call_for_every_endpoint() -> None:
    assert set(CALLS) == ENDPOINTS


@pytest.mark.parametrize("endpoint", sorted(ENDPOINTS))
def test_a_plan_reaches_every_endpoint_and_no_other(client: Client, endpoint: Endpoint) -> None:
    client.server.steering.plan({"endpoint": endpoint, "status": 420, "body": "calm", "content_type": "text/plain"})
    others = [CALLS[other](client).status_code for other in sorted(ENDPOINTS - {endpoint})]
    answer = CALLS[endpoint](client)
    assert (answer.status_code, answer.text, answer.headers["Content-Type"]) == (420, "calm", "text/plain")
    assert 420 not in others


@pytest.mark.parametrize("endpoint", sorted(ENDPOINTS))
@pytest.mark.parametrize("drop", ["before", "after"])
def test_every_endpoint_can_hang_up(client: Client, endpoint: Endpoint, drop: str) -> None:
    client.server.steering.plan({"endpoint": endpoint, "drop": drop})
    with pytest.raises(requests.ConnectionError):
        CALLS[endpoint](client)
    assert client.server.recorder.calls(endpoint)[0].status is None


@pytest.mark.parametrize("name", sorted(NAMED))
def test_every_named_answer_can_be_planned(client: Client, name: str) -> None:
    client.server.steering.plan({"endpoint": "list", "answer": name})
    answer = client.get(FLOWS)
    assert (answer.status_code, answer.content) == (NAMED[name].status, NAMED[name].body)


@pytest.mark.parametrize(("drop", "ran"), [("before", {}), ("after", {"ran:Count_Runs": 1})])
def test_a_flow_may_have_run_when_the_connection_is_cut(client: Client, drop: str, ran: dict[str, int]) -> None:
    access = client.connect()["access_token"]
    client.server.steering.plan({"endpoint": "run", "drop": drop})
    with pytest.raises(requests.ConnectionError):
        client.run(access, "Count_Runs")
    assert client.server.recorder.events() == ran


@pytest.mark.parametrize(("processed", "ran"), [(False, {}), (True, {"ran:Count_Runs": 1})])
def test_a_planned_answer_can_come_with_and_without_the_work(
    client: Client,
    processed: bool,  # noqa: FBT001 - a column
    ran: dict[str, int],
) -> None:
    access = client.connect()["access_token"]
    client.server.steering.plan({"endpoint": "run", "answer": "too-busy", "processed": processed})
    assert client.run(access, "Count_Runs").status_code == 503
    assert client.server.recorder.events() == ran


def test_plans_are_used_in_order_and_then_the_true_answer_is_back(client: Client) -> None:
    client.server.steering.plan({"endpoint": "versions", "answer": "too-busy", "times": 2})
    client.server.steering.plan({"endpoint": "versions", "answer": "not-found"})
    assert [client.get("/services/data").status_code for _ in range(4)] == [503, 503, 404, 200]


def test_a_plan_without_a_number_of_times_lasts_until_a_reset(client: Client) -> None:
    client.server.steering.plan({"endpoint": "versions", "answer": "html", "times": 0})
    before = [client.get("/services/data").status_code for _ in range(3)]
    client.server.steering.reset()
    assert (before, client.get("/services/data").status_code) == ([503] * 3, 200)


@pytest.mark.parametrize("when", ["delay", "delay_after"])
def test_an_answer_can_be_delayed(client: Client, when: str) -> None:
    client.server.steering.plan({"endpoint": "versions", when: 0.3})
    started = monotonic()
    assert client.get("/services/data").status_code == 200
    assert monotonic() - started >= 0.3


def test_a_body_can_drip(client: Client) -> None:
    client.server.steering.plan({"endpoint": "versions", "status": 200, "body": "slowly", "drip": 0.05})
    started = monotonic()
    assert client.get("/services/data").text == "slowly"
    assert monotonic() - started >= 0.25


def test_the_true_answer_can_drip_past_a_clients_patience(client: Client) -> None:
    client.server.steering.plan({"endpoint": "versions", "drip": 0.3})
    url = f"{client.server.instance_url}/services/data"
    with client.http.get(url, timeout=WAIT_S, stream=True) as answer:
        assert answer.raw.read(2) == b"[{"


def test_a_call_can_be_held_before_the_work(client: Client) -> None:
    access = client.connect()["access_token"]
    client.server.steering.plan({"endpoint": "run", "hold": "gate"})
    held = Held(lambda: client.run(access, "Count_Runs"))
    assert client.server.recorder.wait_for("run", 1, WAIT_S)
    assert client.get(LIMITS, access).status_code == 200
    assert (held.waiting(), client.server.recorder.events()) == (True, {})
    client.server.steering.release("gate")
    assert held.answer().status_code == 200


def test_a_call_can_be_held_after_the_work(client: Client) -> None:
    access = client.connect()["access_token"]
    client.server.steering.plan({"endpoint": "run", "delay": 0.2, "hold_after": "gate"})
    held = Held(lambda: client.run(access, "Count_Runs"))
    assert client.server.recorder.wait_for_event("ran:Count_Runs", 1, 10 * WAIT_S)
    assert client.get(LIMITS, access).status_code == 200
    assert held.waiting()
    client.server.steering.release("gate")
    assert held.answer().status_code == 200


def test_waiting_for_what_never_happens_ends(client: Client) -> None:
    assert not client.server.recorder.wait_for_event("ran:Count_Runs", 1, 0.01)


def test_a_gate_that_is_open_holds_nobody(client: Client) -> None:
    client.server.steering.release("gate")
    client.server.steering.plan({"endpoint": "versions", "hold": "gate"})
    assert client.get("/services/data").status_code == 200


def test_a_reset_lets_held_calls_go(client: Client) -> None:
    client.server.steering.plan({"endpoint": "versions", "hold": "gate"})
    held = Held(lambda: client.get("/services/data"))
    assert client.server.recorder.wait_for("versions", 1, WAIT_S)
    client.server.steering.reset()
    assert held.answer().status_code == 200


def test_what_no_endpoint_takes_is_refused_whatever_is_planned(client: Client) -> None:
    client.server.steering.plan({"endpoint": "versions", "answer": "html"})
    assert client.get("/services/data", headers={"X-Mail-Subject": "secret"}).status_code == 501


# Steering from another process.


def test_a_plan_can_be_posted(client: Client) -> None:
    assert client.steer("plan", endpoint="limits", answer="daily-limit").status_code == 200
    assert client.get(LIMITS).status_code == 403


def test_switches_can_be_posted_and_reset(client: Client) -> None:
    client.steer("switch", newest_version=65, rotation=False)
    assert client.server.steering.switches.newest_version == 65
    client.steer("reset")
    assert client.server.steering.switches.rotation


def test_a_gate_can_be_opened_by_post(client: Client) -> None:
    client.steer("plan", endpoint="versions", hold="gate")
    held = Held(lambda: client.get("/services/data"))
    assert client.server.recorder.wait_for("versions", 1, WAIT_S)
    client.steer("release", gate="gate")
    assert held.answer().status_code == 200


@pytest.mark.parametrize(("values", "alive"), [({"user": ADA}, [False, True]), ({}, [False, False])])
def test_sessions_can_be_ended_by_post_for_one_user_or_all(
    client: Client, values: dict[str, str], alive: list[bool]
) -> None:
    sessions = [client.connect(user)["access_token"] for user in (ADA, BEN)]
    client.steer("expire-sessions", **values)
    assert [client.alive(access) for access in sessions] == alive


@pytest.mark.parametrize(("values", "ok"), [({"user": ADA}, [False, True]), ({}, [False, False])])
def test_approvals_can_be_ended_by_post_for_one_user_or_all(
    client: Client, values: dict[str, str], ok: list[bool]
) -> None:
    tokens = [client.connect(user)["refresh_token"] for user in (ADA, BEN)]
    client.steer("end-approvals", **values)
    assert [client.refresh(token).ok for token in tokens] == ok


def test_codes_can_be_aged_by_post(client: Client) -> None:
    code = client.code()
    client.steer("age-codes", seconds=901)
    assert answered(client.exchange(code))["error_description"] == "expired authorization code"


def test_the_report_shows_each_call_as_it_was_sent(client: Client) -> None:
    client.run("00Dx!y", "Create_Case", {"subject": "Grüße"})
    call = reported_call(client)
    assert (call["endpoint"], call["method"], call["path"]) == ("run", "POST", f"{FLOWS}/Create_Case")
    assert (call["secure"], call["status"], call["query"]) == (True, 401, "")
    assert call["body"] == r'{"inputs": [{"subject": "Gr\u00fc\u00dfe"}]}'
    assert isinstance(call["headers"], list)
    assert ["Authorization", "Bearer 00Dx!y"] in call["headers"]


def test_the_report_counts_calls_and_events(client: Client) -> None:
    tokens = client.connect()
    client.refresh(tokens["refresh_token"])
    assert report(client)["counters"] == {"authorize": 1, "consent": 1, "token": 2}
    assert report(client)["events"] == {"rotation": 1, "refresh": 1}


def test_steering_is_not_recorded(client: Client) -> None:
    client.steer("reset")
    client.steer("nonsense")
    assert report(client) == {"calls": [], "counters": {}, "events": {}}


def test_what_is_recorded_can_be_forgotten(client: Client) -> None:
    client.get("/services/data")
    client.steer("forget")
    assert report(client)["calls"] == []


@pytest.mark.parametrize(
    ("what", "values", "reason"),
    [
        ("plan", {}, "endpoint"),
        ("plan", {"endpoint": "query"}, "'authorize', 'consent'"),
        ("plan", {"endpoint": "run", "answer": "nonsense"}, "there are action-result"),
        ("plan", {"endpoint": "run", "status": "503"}, "status"),
        ("plan", {"endpoint": "run", "droop": "after"}, "droop"),
        ("plan", {"endpoint": "run", "drop": "during"}, "drop"),
        ("switch", {"rotations": True}, "rotations"),
        ("switch", {"id_form": 16}, "id_form"),
        ("release", {}, "gate"),
        ("reset", {"hard": True}, "hard"),
        ("forget", {"hard": True}, "hard"),
        ("expire-sessions", {"user": "mallory"}, "there is no user mallory"),
        ("end-approvals", {"users": [ADA]}, "users"),
        ("age-codes", {"seconds": "901"}, "seconds"),
    ],
)
def test_bad_steering_is_refused_with_the_reason(
    client: Client, what: str, values: dict[str, object], reason: str
) -> None:
    answer = client.steer(what, **values)
    assert answer.status_code == 400
    assert reason in answer.json()["error"]


@pytest.mark.parametrize("body", [b"[]", b"{", b"\xff"])
def test_steering_that_is_no_json_object_is_refused(client: Client, body: bytes) -> None:
    assert client.http.post(f"{client.server.base_url}/_steer/plan", body, timeout=WAIT_S).status_code == 400


@pytest.mark.parametrize(("method", "path"), [("POST", "nonsense"), ("GET", "plan"), ("POST", "report"), ("GET", "")])
def test_unknown_steering_is_refused_by_name(client: Client, method: str, path: str) -> None:
    answer = client.http.request(method, f"{client.server.base_url}/_steer/{path}", timeout=WAIT_S)
    assert (answer.status_code, answer.json()["unknown"]) == (501, f"steering {method} {path}")


def test_there_is_no_steering_over_tls(client: Client) -> None:
    assert client.get("/_steer/report").status_code == 501


# The parts alone.


def test_bad_switches_change_nothing() -> None:
    steering = Steering()
    steering.switch({"rotation": False})
    with pytest.raises(ValueError, match="nonsense"):
        steering.switch({"rotation": True, "nonsense": 1})
    assert not steering.switches.rotation


def test_a_plan_that_hangs_up_before_never_works() -> None:
    assert not Plan(endpoint="run", drop="before", processed=True).works()
