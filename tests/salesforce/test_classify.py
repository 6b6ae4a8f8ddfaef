"""Every row of the contract's tables (2.7, 2.8, 3.2, 3.3, 3.5) means one thing, whatever shape it comes in."""

import json
from collections.abc import Callable

import pytest

from shared.devkit.salesforce.answers import NAMED
from shared.model.connections import Reason
from shared.salesforce.faults import Fault, FaultKind, classify

K, C = FaultKind, Reason
TOKEN, REVOKE, USERINFO = (f"/services/oauth2/{name}" for name in ("token", "revoke", "userinfo"))
LIST = "/services/data/v66.0/actions/custom/flow"
FLOW = f"{LIST}/Create_Case"
PAGE = "<html><body>We are down for maintenance.</body></html>"


def judged(status: int, body: object, path: str = FLOW) -> Fault | None:
    return classify(status, {}, body if isinstance(body, str) else json.dumps(body), path)


def kind(status: int, body: object, path: str = FLOW) -> FaultKind | None:
    fault = judged(status, body, path)
    return fault.kind if fault else None


def oauth(error: str, description: str | None = None) -> dict[str, str]:
    return {"error": error} if description is None else {"error": error, "error_description": description}


def rest(code: str, message: str = "x") -> list[dict[str, object]]:
    return [{"message": message, "errorCode": code, "fields": []}]


def result(*, success: object = True, **members: object) -> dict[str, object]:
    return {"actionName": "Create_Case", "errors": None, "isSuccess": success, "outputValues": None, **members}


# OAuth: contract 2.7 and 2.8


@pytest.mark.parametrize("status", [400, 401, 403])
@pytest.mark.parametrize(
    ("error", "description", "expected", "cause"),
    [
        ("invalid_grant", "expired access/refresh token", K.RECONNECT, None),
        ("invalid_grant", "token request is already being processed", K.REFRESH_CONTENTION, None),
        ("invalid_grant", "expired authorization code", K.CODE_EXPIRED, None),
        ("invalid_grant", "invalid authorization code", K.RESTART_CONNECT, None),
        ("invalid_grant", "invalid code verifier", K.RESTART_CONNECT, None),
        ("invalid_grant", "code_verifier missing", K.RESTART_CONNECT, None),
        ("invalid_request", "invalid code verifier", K.RESTART_CONNECT, None),
        ("invalid_grant", "inactive user", K.USER_BLOCKED, C.USER_BLOCKED),
        ("invalid_grant", "inactive organization", K.USER_BLOCKED, C.USER_BLOCKED),
        ("invalid_grant", "user is locked", K.USER_BLOCKED, C.USER_BLOCKED),
        ("invalid_grant", "user is frozen", K.USER_BLOCKED, C.USER_BLOCKED),
        ("invalid_grant", "ip restricted", K.CONFIGURATION, C.IP_RESTRICTED),
        ("invalid_grant", "ip restricted by app developer", K.CONFIGURATION, C.OUR_ADDRESS),
        ("invalid_grant", "authentication failure", K.UNEXPLAINED, C.UNEXPLAINED),
        ("invalid_grant", "activation secret invalid", K.UNEXPLAINED, C.UNEXPLAINED),
        ("invalid_grant", "something that nobody has seen", K.UNEXPLAINED, C.UNEXPLAINED),
        ("invalid_grant", None, K.UNEXPLAINED, C.UNEXPLAINED),
        ("invalid_client_id", "client identifier invalid", K.CONFIGURATION, C.OUR_CREDENTIALS),
        ("invalid_client", "invalid client credentials", K.CONFIGURATION, C.OUR_CREDENTIALS),
        ("invalid_client_credentials", None, K.CONFIGURATION, C.OUR_CREDENTIALS),
        ("unsupported_grant_type", "grant type not supported", K.CONFIGURATION, C.OUR_REQUEST),
        ("invalid_request", None, K.CONFIGURATION, C.OUR_REQUEST),
        ("redirect_uri_mismatch", "x", K.CONFIGURATION, C.OUR_REQUEST),
        ("invalid_scope", "x", K.CONFIGURATION, C.OUR_REQUEST),
        ("rate_limit_exceeded", None, K.ORG_LIMIT, C.LOGIN_LIMIT),
        ("invalid_grant", "login rate exceeded", K.ORG_LIMIT, C.LOGIN_LIMIT),
        ("unheard_of", "login rate exceeded", K.ORG_LIMIT, C.LOGIN_LIMIT),
        ("server_error", None, K.UPSTREAM_DOWN, None),
        ("temporarily_unavailable", "x", K.UPSTREAM_DOWN, None),
        ("OAUTH_APP_BLOCKED", "x", K.CONFIGURATION, C.APP_BLOCKED),
        ("OAUTH_EC_APP_NOT_FOUND", None, K.CONFIGURATION, C.APP_NOT_INSTALLED),
        ("OAUTH_APP_ACCESS_DENIED", None, K.CONFIGURATION, C.APP_NOT_ALLOWED),
        ("unheard_of", None, K.UNUSABLE, None),
    ],
)
def test_a_token_error_means(
    status: int, error: str, description: str | None, expected: FaultKind, cause: Reason | None
) -> None:
    fault = judged(status, oauth(error, description), TOKEN)
    assert fault is not None
    assert (fault.kind, fault.cause, fault.code, fault.message) == (expected, cause, error, "")
    assert (fault.retry_after is not None) == (expected in {K.ORG_LIMIT, K.UPSTREAM_DOWN})


def test_a_description_is_read_in_any_letter_case() -> None:
    assert kind(400, oauth("invalid_grant", "Expired Authorization Code"), TOKEN) is K.CODE_EXPIRED


@pytest.mark.parametrize("body", [oauth("invalid_grant", "expired access/refresh token"), PAGE, "", "x", [], None])
@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_an_outage_of_the_token_endpoint_is_never_taken_for_a_dead_token(status: int, body: object) -> None:
    assert kind(status, body, TOKEN) is K.UPSTREAM_DOWN


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (429, ""),
        (429, {}),
        (429, {"error": "invalid_grant", "error_description": "expired access/refresh token"}),
        (420, "x"),
        (420, {"error": "unheard_of"}),
        (400, PAGE),
        (401, PAGE),
        (200, PAGE),
    ],
)
def test_too_many_calls_and_pages_for_people_are_an_outage(status: int, body: object) -> None:
    assert kind(status, body, TOKEN) is K.UPSTREAM_DOWN


@pytest.mark.parametrize("status", [400, 403, 420, 429])
def test_a_login_rate_is_a_limit_at_any_status(status: int) -> None:
    assert kind(status, oauth("rate_limit_exceeded", "login rate exceeded"), TOKEN) is K.ORG_LIMIT


def test_a_token_answer_has_no_parts() -> None:
    assert kind(200, composite(part(404, rest("NOT_FOUND"))), TOKEN) is K.UNUSABLE


@pytest.mark.parametrize("body", ["", "x", {}, [], {"error": 7}, {"error_description": "inactive user"}])
def test_a_token_error_without_a_word_is_unusable(body: object) -> None:
    assert kind(400, body, TOKEN) is K.UNUSABLE


@pytest.mark.parametrize("missing", ["id", "access_token"])
def test_a_token_answer_without_identity_or_token_is_unusable(missing: str) -> None:
    answer = {"access_token": "a", "refresh_token": "r", "id": "https://login.salesforce.com/id/x/y"}
    assert kind(200, answer, TOKEN) is None
    assert kind(200, {name: text for name, text in answer.items() if name != missing}, TOKEN) is K.UNUSABLE
    assert kind(200, answer | {missing: None}, TOKEN) is K.UNUSABLE


@pytest.mark.parametrize("body", ["", "null", "[]", '"text"', "{}", "not json"])
def test_a_token_answer_that_is_no_object_is_unusable(body: str) -> None:
    assert kind(200, body, TOKEN) is K.UNUSABLE


def test_a_revocation_answers_with_nothing() -> None:
    assert kind(200, "", REVOKE) is None


def test_revoking_an_unknown_token_finds_it_already_gone() -> None:
    assert kind(400, oauth("invalid_token", "the token is unknown"), REVOKE) is K.ALREADY_GONE
    assert kind(400, oauth("invalid_token"), TOKEN) is K.UNUSABLE


def test_revoking_a_token_of_a_wrong_kind_is_our_mistake() -> None:
    fault = judged(400, oauth("unsupported_token_type"), REVOKE)
    assert fault is not None
    assert (fault.kind, fault.cause) == (K.CONFIGURATION, C.OUR_REQUEST)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("Bad_OAuth_Token", K.SESSION_EXPIRED),
        ("Wrong_Org", K.SESSION_EXPIRED),
        ("Missing_OAuth_Token", K.CALLER_ERROR),
        ("Something_Else", K.UNUSABLE),
    ],
)
def test_userinfo_speaks_in_single_words(word: str, expected: FaultKind) -> None:
    assert kind(403, word, USERINFO) is expected


@pytest.mark.parametrize("word", ["Bad_OAuth_Token", "Wrong_Org", "Missing_OAuth_Token"])
@pytest.mark.parametrize("status", [400, 403, 404])
def test_the_words_of_userinfo_mean_nothing_elsewhere(status: int, word: str) -> None:
    assert [kind(status, word, path) for path in (FLOW, LIST, TOKEN, REVOKE)] == [K.UNUSABLE] * 4


def test_a_401_is_a_dead_session_whatever_it_says() -> None:
    for word in ("Bad_OAuth_Token", "Missing_OAuth_Token", "Access Declined", ""):
        assert kind(401, word, FLOW) is K.SESSION_EXPIRED


# REST: contract 3.3


@pytest.mark.parametrize(
    ("status", "code", "message", "expected", "cause"),
    [
        (401, "INVALID_SESSION_ID", "Session expired or invalid", K.SESSION_EXPIRED, None),
        (
            401,
            "INVALID_SESSION_ID",
            "This session is not valid for use with the REST API",
            K.CONFIGURATION,
            C.SESSION_NOT_FOR_REST,
        ),
        (400, "INVALID_SESSION_ID", "Session expired or invalid", K.UNUSABLE, None),
        (403, "INVALID_SESSION_ID", "Session expired or invalid", K.UNUSABLE, None),
        (404, "INVALID_SESSION_ID", "x", K.UNUSABLE, None),
        (401, "INVALID_AUTH_HEADER", "INVALID_HEADER_TYPE", K.CONFIGURATION, C.OUR_REQUEST),
        (403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.", K.ORG_LIMIT, None),
        (403, "REQUEST_LIMIT_EXCEEDED", "ConcurrentRequests (Concurrent API Requests) Limit", K.ORG_LIMIT, None),
        (403, "REQUEST_LIMIT_EXCEEDED", "ConcurrentPerOrgLongTxn Limit exceeded.", K.ORG_LIMIT, None),
        (403, "API_DISABLED_FOR_ORG", "x", K.CONFIGURATION, C.API_DISABLED),
        (403, "API_CURRENTLY_DISABLED", "x", K.CONFIGURATION, C.API_DISABLED),
        (403, "FUNCTIONALITY_NOT_ENABLED", "x", K.CONFIGURATION, C.API_DISABLED),
        (403, "INSUFFICIENT_ACCESS", "x", K.FORBIDDEN, None),
        (403, "INSUFFICIENT_ACCESS_OR_READONLY", "x", K.FORBIDDEN, None),
        (404, "NOT_FOUND", "The requested resource does not exist", K.NOT_FOUND, None),
        (400, "MALFORMED_ID", "x", K.CALLER_ERROR, None),
        (400, "INVALID_FIELD", "x", K.CALLER_ERROR, None),
        (400, "JSON_PARSER_ERROR", "x", K.CALLER_ERROR, None),
        (400, "MALFORMED_QUERY", "x", K.CALLER_ERROR, None),
        (400, "INVALID_TYPE", "x", K.CALLER_ERROR, None),
        (400, "REQUIRED_FIELD_MISSING", "x", K.CALLER_ERROR, None),
        (400, "UNABLE_TO_LOCK_ROW", "x", K.CONTENTION, None),
        (400, "CANNOT_EXECUTE_FLOW_TRIGGER", "x", K.FLOW_ERROR, None),
        (400, "FIELD_CUSTOM_VALIDATION_EXCEPTION", "x", K.FLOW_ERROR, None),
        (400, "DUPLICATES_DETECTED", "x", K.FLOW_ERROR, None),
        (503, "SERVER_UNAVAILABLE", "Server too busy", K.UPSTREAM_DOWN, None),
        (500, "UNKNOWN_EXCEPTION", "x", K.UPSTREAM_DOWN, None),
        (502, "INVALID_FIELD", "x", K.UPSTREAM_DOWN, None),
        (300, "DUPLICATE_EXTERNAL_ID", "x", K.CALLER_ERROR, None),
        (403, "UNHEARD_OF", "x", K.FORBIDDEN, None),
        (401, "UNHEARD_OF", "x", K.SESSION_EXPIRED, None),
        (404, "UNHEARD_OF", "x", K.NOT_FOUND, None),
        (414, "UNHEARD_OF", "x", K.CALLER_ERROR, None),
        (431, "UNHEARD_OF", "x", K.CALLER_ERROR, None),
        (405, "METHOD_NOT_ALLOWED", "x", K.UNUSABLE, None),
    ],
)
def test_a_rest_error_means(status: int, code: str, message: str, expected: FaultKind, cause: Reason | None) -> None:
    fault = judged(status, rest(code, message))
    assert fault is not None
    assert (fault.kind, fault.cause) == (expected, cause)
    assert fault.code == ("" if expected is K.UPSTREAM_DOWN else code)
    assert fault.message == (message if expected in {K.FLOW_ERROR, K.CONTENTION} else "")


@pytest.mark.parametrize("status", [420, 429, 500, 502, 503, 504, 599, 600])
@pytest.mark.parametrize("body", ["", PAGE, "{}", "[]", "Service Unavailable"])
def test_an_outage_is_an_outage_in_any_shape(status: int, body: str) -> None:
    assert kind(status, body) is K.UPSTREAM_DOWN


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (401, K.SESSION_EXPIRED),
        (403, K.FORBIDDEN),
        (404, K.NOT_FOUND),
        (414, K.CALLER_ERROR),
        (431, K.CALLER_ERROR),
        (300, K.CALLER_ERROR),
        (400, K.UNUSABLE),
        (302, K.UNUSABLE),
        (308, K.UNUSABLE),
        (100, K.UNUSABLE),
        (0, K.UNUSABLE),
        (-1, K.UNUSABLE),
    ],
)
@pytest.mark.parametrize("body", ["", "Access Declined", "[]", "{}", "7"])
def test_without_a_code_the_status_speaks(status: int, expected: FaultKind, body: str) -> None:
    assert kind(status, body, LIST) is expected


def test_the_daily_limit_is_waited_for_longer_than_the_other() -> None:
    daily = judged(403, rest("REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded."))
    concurrent = judged(403, rest("REQUEST_LIMIT_EXCEEDED", "ConcurrentRequests Limit exceeded."))
    assert daily is not None
    assert concurrent is not None
    assert (daily.retry_after, concurrent.retry_after) == (3600, 30)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("120", 120), ("7", 7), ("9999", 3600), ("99999", 30), ("-1", 30), ("soon", 30), ("1.5", 30), ("\u0661", 30)],
)
def test_an_outage_says_when_to_come_back(header: str, seconds: int) -> None:
    fault = classify(503, {"Server": "x", "retry-AFTER": header}, "", LIST)
    assert fault is not None
    assert fault.retry_after == seconds


def test_of_several_errors_the_one_that_we_know_decides() -> None:
    assert kind(400, rest("UNHEARD_OF") + rest("UNABLE_TO_LOCK_ROW")) is K.CONTENTION


@pytest.mark.parametrize("body", [[{"errorCode": "NOT_FOUND"}], {"errorCode": "NOT_FOUND", "message": 7}])
def test_an_error_may_lack_everything_but_its_code(body: object) -> None:
    assert kind(404, body) is K.NOT_FOUND


def test_an_unknown_code_comes_from_the_org_only_at_a_flows_address() -> None:
    assert kind(400, rest("DUPLICATES_DETECTED"), FLOW) is K.FLOW_ERROR
    assert kind(400, rest("DUPLICATES_DETECTED"), LIST) is K.CALLER_ERROR


def test_the_shape_counts_more_than_the_address() -> None:
    assert kind(400, oauth("invalid_grant", "expired access/refresh token"), LIST) is K.RECONNECT
    assert kind(400, [result(success=False)], "") is K.FLOW_ERROR


# Actions: contract 3.5


@pytest.mark.parametrize("wrap", [lambda r: [r], lambda r: r], ids=["list", "object"])
@pytest.mark.parametrize("status", [200, 400, 500])
def test_a_failed_result_is_a_flow_error_at_any_status(status: int, wrap: Callable[[object], object]) -> None:
    errors = [{"statusCode": "UNKNOWN_EXCEPTION", "message": "It broke.", "fields": []}]
    fault = judged(status, wrap(result(success=False, errors=errors)))
    assert fault == Fault(K.FLOW_ERROR, "UNKNOWN_EXCEPTION", message="It broke.")


@pytest.mark.parametrize("errors", [None, [], [7], "x", {}, [{"statusCode": 7, "message": []}]])
def test_a_failed_result_may_say_nothing(errors: object) -> None:
    assert judged(400, [result(success=False, errors=errors)]) == Fault(K.FLOW_ERROR)


@pytest.mark.parametrize("outputs", [None, {}, {"caseId": "500"}, {"Flow__InterviewStatus": "Finished"}])
def test_a_finished_flow_is_usable(outputs: object) -> None:
    assert kind(200, [result(outputValues=outputs)]) is None


@pytest.mark.parametrize("status", ["Waiting", "Created", "Started", "Paused", 7, [], {}])
def test_a_flow_that_has_not_finished_is_pending(status: object) -> None:
    assert kind(200, [result(outputValues={"Flow__InterviewStatus": status})]) is K.PENDING


def test_a_success_whose_interview_faulted_is_a_flow_error() -> None:
    assert kind(200, [result(outputValues={"Flow__InterviewStatus": "Error"})]) is K.FLOW_ERROR


def test_outputs_with_the_names_of_the_envelope_decide_nothing() -> None:
    outputs = {"isSuccess": False, "errors": ["x"], "ErrorMessage": "x", "error": "x", "errorCode": "X"}
    assert kind(200, [result(outputValues=outputs)]) is None


@pytest.mark.parametrize("success", [None, "true", 1, [], "false"])
def test_a_success_that_is_no_true_is_unusable(success: object) -> None:
    assert kind(200, [result(success=success)]) is K.UNUSABLE


def test_a_success_under_an_error_status_is_not_believed() -> None:
    assert kind(400, [result()]) is K.UNUSABLE
    assert kind(500, [result()]) is K.UPSTREAM_DOWN


@pytest.mark.parametrize("body", ["[]", "null", "7", '"x"', "[7]"])
def test_a_run_without_a_result_is_unusable(body: str) -> None:
    assert kind(200, body, FLOW) is K.UNUSABLE


def test_a_later_failed_result_is_found() -> None:
    assert kind(200, [result(), result(success=False)]) is K.FLOW_ERROR


def test_a_message_is_cut_and_shows_only_what_can_be_printed() -> None:
    message = "a\x00b\n\u202ec\ud800" + "x" * 2_000
    fault = judged(400, [result(success=False, errors=[{"message": message}])])
    assert fault is not None
    assert fault.message == "a b  c?" + "x" * 993


@pytest.mark.parametrize("code", ["a b", "X" * 81, "<b>", "A-B", "", "\u0410BC", "Ab", "secret@example.com"])
def test_a_code_that_is_no_code_is_not_passed_on(code: str) -> None:
    fault = judged(400, rest(code))
    assert fault is not None
    assert fault.code == ""


def test_a_fault_does_not_show_its_message() -> None:
    assert "canary" not in repr(judged(400, [result(success=False, errors=[{"message": "canary"}])]))


# Composite and usable answers


def composite(*parts: object) -> dict[str, object]:
    return {"compositeResponse": list(parts)}


def part(status: object, body: object) -> dict[str, object]:
    return {"body": body, "httpHeaders": {}, "httpStatusCode": status, "referenceId": "x"}


@pytest.mark.parametrize(
    ("failed", "expected"),
    [
        (part(404, rest("NOT_FOUND")), K.NOT_FOUND),
        (part(401, rest("INVALID_SESSION_ID")), K.SESSION_EXPIRED),
        (part(400, [result(success=False)]), K.FLOW_ERROR),
        (part(200, [result(success=False)]), K.FLOW_ERROR),
        (part(503, None), K.UPSTREAM_DOWN),
        (part(None, {}), K.UNUSABLE),
        (part("200", {}), K.UNUSABLE),
        (7, K.UNUSABLE),
    ],
)
def test_a_failed_part_is_the_composites_fault(failed: object, expected: FaultKind) -> None:
    assert kind(200, composite(part(200, {"Id": "x"}), failed)) is expected


def test_a_composite_of_good_parts_is_usable() -> None:
    good = (part(200, {"a": 1}), part(201, []), part(204, None), part(304, None), part(200, [result()]))
    assert kind(200, composite(*good), "/services/data/v66.0/composite") is None
    assert kind(200, composite(), "/services/data/v66.0/composite") is None


@pytest.mark.parametrize(
    ("status", "body", "path"),
    [
        (204, "", FLOW),
        (304, "", LIST),
        (204, PAGE, TOKEN),
        (200, "[]", LIST),
        (200, "{}", LIST),
        (200, '{"actions":[]}', LIST),
        (200, '{"name":"Create_Case","inputs":[],"outputs":[]}', FLOW),
        (200, "[]", "/services/data"),
        (201, "{}", "/services/data/v66.0/sobjects/Case"),
        (200, '{"active":false}', "/services/oauth2/introspect"),
    ],
)
def test_a_usable_answer_is_no_fault(status: int, body: str, path: str) -> None:
    assert kind(status, body, path) is None


@pytest.mark.parametrize(("body", "expected"), [(PAGE, K.UPSTREAM_DOWN), ("", K.UNUSABLE), ("OK", K.UNUSABLE)])
def test_a_success_that_is_no_json_is_a_fault(body: str, expected: FaultKind) -> None:
    assert kind(200, body, FLOW) is expected
    assert kind(200, body, LIST) is expected


def test_a_page_is_known_whatever_its_content_type_says() -> None:
    fault = classify(200, {"Content-Type": "application/json"}, "\ufeff\r\n <!DOCTYPE html>", LIST)
    assert fault is not None
    assert fault.kind is K.UPSTREAM_DOWN


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("oauth-object", K.RECONNECT),
        ("rest-list", K.CALLER_ERROR),
        ("action-result", K.FLOW_ERROR),
        ("action-result-500", K.FLOW_ERROR),
        ("html", K.UPSTREAM_DOWN),
        ("plain-text", K.UNUSABLE),
        ("composite", K.NOT_FOUND),
        ("empty", K.UPSTREAM_DOWN),
    ],
)
def test_each_of_the_six_shapes_is_read(name: str, expected: FaultKind) -> None:
    answer = NAMED[name]
    assert kind(answer.status, answer.body.decode(), FLOW) is expected
