"""`classify` answers for whatever bytes arrive, and every answer has an error of ours."""

import json
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import JsonValue, TypeAdapter

from shared.errors import FlowRunnerError, NextAction, SessionExpired
from shared.model.connections import Reason
from shared.salesforce.faults import Fault, FaultKind, classify, error_of
from shared.salesforce.replies import DEPTH_MAX, read_json

PATHS = st.one_of(
    st.text(),
    st.sampled_from(
        [
            "/services/oauth2/token",
            "/services/oauth2/revoke",
            "/services/oauth2/",
            "/services/data/v66.0/actions/custom/flow",
            "/services/data/v66.0/actions/custom/flow/Create_Case",
            "/services/data/v66.0/composite",
        ]
    ),
)
WORDS = st.sampled_from(
    [
        "error", "error_description", "errorCode", "message", "isSuccess", "errors", "outputValues", "statusCode", "id",
        "compositeResponse", "httpStatusCode", "body", "Flow__InterviewStatus", "access_token", "invalid_grant",
    ]
)  # fmt: skip
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), WORDS),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS | st.text(), inner, max_size=5),
    max_leaves=25,
)
BODIES = st.one_of(st.text(), st.text(st.characters(exclude_categories=())), VALUES.map(json.dumps))
HEADERS = st.dictionaries(st.one_of(st.text(), st.just("Retry-After")), st.text(), max_size=3)
STATUSES = st.one_of(st.integers(), st.integers(100, 600), st.sampled_from([200, 204, 304, 400, 401, 403, 404, 500]))

DEEP = 200_000


@given(STATUSES, HEADERS, BODIES, PATHS)
@example(200, {}, "[" * DEEP, "/services/oauth2/token")
@example(200, {}, '{"compositeResponse":' * 500 + "[]" + "}" * 500, "")
@example(400, {}, '[{"errorCode":' * 900, "")
@example(200, {}, '{"a":' * DEEP, "/services/data/v66.0/actions/custom/flow/A")
@example(200, {}, "9" * 10_000, "")
@example(200, {}, "1e999999999", "")
@example(200, {}, "NaN", "")
@example(200, {}, '"\\ud800"', "")
@example(400, {}, '[{"errorCode":"\\ud800","message":"\\udfff"}]', "")
@example(10**5000, {}, "{}", "")
@example(-(10**5000), {}, "", "")
@example(503, {"retry-after": "9" * 5_000}, "", "")
@example(200, {}, "\x00", "")
@example(200, {}, "\ufeff{}", "")
def test_classify_never_raises(status: int, headers: dict[str, str], body: str, path: str) -> None:
    fault = classify(status, headers, body, path)
    if fault is None:
        assert 200 <= status < 300 or status == 304
        return
    assert isinstance(fault.kind, FaultKind)
    assert fault.cause is None or isinstance(fault.cause, Reason)
    assert re.fullmatch(r"([A-Z][A-Z0-9_]*|[a-z][a-z0-9_]*)?", fault.code)
    assert len(fault.code) <= 80
    assert fault.retry_after is None or 0 <= fault.retry_after <= 3600
    assert not fault.message or fault.kind is FaultKind.FLOW_ERROR
    fault.message.encode()
    assert isinstance(error_of(fault), FlowRunnerError | SessionExpired)


@given(STATUSES, BODIES, PATHS)
@example(403, '[{"errorCode":"INVALID_SESSION_ID"}]', "/services/data/v66.0/actions/custom/flow/Create_Case")
@example(403, "Wrong_Org", "/services/data/v66.0/actions/custom/flow/Create_Case")
def test_only_a_401_says_that_a_session_is_over(status: int, body: str, path: str) -> None:
    fault = classify(status, {}, body, path)
    elsewhere = "/services/oauth2/userinfo" in path or "compositeResponse" in body
    assert status == 401 or elsewhere or fault is None or fault.kind is not FaultKind.SESSION_EXPIRED


@given(STATUSES, BODIES)
@example(403, "Missing_OAuth_Token")
@example(200, '{"compositeResponse":[{"httpStatusCode":404,"body":[{"errorCode":"NOT_FOUND"}]}]}')
@example(403, '[{"errorCode":"INSUFFICIENT_ACCESS"}]')
def test_the_token_endpoint_speaks_neither_of_flows_nor_of_inputs_nor_of_sessions(status: int, body: str) -> None:
    fault = classify(status, {}, body, "/services/oauth2/token")
    foreign = {FaultKind.SESSION_EXPIRED, FaultKind.FORBIDDEN, FaultKind.NOT_FOUND, FaultKind.CALLER_ERROR}
    assert fault is None or fault.kind not in foreign


@given(STATUSES, BODIES, PATHS)
def test_classify_answers_the_same_each_time(status: int, body: str, path: str) -> None:
    assert classify(status, {}, body, path) == classify(status, {}, body, path)


@given(BODIES)
def test_what_is_read_can_be_written_again(body: str) -> None:
    try:
        value = read_json(body)
    except ValueError:
        return
    json.dumps(value, ensure_ascii=False, allow_nan=False).encode()


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e999", "[" * DEEP, "9" * 5_000, "", "{,}"])
def test_what_nobody_could_write_is_no_json(text: str) -> None:
    with pytest.raises(ValueError):
        read_json(text)


def nested(depth: int) -> str:
    return '{"a":[' * (depth // 2) + "[" * (depth % 2) + "]" * (depth % 2) + "]}" * (depth // 2)


@pytest.mark.parametrize("depth", [DEPTH_MAX, DEPTH_MAX - 1])
def test_the_deepest_json_that_is_read_can_be_answered_with(depth: int) -> None:
    any_json: TypeAdapter[JsonValue] = TypeAdapter(JsonValue)
    value = any_json.validate_python(read_json(nested(depth)))
    assert any_json.dump_json({"outputs": {"deep": {"deep": {"deep": value}}}})


@pytest.mark.parametrize("depth", [DEPTH_MAX + 1, 251, 254, 900])
def test_deeper_json_is_no_json(depth: int) -> None:
    with pytest.raises(ValueError, match="nested too deeply"):
        read_json(nested(depth))


def test_half_a_surrogate_pair_becomes_a_question_mark_and_a_whole_one_stays() -> None:
    assert read_json('["\\ud83d\\ude00", "\\uD83D", {"\\udc00": 1}]') == ["\U0001f600", "?", {"?": 1}]


@pytest.mark.parametrize("kind", list(FaultKind))
def test_every_kind_has_an_error_in_our_own_words(kind: FaultKind) -> None:
    error = error_of(Fault(kind, "CANARY_CODE", Reason.IP_RESTRICTED, 30, "canary message"))
    assert "canary" not in f"{error} {error!r} {vars(error)}".lower()


@pytest.mark.parametrize(
    ("kind", "slug"),
    [
        (FaultKind.RECONNECT, "reconnect-needed"),
        (FaultKind.UNEXPLAINED, "attempt-spent"),
        (FaultKind.REFRESH_CONTENTION, "salesforce-unavailable"),
        (FaultKind.RESTART_CONNECT, "attempt-spent"),
        (FaultKind.USER_BLOCKED, "org-setup"),
        (FaultKind.CONFIGURATION, "org-setup"),
        (FaultKind.ORG_LIMIT, "org-limit"),
        (FaultKind.FORBIDDEN, "flow-forbidden"),
        (FaultKind.NOT_FOUND, "flow-not-found"),
        (FaultKind.CALLER_ERROR, "invalid-input"),
        (FaultKind.CONTENTION, "salesforce-unavailable"),
        (FaultKind.FLOW_ERROR, "salesforce-unusable"),
        (FaultKind.PENDING, "salesforce-unusable"),
        (FaultKind.UPSTREAM_DOWN, "salesforce-unavailable"),
        (FaultKind.UNUSABLE, "salesforce-unusable"),
        (FaultKind.ALREADY_GONE, "reconnect-needed"),
    ],
)
def test_each_kind_has_its_error(kind: FaultKind, slug: str) -> None:
    error = error_of(Fault(kind))
    assert isinstance(error, FlowRunnerError)
    assert error.slug == slug


def test_a_dead_session_is_for_a_refresh_alone() -> None:
    assert isinstance(error_of(Fault(FaultKind.SESSION_EXPIRED)), SessionExpired)


@pytest.mark.parametrize("cause", list(Reason))
def test_a_cause_is_told_and_only_ours_is_no_matter_of_the_admin(cause: Reason) -> None:
    error = error_of(Fault(FaultKind.CONFIGURATION, cause=cause))
    assert isinstance(error, FlowRunnerError)
    assert error.members == {"cause": cause}
    ours = cause.startswith("our-")
    assert error.slug == ("salesforce-unusable" if ours else "org-setup")
    assert error.next_action is (NextAction.NONE if ours else NextAction.ASK_ADMIN)


def test_an_outage_and_a_limit_say_when_to_come_back() -> None:
    for kind in (FaultKind.UPSTREAM_DOWN, FaultKind.ORG_LIMIT):
        error = error_of(Fault(kind, retry_after=77))
        assert isinstance(error, FlowRunnerError)
        assert error.retry_after == 77
