"""The Flows of the devkit's orgs: one for each shape that the product has to cope with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from shared.devkit.salesforce.ids import make_id
from shared.devkit.salesforce.variables import Variable

_SLOW_S = 3.0
_SLOWEST_S = 120.0


@dataclass(frozen=True, slots=True)
class Run:
    """What a running Flow knows: its inputs, how often it has run, and how to take time."""

    inputs: Mapping[str, object]
    count: int
    pause: Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ends: its own outputs (None for null), and the interview's status; `Error` is a fault."""

    outputs: Mapping[str, object] | None
    status: str = "Finished"


def _nothing(_: Run) -> Ending:
    return Ending({})


@dataclass(frozen=True, slots=True)
class Flow:
    """A Flow definition. Only active ones that are not screen Flows exist for REST."""

    name: str
    label: str
    inputs: tuple[Variable, ...] = ()
    outputs: tuple[Variable, ...] = ()
    run: Callable[[Run], Ending] = _nothing
    description: str | None = None
    screen: bool = False
    active: bool = True

    @property
    def callable(self) -> bool:
        """Whether REST lists, describes and runs it."""
        return self.active and not self.screen


def _echo(run: Run) -> Ending:
    return Ending(dict(run.inputs))


def _counted(run: Run) -> Ending:
    return Ending({"runs": float(run.count)})


def _fault(_: Run) -> Ending:
    return Ending(None, "Error")


def _handled_fault(_: Run) -> Ending:
    return Ending({"ErrorMessage": "The case could not be saved."})


def _wait(_: Run) -> Ending:
    return Ending({"requestedFrom": "manager"}, "Waiting")


def _null(_: Run) -> Ending:
    return Ending(None)


def _take_time(run: Run) -> Ending:
    seconds = run.inputs.get("seconds", _SLOW_S)
    run.pause(min(float(str(seconds)), _SLOWEST_S))
    return Ending({"rows": 1.0})


def _make_case(run: Run) -> Ending:
    return Ending({"caseId": make_id("500", run.count)})


def _make_task(run: Run) -> Ending:
    return Ending({"taskId": make_id("00T", run.count)})


def _record(kind: str, record_id: str, **values: object) -> dict[str, object]:
    url = f"/services/data/v66.0/sobjects/{kind}/{record_id}"
    return {"attributes": {"type": kind, "url": url}, "Id": record_id, **values}


def _find_contact(_: Run) -> Ending:
    """Return nested records beside keys that look like the answer's own envelope."""
    account = _record("Account", make_id("001", 7), Name="Acme", AnnualRevenue=1_000_000.0)
    contact = _record("Contact", make_id("003", 7), LastName="Lovelace", Account=account)
    return Ending(
        {
            "contact": contact,
            "related": [contact, _record("Contact", make_id("003", 8), LastName="Hopper", Account=None)],
            "isSuccess": False,
            "errors": ["none, this is an output"],
            "ErrorMessage": None,
            "score": 2.0,
        }
    )


_MAIL = (Variable("senderEmail"), Variable("senderName"), Variable("subject"), Variable("threadId"))
_COLLECTIONS = tuple(Variable(name, collection=True) for name in ("recipientEmails", "ccEmails", "recipients"))
_LEVELS = ("Low", "Medium", "High")
_EVERY_TYPE = (
    Variable("text", description="Any text"),
    Variable("flag", "BOOLEAN"),
    Variable("amount", "NUMBER"),
    Variable("price", "CURRENCY"),
    Variable("day", "DATE"),
    Variable("moment", "DATETIME"),
    Variable("level", "PICKLIST", choices=_LEVELS),
    Variable("levels", "MULTIPICKLIST", choices=_LEVELS),
    Variable("contact", "SOBJECT", sobject="Contact"),
    Variable("contacts", "SOBJECT", sobject="Contact", collection=True),
    Variable("amounts", "NUMBER", collection=True),
)
_ECHO_MAIL = (*_MAIL, Variable("recipientEmails"), Variable("recipients", collection=True))
_ALIASES = (
    Variable("fromAddress"),
    Variable("fromName"),
    Variable("toAddresses", collection=True),
    Variable("ccAddresses", collection=True),
    Variable("conversationId"),
    Variable("Subject"),
)
_ODD = (Variable("subject", "NUMBER"), Variable("senderEmail", "BOOLEAN"), Variable("ThreadID"))
_RECORDS = (
    Variable("contact", "SOBJECT", sobject="Contact"),
    Variable("related", "SOBJECT", sobject="Contact", collection=True),
    Variable("isSuccess", "BOOLEAN"),
    Variable("errors", collection=True),
    Variable("ErrorMessage"),
    Variable("score", "NUMBER"),
)
_CASE = (
    Variable("subject", required=True),
    Variable("senderEmail"),
    Variable("priority", "PICKLIST", choices=_LEVELS),
)

_ALL = (
    Flow("Create_Case", "Create a Case", _CASE, (Variable("caseId", "REFERENCE"),), _make_case, "From a mail"),
    Flow("Daily_Digest", "Daily digest", outputs=(Variable("message"),), run=lambda _: Ending({"message": "Sent"})),
    Flow("Every_Type", "Every type of input", _EVERY_TYPE, _EVERY_TYPE, _echo),
    Flow("Log_Recipients", "Log recipients", _COLLECTIONS, _COLLECTIONS, _echo),
    Flow("Echo_Mail", "Echo the mail", _ECHO_MAIL, _ECHO_MAIL, _echo),
    Flow("Alias_Mail", "Mail by other names", _ALIASES, _ALIASES, _echo),
    Flow("Odd_Names", "Mail names of other types", _ODD, _ODD, _echo),
    Flow("Find_Contact", "Find the contact", _MAIL[:1], _RECORDS, _find_contact),
    Flow("Faulty_Flow", "Always faults", _MAIL[:1], run=_fault),
    Flow("Handled_Fault", "Handles its own fault", outputs=(Variable("ErrorMessage"),), run=_handled_fault),
    Flow("Wait_For_Approval", "Wait for approval", outputs=(Variable("requestedFrom"),), run=_wait),
    Flow("FLR__Log_Mail", "Log the mail", (*_MAIL, _COLLECTIONS[0]), (Variable("taskId", "REFERENCE"),), _make_task),
    Flow("Slow_Import", "Slow import", (Variable("seconds", "NUMBER"),), (Variable("rows", "NUMBER"),), _take_time),
    Flow("Nothing_Back", "Gives nothing back", run=_null),
    Flow("Score_Lead", "Score a lead", (Variable("lead", "APEX", apex="FLR__LeadRequest"), *_MAIL[:1])),
    Flow("Assign_Owner", "Assign an owner", (Variable("ownerId", "REFERENCE"),)),
    Flow("Count_Runs", "Count its runs", outputs=(Variable("runs", "NUMBER"),), run=_counted),
    Flow("Approve_Discount", "Approve a discount", (Variable("percent", "NUMBER"),), run=_echo),
    Flow("Guided_Sale", "Guided sale", _MAIL, screen=True),
    Flow("Old_Flow", "Switched off", active=False),
)  # fmt: skip

CATALOGUE: Mapping[str, Flow] = MappingProxyType({flow.name: flow for flow in _ALL})
"""All Flows by API name, those that REST does not know included."""
