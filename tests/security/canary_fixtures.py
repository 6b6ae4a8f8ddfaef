"""Journeys on which every value is a canary."""

import json
import os
import secrets
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from urllib.parse import parse_qs, urlsplit

import requests

from shared.devkit.minting import entra_claims
from shared.devkit.salesforce import consent
from shared.devkit.salesforce.answers import HTML
from shared.keys.local import LocalKeyring
from shared.model.identity import TenantRef
from shared.model.sealed import Place
from tests.security.journey_fixtures import BEGIN, CALLBACK, WAIT_S, Pane, World, completion_of, new_key
from tests.security.traces_fixtures import SECRETS, Traces, whole


class Journeys:
    """Everything that can happen to a user, with canaries for all that is said on the way."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.secrets = {name: f"{name.replace(' ', '-')}-{secrets.token_hex(8)}" for name in SECRETS}
        self.secrets["flow name"] = f"Canary_{secrets.token_hex(8)}"
        self.secrets["username"] = f"load-{10_000 + secrets.randbelow(89_000)}@acme.example"
        self.secrets["client secret"] = world.bench.environment["SALESFORCE_CLIENT_SECRET"]
        self.secrets["instance host"] = urlsplit(world.salesforce.instance_url).netloc
        self.planned: list[str] = []
        self.pane = self._known(world.pane(), "object id", "tenant id")
        subject, domain = str(10**20 + secrets.randbits(60)), f"{self['google domain']}.example"
        self.google = self._known(world.google_pane(subject, domain), "google subject", "google domain")
        self.secrets["bearer claims"], self.secrets["bearer signature"] = self.pane.token.split(".")[1:]

    def __getitem__(self, name: str) -> str:
        return self.secrets[name]

    def _known(self, pane: Pane, user: str, tenant: str) -> Pane:
        self.secrets[user], self.secrets[tenant] = pane.user, pane.tenant
        return pane

    @property
    def mail(self) -> Mapping[str, object]:
        return {
            "sender": {"address": f"{self['sender']}@customer.example", "name": self["sender name"]},
            "to": [{"address": f"{self['recipient']}@acme.example", "name": self["recipient name"]}],
            "cc": [f"{self['copy']}@acme.example"],
            "subject": self["subject"],
            "threadId": self["thread"],
        }

    def plan(self, endpoint: str, status: int, body: object, **more: object) -> None:
        """What Salesforce says next: JSON, or a page for text."""
        text = body if isinstance(body, str) else json.dumps(body)
        kind = {"content_type": HTML} if isinstance(body, str) else {}
        self.planned.append(text)
        self.world.steer(endpoint, status=status, body=text, **kind, **more)

    def traces(self) -> Traces:
        """Go everywhere, and look at what is left: in the middle, and after the process was killed."""
        connection = self.connect()
        self.run(connection)
        self.lose(connection)
        self.misuse(connection)
        self.wander()
        files = self.files("full")
        self.break_down(connection)
        self.leave(connection)
        self.die()
        files |= self.files("killed")
        self.learn()
        keyring = b"".join(key.read_bytes() for key in sorted((self.world.folder / "keys").iterdir()))
        return Traces(self.secrets, files, keyring, self.world.log.encode(), self.world.answers, self.said())

    def files(self, moment: str) -> dict[str, bytes]:
        """The raw bytes of the database and its companions."""
        return {f"{moment} {file.name}": file.read_bytes() for file in self.world.folder.glob("store.sqlite*")}

    def connect(self) -> str:
        pane, world = self.pane, self.world
        attempt = pane.begin()
        url = consent(attempt.url, self["username"])
        self.secrets["state"] = attempt.state
        self.secrets["code"] = parse_qs(urlsplit(url).query)["code"][0].rstrip("=")
        self.secrets["completion"] = completion_of(world.browse(url))
        world.browse(url)
        pane.complete(attempt.id, self["guess"])
        joined = pane.complete(attempt.id, self["completion"]).json()
        pane.complete(attempt.id, self["completion"])
        self.secrets |= {"org": joined["orgId"][:15], "salesforce user": joined["salesforceUser"][:15]}
        self.google.run(self.google.connect(), "Echo_Mail", body={"email": self.mail})
        for name, place in (("instance_url", ".my.site.com"), ("id_url", "/id/x/y")):
            self.planned.append(f"https://{self['foreign host']}{place}")
            attempt, completion = pane.answered()
            world.salesforce.steering.switch({name: self.planned[-1]})
            pane.complete(attempt.id, completion)
            world.salesforce.steering.reset()
        return str(joined["id"])

    def run(self, connection: str) -> None:
        """Runs that bring something back: outputs, a fault, a pause."""
        pane, flow = self.pane, self["flow name"]
        self.plan("list", 200, {"actions": [{"name": flow, "label": self["flow label"]}]})
        pane.ask("GET", f"/v1/connections/{connection}/flows")
        inputs = [{"name": name, "type": "STRING"} for name in ("note", "subject", "senderEmail", "threadId")]
        self.plan("describe", 200, {"name": flow, "label": self["flow label"], "inputs": inputs, "outputs": []})
        pane.ask("GET", f"/v1/connections/{connection}/flows/{flow}")
        outputs = {"note": self["output"], "Flow__InterviewStatus": "Finished"}
        self.plan("run", 200, [{"isSuccess": True, "errors": None, "outputValues": outputs}])
        body = {"email": self.mail, "inputs": {"note": self["typed"]}}
        for _ in range(2):
            pane.run(connection, flow, self["key"], body)
        error = {"statusCode": "UNKNOWN_EXCEPTION", "message": self["fault"]}
        self.plan("run", 400, [{"isSuccess": False, "errors": [error], "outputValues": None}])
        pane.run(connection, flow, body=body)
        for name in ("Echo_Mail", "Log_Recipients", "Wait_For_Approval", "Faulty_Flow", "FLR__Log_Mail"):
            pane.run(connection, name, body={"email": self.mail})

    def lose(self, connection: str) -> None:
        """Runs and questions whose answer is lost, late, or none that we can use."""
        world, page = self.world, f"<html>{self['page']}</html>"
        for plan in ({"drop": "before"}, {"drop": "after"}, {"hold_after": "late"}):
            world.steer("run", **plan)
            self._echo(connection)
        error = {"errorCode": "INVALID_FIELD", "message": self["message"]}
        barred = {"errorCode": "INSUFFICIENT_ACCESS", "message": self["message"]}
        for status, body in ((503, page), (200, page), (400, [error]), (500, [error]), (403, [barred]), (302, page)):
            self.plan("run", status, body)
            self._echo(connection)
        for status, body in ((503, page), (200, page), (400, [error]), (404, [error])):
            self.plan("list", status, body)
            self.google.ask("GET", f"/v1/connections/{self.google.connections()[0]}/flows")
        world.salesforce.grants.expire_sessions(None)
        self.plan("token", 429, page)
        self._echo(connection)
        self._echo(connection)

    def _echo(self, connection: str) -> requests.Response:
        return self.pane.run(connection, "Echo_Mail", body={"email": self.mail})

    def misuse(self, connection: str) -> None:
        """Bodies, keys and tokens that are refused."""
        pane, value = self.pane, self["undeclared value"]
        run = f"/v1/connections/{connection}/flows/Create_Case/runs"
        for body in (*self.undeclared(), *self.unreadable()):
            pane.ask("POST", run, body, Idempotency_Key=new_key())
        pane.ask("POST", run, self["unreadable"].encode(), Content_Type="text/plain", Idempotency_Key=new_key())
        pane.run(connection, key=f"{self['key']}=")
        pane.begin_with({"channel": value})
        pane.begin_with({"myDomain": f"{value}.example"})
        old = {name: int(time.time()) - age for name, age in (("iat", 9_000), ("nbf", 9_000), ("exp", 5_400))}
        stale = self.world.bench.entra.sign(entra_claims(pane.tenant, pane.user) | old)
        self.secrets["refused bearer"] = stale.split(".")[2]
        for token in (stale, f"{stale}.x", f"{pane.token},{pane.token}", f"{pane.token[:-9]}AAAAAAAAA"):
            self.world.ask("GET", "/v1/me", Authorization=f"Bearer {token}")

    def undeclared(self) -> Iterator[object]:
        name, value = self["undeclared name"], self["undeclared value"]
        yield from ({"inputs": {name: value}}, {"inputs": {"subject": [value]}}, {name: value})
        yield from ({"email": {**self.mail, name: value}}, {"email": {"sender": [value]}})
        yield {"email": {"subject": value * 1_000}}
        yield {"email": self.mail, "inputs": {"subject": None}}
        yield f'{{"inputs": {{"{name}": "{value}", "{name}": "{value}"}}}}'.encode()

    def unreadable(self) -> Iterator[bytes]:
        text = self["unreadable"]
        yield f'{{"inputs": {{"subject": "{text}}}'.encode()
        yield f'{{"inputs": {{"subject": NaN, "x": "{text}"}}}}'.encode()
        yield f'{{"inputs": "{text * 20_000}"}}'.encode()
        yield b"\xff" + text.encode()

    def wander(self) -> None:
        """Addresses, headers and parameters that lead nowhere."""
        world, pane, there, said = self.world, self.pane, self["address"], self["header"]
        for path in (there, f"v1/{there}?{there}={there}", f"v1/connections/{there}", f"v1/me/%00{there}"):
            for method in ("GET", "POST", "PUT", "OPTIONS"):
                pane.ask(method, f"/{path}")
        names = ("User_Agent", "Origin", "traceparent", "X_Forwarded_For", "Cookie", "If_None_Match", "Referer")
        pane.ask("GET", "/v1/me", **dict.fromkeys(names, said))
        world.ask("GET", "/v1/me", Authorization=f"Bearer {said}")
        world.ask("GET", "/health", X_Long=said * 2_000)
        described = f"error=access_denied&error_description={self['description']}"
        for query in (f"state={self['state']}&{described}", f"state={there}&code={self['code']}", described):
            world.ask("GET", f"{CALLBACK}?{query}")
        pane.run(pane.connections()[0], f"No_{self['flow name']}")
        pane.ask("POST", "/v1/tenants", {"provider": "google", "id": f"{there}.example"})
        world.operator().ask("POST", "/v1/tenants", {"provider": "entra", "id": there})
        for _ in range(6):
            pane.begin_with(BEGIN)

    def break_down(self, connection: str) -> None:
        """A store that refuses in words of its own, a record from a later version that nobody foresaw, a timer.

        Last a fault of our own, after which no token is asked for.
        """
        world = self.world
        self.planned += [f"RAISE(ABORT, '{self['database words']}')", self["later record"]]
        with world.database() as database:
            database.execute(f"CREATE TRIGGER away BEFORE INSERT ON runs BEGIN SELECT {self.planned[-2]}; END")
            self._echo(connection)
            database.execute("DROP TRIGGER away")
        sound = world.document(f"c:{connection}")
        world.rewrite(f"c:{connection}", lambda row: row | {"org": self.sealed_later(connection, row)})
        self.pane.ask("GET", f"/v1/connections/{connection}")
        self._echo(connection)
        world.rewrite(f"c:{connection}", lambda _: sound)
        world.salesforce.grants.expire_sessions(None)
        self.plan("token", 400, {"error": "invalid_request", "error_description": self["message"]})
        self._echo(connection)
        world.host.fire("stale_run_timer")

    def sealed_later(self, connection: str, row: Mapping[str, object]) -> str:
        """Facts of an org with a member that today's code does not know, sealed as they have to be."""
        keyring = LocalKeyring(self.world.folder / "keys", os.urandom, lambda: 0)
        place = Place("org", connection, int(str(row["org_version"])), str(row["owner"]), str(row["user"]))
        sealer = keyring.sealer(TenantRef(self.pane.tenant_ref()), 1)
        return sealer.seal(place, json.dumps({self["later record"]: self["later record"]}).encode()).text

    def leave(self, connection: str) -> None:
        """End both connections, one of which Salesforce does not want to hear of."""
        with self.world.overheard() as calls:
            self.pane.ask("DELETE", f"/v1/connections/{connection}")
        self.secrets["refresh token"] = parse_qs(calls[-1].body)["token"][0]
        self.plan("revoke", 503, f"<html>{self['page']}</html>")
        self.google.ask("DELETE", f"/v1/connections/{self.google.connections()[0]}")

    def die(self) -> None:
        """A process that is killed while a Flow runs."""
        world, pane = self.world, self.world.pane()
        connection = pane.connect()
        sent = world.salesforce.recorder.counters()["run"]
        world.steer("run", hold_after="killed")
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(pane.run, connection, "Echo_Mail", new_key(), {"email": self.mail})
            assert world.salesforce.recorder.wait_for("run", sent + 1, WAIT_S)
            world.host.kill()
            with suppress(requests.ConnectionError):
                running.result(WAIT_S)

    def learn(self) -> None:
        """What only we and Salesforce know."""
        calls = self.world.salesforce.recorder.calls()
        exchange = next(call for call in calls if call.endpoint == "token")
        self.secrets["verifier"] = parse_qs(exchange.body)["code_verifier"][0]
        run = next(call for call in calls if call.endpoint == "run")
        self.secrets["access token"] = str(run.header("Authorization")).removeprefix("Bearer ")

    def said(self) -> bytes:
        """Everything that anybody said to anybody."""
        asked = [f"{r.method} {r.url} {r.headers} {r.body!r}" for r in (a.request for a in self.world.answers)]
        heard = [f"{c.path} {c.query} {c.headers} {c.body}" for c in self.world.salesforce.recorder.calls()]
        return "\n".join([*asked, *heard, *self.planned]).encode() + b"".join(whole(a) for a in self.world.answers)
