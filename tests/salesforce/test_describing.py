"""Lists, descriptions and results are read with tolerance: what is missing, odd or new costs nobody a Flow."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.model.flows import Flow, flow_name
from shared.model.inputs import InputType
from shared.salesforce.describing import described, listed, outputs_of
from shared.salesforce.replies import Reply

NAME = flow_name("Create_Case")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=12,
)
KEYS = ("name", "label", "description", "type", "required", "maxOccurs", "picklistValues", "newerKey")
VARIABLE = st.fixed_dictionaries({}, optional=dict.fromkeys(KEYS, JSON))


def reply(value: object) -> Reply:
    return Reply(200, {}, value if isinstance(value, str) else json.dumps(value), "/x")


def of(value: object) -> Flow:
    flow = described(reply(value), NAME)
    assert flow is not None
    return flow


def inputs(*variables: object) -> Flow:
    return of({"name": "Create_Case", "inputs": list(variables)})


# Lists


@pytest.mark.parametrize(
    "name",
    [
        "",
        "../../limits",
        "a b",
        "Create_Case/x",
        "Create_Case?x",
        "%2e%2e",
        "a__b__c",
        "_a",
        "1a",
        "Cr\u00e9e",
        None,
        7,
    ],
)
def test_a_name_that_may_not_stand_in_a_url_is_left_out(name: object) -> None:
    found = listed(reply({"actions": [{"name": name, "label": "x"}, {"name": "Create_Case", "label": "y"}]}))
    assert found is not None
    assert [(flow.name, flow.label) for flow in found] == [("Create_Case", "y")]


@pytest.mark.parametrize("label", [None, "", 7, []])
def test_a_flow_without_a_label_is_shown_by_its_name(label: object) -> None:
    found = listed(reply({"actions": [{"name": "Create_Case", "label": label}, {"name": "Other"}]}))
    assert found is not None
    assert [flow.label for flow in found] == ["Create_Case", "Other"]


def test_what_is_no_action_is_left_out() -> None:
    assert listed(reply({"actions": [None, 7, [], "x", {}]})) == ()


@pytest.mark.parametrize("value", [{"actions": {}}, {"actions": "x"}, "7", '"x"', "true"])
def test_what_is_no_list_is_not_taken_for_one(value: object) -> None:
    assert listed(reply(value)) is None


# Descriptions


def test_name_and_type_are_enough() -> None:
    (only,) = inputs({"name": "subject", "type": "STRING"}).inputs
    assert (only.name, only.label, only.description) == ("subject", "subject", None)
    assert (only.type, only.declared_type, only.required, only.collection, only.choices) == (
        InputType.STRING,
        "STRING",
        False,
        False,
        (),
    )


@pytest.mark.parametrize("value", [{}, {"inputs": None, "outputs": None}, {"inputs": {}, "outputs": 7}])
def test_a_flow_may_declare_nothing(value: object) -> None:
    flow = of(value)
    assert (flow.name, flow.label, flow.inputs, flow.outputs) == ("Create_Case", "Create_Case", (), ())


@pytest.mark.parametrize("value", ["[]", "7", "null", "no json", ""])
def test_what_is_no_object_describes_nothing(value: str) -> None:
    assert described(reply(value), NAME) is None


def test_the_exact_case_of_a_name_is_kept_and_a_repeated_one_is_not() -> None:
    flow = inputs(*({"name": name, "type": "STRING"} for name in ("ThreadID", "threadId", "ThreadID")))
    assert [i.name for i in flow.inputs] == ["ThreadID", "threadId"]


@pytest.mark.parametrize("name", [None, 7, "", "a b", "1a", "a" * 81, "a\n", "\u00e9", "Flow__InterviewGuid"])
def test_a_variable_without_a_usable_name_is_never_offered(name: object) -> None:
    assert inputs({"name": name, "type": "STRING"}).inputs == ()


@pytest.mark.parametrize("declared", [None, 7, "", "string", "APEX", "SOMETHING_NEW"])
def test_an_unknown_type_is_shown_and_cannot_be_filled(declared: object) -> None:
    (only,) = inputs({"name": "a", "type": declared}).inputs
    assert only.type is InputType.UNSUPPORTED
    assert only.declared_type == (declared if isinstance(declared, str) else "")


@pytest.mark.parametrize("declared", [kind for kind in InputType if kind is not InputType.UNSUPPORTED])
def test_every_known_type_is_read(declared: InputType) -> None:
    assert inputs({"name": "a", "type": declared.value}).inputs[0].type is declared


@pytest.mark.parametrize(("most", "collection"), [(1, False), (2, True), (2000, True), (2000.0, True), (0, False)])
def test_more_than_one_value_is_a_collection(most: object, *, collection: bool) -> None:
    assert inputs({"name": "a", "type": "STRING", "maxOccurs": most}).inputs[0].collection is collection


@pytest.mark.parametrize("required", [None, "true", 1, False])
def test_only_true_is_required(required: object) -> None:
    assert inputs({"name": "a", "type": "STRING", "required": required}).inputs[0].required is False
    assert inputs({"name": "a", "type": "STRING", "required": True}).inputs[0].required is True


def test_choices_are_the_active_values() -> None:
    values = [
        {"active": True, "label": "L", "value": "Low"},
        {"active": False, "label": "H", "value": "High"},
        {"value": "Medium"},
        {"active": True, "value": None},
        "x",
    ]
    assert inputs({"name": "a", "type": "PICKLIST", "picklistValues": values}).inputs[0].choices == ("Low", "Medium")


def test_a_flows_own_outputs_are_described_without_the_interviews() -> None:
    names = ("caseId", "Flow__InterviewStatus", "Flow__InterviewGuid")
    flow = of({"outputs": [{"name": name, "type": "STRING", "maxOccurs": 2000} for name in names]})
    assert [(o.name, o.label, o.type, o.collection) for o in flow.outputs] == [("caseId", "caseId", "STRING", True)]


def test_long_texts_are_cut() -> None:
    (only,) = inputs({"name": "a", "type": "STRING", "label": "x" * 5_000, "description": "y" * 5_000}).inputs
    assert (len(only.label), len(only.description or "")) == (1_000, 1_000)


@given(JSON)
def test_no_answer_breaks_the_reading(value: object) -> None:
    listed(reply(value))
    described(reply(value), NAME)
    outputs_of(reply(value))


@given(st.lists(VARIABLE, max_size=5))
def test_no_variable_breaks_the_reading(variables: list[dict[str, object]]) -> None:
    flow = of({"inputs": variables, "outputs": variables})
    assert {i.name for i in flow.inputs} <= {v.get("name") for v in variables if isinstance(v.get("name"), str)}


# Results


@pytest.mark.parametrize(
    "value",
    [[], {}, None, [7], [{"isSuccess": False}], [{"isSuccess": 1}], [{"isSuccess": True}] * 2, "no json"],
)
def test_without_exactly_one_success_there_are_no_outputs(value: object) -> None:
    assert outputs_of(reply(value)) is None


@pytest.mark.parametrize("given_outputs", [None, [], 7, "x", {}])
def test_odd_outputs_are_no_outputs(given_outputs: object) -> None:
    found = outputs_of(reply([{"isSuccess": True, "outputValues": given_outputs}]))
    assert found is not None
    assert found.values == {}


def test_a_result_that_is_no_list_is_read() -> None:
    found = outputs_of(reply({"isSuccess": True, "outputValues": {"a": 1, "Flow__InterviewStatus": "Finished"}}))
    assert found is not None
    assert found.values == {"a": 1}
