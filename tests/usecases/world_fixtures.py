"""The use cases over real parts, in one process: SQLite, keys in a folder, and the devkit's Salesforce on loopback."""

import json
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from threading import Barrier
from typing import TypeVar
from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic import JsonValue

from shared.compose import UseCases
from shared.devkit.salesforce import SalesforceServer, consent
from shared.devkit.salesforce.ids import make_id
from shared.devkit.salesforce.people import User as Person
from shared.devkit.salesforce.people import find_user
from shared.devkit.salesforce.recording import Call
from shared.devkit.workbench import Workbench
from shared.errors import FlowRunnerError
from shared.keys.local import LocalKeyring
from shared.model.connections import AttemptId, Connection, OpenConnection
from shared.model.events import Event, EventName
from shared.model.identity import BearerToken, Principal, User
from shared.model.requests import BeginConnection, CompleteConnection, RunFlowBody
from shared.model.runs import Run, RunAnswer, RunId
from shared.ports import Clock, Store
from shared.salesforce.flow_cache import RecentFlows
from shared.store.sqlite import SqliteStore
from shared.usecases.admission import Admission, Admitted
from shared.usecases.breaker import Breaker
from shared.usecases.commit_grant import CommitGrant
from shared.usecases.complete_connection import CompleteConnect
from shared.usecases.connect import BeginConnect, Begun, ParkCode
from shared.usecases.connections import EndConnection, ReadConnection, ReadMe
from shared.usecases.end_stale_runs import EndStaleRuns
from shared.usecases.enrol import Enrol, EnrolByOperator
from shared.usecases.flights import Flights
from shared.usecases.grants import ALLOWED_ORGS, Grants
from shared.usecases.insist import Insist
from shared.usecases.list_flows import Catalogue, DescribeFlow, ListFlows
from shared.usecases.refresh import RefreshGrant
from shared.usecases.refresh_failures import RefreshLimits
from shared.usecases.run_flow import RunFlow
from shared.usecases.sessions import Sessions
from tests.usecases.faulty_fixtures import FaultyStore, Interruptions, interrupted

Answer = TypeVar("Answer")

WAIT_S = 20.0
NOON = 1_900_065_600_000
"""A noon in UTC, in epoch milliseconds."""

SECOND, MINUTE, DAY = 1_000, 60_000, 86_400_000
BREAKER_S = 60
LIMITS = RefreshLimits(lease_s=45, deadline_s=20, floor_s=60)
FLOOR_MS = LIMITS.floor_s * SECOND
FLOW_CACHE_S = 300
_people, _gates = count(), count()


@dataclass
class MovableClock:
    """A clock that stands still until it is moved; epoch milliseconds."""

    now: int = NOON

    def __call__(self) -> int:
        return self.now

    def move(self, ms: int) -> None:
        self.now += ms


@dataclass
class World:
    """One deployment with an empty store. `built` lends what it asks of the network.

    `interruptions` come before calls of the store, of OAuth's `refresh` and `revoke`, and before each `pause`, which
    moves the clock and does not wait. `username` is a Salesforce user whom no other test knows.
    """

    bench: Workbench
    built: UseCases
    folder: Path
    open_enrolment: bool = True
    limits: RefreshLimits = LIMITS
    clock: MovableClock = field(default_factory=MovableClock)
    interruptions: Interruptions = field(default_factory=Interruptions)
    events: list[Event] = field(default_factory=list)
    gate: str = ""
    username: str = field(default_factory=lambda: f"load-{next(_people)}@acme.example")

    def __post_init__(self) -> None:
        self.store = SqliteStore(self.folder / "store.sqlite", self.clock)
        self.keyring = LocalKeyring(self.folder / "keys", os.urandom, self.clock)
        self.admission = Admission(self.store, self.keyring)
        self.cases = self._cases(FaultyStore(self.store, self.interruptions), self.interruptions, self.clock)
        assert self.bench.salesforce is not None
        self.salesforce: SalesforceServer = self.bench.salesforce

    def instance(self, ahead_ms: int = 0) -> UseCases:
        """Another instance over the same store; nothing interrupts it, and its clocks are ahead of all others."""
        return self._cases(self.store, Interruptions(), lambda: self.clock() + ahead_ms)

    def _cases(self, store: Store, interruptions: Interruptions, clock: Clock) -> UseCases:
        keyring, channels = self.keyring, self.built.begin_connect.channels
        oauth = interrupted(self.built.begin_connect.oauth, interruptions)
        admission = Admission(store, keyring)
        grants = Grants(oauth, self.events.append)
        refresh = self._refresh(grants, interruptions, clock)
        sessions = Sessions(grants, refresh, self.built.run_flow.sessions.orgs)
        catalogue = Catalogue(RecentFlows(FLOW_CACHE_S, clock))
        enrol = Enrol(store, keyring, admission, clock, os.urandom)
        newcomers = enrol if self.open_enrolment else None
        return replace(
            self.built,
            clock=clock,
            emit=self.events.append,
            read_me=ReadMe(admission, grants),
            begin_connect=BeginConnect(store, admission, newcomers, oauth, channels, clock, os.urandom),
            park_code=ParkCode(store, keyring, channels, clock, os.urandom),
            complete_connect=CompleteConnect(store, admission, grants, oauth, clock),
            read_connection=ReadConnection(admission, grants),
            end_connection=EndConnection(admission, grants, clock),
            list_flows=ListFlows(admission, sessions, catalogue),
            describe_flow=DescribeFlow(admission, sessions, catalogue),
            run_flow=RunFlow(admission, sessions, catalogue, clock, self.events.append),
            enrol=EnrolByOperator(enrol),
            end_stale_runs=EndStaleRuns(store, clock, self.events.append),
        )

    def _refresh(self, grants: Grants, interruptions: Interruptions, clock: Clock) -> RefreshGrant:
        def ticks() -> float:
            return clock() / SECOND

        def pause(seconds: float) -> None:
            interruptions.passing("pause")
            self.clock.move(int(seconds * SECOND))

        insist = Insist(ticks, pause, os.urandom)
        return RefreshGrant(
            grants=grants,
            commit=CommitGrant(grants, insist, self.events.append),
            insist=insist,
            oauth=grants.oauth,
            limits=self.limits,
            breaker=Breaker(ticks, BREAKER_S),
            flights=Flights(),
            ticks=ticks,
            pause=pause,
            randomness=os.urandom,
            emit=self.events.append,
        )

    # What users do

    def caller(
        self, user: str = "ada", tenant: str = "acme", *, admin: bool = False, operator: bool = False
    ) -> Principal:
        token = self.bench.token(user, tenant, admin=admin, operator=operator)
        return self.cases.sign_in(BearerToken(f"Bearer {token}"))

    def begin(self, caller: Principal, environment: str = "production", **more: JsonValue) -> Begun:
        asked = {"environment": environment, "channel": "outlook", **more}
        return self.cases.begin_connect(caller, BeginConnection.model_validate_json(json.dumps(asked)))

    def answer(self, begun: Begun, username: str = "") -> tuple[str, str]:
        """State and code, as the user's browser brings them from Salesforce."""
        returned = parse_qs(urlsplit(consent(begun.authorize_url, username or self.username)).query)
        return returned["state"][0], returned["code"][0]

    def answer_without_page(self, begun: Begun) -> tuple[str, str]:
        """The same for a login host with TLS, whose page no browser here would trust."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(begun.authorize_url).query).items()}
        scopes = frozenset(asked["scope"].split())
        grants = self.salesforce.grants
        return asked["state"], grants.issue_code(self.person, scopes, asked["redirect_uri"], asked["code_challenge"])

    def park(self, begun: Begun, username: str = "") -> str:
        """The completion value that the browser is sent on with."""
        return self.cases.park_code(*self.answer(begun, username), None).completion

    def complete(self, caller: Principal, attempt: AttemptId, completion: str) -> OpenConnection:
        return self.cases.complete_connect(caller, attempt, CompleteConnection(completion=completion))

    def connect(self, caller: Principal, username: str = "") -> OpenConnection:
        """All three steps, after which Salesforce has forgotten what it was asked."""
        begun = self.begin(caller)
        joined = self.complete(caller, begun.id, self.park(begun, username))
        self.salesforce.recorder.clear()
        return joined

    def run(
        self, caller: Principal, connection: str, flow: str, key: str, inputs: Mapping[str, JsonValue] | None = None
    ) -> RunAnswer:
        return self.cases.run_flow(caller, connection, flow, key, RunFlowBody(inputs=inputs or {}))

    # What is stored

    def inside(self, caller: Principal) -> Admitted:
        """The caller's rows, digests and sealer, past every interruption."""
        return self.admission(caller)

    def row(self, caller: Principal) -> Connection:
        """The caller's one connection as stored."""
        admitted = self.inside(caller)
        (row,) = admitted.rows.connections(admitted.owner)
        return row

    def opened(self, caller: Principal) -> OpenConnection:
        """The caller's one connection as stored, opened."""
        return self.cases.run_flow.sessions.grants.opened(self.inside(caller), self.row(caller))

    def allow(self, caller: Principal, *org_ids: str) -> None:
        """Let the caller's tenant join these orgs only."""
        admitted = self.inside(caller)
        sealed = admitted.sealer.seal(ALLOWED_ORGS, json.dumps(org_ids).encode())
        admitted.rows.save_tenant(replace(admitted.tenant, allowed_orgs=sealed))

    def record(self, caller: Principal, key: str) -> Run | None:
        """The record of the run that the caller began with that key."""
        admitted, user = self.inside(caller), self.user(caller).id
        return admitted.rows.run(user, RunId(admitted.digest("run", user, key)))

    def user(self, caller: Principal) -> User:
        """The caller as stored."""
        admitted = self.inside(caller)
        user = admitted.rows.user(admitted.owner)
        assert user is not None
        return user

    def changed(self, caller: Principal, times: int) -> None:
        """Let the caller have connected and disconnected that often today."""
        rows, user = self.inside(caller).rows, self.user(caller)
        for _ in range(times):
            user = rows.save_user(user.changing(self.clock() // DAY))

    # What Salesforce does

    @property
    def person(self) -> Person:
        """The test's own Salesforce user."""
        found = find_user(self.username)
        assert found is not None
        return found

    def approvals(self) -> int:
        """How many grants of the test's Salesforce user can still be used."""
        return self.salesforce.grants.live_approvals(self.person)

    def expire_sessions(self) -> None:
        """The session ends, when it is old enough to be refreshed."""
        self.clock.move(FLOOR_MS)
        self.salesforce.grants.expire_sessions(self.person)

    def end_approvals(self) -> None:
        """An admin ends the approval, when its session is old enough to be refreshed."""
        self.clock.move(FLOOR_MS)
        self.salesforce.grants.end_approvals(self.person)

    def plan(self, endpoint: str, **how: object) -> None:
        self.salesforce.steering.plan({"endpoint": endpoint, **how})

    def switch(self, **switches: object) -> None:
        self.salesforce.steering.switch(switches)

    def calls(self, endpoint: str | None = None) -> list[Call]:
        return self.salesforce.recorder.calls(endpoint)

    def asked(self) -> dict[str, int]:
        """How often each endpoint was called."""
        return self.salesforce.recorder.counters()

    def sent(self, endpoint: str, name: str) -> list[str]:
        """A form field of each call to an OAuth endpoint."""
        return [parse_qs(call.body)[name][0] for call in self.calls(endpoint)]

    def bearers(self, endpoint: str) -> list[str]:
        """The access token of each call."""
        return [(call.header("Authorization") or "").removeprefix("Bearer ") for call in self.calls(endpoint)]

    def told(self) -> list[EventName]:
        """What telemetry was told so far."""
        return [event.name for event in self.events]

    @contextmanager
    def unreachable(self) -> Iterator[None]:
        """Salesforce takes no connection until the block ends."""
        self.salesforce.stop()
        try:
            yield
        finally:
            self.salesforce.start()

    @contextmanager
    def held(self, endpoint: str, call: Callable[[], Answer], **how: object) -> Iterator[Future[Answer]]:
        """The call in a thread of its own; Salesforce holds what it asks until `let_go`, at the block's end at last."""
        self.gate, earlier = f"gate-{next(_gates)}", self.asked().get(endpoint, 0)
        self.plan(endpoint, hold=self.gate, **how)
        with ThreadPoolExecutor(1) as threads:
            future = threads.submit(call)
            try:
                assert self.salesforce.recorder.wait_for(endpoint, earlier + 1, WAIT_S)
                yield future
            finally:
                self.let_go()

    def let_go(self) -> None:
        """Salesforce holds nothing any more."""
        self.salesforce.steering.release(self.gate)


def refusal(call: Callable[[], object]) -> FlowRunnerError:
    """What a call raises."""
    with pytest.raises(FlowRunnerError) as told:
        call()
    return told.value


def race(*calls: Callable[[], Answer]) -> list[Answer | FlowRunnerError]:
    """What each call gave or raised, when all begin at once."""
    gate = Barrier(len(calls))

    def run(call: Callable[[], Answer]) -> Answer | FlowRunnerError:
        gate.wait(WAIT_S)
        try:
            return call()
        except FlowRunnerError as error:
            return error

    with ThreadPoolExecutor(len(calls)) as threads:
        return list(threads.map(run, calls))


def a_key() -> str:
    """An Idempotency-Key."""
    return secrets.token_urlsafe(24)


def identity_of(number: int) -> str:
    """What a token answer's `id` says for a user of the numbered org."""
    return f"https://login.salesforce.com/id/{make_id('00D', number)}/{make_id('005', number)}"
