"""What a request may hold: sizes, media types, strict JSON, pointers, the Idempotency-Key."""

import json
from collections.abc import Mapping
from contextlib import suppress

import azure.functions as func
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from functions._http import reply
from functions._reading import BODY_MAX, HEADERS_MAX, bearer, idempotency_key, read, signed
from shared.errors import IdempotencyKeyNeeded, InputRefused, MalformedRequest, NotJson
from shared.model.answers import HealthView
from shared.model.body import Body
from shared.model.requests import BeginConnection, CompleteConnection, EnrolTenant, RunFlowBody
from tests.edge.edge_fixtures import JSON, Desk, ask, canary, document, everything, fine

BODIES: dict[str, type[Body]] = {
    "begin": BeginConnection,
    "complete": CompleteConnection,
    "run": RunFlowBody,
    "enrol": EnrolTenant,
}


def post(body: bytes | str, headers: Mapping[str, str] = JSON) -> func.HttpRequest:
    return ask("POST", headers=headers, body=body.encode() if isinstance(body, str) else body)


def answer_to(body: bytes | str, model: type[Body] = RunFlowBody) -> func.HttpResponse:
    """What a client gets whose body is read as that model."""

    def reading(req: func.HttpRequest) -> func.HttpResponse:
        read(req, model)
        return reply(204)

    return Desk().edge().answers(reading)(post(body))


def pointers(body: bytes | str, model: type[Body] = RunFlowBody) -> list[JsonValue]:
    """The places that the problem names."""
    named = document(answer_to(body, model))["errors"]
    assert isinstance(named, list)
    return [each["pointer"] for each in named if isinstance(each, dict)]


# Sizes


def sized_headers(size: int) -> dict[str, str]:
    """Headers that count as exactly so many bytes: name, colon, blank, value, line end."""
    return {"X-Filler": "x" * (size - len("X-Filler: \r\n"))}


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        pytest.param(ask("POST", body=b"x" * BODY_MAX), 200, id="256 KB of body"),
        pytest.param(ask("POST", body=b"x" * (BODY_MAX + 1)), 413, id="a byte more"),
        pytest.param(ask(headers=sized_headers(HEADERS_MAX)), 200, id="24 KB of headers"),
        pytest.param(ask(headers=sized_headers(HEADERS_MAX + 1)), 431, id="a byte more of them"),
        pytest.param(ask(headers={"X-Filler": "\u20ac" * (HEADERS_MAX // 3)}), 431, id="bytes are counted, not signs"),
    ],
)
def test_a_request_is_taken_up_to_its_limit_and_not_beyond(request_: func.HttpRequest, status: int) -> None:
    assert Desk().edge().answers(fine)(request_).status_code == status


def test_an_oversized_request_reaches_no_handler() -> None:
    reached: list[func.HttpRequest] = []

    def noting(req: func.HttpRequest) -> func.HttpResponse:
        reached.append(req)
        return reply(204)

    Desk().edge().answers(noting)(ask("POST", body=b"x" * (BODY_MAX + 1)))
    assert reached == []


# Media types


JSON_TYPES = [
    *("application/json", "Application/JSON", " application/json ", "application/json;charset=UTF-8"),
    *("application/json; charset=utf-8", 'application/json; charset="utf-8"'),
]
OTHER_TYPES = [
    *("", "text/plain", "text/json", "application/jsonp", "application/problem+json", "application/json, text/plain"),
    *("application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/json; charset=utf-16"),
    *("application/json; charset=utf-8; charset=utf-16", 'application/json; charset="utf-8'),
    *("application/j\u017fon", "application/json\n;charset=utf-8"),
]


@pytest.mark.parametrize("media_type", JSON_TYPES)
def test_json_may_be_announced_in_each_usual_way(media_type: str) -> None:
    assert read(post("{}", {"Content-Type": media_type}), RunFlowBody) == RunFlowBody()


@pytest.mark.parametrize("media_type", OTHER_TYPES)
def test_a_body_of_another_media_type_is_not_read(media_type: str) -> None:
    with pytest.raises(NotJson):
        read(post("{}", {"Content-Type": media_type}), RunFlowBody)


def test_a_body_of_no_media_type_is_not_read() -> None:
    with pytest.raises(NotJson):
        read(post("{}", {}), RunFlowBody)


# Strict JSON


def one(value: bytes) -> bytes:
    """A body with that value for one input."""
    return b'{"inputs":{"a":' + value + b"}}"


NOT_STRICT: dict[str, list[bytes]] = {
    "nothing": [b"", b" \n"],
    "coded otherwise": [
        b"\xef\xbb\xbf{}",
        "{}".encode("utf-16"),
        one(b'"\xff"'),
        one(b'"\xc0\xaf"'),
        one(b'"\xed\xa0\x80"'),
    ],
    "half a surrogate pair": [one(b'"\\ud800"'), b'{"inputs":{"\\udfff":1}}'],
    "no number of JSON": [one(n) for n in (b"NaN", b"Infinity", b"-Infinity", b"01", b"+1", b"0x10", b"1.", b".5")],
    "a number beyond all": [one(b"1e400"), one(b"-1E+400"), one(b"9" * 5_000)],
    "no text of JSON": [one(b'"\n"'), one(b'"\\x41"'), one(b"'x'"), one(b'"x')],
    "more than a document": [b'{"inputs":{},}', b'{"inputs":{}} // note', b"{}{}", b"{}\x00"],
    "too deep": [one(b"[" * 300 + b"]" * 300), b"[" * 100_000, b'{"a":' * 40_000 + b"1" + b"}" * 40_000],
}


@pytest.mark.parametrize(
    "body", [pytest.param(body, id=f"{why}: {body[:24]!r}") for why, bodies in NOT_STRICT.items() for body in bodies]
)
def test_what_parsers_read_differently_is_refused_as_a_whole(body: bytes) -> None:
    with pytest.raises(MalformedRequest):
        read(post(body), RunFlowBody)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        pytest.param('{"inputs":{},"inputs":{}}', "/inputs", id="at the root"),
        pytest.param('{"inputs":{"a":1,"a":1}}', "/inputs/a", id="with the same value"),
        pytest.param('{"inputs":{"a":{"b":{"c":1,"c":2}}}}', "/inputs/a/b/c", id="three objects deep"),
        pytest.param('{"inputs":{"a":[{},{"b":1,"b":2}]}}', "/inputs/a/1/b", id="in a list"),
        pytest.param('{"email":{"to":["x",{"name":"1","name":"2"}]}}', "/email/to/1/name", id="in a mailbox"),
        pytest.param('{"inputs":{"a":1,"\\u0061":2}}', "/inputs/a", id="spelled as an escape"),
        pytest.param('{"inputs":{"a b":1,"a b":2}}', "/inputs", id="of an odd name, which is not repeated"),
        pytest.param('{"odd name":{"a":1,"a":2}}', "", id="below an odd name, which is not repeated"),
        pytest.param('{"a":1,"b":{"c":1,"c":2},"b":[]}', "/b", id="hidden by the later one"),
    ],
)
def test_a_name_that_stands_twice_is_pointed_at(body: str, pointer: str) -> None:
    with pytest.raises(MalformedRequest) as caught:
        read(post(body), RunFlowBody)
    assert [(e.pointer, e.why) for e in caught.value.errors] == [(pointer, "stands twice")]


def test_a_text_cut_in_the_middle_of_a_character_is_pointed_at() -> None:
    with pytest.raises(MalformedRequest) as caught:
        read(post('{"email": {"subject": "All good \\ud83d"}}'), RunFlowBody)
    assert [e.pointer for e in caught.value.errors] == ["/email/subject"]


# Pointers

BEGIN = {"environment": "sandbox", "channel": "outlook"}


@pytest.mark.parametrize(
    ("model", "body", "pointer"),
    [
        pytest.param(BeginConnection, {"channel": "outlook"}, "/environment", id="a missing member"),
        pytest.param(BeginConnection, BEGIN | {"environment": "Canary"}, "/environment", id="a value of no list"),
        pytest.param(BeginConnection, BEGIN | {"myDomain": 7}, "/myDomain", id="a number for a text"),
        pytest.param(BeginConnection, BEGIN | {"myDomain": "Canary" * 34}, "/myDomain", id="a domain too long"),
        pytest.param(BeginConnection, BEGIN | {"channel": "Canary" * 11}, "/channel", id="a channel too long"),
        pytest.param(CompleteConnection, {"completion": "Canary"}, "/completion", id="a value too short"),
        pytest.param(CompleteConnection, {"completion": "Canary" * 17}, "/completion", id="a value too long"),
        pytest.param(EnrolTenant, {"provider": "entra", "id": ""}, "/id", id="an empty id"),
        pytest.param(RunFlowBody, {"outputs": "Canary"}, "/outputs", id="an unknown member"),
        pytest.param(RunFlowBody, ["Canary"], "", id="a list for the whole"),
        pytest.param(RunFlowBody, {"inputs": ["Canary"]}, "/inputs", id="a list for an object"),
        pytest.param(RunFlowBody, {"inputs": {f"a{n}": 1 for n in range(201)}}, "/inputs", id="201 inputs"),
        pytest.param(RunFlowBody, {"email": "Canary"}, "/email", id="a text for an e-mail"),
        pytest.param(RunFlowBody, {"email": {"body": "Canary"}}, "/email/body", id="an e-mail with its body"),
        pytest.param(RunFlowBody, {"email": {"bcc": ["Canary"]}}, "/email/bcc", id="blind copies"),
        pytest.param(RunFlowBody, {"email": {"thread_id": "Canary"}}, "/email/thread_id", id="our inner thread"),
        pytest.param(RunFlowBody, {"email": {"subject": 1}}, "/email/subject", id="a number for a subject"),
        pytest.param(RunFlowBody, {"email": {"subject": "Canary" * 1_667}}, "/email/subject", id="a subject too long"),
        pytest.param(RunFlowBody, {"email": {"threadId": "Canary" * 334}}, "/email/threadId", id="a thread too long"),
        pytest.param(RunFlowBody, {"email": {"sender": ["Canary"]}}, "/email/sender", id="two senders"),
        pytest.param(RunFlowBody, {"email": {"sender": {"name": 1}}}, "/email/sender/name", id="a number for a name"),
        pytest.param(RunFlowBody, {"email": {"sender": "Canary" * 167}}, "/email/sender/address", id="a long address"),
        pytest.param(RunFlowBody, {"email": {"to": "Canary"}}, "/email/to", id="one text for the recipients"),
        pytest.param(RunFlowBody, {"email": {"to": ["x", None]}}, "/email/to/1", id="null for a recipient"),
        pytest.param(RunFlowBody, {"email": {"cc": ["x"] * 2_001}}, "/email/cc", id="2,001 copies"),
    ],
)
def test_a_refused_place_is_pointed_at_and_its_value_is_nowhere(
    model: type[Body], body: JsonValue, pointer: str
) -> None:
    sent = json.dumps(body)
    response = answer_to(sent, model)
    assert (response.status_code, pointers(sent, model)) == (422, [pointer])
    assert "Canary" not in everything(response)


def test_every_refused_place_is_named_at_once() -> None:
    assert pointers('{"inputs":1,"email":{"to":1,"cc":2}}') == ["/email/to", "/email/cc", "/inputs"]


def test_at_most_the_first_50_refused_places_are_named() -> None:
    body = json.dumps({"email": {f"a{n}": 1 for n in range(20_000)}})
    assert pointers(body) == [f"/email/a{n}" for n in range(50)]
    assert len(answer_to(body).get_body()) < 8_192


ODD = ["a b", "jan@acme.example", "a/b", "a~b", "", "z\u00fc", "<b>", "a\nb", "x" * 81]


@pytest.mark.parametrize("odd", ODD)
def test_an_odd_name_is_not_repeated_in_a_pointer(odd: str) -> None:
    assert pointers(json.dumps({"email": {odd: 1}})) == ["/email"]


@pytest.mark.parametrize("model", BODIES.values(), ids=BODIES)
def test_nothing_of_a_refused_body_comes_back(model: type[Body]) -> None:
    secret = canary()
    body = json.dumps({secret: secret, "email": {secret: secret, "sender": [secret]}, "inputs": [secret], "id": secret})
    assert secret not in everything(answer_to(body, model))


# What a run may carry


def test_recipients_come_as_text_or_as_objects_and_may_lack_an_address() -> None:
    given_to = ["a@x.example", {"address": "b@x.example", "name": "B"}, {"name": "A group"}, {}]
    asked = read(post(json.dumps({"email": {"to": given_to}})), RunFlowBody)
    assert [m.address for m in asked.email.to] == ["a@x.example", "b@x.example", "", ""]


def test_typed_values_arrive_as_they_were_sent() -> None:
    typed: JsonValue = {
        "a": 1,
        "b": 1.5,
        "c": True,
        "d": None,
        "e": ["x"],
        "f": {"g": []},
        "Umlaut \u00fc": "\U0001f600",
    }
    assert read(post(json.dumps({"inputs": typed})), RunFlowBody).inputs == typed


# The token and the key


@pytest.mark.parametrize(("headers", "token"), [({"authorization": "Bearer  x "}, "Bearer  x "), ({}, "")])
def test_a_token_is_read_as_it_came(headers: dict[str, str], token: str) -> None:
    assert (bearer(ask(headers=headers)), signed(ask(headers=headers))) == (token, bool(headers))


KEYS = ["a" * 16, "Z" * 64, "0123456789-_abcXYZ"]
OTHER_KEYS = [
    *("", "a" * 15, "a" * 65, "a" * 16 + "\n", " " + "a" * 16, "a" * 16 + ".", '"' + "a" * 16 + '"'),
    *("a" * 16 + ", " + "b" * 16, "\u0661" * 16, "\u00fc" * 16),
]


@pytest.mark.parametrize("key", KEYS)
def test_an_idempotency_key_is_16_to_64_plain_signs(key: str) -> None:
    assert idempotency_key(ask(headers={"Idempotency-Key": key})) == key


@pytest.mark.parametrize("key", OTHER_KEYS)
def test_a_key_of_another_form_is_refused_and_not_repeated(key: str) -> None:
    with pytest.raises(IdempotencyKeyNeeded, match=r"^Send 16 to 64 letters, digits, - or _, new for each run\.$"):
        idempotency_key(ask(headers={"Idempotency-Key": key}))


def test_a_run_without_a_key_is_refused() -> None:
    with pytest.raises(IdempotencyKeyNeeded):
        idempotency_key(ask())


# Whatever comes

LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
NAMES = st.sampled_from(["email", "inputs", "sender", "to", "cc", "subject", "threadId", "id", "channel"])
OBJECTS = st.dictionaries(NAMES | st.text(max_size=8), VALUES, max_size=5)
RAW = st.binary(max_size=60) | st.text(max_size=60).map(lambda t: t.encode("utf-8", "surrogatepass"))
WRITTEN = (OBJECTS | VALUES).map(lambda v: json.dumps(v).encode())
CUT = st.tuples(WRITTEN, st.integers(0, 80), st.binary(max_size=3)).map(lambda t: t[0][: t[1]] + t[2])
MEDIA = st.sampled_from(["application/json", "application/json; charset=utf-8", "text/plain"]) | st.text(max_size=30)


@given(body=RAW | WRITTEN | CUT, media_type=MEDIA, model=st.sampled_from(list(BODIES.values())))
@settings(deadline=None, max_examples=300)
def test_reading_raises_nothing_but_our_own_errors(body: bytes, media_type: str, model: type[Body]) -> None:
    with suppress(NotJson, MalformedRequest, InputRefused):
        assert isinstance(read(post(body, {"Content-Type": media_type}), model), model)


HEADER_NAMES = st.sampled_from(
    ["Authorization", "Content-Type", "Idempotency-Key", "Origin", "traceparent", "If-None-Match", "Cookie", "X-A"]
)


@given(
    body=RAW | WRITTEN,
    headers=st.dictionaries(HEADER_NAMES, st.text(max_size=60)),
    method=st.sampled_from(["GET", "POST", "get", "BREW", ""]),
)
@settings(deadline=None, max_examples=200)
def test_whatever_is_sent_is_answered_as_json_with_a_correlation_id(
    body: bytes, headers: dict[str, str], method: str
) -> None:
    def reading(req: func.HttpRequest) -> func.HttpResponse:
        idempotency_key(req)
        read(req, RunFlowBody)
        edge.caller(req)
        return reply(200, HealthView(status="ok"))

    edge = Desk().edge()
    response = edge.answers(reading)(ask(method, headers=headers, body=body))
    assert response.status_code in {200, 400, 401, 415, 422}
    assert len(response.headers["X-Request-Id"]) == 32
    assert document(response)
