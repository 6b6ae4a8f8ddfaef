"""A devkit Salesforce on the wire, and a client that does what the product does."""

import base64
import hashlib
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import parse_qs, urlencode, urlsplit

import requests

from shared.devkit.salesforce import SalesforceServer, consent
from shared.devkit.tls import DevelopmentCA

CLIENT_ID = "3MVG9-flowrunner"
REDIRECT_URI = "http://127.0.0.1:7071/v1/oauth/salesforce/callback"
SCOPE = "lightning api web refresh_token offline_access"
ADA = "ada@acme.example"
BEN = "ben@acme.example"
CLEO = "cleo@acme.example.uat"
FLOWS = "/services/data/v66.0/actions/custom/flow"
WAIT_S = 5.0

Json = dict[str, object]
Headers = Mapping[str, str | None]


def challenge_of(verifier: str) -> str:
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def query_of(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query, keep_blank_values=True).items()}


def answered(answer: requests.Response) -> dict[str, str]:
    body = answer.json()
    assert isinstance(body, dict)
    return body


@dataclass
class Client:
    """The app on the wire. `change`s are laid over the fields of a good call; None takes one away."""

    server: SalesforceServer
    http: requests.Session
    secret: str
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(48))

    def authorize_url(self, **change: str | None) -> str:
        asked: dict[str, str | None] = {
            "response_type": "code",
            "client_id": CLIENT_ID,
            "redirect_uri": REDIRECT_URI,
            "scope": SCOPE,
            "state": "a state/with=signs",
            "code_challenge": challenge_of(self.verifier),
            "code_challenge_method": "S256",
        }
        return f"{self.server.base_url}/services/oauth2/authorize?{urlencode(given(asked | change))}"

    def code(self, username: str = ADA, **change: str | None) -> str:
        return query_of(consent(self.authorize_url(**change), username))["code"]

    def post_token(self, **fields: str | None) -> requests.Response:
        form = {"client_id": CLIENT_ID, "client_secret": self.secret} | fields
        return self.http.post(f"{self.server.base_url}/services/oauth2/token", given(form), timeout=WAIT_S)

    def exchange(self, code: str, /, **change: str | None) -> requests.Response:
        fields: dict[str, str | None] = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": REDIRECT_URI,
            "code_verifier": self.verifier,
        }
        return self.post_token(**(fields | change))

    def connect(self, username: str = ADA, **change: str | None) -> dict[str, str]:
        return answered(self.exchange(self.code(username, **change)))

    def refresh(self, token: str, /, **change: str | None) -> requests.Response:
        fields: dict[str, str | None] = {"grant_type": "refresh_token", "refresh_token": token}
        return self.post_token(**(fields | change))

    def revoke(self, token: str) -> requests.Response:
        return self.http.post(f"{self.server.base_url}/services/oauth2/revoke", {"token": token}, timeout=WAIT_S)

    def get(self, path: str, access: str | None = None, headers: Headers | None = None) -> requests.Response:
        sent = dict(headers or {}) | bearer(access)
        return self.http.get(self.server.instance_url + path, headers=sent, timeout=WAIT_S)

    def alive(self, access: str) -> bool:
        return self.get("/services/data/v66.0/limits", access).ok

    def run(self, access: str, name: str, *inputs: Mapping[str, object]) -> requests.Response:
        return self.post_run(access, name, {"inputs": list(inputs or ({},))})

    def post_run(self, access: str, name: str, body: object) -> requests.Response:
        url = f"{self.server.instance_url}{FLOWS}/{name}"
        return self.http.post(url, json=body, headers=bearer(access), timeout=WAIT_S)

    def steer(self, what: str, **values: object) -> requests.Response:
        return self.http.post(f"{self.server.base_url}/_steer/{what}", json=values, timeout=WAIT_S)


class Held:
    """A call in a thread of its own, while it is held inside the server; `answer` waits for it."""

    def __init__(self, call: Callable[[], requests.Response]) -> None:
        self._answers: list[requests.Response] = []
        self._thread = threading.Thread(target=lambda: self._answers.append(call()))
        self._thread.start()

    def waiting(self) -> bool:
        return self._thread.is_alive()

    def answer(self) -> requests.Response:
        self._thread.join(WAIT_S)
        return self._answers[0]


def bearer(access: str | None) -> dict[str, str]:
    return {} if access is None else {"Authorization": f"Bearer {access}"}


def given(fields: Mapping[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in fields.items() if value is not None}


@contextmanager
def salesforce(ca: DevelopmentCA, http: requests.Session) -> Iterator[Client]:
    secret = secrets.token_hex(32)
    with SalesforceServer(ca, client_id=CLIENT_ID, client_secret=secret, redirect_uri=REDIRECT_URI) as server:
        yield Client(server, http, secret)


class Page(HTMLParser):
    """What a person meets on a page: words, fields and buttons, by tag and attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def named(self, name: str) -> list[dict[str, str]]:
        return [attributes for _, attributes in self.tags if attributes.get("name") == name]

    def has(self, tag: str) -> bool:
        return any(tag == each for each, _ in self.tags)
