"""The whole product on the wire: the real engine, issuers, a Salesforce, and panes that use it as an add-in does."""

from __future__ import annotations

import json
import secrets
import sqlite3
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import NamedTuple, TypeVar
from urllib.parse import parse_qs, urlsplit

import requests

from shared.devkit.host import Host
from shared.devkit.minting import entra_claims
from shared.devkit.salesforce import SalesforceServer, consent
from shared.devkit.salesforce.recording import Call
from shared.devkit.workbench import Workbench

Result = TypeVar("Result")

ROOT = Path(__file__).resolve().parents[2]
WAIT_S = 30.0
ADA, BEN, CLEO = "ada@acme.example", "ben@acme.example", "cleo@acme.example.uat"
BEGIN: Mapping[str, str] = {"environment": "production", "channel": "outlook"}
GUESS = "A" * 43
CALLBACK = "/v1/oauth/salesforce/callback"
TRACE = f"00-{'c0ffee00' * 4}-{'ab' * 8}-01"
"""A traceparent that pins the correlation id, so that two answers can be compared byte for byte."""


class Attempt(NamedTuple):
    """What begin answers: the attempt's public id, and where the user consents."""

    id: str
    url: str

    @property
    def state(self) -> str:
        return parse_qs(urlsplit(self.url).query)["state"][0]


@dataclass(frozen=True)
class World:
    """One served app with all that is around it. `answers` is everything that it has answered."""

    bench: Workbench
    host: Host
    folder: Path
    http: requests.Session
    watching: sqlite3.Connection
    answers: list[requests.Response] = field(default_factory=list, repr=False)

    @property
    def salesforce(self) -> SalesforceServer:
        assert self.bench.salesforce is not None
        return self.bench.salesforce

    @property
    def log(self) -> str:
        """Everything that the app's process has printed."""
        return (self.folder / "log").read_text()

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> requests.Response:
        """An answer of the app. Headers are named with `_` for `-`; a body of bytes is sent as it is."""
        sent = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        named = {"Content-Type": "application/json"} | {n.replace("_", "-"): v for n, v in headers.items()}
        url = self.host.base_url + path
        answer = self.http.request(method, url, data=sent, headers=named, timeout=WAIT_S, allow_redirects=False)
        self.answers.append(answer)
        return answer

    def undressed(self, method: str, path: str, token: str) -> int:
        """The status of an answer to a path that is sent as it stands, which clients would tidy up."""
        with closing(HTTPConnection(urlsplit(self.host.base_url).netloc, timeout=WAIT_S)) as connection:
            needed = {"Content-Type": "application/json", "Idempotency-Key": new_key()}
            connection.request(method, path, b"{}", {"Authorization": f"Bearer {token}", **needed})
            return connection.getresponse().status

    def pane(self, user: str = "", tenant: str = "", *, admin: bool = False) -> Pane:
        """Somebody with the add-in open at Microsoft; somebody new of a new tenant where nobody is named."""
        user, tenant = user or str(uuid.uuid4()), tenant or str(uuid.uuid4())
        return Pane(self, self.bench.token(user, tenant, admin=admin), user, tenant)

    def google_pane(self, user: str = "", tenant: str = "") -> Pane:
        """The same at Google."""
        user, tenant = user or str(secrets.randbits(64)), tenant or f"d{secrets.token_hex(8)}.example"
        return Pane(self, self.bench.google_token(user, tenant), user, tenant)

    def pane_with(self, **claims: object) -> Pane:
        """Somebody new at Microsoft whose token says this."""
        user, tenant = str(uuid.uuid4()), str(uuid.uuid4())
        return Pane(self, self.bench.entra.sign(entra_claims(tenant, user) | claims), user, tenant)

    def operator(self) -> Pane:
        user = str(uuid.uuid4())
        return Pane(self, self.bench.token(user, operator=True), user, "")

    def browse(self, url: str) -> requests.Response:
        """What a browser gets that Salesforce sends on. The port in there is another: the host has chosen its own."""
        parts = urlsplit(url)
        return self.ask("GET", f"{parts.path}?{parts.query}")

    def steer(self, endpoint: str, **what: object) -> None:
        """What Salesforce does at the next call of an endpoint."""
        self.salesforce.steering.plan({"endpoint": endpoint, **what})

    def ran(self, flow: str = "Count_Runs") -> int:
        """How often Salesforce has run a Flow."""
        return self.salesforce.recorder.events().get(f"ran:{flow}", 0)

    def sent_to_salesforce(self) -> int:
        return sum(self.salesforce.recorder.counters().values())

    @contextmanager
    def overheard(self) -> Iterator[list[Call]]:
        """The calls that Salesforce gets inside the block; known at its end."""
        before, calls = self.sent_to_salesforce(), list[Call]()
        yield calls
        calls += [call for call in self.salesforce.recorder.calls() if call.number > before]

    @contextmanager
    def database(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self.folder / "store.sqlite", isolation_level=None)) as database:
            yield database

    @contextmanager
    def unwritten(self) -> Iterator[None]:
        """Prove that the block changes nothing in the database."""
        version = self._version()
        yield
        assert self._version() == version

    @contextmanager
    def untouched(self) -> Iterator[None]:
        """Prove that the block changes nothing in the database and sends nothing to Salesforce."""
        sent = self.sent_to_salesforce()
        with self.unwritten():
            yield
        assert self.sent_to_salesforce() == sent

    def _version(self) -> int:
        """SQLite's count of the changes that others have made."""
        return int(self.watching.execute("PRAGMA data_version").fetchone()[0])

    def document(self, key: str) -> dict[str, object]:
        """A document of the table `tenants`; `key` is such as `t:<ref>` or `c:<connection>`."""
        with self.database() as database:
            ((text,),) = database.execute("SELECT document FROM tenants WHERE id = ?", (key,)).fetchall()
        document: dict[str, object] = json.loads(text)
        return document

    def rewrite(self, key: str, change: Callable[[dict[str, object]], Mapping[str, object]]) -> None:
        """Change such a document behind the app's back."""
        changed = json.dumps(change(self.document(key)))
        with self.database() as database:
            database.execute("UPDATE tenants SET document = ? WHERE id = ?", (changed, key))

    def later(self, seconds: float) -> None:
        """Let time pass, in a world with a CLOCK_FILE."""
        clock = Path(self.bench.environment["CLOCK_FILE"])
        draft = clock.with_suffix(".draft")
        draft.write_text(str(float(clock.read_text()) + seconds))
        draft.replace(clock)


@dataclass(frozen=True)
class Pane:
    """The add-in of one user, who has `token`."""

    world: World
    token: str = field(repr=False)
    user: str
    tenant: str

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> requests.Response:
        return self.world.ask(method, path, body, **{"Authorization": f"Bearer {self.token}", **headers})

    def begin_with(self, change: Mapping[str, object]) -> requests.Response:
        return self.ask("POST", "/v1/connections", {**BEGIN, **change})

    def begin(self, **change: str) -> Attempt:
        answer = self.begin_with(change)
        assert answer.status_code == 201, answer.text
        begun = answer.json()
        return Attempt(begun["id"], begun["authorizeUrl"])

    def complete(self, attempt: str, completion: str) -> requests.Response:
        return self.ask("POST", f"/v1/connections/{attempt}/completion", {"completion": completion})

    def answered(self, username: str = ADA) -> tuple[Attempt, str]:
        """An attempt whose consent is given, and the completion value that came back."""
        attempt = self.begin(environment="sandbox" if username == CLEO else "production")
        return attempt, completion_of(self.world.browse(consent(attempt.url, username)))

    def connect(self, username: str = ADA) -> str:
        """The id of a new connection to Salesforce as that user of it."""
        attempt, completion = self.answered(username)
        joined = self.complete(attempt.id, completion)
        assert joined.status_code == 200, joined.text
        return str(joined.json()["id"])

    def connections(self) -> list[str]:
        answer = self.ask("GET", "/v1/connections")
        assert answer.status_code == 200, answer.text
        return [each["id"] for each in answer.json()["items"]]

    def run(
        self, connection: str, flow: str = "Count_Runs", key: str = "", body: object = None, **headers: str
    ) -> requests.Response:
        """Run a Flow; under a new key where none is given."""
        named = {"Idempotency_Key": key or new_key(), **headers}
        return self.ask(
            "POST", f"/v1/connections/{connection}/flows/{flow}/runs", {} if body is None else body, **named
        )

    def tenant_ref(self) -> str:
        return str(self.ask("GET", "/v1/me").json()["tenant"]["ref"])


@contextmanager
def serving(
    folder: Path, given: Mapping[str, str] | None = None, prepare: Callable[[Workbench], None] = lambda _: None
) -> Iterator[World]:
    """The app served with these settings; `prepare` is called when all but the app stands.

    Here a session may end as soon as it has begun, and is refreshed all the same.
    """
    clock = folder / "clock"
    clock.write_text("0")
    usual = {"CLOCK_FILE": str(clock), "REFRESH_FLOOR_S": "0"}
    with Workbench(folder, given=usual | dict(given or {})) as bench:
        prepare(bench)
        with Host(ROOT, bench.environment, output=folder / "log") as host, requests.Session() as http:
            http.trust_env = False
            with closing(sqlite3.connect(folder / "store.sqlite", isolation_level=None)) as watching:
                yield World(bench, host, folder, http, watching)


def new_key() -> str:
    return secrets.token_urlsafe(24)


def completion_of(answer: requests.Response) -> str:
    assert answer.status_code == 303, answer.text
    return answer.headers["Location"].partition("#completion=")[2]


def slug(answer: requests.Response) -> str:
    """The word that names a problem."""
    assert answer.headers["Content-Type"] == "application/problem+json; charset=utf-8"
    return str(answer.json()["type"]).rpartition("/")[2]


def refused(pane: Pane, attempt: str, completion: str) -> bool:
    """Whether a redemption is refused as every other, without a word to Salesforce."""
    sent = pane.world.sent_to_salesforce()
    answer = pane.complete(attempt, completion)
    assert pane.world.sent_to_salesforce() == sent
    return (answer.status_code, slug(answer)) == (409, "attempt-spent")


def attempts_in(world: World) -> dict[str, dict[str, int]]:
    """The documents of all attempts that are stored, by id."""
    with world.database() as database:
        return {name: json.loads(text) for name, text in database.execute("SELECT id, document FROM attempts")}


def told(answer: requests.Response) -> tuple[int, Mapping[str, str], bytes]:
    """All that a client can learn from an answer."""
    return answer.status_code, dict(answer.headers), answer.content


def at_once(*calls: Callable[[], Result]) -> list[Result]:
    """What calls return that all begin at the same moment."""
    barrier = threading.Barrier(len(calls))

    def begin(call: Callable[[], Result]) -> Result:
        barrier.wait(WAIT_S)
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(begin, calls))
