"""Which values each type takes, at the edges, and as what they leave (users.md, section 2, point 6)."""

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from shared.model.inputs import COLLECTION_MAX, TEXT_MAX, InputType, accept

NUMBERS = (InputType.NUMBER, InputType.DOUBLE, InputType.CURRENCY)


def record(kind: str, name: str) -> JsonValue:
    return {"attributes": {"type": kind}, "Id": name}


CONTACT, MAIL = record("Contact", "003000000000001"), record("FLR__Mail__c", "a01000000000001AAA")

GOOD: list[tuple[InputType, JsonValue, JsonValue]] = [
    (InputType.STRING, "", ""),
    (InputType.STRING, " as is \n", " as is \n"),
    (InputType.REFERENCE, "003000000000001AAA", "003000000000001AAA"),
    (InputType.PICKLIST, "Hot", "Hot"),
    (InputType.BOOLEAN, True, True),
    (InputType.BOOLEAN, False, False),
    *((kind, given_value, taken) for kind in NUMBERS for given_value, taken in ((0, 0), (-1.5, -1.5), ("12.50", 12.5))),
    (InputType.NUMBER, "-7", -7),
    (InputType.NUMBER, "1.0", 1),
    (InputType.NUMBER, "0" * 18, 0),
    (InputType.NUMBER, f"{'9' * 18}", 10**18 - 1),
    (InputType.NUMBER, 10**30, 10**30),
    (InputType.INTEGER, 7, 7),
    (InputType.INTEGER, "7", 7),
    (InputType.DATE, "2026-11-23", "2026-11-23"),
    (InputType.DATE, "2028-02-29", "2028-02-29"),
    (InputType.DATETIME, "2026-11-23T19:00:00Z", "2026-11-23T19:00:00.000Z"),
    (InputType.DATETIME, "2026-11-23T19:00:00.1234567Z", "2026-11-23T19:00:00.123Z"),
    (InputType.DATETIME, "2026-11-23t19:00:00z", "2026-11-23T19:00:00.000Z"),
    (InputType.DATETIME, "2026-11-23 19:00:00+01:00", "2026-11-23T18:00:00.000Z"),
    (InputType.DATETIME, "2026-12-31T23:30:00.123456-01:00", "2027-01-01T00:30:00.123Z"),
    (InputType.MULTIPICKLIST, "a;b", "a;b"),
    (InputType.MULTIPICKLIST, ["a", "b"], "a;b"),
    (InputType.SOBJECT, CONTACT, CONTACT),
    (InputType.SOBJECT, MAIL, MAIL),
]


@pytest.mark.parametrize(("kind", "value", "taken"), GOOD)
def test_a_value_of_the_right_form_leaves_as_salesforce_takes_it(
    kind: InputType, value: JsonValue, taken: JsonValue
) -> None:
    found = accept(kind, value, collection=False)
    assert (found, type(found)) == (taken, type(taken))


NOT_TEXT: list[JsonValue] = [1, True, None, ["x"], {"x": 1}]
ODD: list[JsonValue] = [True, None, [1], {}, math.inf, -math.inf, math.nan, 10**400]
NOT_NUMBER: list[JsonValue] = [
    *ODD,
    *("", " 1", "1\n", "+1", "1e3", ".5", "5.", "1,5", "0x1", "NaN", "1" * 19, "0." + "1" * 19, "\u0661\u0662"),
    *("12345678901234567.89", "99999999999999999.99", "0.12345678901234567"),
]
BAD: dict[InputType, list[JsonValue]] = {
    InputType.STRING: NOT_TEXT,
    InputType.REFERENCE: NOT_TEXT,
    InputType.PICKLIST: NOT_TEXT,
    InputType.BOOLEAN: [0, 1, "true", "", None, [True]],
    InputType.NUMBER: NOT_NUMBER,
    InputType.DOUBLE: NOT_NUMBER,
    InputType.CURRENCY: NOT_NUMBER,
    InputType.INTEGER: [*NOT_NUMBER, 1.5, "1.5"],
    InputType.DATE: [
        *(20261123, None, "", "2026-11-23\n", "2026-11-23T00:00:00Z", "20261123", "2026-W48-1"),
        *("2026-02-29", "2026-13-01", "2026-1-1", "0000-01-01", "+2026-01-01", "\u0662\u0660\u0662\u0666-11-23"),
    ],
    InputType.DATETIME: [
        *(1_790_000_000, None, "", "2026-11-23", "2026-11-23T19:00:00", "2026-11-23T19:00Z", "2026-11-23T25:00:00Z"),
        *("2026-11-23T23:59:60Z", "2026-11-23T19:00:00+0100", "2026-11-23T19:00:00+24:00", "2026-11-23T19:00:00Z\n"),
        *("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-11-23T19:00:0\u0660Z"),
    ],
    InputType.MULTIPICKLIST: [1, None, [], [""], ["a;b"], [1], [None], [["a"]], {"a": 1}],
    InputType.SOBJECT: [
        *ODD,
        "003000000000001",
        [CONTACT],
        {"Id": "003000000000001"},
        {"attributes": {"type": "Contact"}},
        {"attributes": {"type": "Contact"}, "Id": "003000000000001", "Email": "x"},
        {"attributes": {"type": "Contact", "url": "/x"}, "Id": "003000000000001"},
        *(record(kind, "003000000000001") for kind in ("Contact/..", "1Contact", "", "C\n")),
        *(record("Contact", bad) for bad in ("00300000000000/", "0" * 16, "0" * 19, "")),
    ],
    InputType.UNSUPPORTED: ["x", None, 1, {}],
}


@pytest.mark.parametrize(("kind", "value"), [(kind, value) for kind, values in BAD.items() for value in values])
def test_a_value_of_another_form_is_refused(kind: InputType, value: JsonValue) -> None:
    with pytest.raises(ValueError, match=r"^(must be|has a type)"):
        accept(kind, value, collection=False)


@pytest.mark.parametrize("kind", [InputType.STRING, InputType.REFERENCE, InputType.PICKLIST, InputType.MULTIPICKLIST])
def test_a_text_is_taken_up_to_its_greatest_length_and_never_cut(kind: InputType) -> None:
    assert accept(kind, "x" * TEXT_MAX, collection=False) == "x" * TEXT_MAX
    with pytest.raises(ValueError, match="at most 131072 characters"):
        accept(kind, "x" * (TEXT_MAX + 1), collection=False)


def test_choices_are_measured_as_they_leave() -> None:
    with pytest.raises(ValueError, match="at most 131072 characters"):
        accept(InputType.MULTIPICKLIST, ["x"] * TEXT_MAX, collection=False)


@pytest.mark.parametrize("value", [[], [1], [1, "2", 3.5], [0] * COLLECTION_MAX], ids=["none", "one", "mixed", "2,000"])
def test_a_collection_takes_a_list_of_values(value: list[JsonValue]) -> None:
    taken = accept(InputType.NUMBER, value, collection=True)
    assert isinstance(taken, list)
    assert len(taken) == len(value)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (1, "must be a list"),
        ("1", "must be a list"),
        ({"0": 1}, "must be a list"),
        ([0] * (COLLECTION_MAX + 1), "must hold at most 2000 values"),
        ([1, "x"], "must be a number"),
        ([[1]], "must be a number"),
        ([None], "must be a number"),
    ],
    ids=["a number", "a text", "an object", "2,001", "one bad", "a list in it", "a null in it"],
)
def test_a_collection_refuses_the_rest(value: JsonValue, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        accept(InputType.NUMBER, value, collection=True)


@pytest.mark.parametrize("name", ["APEX", "apex", "string", "", "ENCRYPTED"])
def test_a_type_that_is_not_in_the_table_is_unsupported(name: str) -> None:
    assert InputType(name) is InputType.UNSUPPORTED


LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30)
VALUES: st.SearchStrategy[JsonValue] = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3)
)


@given(st.sampled_from(list(InputType)), VALUES, st.booleans())
@settings(deadline=None, max_examples=400)
def test_whatever_is_typed_leaves_as_json_or_is_refused_with_a_reason(
    kind: InputType,
    value: JsonValue,
    collection: bool,  # noqa: FBT001  hypothesis gives it
) -> None:
    try:
        taken = accept(kind, value, collection=collection)
    except ValueError as refused:
        taken = str(refused)
    assert json.dumps(taken, allow_nan=False)


@pytest.mark.parametrize("kind", list(InputType))
@pytest.mark.parametrize("collection", [False, True])
@pytest.mark.parametrize(
    "value", [{"Canary": "Canary"}, [["Canary;"]], ["Canary" * 30_000]], ids=["object", "list", "long"]
)
def test_no_reason_holds_the_value(kind: InputType, collection: bool, value: JsonValue) -> None:  # noqa: FBT001
    with pytest.raises(ValueError) as refused:
        accept(kind, value, collection=collection)
    assert "Canary" not in str(refused.value)
