"""Results of Flows run as actions, in the forms that orgs give them (salesforce-contract.md section 3.5)."""

from __future__ import annotations

import uuid
from typing import Literal

from shared.devkit.salesforce.answers import failed_action, json_answer
from shared.devkit.salesforce.flows import Ending
from shared.devkit.salesforce.variables import Variable
from shared.devkit.tls import Answer

Form = Literal["list", "object", "short"]

INTERVIEW = (Variable("Flow__InterviewStatus"), Variable("Flow__InterviewGuid"))
"""The outputs that every Flow has besides its own."""

_NEWER: dict[str, object] = {"invocationId": None, "outcome": None, "sortOrder": -1, "version": 1}


def result_answer(name: str, ending: Ending, form: Form) -> Answer:
    """Return what a run ends with: 200 and the outputs, or 400 for a fault; a pause is a success."""
    faulted = ending.status == "Error"
    result = failed_action(name) if faulted else _success(name, ending)
    if form != "short":
        result |= _NEWER
    return json_answer(400 if faulted else 200, result if form == "object" else [result])


def _success(name: str, ending: Ending) -> dict[str, object]:
    outputs = None
    if ending.outputs is not None:
        guid = str(uuid.uuid4())
        outputs = {**ending.outputs, "Flow__InterviewStatus": ending.status, "Flow__InterviewGuid": guid}
    return {"actionName": name, "errors": None, "isSuccess": True, "outputValues": outputs}
