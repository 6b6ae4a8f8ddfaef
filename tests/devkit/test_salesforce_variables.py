"""Ids and input values as the devkit's Salesforce takes them (contract sections 1 and 3.5)."""

import json

import pytest
from hypothesis import given, strategies

from shared.devkit.salesforce.answers import RefusedError
from shared.devkit.salesforce.flows import CATALOGUE
from shared.devkit.salesforce.ids import is_id, make_id, to_18
from shared.devkit.salesforce.people import USERS, find_user
from shared.devkit.salesforce.variables import Variable, check_inputs

ALPHANUMERIC = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
SHORT = strategies.text(ALPHANUMERIC, min_size=15, max_size=15)
EVERY_TYPE = CATALOGUE["Every_Type"].inputs
RECORD = {"attributes": {"type": "Contact"}, "Id": make_id("003", 1)}


def code_of(declared: tuple[Variable, ...], **inputs: object) -> str:
    """Return the errorCode that these inputs get, empty when they are taken."""
    try:
        check_inputs(declared, inputs)
    except RefusedError as refused:
        code = str(json.loads(refused.answer.body)[0]["errorCode"])
        return code if refused.answer.status == 400 else f"{code} with {refused.answer.status}"
    return ""


@pytest.mark.parametrize("long", ["00D000000000001EAA", "005000000000001AAA"])
def test_the_checksum_is_that_of_the_contracts_ids(long: str) -> None:
    assert to_18(long[:15]) == long


@given(SHORT)
def test_both_forms_of_an_id_are_ids(short: str) -> None:
    assert is_id(short)
    assert is_id(to_18(short))


@given(SHORT, strategies.integers(0, 14))
def test_a_long_id_of_another_letter_case_is_none(short: str, place: int) -> None:
    long = to_18(short)
    swapped = long[:place] + long[place].swapcase() + long[place + 1 :]
    assert is_id(swapped) is (swapped == long)


@pytest.mark.parametrize("value", ["", "00D", "00D000000000001EA", "00D00000000000 ", 7, None])
def test_other_values_are_no_ids(value: object) -> None:
    assert not is_id(value)


def test_users_are_found_by_name_and_by_id() -> None:
    assert [find_user(user.username) for user in USERS] == [find_user(user.id) for user in USERS] == list(USERS)


def test_load_users_are_as_many_as_wanted() -> None:
    found = {find_user(f"load-{number}@acme.example") for number in range(100)}
    assert len({user.id for user in found if user}) == 100


@pytest.mark.parametrize("name", ["", "load-x@acme.example", "load-1@other.example", "mallory@acme.example"])
def test_nobody_else_is_found(name: str) -> None:
    assert find_user(name) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("text", ""),
        ("flag", True),
        ("amount", -1.5),
        ("price", 0),
        ("day", "2028-02-29"),
        ("moment", "2026-11-23T19:00:00Z"),
        ("level", "High"),
        ("levels", "Low;Medium"),
        ("contact", RECORD),
        ("contacts", [RECORD] * 2000),
        ("amounts", [1, 2.5]),
    ],
)
def test_a_value_of_the_right_type_is_taken(name: str, value: object) -> None:
    assert code_of(EVERY_TYPE, **{name: value}) == ""


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("text", 1),
        ("text", None),
        ("text", ["a"]),
        ("flag", "true"),
        ("flag", 1),
        ("amount", "1"),
        ("amount", True),
        ("amount", float("inf")),
        ("day", "2026-02-29"),
        ("day", "20261123"),
        ("day", "2026-11-23T00:00:00Z"),
        ("moment", "2026-11-23T19:00:00"),
        ("moment", "2026-11-23T25:00:00Z"),
        ("level", "high"),
        ("level", ["High"]),
        ("levels", "Low;Highest"),
        ("levels", ["Low"]),
        ("contact", make_id("003", 1)),
        ("contact", {"attributes": {"type": "Account"}, "Id": make_id("003", 1)}),
        ("contact", RECORD | {"LastName": "Lovelace"}),
        ("contact", {"attributes": {"type": "Contact"}, "Id": "003"}),
        ("contacts", RECORD),
        ("contacts", [RECORD] * 2001),
        ("amounts", [1, "2"]),
        ("amounts", 1),
    ],
)
def test_a_value_of_another_type_is_refused(name: str, value: object) -> None:
    assert code_of(EVERY_TYPE, **{name: value}) == "INVALID_TYPE"


@given(strategies.text())
def test_a_name_that_is_not_declared_is_never_taken(name: str) -> None:
    declared = {variable.name for variable in EVERY_TYPE}
    assert name in declared or code_of(EVERY_TYPE, **{name: "x"}) == "INVALID_FIELD"


def test_a_required_input_must_be_there() -> None:
    assert code_of((Variable("subject", required=True),)) == "REQUIRED_FIELD_MISSING"


@pytest.mark.parametrize(("value", "code"), [(make_id("005", 1), ""), ("ada", "INVALID_TYPE")])
def test_a_reference_is_an_id(value: str, code: str) -> None:
    assert code_of((Variable("ownerId", "REFERENCE"),), ownerId=value) == code


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_flows_inputs_have_a_type_that_can_be_checked(name: str) -> None:
    for variable in CATALOGUE[name].inputs:
        assert code_of((Variable(variable.name, variable.type),), **{variable.name: object()}) == "INVALID_TYPE"
