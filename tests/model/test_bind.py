"""How declared inputs are filled: what is typed, else what the e-mail has, and never an undeclared name."""

import json
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from shared.errors import InputRefused
from shared.model.email import LISTS, SOURCES, EmailContext
from shared.model.flows import Flow, FlowInput, FlowInputs, FlowName
from shared.model.inputs import InputType, accept

Typed = Mapping[str, JsonValue]


def declared(
    name: str, kind: InputType = InputType.STRING, *, collection: bool = False, required: bool = False
) -> FlowInput:
    return FlowInput(name, "Label", None, kind, kind, collection, required)


def flow(*inputs: FlowInput) -> Flow:
    return Flow(FlowName("Log_Mail"), "Log mail", None, inputs, ())


def email(**members: JsonValue) -> EmailContext:
    return EmailContext.model_validate_json(json.dumps(members))


FULL = email(
    sender={"address": "Kees@Klant.example", "name": "Kees Klant"},
    to=["jan@acme.example", {"address": "eva@acme.example", "name": "Eva"}, {"name": "A group"}],
    cc=["ben@acme.example"],
    subject="Offerte 42",
    threadId="t-1",
)


def refusal(target: Flow, typed: Typed, message: EmailContext = FULL) -> list[tuple[str, str]]:
    with pytest.raises(InputRefused) as caught:
        target.bind(message, typed)
    return [(e.pointer, e.why) for e in caught.value.errors]


# Properties

NAMES = st.sampled_from(["subject", "Subject", "senderEmail", "RECIPIENTS", "ccEmails", "threadID", "amount", "due"])
INPUTS = st.builds(declared, NAMES, st.sampled_from(list(InputType)), collection=st.booleans(), required=st.booleans())
FLOWS = st.lists(INPUTS, max_size=6, unique_by=lambda i: i.name).map(lambda inputs: flow(*inputs))
SIMPLE = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just("2026-11-23")
VALUES: st.SearchStrategy[JsonValue] = st.recursive(
    SIMPLE, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=2)
)
TYPED = st.dictionaries(NAMES | st.text(max_size=6), VALUES, max_size=5)
ADDRESSES = st.lists(st.sampled_from(["", "a@x.example", "b@x.example"]), max_size=3)
TEXTS = st.none() | st.text(max_size=8)
EMAILS = st.builds(email, to=ADDRESSES, cc=ADDRESSES, subject=TEXTS, threadId=TEXTS) | st.just(FULL)

whatever_comes = settings(deadline=None, max_examples=200)


def bound(target: Flow, message: EmailContext, typed: Typed) -> FlowInputs | None:
    try:
        return target.bind(message, typed)
    except InputRefused:
        return None


@given(FLOWS, EMAILS, TYPED)
@whatever_comes
def test_no_undeclared_name_is_ever_filled(target: Flow, message: EmailContext, typed: Typed) -> None:
    found = bound(target, message, typed)
    assert found is None or set(found.values) <= {i.name for i in target.inputs}


@given(FLOWS, EMAILS, TYPED)
@whatever_comes
def test_each_declared_input_has_a_source_and_none_means_that_it_stays_empty(
    target: Flow, message: EmailContext, typed: Typed
) -> None:
    found = bound(target, message, typed)
    if found:
        assert list(found.sources) == [i.name for i in target.inputs]
        assert {name for name, source in found.sources.items() if source != "none"} == set(found.values)


@given(FLOWS, EMAILS, TYPED)
@whatever_comes
def test_what_is_typed_goes_before_what_the_e_mail_has(target: Flow, message: EmailContext, typed: Typed) -> None:
    found = bound(target, message, typed)
    for wanted in target.inputs if found else ():
        given_value = typed.get(wanted.name)
        if given_value is not None and found:
            assert found.sources[wanted.name] == "user"
            assert found.values[wanted.name] == accept(wanted.type, given_value, collection=wanted.collection)


@given(FLOWS, EMAILS)
@whatever_comes
def test_an_e_mail_fills_text_inputs_alone_and_lists_from_lists(target: Flow, message: EmailContext) -> None:
    found = bound(target, message, {})
    kinds = {i.name: i for i in target.inputs}
    for name, value in found.values.items() if found else ():
        assert kinds[name].type is InputType.STRING
        assert isinstance(value, list) is kinds[name].collection
        assert not kinds[name].collection or SOURCES[name.lower()] in LISTS


@given(FLOWS, EMAILS, TYPED)
@whatever_comes
def test_every_refused_place_is_an_input_of_the_flow_or_a_typed_name(
    target: Flow, message: EmailContext, typed: Typed
) -> None:
    known = {"", *(f"/{name}" for name in [*typed, *(i.name for i in target.inputs)])}
    try:
        places = [""] if target.bind(message, typed) else []
    except InputRefused as refused:
        places = [e.pointer.removeprefix("/inputs") for e in refused.errors]
    assert set(places) <= known


@given(FLOWS, EMAILS, TYPED)
@whatever_comes
def test_what_is_bound_can_be_written_as_json(target: Flow, message: EmailContext, typed: Typed) -> None:
    found = bound(target, message, typed)
    assert found is None or json.dumps(dict(found.values), allow_nan=False)


# Where each value comes from


@pytest.mark.parametrize(
    ("name", "source", "value"),
    [
        ("senderEmail", "email.senderEmail", "Kees@Klant.example"),
        ("fromAddress", "email.senderEmail", "Kees@Klant.example"),
        ("fromEmail", "email.senderEmail", "Kees@Klant.example"),
        ("senderName", "email.senderName", "Kees Klant"),
        ("fromName", "email.senderName", "Kees Klant"),
        ("recipientEmails", "email.recipientEmails", "jan@acme.example;eva@acme.example"),
        ("toAddresses", "email.recipientEmails", "jan@acme.example;eva@acme.example"),
        ("ccEmails", "email.ccEmails", "ben@acme.example"),
        ("ccAddresses", "email.ccEmails", "ben@acme.example"),
        ("subject", "email.subject", "Offerte 42"),
        ("threadId", "email.threadId", "t-1"),
        ("conversationId", "email.threadId", "t-1"),
    ],
)
def test_an_input_is_filled_by_its_name_in_any_case_and_keeps_its_own(name: str, source: str, value: str) -> None:
    for spelled in (name, name.upper(), name.lower()):
        found = flow(declared(spelled)).bind(FULL, {})
        assert found == FlowInputs({spelled: value}, {spelled: source})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("recipientEmails", ["jan@acme.example", "eva@acme.example"]),
        ("ccEmails", ["ben@acme.example"]),
        ("recipients", ["jan@acme.example", "eva@acme.example", "ben@acme.example"]),
    ],
)
def test_a_collection_gets_the_addresses_as_a_list(name: str, value: list[str]) -> None:
    assert flow(declared(name, collection=True)).bind(FULL, {}).values == {name: value}


UNFILLED = [
    *(declared(name, collection=True) for name in ("senderEmail", "senderName", "subject", "threadId")),
    *(declared("subject", kind) for kind in InputType if kind is not InputType.STRING),
    *(declared(name) for name in ("body", "attachments", "date", "sender", "subject_", "mySubject", "sender_email")),
]


@pytest.mark.parametrize("wanted", [pytest.param(i, id=f"{i.type} {i.name} {i.collection}") for i in UNFILLED])
def test_an_input_of_another_name_or_type_stays_empty(wanted: FlowInput) -> None:
    assert flow(wanted).bind(FULL, {}) == FlowInputs({}, {wanted.name: "none"})


@pytest.mark.parametrize("name", ["senderEmail", "senderName", "recipients", "ccEmails", "subject", "threadId"])
@pytest.mark.parametrize("message", [email(), email(sender={}, to=[{"name": "x"}], cc=[])], ids=["empty", "nameless"])
def test_what_the_e_mail_does_not_have_stays_empty(name: str, message: EmailContext) -> None:
    assert flow(declared(name)).bind(message, {}) == FlowInputs({}, {name: "none"})


def test_a_typed_null_empties_what_the_e_mail_would_have_filled() -> None:
    assert flow(declared("subject")).bind(FULL, {"subject": None}) == FlowInputs({}, {"subject": "none"})


@pytest.mark.parametrize("value", [False, 0, ""], ids=repr)
def test_a_typed_value_that_looks_empty_is_sent(value: JsonValue) -> None:
    kinds = {bool: InputType.BOOLEAN, int: InputType.NUMBER, str: InputType.STRING}
    assert flow(declared("x", kinds[type(value)])).bind(FULL, {"x": value}).values == {"x": value}


# Refusals


@pytest.mark.parametrize("name", ["Subject", "subject_", "x" * 80])
def test_an_undeclared_name_is_refused_and_pointed_at(name: str) -> None:
    assert refusal(flow(declared("subject")), {name: "x"}) == [(f"/inputs/{name}", "is not an input of this Flow")]


@pytest.mark.parametrize("name", ["subject ", "jan@acme.example", "a/b", "\u00fcber", "x" * 81, ""])
def test_an_undeclared_name_that_is_not_plain_is_refused_and_not_repeated(name: str) -> None:
    assert refusal(flow(declared("subject")), {name: "x"}) == [("/inputs", "is not an input of this Flow")]


def test_a_declared_name_that_is_not_plain_is_not_repeated() -> None:
    assert refusal(flow(declared("a/b\n", InputType.DATE)), {"a/b\n": 1})[0][0] == "/inputs"


@pytest.mark.parametrize("typed", [{}, {"due": None}], ids=["left out", "null"])
def test_a_required_input_without_a_value_is_pointed_at(typed: Typed) -> None:
    assert refusal(flow(declared("due", InputType.DATE, required=True)), typed) == [("/inputs/due", "is required")]


def test_a_required_input_that_the_e_mail_fills_is_not_missed() -> None:
    assert flow(declared("subject", required=True)).bind(FULL, {}).values == {"subject": "Offerte 42"}


def test_every_wrong_input_is_named_at_once() -> None:
    target = flow(declared("a", InputType.NUMBER), declared("b", InputType.DATE), declared("c", required=True))
    places = [pointer for pointer, _ in refusal(target, {"a": "x", "b": "x", "d": "x"})]
    assert places == ["/inputs/d", "/inputs/a", "/inputs/b", "/inputs/c"]


def test_all_recipients_fill_a_collection_and_no_single_text() -> None:
    bound = flow(declared("recipients")).bind(FULL, {})
    assert (dict(bound.values), dict(bound.sources)) == ({}, {"recipients": "none"})


def test_recipients_beyond_a_collections_size_are_refused_rather_than_cut() -> None:
    crowd = email(to=["a@x.example"] * 1_500, cc=["a@x.example"] * 501)
    target = flow(declared("recipients", collection=True))
    assert refusal(target, {}, crowd) == [("/inputs/recipients", "must hold at most 2000 values")]


def test_a_flow_with_an_input_of_an_unknown_type_cannot_be_run_from_here() -> None:
    assert flow(declared("x", InputType("APEX"))).reason == "input-type-unsupported"
