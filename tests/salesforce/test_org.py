"""Listing, describing and running Flows over real TLS: sent once, judged whole, and nothing foreign passes."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from pydantic import JsonValue

from shared.devkit.tls import DevelopmentCA
from shared.errors import (
    FlowForbidden,
    FlowNotFound,
    FlowRunnerError,
    InputRefused,
    NextAction,
    OrgLimit,
    OrgSetup,
    SalesforceTimedOut,
    SalesforceUnavailable,
    SalesforceUnusable,
    SessionExpired,
)
from shared.model.flows import FlowInputs, FlowKind, flow_name
from shared.model.inputs import InputType
from shared.model.runs import FlowFault, FlowResult, Outcome
from shared.ports import Org
from shared.salesforce.hosts import Hosts
from shared.salesforce.org import RestOrgs
from shared.salesforce.pool import BODY_MAX
from tests.salesforce.salesforce_fixtures import ADA, BEN, Wired, http, minus_five_bytes, raised, raw_server

UNKNOWN = FlowResult(Outcome.UNKNOWN, finished=False, next_action=NextAction.CHECK_SALESFORCE)


def run(org: Org, name: str, **inputs: JsonValue) -> FlowResult:
    return org.run(flow_name(name), FlowInputs(inputs, dict.fromkeys(inputs, "user")))


def outputs(result: FlowResult) -> dict[str, JsonValue]:
    assert result.outputs is not None
    return dict(result.outputs.values)


# Questions


def test_the_list_has_what_this_user_may_run(wired: Wired) -> None:
    ada, ben = ({flow.name: flow for flow in wired.org(user).flows()} for user in (ADA, BEN))
    assert ada[flow_name("FLR__Log_Mail")].label == "Log the mail"
    assert {flow.kind for flow in ada.values()} == {FlowKind.BACKGROUND}
    assert set(ada) - set(ben) == {"Approve_Discount", "Create_Case"}
    assert {"Guided_Sale", "Old_Flow"}.isdisjoint(ada)


def test_a_description_tells_inputs_and_outputs(wired: Wired) -> None:
    flow = wired.org().flow(flow_name("Create_Case"))
    assert (flow.name, flow.label, flow.description, flow.reason) == (
        "Create_Case",
        "Create a Case",
        "From a mail",
        None,
    )
    told = [(i.name, i.type, i.required, i.collection, i.choices) for i in flow.inputs]
    assert told == [
        ("subject", InputType.STRING, True, False, ()),
        ("senderEmail", InputType.STRING, False, False, ()),
        ("priority", InputType.PICKLIST, False, False, ("Low", "Medium", "High")),
    ]
    assert [(o.name, o.type, o.collection) for o in flow.outputs] == [("caseId", "REFERENCE", False)]


def test_collections_and_unknown_types_are_described(wired: Wired) -> None:
    org = wired.org()
    assert all(i.collection for i in org.flow(flow_name("Log_Recipients")).inputs)
    flow = org.flow(flow_name("Score_Lead"))
    assert (flow.inputs[0].type, flow.inputs[0].declared_type) == (InputType.UNSUPPORTED, "APEX")
    assert flow.reason == "input-type-unsupported"


def test_every_call_names_us_and_brings_its_own_token(wired: Wired) -> None:
    grant, facts = wired.exchange()
    org = wired.orgs.org(facts, grant)
    org.flows()
    org.flow(flow_name("Count_Runs"))
    run(org, "Count_Runs")
    calls = [call for name in ("list", "describe", "run") for call in wired.calls(name)]
    assert [(c.method, c.path.removeprefix("/services/data/v66.0/actions/custom/")) for c in calls] == [
        ("GET", "flow"),
        ("GET", "flow/Count_Runs"),
        ("POST", "flow/Count_Runs"),
    ]
    for call in calls:
        assert call.secure
        assert call.query == ""
        assert call.header("Authorization") == f"Bearer {grant.access_token}"
        assert call.header("Sforce-Call-Options") == "client=FlowRunner"
        assert call.header("Cookie") is None


def test_making_an_org_asks_nothing(wired: Wired) -> None:
    wired.org()
    assert wired.calls() == []


def test_two_users_at_once_never_share_a_token(wired: Wired) -> None:
    orgs = [wired.orgs.org(facts, grant) for grant, facts in (wired.exchange(ADA), wired.exchange(BEN))]
    start = threading.Barrier(8)

    def list_flows(number: int) -> set[int]:
        start.wait(10)
        return {len(orgs[number % 2].flows()) for _ in range(5)}

    with ThreadPoolExecutor(8) as threads:
        seen = list(threads.map(list_flows, range(8)))
    assert seen == [{18}, {16}] * 4
    assert wired.server.recorder.cookies() == []


# Runs


def test_a_run_sends_one_element_with_the_inputs_and_brings_its_outputs(wired: Wired) -> None:
    values: dict[str, JsonValue] = {
        "text": "Gr\u00fc\u00dfe \U0001f600",
        "flag": True,
        "amount": 1.5,
        "day": "2026-11-23",
        "moment": "2026-11-23T19:00:00.000Z",
        "level": "Low",
        "amounts": [1, 2],
        "contact": {"attributes": {"type": "Contact"}, "Id": "0035gK0000007AbABI"},
    }
    result = run(wired.org(), "Every_Type", **values)
    assert (result.outcome, result.finished, result.fault, result.next_action) == (
        Outcome.SUCCESS,
        True,
        None,
        NextAction.NONE,
    )
    assert outputs(result) == values
    assert [json.loads(call.body) for call in wired.calls("run")] == [{"inputs": [values]}]


def test_a_run_without_inputs_sends_an_empty_element(wired: Wired) -> None:
    run(wired.org(), "Daily_Digest")
    assert [json.loads(call.body) for call in wired.calls("run")] == [{"inputs": [{}]}]


def test_a_name_of_a_package_is_run(wired: Wired) -> None:
    assert run(wired.org(), "FLR__Log_Mail", subject="x").outcome is Outcome.SUCCESS


@pytest.mark.parametrize("form", ["list", "object", "short"])
def test_a_result_is_read_in_every_form(wired: Wired, form: str) -> None:
    org = wired.org()
    wired.switch(result_form=form)
    assert outputs(run(org, "Daily_Digest")) == {"message": "Sent"}
    assert run(org, "Faulty_Flow").outcome is Outcome.ERROR


def test_outputs_are_the_flows_own_records_and_look_alikes_of_the_envelope_included(wired: Wired) -> None:
    found = outputs(run(wired.org(), "Find_Contact"))
    assert set(found) == {"contact", "related", "isSuccess", "errors", "ErrorMessage", "score"}
    assert found["isSuccess"] is False
    assert isinstance(found["contact"], dict)
    assert found["contact"]["LastName"] == "Lovelace"


def test_null_outputs_are_none(wired: Wired) -> None:
    result = run(wired.org(), "Nothing_Back")
    assert (result.outcome, result.finished, outputs(result)) == (Outcome.SUCCESS, True, {})


def test_a_paused_flow_is_accepted_and_not_finished(wired: Wired) -> None:
    result = run(wired.org(), "Wait_For_Approval")
    assert (result.outcome, result.finished, outputs(result)) == (Outcome.SUCCESS, False, {"requestedFrom": "manager"})


def test_a_flow_that_handles_its_own_fault_is_a_success(wired: Wired) -> None:
    assert run(wired.org(), "Handled_Fault").outcome is Outcome.SUCCESS


def test_a_faulted_flow_is_an_error_with_what_salesforce_said(wired: Wired) -> None:
    result = run(wired.org(), "Faulty_Flow")
    said = FlowFault("UNKNOWN_EXCEPTION", "An error occurred when executing a flow interview.")
    assert result == FlowResult(Outcome.ERROR, True, fault=said, next_action=NextAction.ASK_ADMIN)


def test_a_result_shows_neither_outputs_nor_messages(wired: Wired) -> None:
    org = wired.org()
    shown = f"{run(org, 'Find_Contact')!r} {run(org, 'Faulty_Flow')!r}"
    assert "Lovelace" not in shown
    assert "interview" not in shown


@pytest.mark.parametrize(
    ("answer", "fault", "action"),
    [
        ("action-result", "UNKNOWN_EXCEPTION", NextAction.ASK_ADMIN),
        ("action-result-500", "UNKNOWN_EXCEPTION", NextAction.ASK_ADMIN),
        ("locked-row", "UNABLE_TO_LOCK_ROW", NextAction.RETRY),
    ],
)
def test_what_failed_inside_the_org_is_a_result(wired: Wired, answer: str, fault: str, action: NextAction) -> None:
    org = wired.org()
    wired.plan("run", answer=answer)
    result = run(org, "Count_Runs")
    assert (result.outcome, result.next_action) == (Outcome.ERROR, action)
    assert result.fault is not None
    assert result.fault.code == fault
    assert result.fault.message  # what Salesforce said, for the user to read


@pytest.mark.parametrize("code", ["FIELD_CUSTOM_VALIDATION_EXCEPTION", "CANNOT_EXECUTE_FLOW_TRIGGER", "UNHEARD_OF"])
def test_what_automation_in_the_org_said_is_shown(wired: Wired, code: str) -> None:
    org = wired.org()
    wired.plan("run", status=400, body=json.dumps([{"errorCode": code, "message": "Close date is missing."}]))
    result = run(org, "Count_Runs")
    assert (result.outcome, result.fault) == (Outcome.ERROR, FlowFault(code, "Close date is missing."))


@pytest.mark.parametrize(
    "how",
    [
        {"drop": "before"},
        {"drop": "after"},
        {"answer": "html"},
        {"answer": "html-200"},
        {"answer": "empty"},
        {"answer": "empty-200"},
        {"answer": "empty-list"},
        {"answer": "no-content"},
        {"answer": "too-busy"},
        {"answer": "html", "processed": True},
        {"status": 200, "body": "{}"},
        {"status": 200, "body": "null"},
        {"status": 200, "body": '[{"isSuccess":true},{"isSuccess":true}]'},
        {"status": 200, "body": '[{"isSuccess":"true"}]'},
        {"status": 200, "body": "[" * 100_000},
        {"status": 200, "body": '[{"isSuccess":true,"outputValues":{"a":NaN}}]'},
        {"status": 200, "body": "[" + "9" * 5_000 + "]"},
        {"status": 200, "body": "x" * (BODY_MAX * 2)},
        {"status": 400, "body": '[{"isSuccess":true}]'},
        {"status": 400, "body": ""},
        {"answer": "plain-text"},
        {"answer": "composite"},
        {"status": 200, "body": '{"compositeResponse":[{"httpStatusCode":401,"body":[]}]}'},
        {"status": 400, "body": '[{"errorCode":"INVALID_SESSION_ID"}]'},
        {"status": 403, "body": '[{"errorCode":"INVALID_SESSION_ID","message":"Session expired or invalid"}]'},
        {"status": 404, "body": '[{"errorCode":"INVALID_SESSION_ID"}]'},
        {"status": 400, "body": "Wrong_Org"},
        {"status": 404, "body": "Missing_OAuth_Token"},
        {"status": 200, "body": '[{"isSuccess":true,"outputValues":{"a":' + "[" * 251 + "]" * 251 + "}}]"},
        {"status": 302, "body": ""},
        {"status": 429, "body": ""},
        {"status": 502, "body": "Bad Gateway", "content_type": "text/plain"},
    ],
    ids=str,
)
def test_when_the_answer_tells_nothing_the_outcome_is_unknown_and_the_run_is_not_repeated(
    wired: Wired, how: dict[str, object]
) -> None:
    org = wired.org()
    wired.plan("run", **how)
    assert run(org, "Count_Runs") == UNKNOWN
    assert len(wired.calls("run")) == 1


@pytest.mark.parametrize("how", [{"hold": "for-ever"}, {"hold_after": "for-ever"}, {"drip": 0.2}], ids=str)
def test_a_run_that_takes_too_long_is_unknown_at_its_deadline(wired: Wired, how: dict[str, object]) -> None:
    org = wired.org(run_s=0.6)
    wired.plan("run", **how)
    began = time.monotonic()
    assert run(org, "Count_Runs") == UNKNOWN
    assert 0.5 < time.monotonic() - began < 3
    assert len(wired.calls("run")) == 1


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ("session-expired", SessionExpired),
        ("not-valid-for-rest", OrgSetup),
        ("daily-limit", OrgLimit),
        ("concurrent-limit", OrgLimit),
        ("no-access", FlowForbidden),
        ("api-disabled", OrgSetup),
        ("not-found", FlowNotFound),
        ("rest-list", InputRefused),
    ],
)
def test_what_is_refused_before_the_flow_began_is_raised(wired: Wired, answer: str, error: type[Exception]) -> None:
    org = wired.org()
    wired.plan("run", answer=answer)
    assert type(raised(lambda: run(org, "Count_Runs"))) is error
    assert len(wired.calls("run")) == 1


def test_an_undeclared_input_is_refused_by_salesforce_too(wired: Wired) -> None:
    failed = raised(lambda: run(wired.org(), "Create_Case", subject="x", undeclared="x"))
    assert isinstance(failed, InputRefused)
    assert [error.pointer for error in failed.errors] == ["/inputs"]


def test_a_run_that_never_left_is_refused(wired: Wired) -> None:
    org = wired.org()
    wired.server.stop()
    with pytest.raises(SalesforceUnavailable):
        run(org, "Count_Runs")


def test_a_run_whose_request_cannot_be_made_is_not_said_to_have_stayed_here(wired: Wired) -> None:
    assert run(wired.org(), "Count_Runs", amount=float("inf")) == UNKNOWN


def test_an_answer_that_no_library_expects_leaves_the_outcome_unknown(wired: Wired, ca: DevelopmentCA) -> None:
    grant, facts = wired.exchange()
    with raw_server(minus_five_bytes, ca.server_context()) as server:
        hosts = Hosts(wired.server.base_url, frozenset({server.url}))
        orgs = RestOrgs(hosts, wired.pool, "66.0", 2.0, 5.0, 5.0)
        org = orgs.org(replace(facts, instance_url=server.url), grant)
        assert run(org, "Count_Runs") == UNKNOWN
        assert isinstance(raised(org.flows), SalesforceUnavailable)


def test_a_run_goes_out_on_a_new_connection_when_the_kept_one_is_gone(wired: Wired) -> None:
    org = wired.org()
    assert org.flows()
    wired.server.stop()
    wired.server.start()
    assert outputs(run(org, "Count_Runs")) == {"runs": 1.0}


def test_a_dead_session_is_told_as_such_on_every_call(wired: Wired) -> None:
    org = wired.org()
    wired.server.grants.expire_sessions(None)
    name = flow_name("Count_Runs")
    for call in (org.flows, lambda: org.flow(name), lambda: run(org, name)):
        assert isinstance(raised(call), SessionExpired)
    assert wired.server.recorder.events() == {}


# Questions that fail


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ("session-expired", SessionExpired),
        ("not-valid-for-rest", OrgSetup),
        ("daily-limit", OrgLimit),
        ("api-disabled", OrgSetup),
        ("rest-list", SalesforceUnusable),
        ("plain-text", SalesforceUnusable),
        ("locked-row", SalesforceUnavailable),
        ("html", SalesforceUnavailable),
        ("html-200", SalesforceUnavailable),
        ("empty", SalesforceUnavailable),
        ("empty-200", SalesforceUnusable),
        ("too-busy", SalesforceUnavailable),
        ("composite", SalesforceUnusable),
    ],
)
def test_a_failed_question_ends_in_an_error_of_ours(wired: Wired, answer: str, error: type[Exception]) -> None:
    org = wired.org()
    expected = FlowNotFound if answer == "composite" else error
    wired.plan("describe", answer=answer)
    assert type(raised(lambda: org.flow(flow_name("Count_Runs")))) is expected
    wired.plan("list", answer=answer)
    assert type(raised(org.flows)) is error
    assert (len(wired.calls("describe")), len(wired.calls("list"))) == (1, 1)


def test_who_may_see_no_flows_at_all_is_a_matter_of_the_orgs_setup(wired: Wired) -> None:
    org = wired.org()
    wired.plan("list", answer="no-access")
    wired.plan("describe", answer="no-access")
    listing, describing = raised(org.flows), raised(lambda: org.flow(flow_name("Count_Runs")))
    assert isinstance(listing, OrgSetup)
    assert (listing.members, listing.next_action) == ({"cause": "flows-not-allowed"}, NextAction.ASK_ADMIN)
    assert isinstance(describing, FlowForbidden)


def test_a_question_that_we_asked_wrongly_is_not_to_be_asked_again(wired: Wired) -> None:
    org = wired.org()
    for answer in ("rest-list", "not-found"):
        wired.plan("list", answer=answer)
        failed = raised(org.flows)
        assert isinstance(failed, SalesforceUnusable)
        assert failed.next_action is NextAction.NONE


def test_an_unknown_flow_is_not_found(wired: Wired) -> None:
    for name in ("No_Such_Flow", "Guided_Sale", "Old_Flow"):
        with pytest.raises(FlowNotFound):
            wired.org().flow(flow_name(name))


def test_an_org_that_is_older_than_our_api_version_says_nothing_of_the_flows(wired: Wired) -> None:
    org = wired.org()
    wired.switch(newest_version=65)
    with pytest.raises(SalesforceUnusable):
        org.flows()


def test_the_version_is_that_of_the_settings(wired: Wired) -> None:
    grant, facts = wired.exchange()
    wired.rest_orgs(version="67.0").org(facts, grant).flows()
    assert wired.calls("list")[0].path.startswith("/services/data/v67.0/")


@pytest.mark.parametrize(
    ("how", "error"),
    [
        ({"hold": "for-ever"}, SalesforceTimedOut),
        ({"drip": 0.2}, SalesforceTimedOut),
        ({"drop": "before"}, SalesforceUnavailable),
        ({"drop": "after"}, SalesforceUnavailable),
        ({"status": 200, "body": "x" * (BODY_MAX * 2)}, SalesforceUnusable),
        ({"status": 200, "body": "7"}, SalesforceUnusable),
        ({"status": 200, "body": "[" * 100_000}, SalesforceUnusable),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_question_without_a_usable_answer_is_asked_once(
    wired: Wired, how: dict[str, object], error: type[FlowRunnerError]
) -> None:
    org = wired.org(metadata_s=0.6)
    wired.plan("describe", **how)
    wired.plan("list", **how)
    assert type(raised(lambda: org.flow(flow_name("Count_Runs")))) is error
    assert type(raised(org.flows)) is error
    assert (len(wired.calls("describe")), len(wired.calls("list"))) == (1, 1)


@pytest.mark.parametrize("body", ["[]", "{}", "null", '{"actions":[]}'])
def test_an_empty_list_is_a_list(wired: Wired, body: str) -> None:
    org = wired.org()
    wired.plan("list", status=200, body=body)
    assert list(org.flows()) == []


# Addresses


@pytest.mark.parametrize("suffix", ["/", ".evil.example", "?x", "#x", "@evil.example"])
def test_a_stored_address_is_proved_again_before_a_token_is_sent(wired: Wired, suffix: str) -> None:
    grant, facts = wired.exchange()
    org = wired.orgs.org(replace(facts, instance_url=facts.instance_url + suffix), grant)
    name = flow_name("Count_Runs")
    for call in (org.flows, lambda: org.flow(name), lambda: run(org, name)):
        assert isinstance(raised(call), SalesforceUnusable)
    assert [c.endpoint for c in wired.calls() if c.secure] == []


def test_an_address_that_is_no_longer_listed_gets_no_token(wired: Wired) -> None:
    grant, facts = wired.exchange()
    orgs = RestOrgs(Hosts(), wired.pool, "66.0", 2.0, 5.0, 5.0)
    assert isinstance(raised(orgs.org(facts, grant).flows), SalesforceUnusable)


def test_an_org_that_points_elsewhere_is_not_followed(wired: Wired) -> None:
    org = wired.org()
    wired.plan("list", status=307, body="")
    with raw_server(lambda c: c.sendall(http())) as other:
        assert isinstance(raised(org.flows), SalesforceUnusable)
        assert other.accepted == 0
