"""What a soak asks of the instances over HTTP: run a Flow, and connect as a user does."""

from __future__ import annotations

import json
import secrets
import threading
from collections import Counter
from dataclasses import dataclass, field
from time import monotonic
from urllib.parse import urlsplit

import requests
from pydantic import JsonValue

from shared.devkit.salesforce import consent
from shared.devkit.salesforce.ledger import now_ms
from shared.devkit.soak_instances import Instance, Instances

FLOW = "Echo_Mail"
"""A background Flow that takes a subject, by which its runs are told apart."""

_WAIT_S = 90.0
_BUSY, _CONFLICT, _SEE_OTHER = 503, 409, 303
CUT = 0
"""The status of a request that was cut off with its instance."""


@dataclass(slots=True)
class Person:
    """A user of the add-in and of Salesforce with one connection between them.

    `consents` counts what was tried, `since` is when the bearer token was made (monotonic).
    """

    username: str
    bearer: str = field(repr=False)
    connection: str = ""
    consents: int = 0
    since: float = field(default_factory=monotonic)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: its status, the last part of a problem's type, the seconds to wait, the body, when it came."""

    status: int
    kind: str = ""
    retry_after: float = 0.0
    body: dict[str, JsonValue] = field(default_factory=dict)
    location: str = ""
    at: int = field(default_factory=now_ms)

    @property
    def is_success(self) -> bool:
        """Whether it brought what was asked for; of a run, that it ended well."""
        return self.status // 100 in {2, 3} and self.body.get("outcome", "success") == "success"

    @property
    def is_over(self) -> bool:
        """Whether the connection is lost."""
        return (self.status, self.kind) == (_CONFLICT, "reconnect-needed")


class Clients:
    """Asks instances, and counts each status that it should not get in `unexpected`; thread-safe."""

    def __init__(self, instances: Instances) -> None:
        self.unexpected: Counter[str] = Counter()
        self._instances = instances
        self._turn = threading.Lock()
        self._own = threading.local()

    def run(self, person: Person, instance: Instance, key: str) -> Reply:
        """The answer to a run with that Idempotency-Key; the same key is sent again when the instance was killed."""
        path = f"/v1/connections/{person.connection}/flows/{FLOW}/runs"
        body = {"email": {"subject": key}, "inputs": {}}
        reply = self._asked(person, instance, "POST", path, body, key)
        if reply.status == CUT:  # the run may have run: only the same key is safe, and its answer says nothing new
            self._asked(person, self._instances.any(), "POST", path, body, key)
        elif reply.status == requests.codes.ok and not reply.is_success:
            self._note(self.unexpected, f"run ended as {reply.body.get('outcome')}")
        return reply

    def connect(self, person: Person) -> bool:
        """Go the whole way from begin to completion once; False when it has to be begun anew."""
        begun = self._step(person, "POST", "/v1/connections", {"environment": "production", "channel": "outlook"})
        if not begun.is_success:
            return False
        person.consents += 1
        back = urlsplit(consent(str(begun.body["authorizeUrl"]), person.username))
        parked = self._step(person, "GET", f"{back.path}?{back.query}")
        if parked.status != _SEE_OTHER:
            return False
        completion = {"completion": parked.location.partition("#completion=")[2]}
        joined = self._step(person, "POST", f"/v1/connections/{begun.body['id']}/completion", completion)
        if joined.is_success:
            person.connection = str(joined.body["id"])
        return joined.is_success

    def unexpected_event(self, what: str) -> None:
        """Count something else that should not have happened."""
        self._note(self.unexpected, what)

    def _step(self, person: Person, method: str, path: str, body: object = None) -> Reply:
        return self._asked(person, self._instances.any(), method, path, body)

    def _asked(
        self, person: Person, instance: Instance, method: str, path: str, body: object = None, key: str = ""
    ) -> Reply:
        headers = {"Authorization": f"Bearer {person.bearer}"} | ({"Idempotency-Key": key} if key else {})
        url = instance.base_url + path
        try:
            answer = self._session().request(
                method, url, json=body, headers=headers, timeout=_WAIT_S, allow_redirects=False
            )
            reply = _reply(answer)
        except (requests.RequestException, ValueError) as cut:
            reply = Reply(CUT, type(cut).__name__)
        self._judge(reply, instance, path)
        return reply

    def _judge(self, reply: Reply, instance: Instance, path: str) -> None:
        what = f"{reply.status or 'cut'} {reply.kind} at {path.rpartition('/')[2].partition('?')[0]}"
        cut = reply.status == CUT and self._instances.was_killed(instance)
        if not (cut or reply.is_over or reply.status == _BUSY or reply.status // 100 in {2, 3}):
            self._note(self.unexpected, what)

    def _note(self, where: Counter[str], what: str) -> None:
        with self._turn:
            where[what] += 1

    def _session(self) -> requests.Session:
        """The thread's own, whose connections stay open."""
        session: requests.Session | None = getattr(self._own, "session", None)
        if session is None:
            session = self._own.session = requests.Session()
            session.trust_env = False
        return session


def new_key() -> str:
    """Return an Idempotency-Key that nobody has used."""
    return secrets.token_urlsafe(24)


def _reply(answer: requests.Response) -> Reply:
    body = json.loads(answer.content) if "json" in answer.headers.get("Content-Type", "") else {}
    kind = str(body.get("type", "")).rpartition("/")[2]
    retry_after = float(answer.headers.get("Retry-After", 0))
    return Reply(answer.status_code, kind, retry_after, body, answer.headers.get("Location", ""))
