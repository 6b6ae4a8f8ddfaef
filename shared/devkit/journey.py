"""The steps of the demo: what an add-in asks of the app, and what Salesforce and the store can show of it."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar
from urllib.parse import parse_qs, urlsplit

import requests
from pydantic import JsonValue, ValidationError

from shared.devkit import stored
from shared.devkit.salesforce import SalesforceServer, consent
from shared.devkit.salesforce.recording import Call
from shared.devkit.transcript import Transcript, secret
from shared.model.answers import (
    Answer,
    BegunView,
    ConnectionView,
    FlowDetail,
    FlowList,
    InputView,
    MeView,
    RunResultView,
)
from shared.model.email import EmailContext

FLOW = "Create_Case"
TYPED = "Typed by the user, since the message says nothing"
_WAIT_S = 30.0
_OK, _CREATED, _SEE_OTHER = 200, 201, 303
_BROWSER = frozenset({"authorize", "consent"})
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})

View = TypeVar("View", bound=Answer)
Message = Mapping[str, object]


class DemoFailed(Exception):
    """A step did not show what it promises; the text is one sentence."""


@dataclass(frozen=True, slots=True)
class AddIn:
    """Speaks to the app over HTTP as an add-in does, with one user's bearer token."""

    base_url: str
    http: requests.Session
    token: str = field(repr=False)

    def get(self, path: str, view: type[View]) -> View:
        """The answer to a question. Raises DemoFailed unless it is 200 and of that form."""
        return self._asked("GET", path, view, _OK, None, _NO_HEADERS)

    def post(
        self, path: str, view: type[View], body: object, *, status: int = _OK, headers: Mapping[str, str] = _NO_HEADERS
    ) -> View:
        """The answer to a JSON body. Raises DemoFailed unless it is of that status and form."""
        return self._asked("POST", path, view, status, body, headers)

    def _asked(
        self, method: str, path: str, view: type[View], status: int, body: object, headers: Mapping[str, str]
    ) -> View:
        signed = {"Authorization": f"Bearer {self.token}", **headers}
        url = self.base_url + path
        answer = self.http.request(method, url, json=body, headers=signed, timeout=_WAIT_S, allow_redirects=False)
        try:
            if answer.status_code == status:
                return view.model_validate_json(answer.content)
            kind = answer.json()["type"].rpartition("/")[2]
        except (ValidationError, ValueError, LookupError, TypeError, AttributeError):
            kind = "an answer of unknown form"
        raise DemoFailed(f"{method} {path} answered {answer.status_code}, {kind}.")


@dataclass(frozen=True, slots=True)
class Stage:
    """Where the journey plays: the transcript, the add-in, Salesforce, and the folder with all that the app writes."""

    say: Transcript
    add_in: AddIn
    salesforce: SalesforceServer
    folder: Path

    @property
    def rows(self) -> list[stored.Row]:
        """What the store holds now."""
        return stored.rows(self.folder / "store.sqlite")


@dataclass(frozen=True, slots=True)
class RunRequest:
    """One request for a run, to be sent once or again."""

    path: str
    body: Mapping[str, object]
    headers: Mapping[str, str]

    def sent(self, add_in: AddIn) -> RunResultView:
        """Its answer. Raises DemoFailed for a problem."""
        return add_in.post(self.path, RunResultView, self.body, headers=self.headers)


def journey(stage: Stage, message: Message) -> None:
    """Show every step after the sign-in. Raises DemoFailed for the first that does not show what it promises."""
    tenant = _who(stage)
    connection = _connected(stage)
    flow = _described(stage, connection)
    before = stored.contents(stage.folder)
    request = RunRequest(
        f"/v1/connections/{connection}/flows/{FLOW}/runs",
        {"email": message, "inputs": dict(_typed(flow, message))},
        {"Idempotency-Key": secrets.token_urlsafe(24)},
    )
    with stage.say.doing("Run it with the message: POST .../flows/Create_Case/runs"):
        ran = request.sent(stage.add_in)
        _show_result(stage.say, ran)
    _sent(stage, flow, message)
    _remembered(stage, ran)
    _repeated(stage, request)
    _left(stage, ran, tenant)
    _nowhere(stage, message, before)


def texts(value: object) -> Iterator[str]:
    """Every text in a message's metadata."""
    if isinstance(value, str):
        yield value
    for inner in value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ():
        yield from texts(inner)


def _who(stage: Stage) -> str:
    with stage.say.doing("Who am I: GET /v1/me"):
        me = stage.add_in.get("/v1/me", MeView)
        stage.say.say("tenant", f"{me.tenant.ref}, {me.tenant.state}")
        stage.say.say("roles", ", ".join(me.roles) or "none, an ordinary user")
        stage.say.say("connections", len(me.connections) or "none yet")
    return me.tenant.ref


def _connected(stage: Stage) -> str:
    """The id of a new connection: begin, consent, callback, completion."""
    begun = _begun(stage)
    with stage.say.doing("Consent: the user signs in at Salesforce and presses Allow"):
        callback = _consented(begun.authorize_url)
        stage.say.say("back to", callback.partition("?")[0])
        stage.say.say("code", secret(_query(callback)["code"]))
    with stage.say.doing("Callback: the user's browser brings the code, and the app parks it sealed"):
        completion = _parked(stage, callback)
    with stage.say.doing("Complete: the pane that began redeems the value with its own token"):
        path = f"/v1/connections/{begun.id}/completion"
        joined = stage.add_in.post(path, ConnectionView, {"completion": completion})
        stage.say.say("connection", f"{joined.id}, {joined.state}")
        stage.say.say("org", f"{joined.org_id} at {joined.instance_host}")
        stage.say.say("Salesforce user", joined.salesforce_user)
    return joined.id


def _begun(stage: Stage) -> BegunView:
    with stage.say.doing("Begin to connect Salesforce: POST /v1/connections"):
        asked = {"environment": "production", "channel": "outlook"}
        begun = stage.add_in.post("/v1/connections", BegunView, asked, status=_CREATED)
        question = _query(begun.authorize_url)
        stage.say.say("send the user to", begun.authorize_url.partition("?")[0])
        stage.say.say("scopes", question["scope"])
        stage.say.say("PKCE", f"{question['code_challenge_method']} {secret(question['code_challenge'])}")
        stage.say.say("state", secret(question["state"]))
    return begun


def _consented(authorize_url: str) -> str:
    try:
        return consent(authorize_url)
    except ValueError as refused:
        raise DemoFailed(f"Salesforce took no consent: {refused}.") from None


def _parked(stage: Stage, callback: str) -> str:
    answer = stage.add_in.http.get(callback, timeout=_WAIT_S, allow_redirects=False)
    pane, _, completion = answer.headers.get("Location", "").partition("#completion=")
    if answer.status_code != _SEE_OTHER or not completion:
        raise DemoFailed(f"The callback answered {answer.status_code} without a completion value.")
    stage.say.say("303 to the pane", pane)
    stage.say.say("#completion=", f"{secret(completion)}, in the fragment, which no server sees")
    return completion


def _described(stage: Stage, connection: str) -> FlowDetail:
    path, say = f"/v1/connections/{connection}/flows", stage.say
    with say.doing("The Flows that this user may run: GET /v1/connections/{c}/flows"):
        flows = stage.add_in.get(path, FlowList)
        names = [f"{flow.label} ({flow.id})" for flow in flows.items]
        say.table([(one, other) for one, other in zip(names[::2], [*names[1::2], ""], strict=False)])
    with say.doing(f"What one of them declares: GET .../flows/{FLOW}"):
        flow = stage.add_in.get(f"{path}/{FLOW}", FlowDetail)
        say.table([("input", "type", "filled from"), *((i.name, _type_of(i), _source_of(i)) for i in flow.inputs)])
        say.note()
        say.table([("output", "type"), *((o.name, o.type) for o in flow.outputs)])
    return flow


def _typed(flow: FlowDetail, message: Message) -> Iterator[tuple[str, JsonValue]]:
    """What the user types: a choice where there are choices, and what is required and not in the message."""
    context = EmailContext.model_validate_json(json.dumps(message))
    for wanted in flow.inputs:
        if wanted.choices:
            yield wanted.name, wanted.choices[-1]
        elif wanted.required and (wanted.source == "none" or not context.value(wanted.source)):
            yield wanted.name, TYPED


def _show_result(say: Transcript, ran: RunResultView) -> None:
    if ran.outcome != "success" or ran.outputs is None or ran.sources is None:
        raise DemoFailed(f"The run ended as {ran.outcome}.")
    say.say("outcome", f"{ran.outcome}, {'finished' if ran.finished else 'paused'}")
    for name, value in ran.outputs.items():
        say.say(f"output {name}", value)
    for name, source in ran.sources.items():
        say.say(f"input {name}", f"from {source}")


def _sent(stage: Stage, flow: FlowDetail, message: Message) -> None:
    say, calls = stage.say, [c for c in stage.salesforce.recorder.calls() if c.endpoint not in _BROWSER]
    with say.doing("What Salesforce was sent of it: what the Flow declares, and nothing else"):
        given = _given(calls)
        if given.keys() - {wanted.name for wanted in flow.inputs}:
            raise DemoFailed("Salesforce was sent an input that the Flow does not declare.")
        for name, value in given.items():
            say.say(name, value)
        allowed = " ".join(str(value) for value in given.values()).lower()
        kept = [text for text in texts(message) if text.lower() not in allowed]
        earlier = {str(c.number): _trace(c) for c in calls if c.endpoint != "run"}
        runs = {str(c.number): _trace(c) for c in calls if c.endpoint == "run"}
        if stored.found(stored.searchable(kept, earlier), runs):
            raise DemoFailed("Salesforce was sent a part of the message that the Flow does not declare.")
        say.note()
        say.note(f"The app made {len(calls)} calls: {', '.join(c.endpoint for c in calls)}.")
        say.note(f"The other {len(kept)} texts of the message (names, recipients, thread) went nowhere.")


def _given(calls: Sequence[Call]) -> dict[str, object]:
    """The inputs of the one run that Salesforce was asked for."""
    bodies = [json.loads(call.body) for call in calls if call.endpoint == "run"]
    if len(bodies) != 1 or len(bodies[0]["inputs"]) != 1:
        raise DemoFailed("Salesforce was not asked for exactly one run.")
    return dict(bodies[0]["inputs"][0])


def _trace(call: Call) -> bytes:
    return "\n".join([call.path, call.query, json.dumps(call.headers), call.body]).lower().encode()


def _remembered(stage: Stage, ran: RunResultView) -> None:
    with stage.say.doing("What is remembered of the run: its record, as it is stored"):
        record = next((row for row in stage.rows if row.kind == "run" and row.document["id"] == ran.run.id), None)
        if record is None:
            raise DemoFailed("The store holds no record of the run.")
        stage.say.table(record.lines())


def _repeated(stage: Stage, request: RunRequest) -> None:
    recorder = stage.salesforce.recorder
    with stage.say.doing("The same request again, with the same Idempotency-Key: nothing runs twice"):
        before = (len(recorder.calls()), recorder.events())
        again = request.sent(stage.add_in)
        after = (len(recorder.calls()), recorder.events())
        if not again.replayed or again.outputs is not None or before != after:
            raise DemoFailed("A repeated request was not answered from the record alone.")
        stage.say.say("replayed", f"yes; the outcome is still {again.outcome}")
        stage.say.say("outputs", "null, because nothing kept them")
        stage.say.say("runs in Salesforce", f"{after[1][f'ran:{FLOW}']}, as before, and no call of any other kind")


def _left(stage: Stage, ran: RunResultView, tenant: str) -> None:
    say = stage.say
    with say.doing("What the store holds now: every row and every field, read from its file"):
        for row in stage.rows:
            if row.kind == "run" and row.document["id"] == ran.run.id:
                say.note("runs: the run, as shown above")
            elif row.kind == "tenant" and row.document["ref"] != tenant:
                say.note("tenants: the other tenant that was enrolled, with the same fields")
            else:
                say.note(f"{row.table}: a {'connect ' * (row.kind == 'attempt')}{row.kind}")
                say.table(row.lines())
            say.note()


def _nowhere(stage: Stage, message: Message, before: Mapping[str, bytes]) -> None:
    say = stage.say
    with say.doing("Where the message is now: nowhere"):
        values, files = stored.searchable(texts(message), before), stored.contents(stage.folder)
        found = stored.found(values, files)
        if found:
            raise DemoFailed(f"{len(found)} texts of the message were written to a file.")
        say.say("looked for", f"{len(values)} texts of the message, also as JSON escapes them")
        say.say("in the bytes of", f"all {len(files)} files: the store with its journal, the keys, the app's log")
        say.say("found", "none")


def _query(url: str) -> dict[str, str]:
    """The parameters of an address. Raises DemoFailed when it holds none."""
    found = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    if not found:
        raise DemoFailed("An address came without its parameters.")
    return found


def _type_of(wanted: InputView) -> str:
    return f"{wanted.type}{' collection' * wanted.collection}{', required' * wanted.required}"


def _source_of(wanted: InputView) -> str:
    typed = f"what the user picks: {', '.join(wanted.choices)}" if wanted.choices else "what the user types"
    return typed if wanted.source == "none" else wanted.source
