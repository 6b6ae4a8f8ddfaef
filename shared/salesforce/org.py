"""A Salesforce org as one user sees it: simple-salesforce behind our port, tamed (salesforce-contract 3 and 5).

The library joins address and path, and sends. What comes back is taken before the library judges it: its own
exceptions show whole answers in their text, and end here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import requests
from simple_salesforce.api import Salesforce
from simple_salesforce.exceptions import SalesforceError

from shared.errors import (
    FlowRunnerError,
    NextAction,
    SalesforceTimedOut,
    SalesforceUnavailable,
    SalesforceUnusable,
    SessionExpired,
)
from shared.model.connections import Grant, OrgFacts, Reason
from shared.model.flows import Flow, FlowInputs, FlowName, FlowSummary
from shared.model.runs import FlowFault, FlowResult, Outcome
from shared.ports import Org
from shared.salesforce.describing import described, listed, outputs_of
from shared.salesforce.faults import Fault, FaultKind, error_of, fault_of
from shared.salesforce.hosts import Hosts
from shared.salesforce.pool import NoAnswer, Pool, reply_of
from shared.salesforce.replies import Reply, Unanswered

_FLOWS = "actions/custom/flow"
_HEADERS = {"Accept": "application/json", "Sforce-Call-Options": "client=FlowRunner"}
_UNKNOWN = FlowResult(Outcome.UNKNOWN, finished=False, next_action=NextAction.CHECK_SALESFORCE)
_GOOD, _UNAUTHORIZED = range(200, 300), 401
_AFTER_SEND = frozenset({FaultKind.UPSTREAM_DOWN, FaultKind.UNUSABLE})
_FAULTED: Mapping[FaultKind, NextAction] = {
    FaultKind.FLOW_ERROR: NextAction.ASK_ADMIN,
    FaultKind.CONTENTION: NextAction.RETRY,
}


@dataclass(frozen=True, slots=True)
class RestOrgs:
    """The way to orgs over REST. `version` is that of the API, such as `66.0`; times are in seconds."""

    hosts: Hosts
    pool: Pool = field(repr=False)
    version: str
    connect_s: float
    run_s: float
    metadata_s: float

    def org(self, facts: OrgFacts, grant: Grant) -> Org:
        """The org as that grant's user sees it. No call is made yet."""
        return _RestOrg(self, facts, grant)


@dataclass(frozen=True, slots=True)
class _RestOrg:
    orgs: RestOrgs
    facts: OrgFacts = field(repr=False)
    grant: Grant = field(repr=False)

    def flows(self) -> Sequence[FlowSummary]:
        reply = self._read(_FLOWS)
        found = listed(reply)
        if found is None:
            raise SalesforceUnusable
        return found

    def flow(self, name: FlowName) -> Flow:
        reply = self._read(f"{_FLOWS}/{name}")
        found = described(reply, name)
        if found is None:
            raise SalesforceUnusable
        return found

    def run(self, name: FlowName, inputs: FlowInputs) -> FlowResult:
        reply = self._call("POST", f"{_FLOWS}/{name}", self.orgs.run_s, {"inputs": [dict(inputs.values)]})
        if isinstance(reply, Unanswered):
            if reply is Unanswered.NOT_SENT:
                raise SalesforceUnavailable
            return _UNKNOWN
        fault = fault_of(reply)
        if fault is None or fault.kind is FaultKind.PENDING:
            outputs = outputs_of(reply)
            return FlowResult(Outcome.SUCCESS, fault is None, outputs) if outputs else _UNKNOWN
        if fault.kind in _FAULTED:
            said = FlowFault(fault.code, fault.message)
            return FlowResult(Outcome.ERROR, finished=True, fault=said, next_action=_FAULTED[fault.kind])
        if _may_have_run(reply, fault):
            return _UNKNOWN
        raise error_of(fault)

    def _read(self, path: str) -> Reply:
        """The answer to a question, which changes nothing in the org."""
        reply = self._call("GET", path, self.orgs.metadata_s)
        if isinstance(reply, Unanswered):
            raise _unread(reply)
        fault = fault_of(reply)
        if fault:
            raise _question_error(fault, path)
        return reply

    def _call(self, method: str, path: str, total_s: float, body: object = None) -> Reply | Unanswered:
        """The answer as it came, to one request sent once. The org's address is proved again before each."""
        orgs = self.orgs
        origin = orgs.hosts.instance(self.facts.instance_url)
        heard: list[requests.Response] = []
        try:
            Salesforce(
                instance_url=origin,
                session_id=self.grant.access_token,
                session=orgs.pool,
                version=orgs.version,
            ).restful(
                path,
                method=method,
                json=body,
                headers=_HEADERS,
                timeout=(orgs.connect_s, total_s),
                allow_redirects=False,
                hooks={"response": lambda response, **_: heard.append(response)},
            )
        except NoAnswer as none:
            return none.why
        except (SalesforceError, requests.RequestException, ValueError, TypeError, RecursionError):
            # It raises for each status from 300 up and for what it cannot parse; we read the answer ourselves.
            pass
        return reply_of(heard[0]) if heard else Unanswered.LOST


def _may_have_run(reply: Reply, fault: Fault) -> bool:
    """Whether the Flow may have begun. That a session was over is believed of a 401 alone: it is sent again."""
    if fault.kind is FaultKind.SESSION_EXPIRED:
        return reply.status != _UNAUTHORIZED
    return fault.kind in _AFTER_SEND or reply.status in _GOOD


def _unread(why: Unanswered) -> FlowRunnerError:
    if why is Unanswered.TOO_LARGE:
        return SalesforceUnusable("Salesforce's answer is too large.")
    return SalesforceTimedOut() if why is Unanswered.TIMED_OUT else SalesforceUnavailable()


def _question_error(fault: Fault, path: str) -> FlowRunnerError | SessionExpired:
    if fault.kind is FaultKind.NOT_FOUND and path == _FLOWS:
        return SalesforceUnusable("The org does not know this version of the API.", next_action=NextAction.NONE)
    if fault.kind is FaultKind.CALLER_ERROR:
        return SalesforceUnusable("Salesforce did not understand the question.", next_action=NextAction.NONE)
    if fault.kind is FaultKind.FORBIDDEN and path == _FLOWS:
        return error_of(replace(fault, kind=FaultKind.CONFIGURATION, cause=Reason.FLOWS_NOT_ALLOWED))
    return error_of(fault)
