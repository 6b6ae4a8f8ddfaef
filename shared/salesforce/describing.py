"""Salesforce's lists, descriptions and results of Flows, read with tolerance (salesforce-contract 3.4, 3.5).

Only what a Flow cannot be shown without is essential; keys come and go with API versions. What cannot be read is
None, and the caller raises: a frame that raises holds nothing of an answer.
"""

import re
from collections.abc import Iterator, Mapping, Sequence

from shared.errors import FlowNotFound
from shared.model.flows import Flow, FlowInput, FlowName, FlowOutput, FlowOutputs, FlowSummary, flow_name
from shared.model.inputs import InputType
from shared.salesforce.replies import Reply, read_json

BOOKKEEPING = frozenset({"Flow__InterviewStatus", "Flow__InterviewGuid"})
"""Outputs that every Flow has besides its own."""

_VARIABLE = re.compile(r"[A-Za-z]\w{0,79}", re.ASCII)
_TEXT_MAX = 1_000


def listed(reply: Reply) -> Sequence[FlowSummary] | None:
    """The Flows of an action list, each name proved by the strict pattern; an empty answer is an empty list."""
    value = _value(reply)
    actions = value.get("actions", []) if isinstance(value, dict) else value or []
    if not isinstance(actions, list):
        return None
    return tuple(FlowSummary(name, _text(action, "label") or name) for name, action in _named(actions))


def _named(actions: Sequence[object]) -> Iterator[tuple[FlowName, Mapping[str, object]]]:
    for action in actions:
        name = _proved(_text(action, "name")) if isinstance(action, dict) else None
        if name and isinstance(action, dict):
            yield name, action


def _proved(text: str) -> FlowName | None:
    try:
        return flow_name(text)
    except FlowNotFound:
        return None


def described(reply: Reply, name: FlowName) -> Flow | None:
    """A Flow's description; `name` is what was asked for."""
    value = _value(reply)
    if not isinstance(value, dict):
        return None
    return Flow(
        name=name,
        label=_text(value, "label") or name,
        description=_text(value, "description") or None,
        inputs=tuple(_input(variable) for variable in _variables(value.get("inputs"))),
        outputs=tuple(_output(variable) for variable in _variables(value.get("outputs"))),
    )


def outputs_of(reply: Reply) -> FlowOutputs | None:
    """What the one result of a run brought back, whole records included; None where there is not exactly one.

    Null outputs are none. The envelope's names mean nothing in there, and are passed on.
    """
    value = _value(reply)
    results = value if isinstance(value, list) else [value]
    match results:
        case [{"isSuccess": True, **result}]:
            outputs = result.get("outputValues")
            given = outputs if isinstance(outputs, dict) else {}
            return FlowOutputs({name: value for name, value in given.items() if name not in BOOKKEEPING})
    return None


def _value(reply: Reply) -> object:
    try:
        return read_json(reply.body)
    except ValueError:
        return None


def _variables(declared: object) -> Iterator[Mapping[str, object]]:
    """Each declared variable once, in order; without a usable name there is none."""
    seen = set(BOOKKEEPING)
    for variable in declared if isinstance(declared, list) else []:
        name = _text(variable, "name") if isinstance(variable, dict) else ""
        if _VARIABLE.fullmatch(name) and name not in seen:
            seen.add(name)
            yield variable


def _input(variable: Mapping[str, object]) -> FlowInput:
    name, declared_type = _text(variable, "name"), _text(variable, "type")
    return FlowInput(
        name=name,
        label=_text(variable, "label") or name,
        description=_text(variable, "description") or None,
        type=InputType(declared_type),
        declared_type=declared_type,
        collection=_many(variable),
        required=variable.get("required") is True,
        choices=tuple(_choices(variable.get("picklistValues"))),
        record_type=_text(variable, "sobjectType") or None,
    )


def _output(variable: Mapping[str, object]) -> FlowOutput:
    name = _text(variable, "name")
    return FlowOutput(name, _text(variable, "label") or name, _text(variable, "type"), _many(variable))


def _many(variable: Mapping[str, object]) -> bool:
    most = variable.get("maxOccurs")
    return isinstance(most, int | float) and most > 1


def _choices(values: object) -> Iterator[str]:
    for choice in values if isinstance(values, list) else []:
        if isinstance(choice, dict) and choice.get("active") is not False and _text(choice, "value"):
            yield _text(choice, "value")


def _text(values: Mapping[str, object], name: str) -> str:
    text = values.get(name)
    return text[:_TEXT_MAX] if isinstance(text, str) else ""
