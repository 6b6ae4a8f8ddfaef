"""The devkit's REST: who may call, what lists and describes say, and how runs end (contract section 3)."""

import uuid
from collections.abc import Iterator

import pytest
import requests

from shared.devkit.salesforce.flows import CATALOGUE
from shared.devkit.salesforce.ids import make_id
from shared.devkit.tls import DevelopmentCA
from tests.devkit.salesforce_fixtures import BEN, CLEO, FLOWS, Client, Json, answered, salesforce

LIMITS = "/services/data/v66.0/limits"
FAULT = "An error occurred when executing a flow interview."
NEWER = {"invocationId", "outcome", "sortOrder", "version"}


@pytest.fixture
def client(ca: DevelopmentCA, http: requests.Session) -> Iterator[Client]:
    with salesforce(ca, http) as made:
        yield made


@pytest.fixture
def access(client: Client) -> str:
    return client.connect()["access_token"]


def refused(answer: requests.Response) -> tuple[int, str, str]:
    [error] = answer.json()
    return answer.status_code, error["errorCode"], error["message"]


def result_of(answer: requests.Response) -> Json:
    [result] = answer.json()
    assert isinstance(result, dict)
    return result


def outputs_of(answer: requests.Response) -> Json:
    assert answer.status_code == 200
    outputs = result_of(answer)["outputValues"]
    assert isinstance(outputs, dict)
    return outputs


def names_of(client: Client, access: str) -> list[str]:
    return [action["name"] for action in client.get(FLOWS, access).json()["actions"]]


def described(client: Client, access: str, name: str, part: str = "inputs") -> dict[str, Json]:
    return {each["name"]: each for each in client.get(f"{FLOWS}/{name}", access).json()[part]}


# Versions and limits.


def test_versions_are_listed_oldest_first_to_anybody(client: Client) -> None:
    versions = client.get("/services/data").json()
    assert versions[0] == {"label": "Summer '14", "url": "/services/data/v31.0", "version": "31.0"}
    assert versions[-1] == {"label": "Summer '26", "url": "/services/data/v67.0", "version": "67.0"}
    assert [each["version"] for each in versions] == [f"{number}.0" for number in range(31, 68)]


def test_an_org_that_is_not_upgraded_yet_lists_less(client: Client) -> None:
    client.server.steering.switch({"newest_version": 65})
    assert client.get("/services/data/").json()[-1]["label"] == "Winter '26"


@pytest.mark.parametrize("version", [30, 68, 100])
@pytest.mark.parametrize("path", ["limits", "actions/custom/flow", "actions/custom/flow/Create_Case"])
def test_a_version_that_the_org_has_not_is_not_found(client: Client, access: str, version: int, path: str) -> None:
    status, code, _ = refused(client.get(f"/services/data/v{version}.0/{path}", access))
    assert (status, code) == (404, "NOT_FOUND")


@pytest.mark.parametrize("version", [31, 66, 67])
def test_every_listed_version_answers(client: Client, access: str, version: int) -> None:
    assert client.get(f"/services/data/v{version}.0/actions/custom/flow", access).status_code == 200


def test_limits_tell_what_is_left_of_the_day(client: Client, access: str) -> None:
    answer = client.get(LIMITS, access)
    assert answer.json() == {"DailyApiRequests": {"Max": 5000, "Remaining": 4999}}
    assert answer.headers["Sforce-Limit-Info"] == "api-usage=1/5000"


# Sessions.


@pytest.mark.parametrize("authorization", [None, "", "OAuth x", "Basic eDp5", "bearer x"])
def test_another_authorization_than_bearer_is_our_mistake(client: Client, authorization: str | None) -> None:
    status, code, _ = refused(client.get(LIMITS, headers={"Authorization": authorization}))
    assert (status, code) == (401, "INVALID_AUTH_HEADER")


def test_an_unknown_access_token_is_an_expired_session(client: Client) -> None:
    assert refused(client.get(LIMITS, "00Dx!y")) == (401, "INVALID_SESSION_ID", "Session expired or invalid")


def test_an_expired_session_is_gone_while_its_refresh_token_lives(client: Client) -> None:
    tokens = client.connect()
    client.server.grants.expire_sessions(None)
    assert refused(client.get(LIMITS, tokens["access_token"]))[1] == "INVALID_SESSION_ID"
    assert client.alive(answered(client.refresh(tokens["refresh_token"]))["access_token"])


def test_a_session_without_the_api_scope_is_not_valid_for_rest(client: Client) -> None:
    access = client.connect(scope="web refresh_token")["access_token"]
    message = "This session is not valid for use with the REST API"
    assert refused(client.get(LIMITS, access)) == (401, "INVALID_SESSION_ID", message)


# Listing and describing.


def test_the_list_has_every_callable_flow_and_no_other(client: Client, access: str) -> None:
    assert names_of(client, access) == [flow.name for flow in CATALOGUE.values() if flow.callable]


def test_screen_flows_and_inactive_flows_are_not_listed(client: Client, access: str) -> None:
    assert {"Guided_Sale", "Old_Flow"}.isdisjoint(names_of(client, access))


def test_a_listed_flow_says_label_name_type_and_address(client: Client, access: str) -> None:
    first = client.get(FLOWS, access).json()["actions"][0]
    assert first == {"label": "Create a Case", "name": "Create_Case", "type": "FLOW", "url": f"{FLOWS}/Create_Case"}


@pytest.mark.parametrize(("username", "hidden"), [(BEN, "Create_Case"), (CLEO, "FLR__Log_Mail")])
def test_a_flow_that_a_user_may_not_run_does_not_exist_for_them(client: Client, username: str, hidden: str) -> None:
    access = client.connect(username)["access_token"]
    assert hidden not in names_of(client, access)
    assert refused(client.get(f"{FLOWS}/{hidden}", access))[:2] == (404, "NOT_FOUND")
    assert refused(client.run(access, hidden))[:2] == (404, "NOT_FOUND")


@pytest.mark.parametrize("name", ["Guided_Sale", "Old_Flow", "create_case", "Log_Mail", "Nobody"])
def test_a_flow_that_is_not_listed_is_not_found(client: Client, access: str, name: str) -> None:
    assert refused(client.get(f"{FLOWS}/{name}", access))[:2] == (404, "NOT_FOUND")
    assert refused(client.run(access, name))[:2] == (404, "NOT_FOUND")


def test_describe_has_the_keys_of_the_contract(client: Client, access: str) -> None:
    body = client.get(f"{FLOWS}/Create_Case", access).json()
    assert set(body) == {
        "name",
        "label",
        "type",
        "description",
        "standard",
        "targetEntityName",
        "inputs",
        "outputs",
    }
    assert (body["name"], body["type"], body["description"]) == ("Create_Case", "FLOW", "From a mail")


def test_describe_shows_each_inputs_particulars(client: Client, access: str) -> None:
    assert described(client, access, "Every_Type")["contacts"] == {
        "byteLength": 0,
        "description": None,
        "label": "contacts",
        "maxOccurs": 2000,
        "name": "contacts",
        "picklistValues": None,
        "required": False,
        "sobjectType": "Contact",
        "type": "SOBJECT",
    }


def test_describe_shows_a_picklists_values(client: Client, access: str) -> None:
    values = described(client, access, "Every_Type")["level"]["picklistValues"]
    assert isinstance(values, list)
    assert [each["value"] for each in values] == ["Low", "Medium", "High"]


def test_an_apex_type_adds_a_key_that_others_lack(client: Client, access: str) -> None:
    inputs = described(client, access, "Score_Lead")
    assert inputs["lead"]["apexClass"] == "FLR__LeadRequest"
    assert "apexClass" not in inputs["senderEmail"]


def test_outputs_include_those_of_the_interview(client: Client, access: str) -> None:
    assert list(described(client, access, "Create_Case", "outputs")) == [
        "caseId",
        "Flow__InterviewStatus",
        "Flow__InterviewGuid",
    ]


# Running.


def test_a_run_ends_with_its_outputs_and_its_interview(client: Client, access: str) -> None:
    answer = client.run(access, "Create_Case", {"subject": "Help", "priority": "High"})
    outputs = outputs_of(answer)
    assert (outputs["caseId"], outputs["Flow__InterviewStatus"]) == (make_id("500", 1), "Finished")
    assert uuid.UUID(str(outputs["Flow__InterviewGuid"]))
    assert result_of(answer) | {"outputValues": {}} == {
        "actionName": "Create_Case",
        "errors": None,
        "isSuccess": True,
        "outputValues": {},
        "invocationId": None,
        "outcome": None,
        "sortOrder": -1,
        "version": 1,
    }


def test_a_fault_is_a_400_that_tells_nothing(client: Client, access: str) -> None:
    answer = client.run(access, "Faulty_Flow")
    result = result_of(answer)
    assert (answer.status_code, result["isSuccess"], result["outputValues"]) == (400, False, None)
    assert result["errors"] == [{"statusCode": "UNKNOWN_EXCEPTION", "message": FAULT, "fields": []}]


def test_a_handled_fault_is_a_success(client: Client, access: str) -> None:
    assert outputs_of(client.run(access, "Handled_Fault"))["ErrorMessage"] == "The case could not be saved."


def test_a_paused_flow_is_a_success_that_waits(client: Client, access: str) -> None:
    answer = client.run(access, "Wait_For_Approval")
    assert (result_of(answer)["isSuccess"], outputs_of(answer)["Flow__InterviewStatus"]) == (True, "Waiting")


def test_outputs_can_be_null_on_success(client: Client, access: str) -> None:
    result = result_of(client.run(access, "Nothing_Back"))
    assert (result["isSuccess"], result["outputValues"]) == (True, None)


def test_outputs_can_be_records_and_look_like_the_envelope(client: Client, access: str) -> None:
    answer = client.run(access, "Find_Contact")
    outputs = outputs_of(answer)
    contact = outputs["contact"]
    assert isinstance(contact, dict)
    assert contact["Account"]["attributes"]["type"] == "Account"
    assert (result_of(answer)["isSuccess"], outputs["isSuccess"]) == (True, False)


def test_a_namespaced_flow_runs_by_its_full_name(client: Client, access: str) -> None:
    assert outputs_of(client.run(access, "FLR__Log_Mail", {"subject": "s", "recipientEmails": ["a@b.example"]}))[
        "taskId"
    ]


def test_every_type_of_input_comes_back_as_it_was_sent(client: Client, access: str) -> None:
    record = {"attributes": {"type": "Contact"}, "Id": make_id("003", 1)}
    inputs: Json = {
        "text": "Grüße",
        "flag": False,
        "amount": 1.5,
        "price": 2,
        "day": "2026-11-23",
        "moment": "2026-11-23T19:00:00.000Z",
        "level": "Low",
        "levels": "Low;High",
        "contact": record,
        "contacts": [record, record],
        "amounts": [],
    }
    outputs = outputs_of(client.run(access, "Every_Type", inputs))
    assert {name: outputs[name] for name in inputs} == inputs


def test_numbers_come_back_as_decimals(client: Client, access: str) -> None:
    assert '"runs": 1.0' in client.run(access, "Count_Runs").text


def test_each_run_is_counted_by_its_flow(client: Client, access: str) -> None:
    for _ in range(3):
        client.run(access, "Count_Runs")
    client.run(access, "Faulty_Flow")
    assert client.server.recorder.events() == {"ran:Count_Runs": 3, "ran:Faulty_Flow": 1}


def test_a_slow_flow_takes_its_time(client: Client, access: str) -> None:
    assert client.run(access, "Slow_Import", {"seconds": 0.3}).elapsed.total_seconds() >= 0.3


def test_a_result_can_be_a_single_object(client: Client, access: str) -> None:
    client.server.steering.switch({"result_form": "object"})
    assert answered(client.run(access, "Daily_Digest"))["actionName"] == "Daily_Digest"


@pytest.mark.parametrize("name", ["Daily_Digest", "Faulty_Flow"])
@pytest.mark.parametrize(("form", "there"), [("list", NEWER), ("short", set())])
def test_a_result_can_lack_the_newer_keys(client: Client, access: str, name: str, form: str, there: set[str]) -> None:
    client.server.steering.switch({"result_form": form})
    assert NEWER & set(result_of(client.run(access, name))) == there


# Bodies that are wrong.


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "REQUIRED_FIELD_MISSING"),
        ([], "REQUIRED_FIELD_MISSING"),
        (None, "JSON_PARSER_ERROR"),
        ({"inputs": {}}, "REQUIRED_FIELD_MISSING"),
        ({"inputs": []}, "JSON_PARSER_ERROR"),
        ({"inputs": [{}, {}]}, "JSON_PARSER_ERROR"),
        ({"inputs": ["x"]}, "JSON_PARSER_ERROR"),
    ],
)
def test_anything_but_exactly_one_element_is_refused(client: Client, access: str, body: object, code: str) -> None:
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {access}"}
    url = f"{client.server.instance_url}{FLOWS}/Count_Runs"
    answer = client.http.post(url, json=body, headers=headers, timeout=5)
    assert refused(answer)[:2] == (400, code)
    assert client.server.recorder.events() == {}


@pytest.mark.parametrize(
    "body",
    [b'{"inputs":[{}],"inputs":[{}]}', b'{"inputs":[{"seconds":NaN}]}', b'{"inputs":[{', b'{"inputs":["\xff"]}', b""],
)
def test_json_that_is_not_strict_is_refused(client: Client, access: str, body: bytes) -> None:
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {access}"}
    answer = client.http.post(f"{client.server.instance_url}{FLOWS}/Slow_Import", body, headers=headers, timeout=5)
    assert refused(answer)[:2] == (400, "JSON_PARSER_ERROR")


@pytest.mark.parametrize(
    ("inputs", "code"),
    [
        ({"Subject": "wrong case", "subject": "x"}, "INVALID_FIELD"),
        ({"subject": "x", "body": "undeclared"}, "INVALID_FIELD"),
        ({"subject": 7}, "INVALID_TYPE"),
        ({"subject": None}, "INVALID_TYPE"),
        ({"subject": "x", "priority": "Urgent"}, "INVALID_TYPE"),
        ({"senderEmail": "a@b.example"}, "REQUIRED_FIELD_MISSING"),
    ],
)
def test_inputs_are_held_to_what_is_declared(client: Client, access: str, inputs: Json, code: str) -> None:
    assert refused(client.run(access, "Create_Case", inputs))[:2] == (400, code)
    assert client.server.recorder.events() == {}


def test_an_unknown_field_beside_the_inputs_is_refused_by_name(client: Client, access: str) -> None:
    answer = client.post_run(access, "Count_Runs", {"inputs": [{}], "allOrNone": True})
    assert (answer.status_code, answer.json()["unknown"]) == (501, "body field allOrNone")


def test_another_content_type_is_refused_by_name(client: Client, access: str) -> None:
    headers = {"Content-Type": "text/json", "Authorization": f"Bearer {access}"}
    answer = client.http.post(f"{client.server.instance_url}{FLOWS}/Count_Runs", b"{}", headers=headers, timeout=5)
    assert (answer.status_code, answer.json()["unknown"]) == (501, "content type text/json")


@pytest.mark.parametrize("path", ["/services/data", LIMITS, FLOWS, f"{FLOWS}/Create_Case"])
def test_a_query_is_refused_by_name(client: Client, access: str, path: str) -> None:
    answer = client.get(f"{path}?sid=x", access)
    assert (answer.status_code, answer.json()["unknown"]) == (501, "query parameter sid")
