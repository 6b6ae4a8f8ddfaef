"""Salesforce Flows: their names, what they declare, and how declared inputs are filled."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NewType

from pydantic import JsonValue

from shared.errors import FieldError, FlowNotFound, InputRefused
from shared.model.email import COLLECTIONS_ONLY, LISTS, SOURCES, EmailContext
from shared.model.inputs import InputType, accept, record_types

FlowName = NewType("FlowName", str)
"""A Flow's API name that has passed the strict pattern, and so may stand in a URL."""

FlowId = NewType("FlowId", str)
"""Our name for a Flow: 32 lower hex, a keyed digest of org and API name (the page: "FlowRunner generated")."""

# simple-salesforce joins paths as text and `requests` resolves `..`, so a loose name would reach another
# endpoint with the user's token (salesforce-contract 5). `__` stands only after a package's namespace.
_WORD = r"[A-Za-z](?:_?[A-Za-z0-9])*"
_NAME = re.compile(rf"(?:(?=\w{{1,15}}__){_WORD}__)?(?=\w{{1,80}}\Z){_WORD}", re.ASCII)


def flow_name(text: str) -> FlowName:
    """The proved name. Raises FlowNotFound for anything that no Flow can be called."""
    if not _NAME.fullmatch(text):
        raise FlowNotFound
    return FlowName(text)


class FlowKind(StrEnum):
    """How a Flow runs: `background` over REST, with outputs; `screen` in a Salesforce page."""

    BACKGROUND = "background"
    SCREEN = "screen"


@dataclass(frozen=True, slots=True)
class FlowSummary:
    """A Flow as it stands in the list."""

    name: FlowName
    label: str
    kind: FlowKind = FlowKind.BACKGROUND


@dataclass(frozen=True, slots=True)
class FlowInput:
    """One declared input. `name` keeps its exact case, since Salesforce refuses any other."""

    name: str
    label: str
    description: str | None
    type: InputType
    declared_type: str
    collection: bool
    required: bool
    choices: tuple[str, ...] = ()
    record_type: str | None = None

    @property
    def source(self) -> str:
        """Where its value would come from: a part of the e-mail by name and type, or `none`."""
        source = SOURCES.get(self.name.lower(), "none")
        fits = source in LISTS if self.collection else source not in COLLECTIONS_ONLY
        return source if fits and self.type is InputType.STRING else "none"

    def filled(self, email: EmailContext) -> JsonValue:
        """The e-mail's value for this input: text, or a list for a collection; None when it has none."""
        found = email.value(self.source) if self.source != "none" else None
        if isinstance(found, tuple):
            return (list(found) if self.collection else ";".join(found)) or None
        return found

    def accepted(self, value: JsonValue) -> JsonValue:
        """The value as Salesforce takes it. Raises ValueError with a reason that never holds the value."""
        taken = accept(self.type, value, collection=self.collection)
        if self.record_type and any(kind != self.record_type for kind in record_types(taken)):
            raise ValueError("must refer to a record of the declared type")
        return taken


@dataclass(frozen=True, slots=True)
class FlowOutput:
    """One declared output."""

    name: str
    label: str
    type: str
    collection: bool


@dataclass(frozen=True, slots=True)
class FlowInputs:
    """What goes to the org: declared names only, and where each value came from. Never stored."""

    values: Mapping[str, JsonValue] = field(repr=False)
    sources: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class FlowOutputs:
    """What came back from a Flow: record data, for this one answer. Nothing stores it."""

    values: Mapping[str, JsonValue] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Flow:
    """A Flow as described for one user."""

    name: FlowName
    label: str
    description: str | None
    inputs: tuple[FlowInput, ...]
    outputs: tuple[FlowOutput, ...]
    kind: FlowKind = FlowKind.BACKGROUND

    @property
    def reason(self) -> str | None:
        """Why it cannot be run from here, or None."""
        if any(i.type is InputType.UNSUPPORTED for i in self.inputs):
            return "input-type-unsupported"
        return None

    def bind(self, email: EmailContext, typed: Mapping[str, JsonValue]) -> FlowInputs:
        """The declared inputs with their values: what the user typed, else what the e-mail has.

        A typed null leaves an input empty. Raises InputRefused with a pointer for each undeclared name,
        wrong type or missing required value; the result never holds a name that the Flow does not declare.
        """
        errors = [_undeclared(name) for name in typed if name not in {i.name for i in self.inputs}]
        values: dict[str, JsonValue] = {}
        sources: dict[str, str] = {}
        for wanted in self.inputs:
            given = typed[wanted.name] if wanted.name in typed else wanted.filled(email)
            sources[wanted.name] = "none" if given is None else "user" if wanted.name in typed else wanted.source
            try:
                if given is not None:
                    values[wanted.name] = wanted.accepted(given)
                elif wanted.required:
                    errors.append(FieldError(_place(wanted.name), "is required"))
            except ValueError as wrong:
                errors.append(FieldError(_place(wanted.name), str(wrong)))
        if errors:
            raise InputRefused("Correct the inputs named here.", errors=errors)
        return FlowInputs(values, sources)


def _undeclared(name: str) -> FieldError:
    return FieldError(_place(name), "is not an input of this Flow")


def _place(name: str) -> str:
    """An input's JSON pointer, or that of all of them for a name that is not plain: it is not repeated."""
    return f"/inputs/{name}" if re.fullmatch(r"\w{1,80}", name, re.ASCII) else "/inputs"
