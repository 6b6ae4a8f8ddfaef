"""An edge with plain parts, and requests as the Functions worker hands them in."""

import json
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import azure.functions as func
from pydantic import JsonValue

from functions._http import Edge, Handler, reply
from shared import errors
from shared.errors import ClaimsNeeded, FlowRunnerError, MethodNotAllowed, NotSignedIn
from shared.model.answers import HealthView
from shared.model.events import Event
from shared.model.identity import BearerToken, Principal, Provider, Role, TenantId

ADD_IN = "https://add-in.example"
EXTENSION = f"chrome-extension://{'abcdefghijklmnop' * 2}"
OWN_ID = "ab" * 16
"""The correlation id that the edge makes here when a request brings none."""

JSON = {"Content-Type": "application/json"}

Headers = Mapping[str, str]
SignIn = Callable[[BearerToken], Principal]


def canary() -> str:
    """A text that stands nowhere else, so that finding it again proves a leak."""
    return f"Canary-{secrets.token_hex(12)}@Leak.example"


def principal(*roles: Role) -> Principal:
    return Principal(TenantId(Provider.ENTRA, "5f0b0f6e-0000-4000-8000-00000000000a"), "someone", frozenset(roles))


def nobody(_: BearerToken) -> Principal:
    raise NotSignedIn


@dataclass
class Desk:
    """An edge, what it told telemetry, and a clock that moves 7 ms at each look."""

    events: list[Event] = field(default_factory=list)
    now: int = 1_790_000_000_000

    def clock(self) -> int:
        self.now += 7
        return self.now

    def edge(self, sign_in: SignIn = nobody) -> Edge:
        return Edge(
            sign_in=sign_in,
            emit=self.events.append,
            clock=self.clock,
            randomness=lambda size: b"\xab" * size,
            origins=frozenset({ADD_IN, EXTENSION}),
        )

    def told(self) -> str:
        """Everything that telemetry was told, as text."""
        return repr(self.events)


def ask(
    method: str = "GET",
    path: str = "/v1/things",
    *,
    headers: Headers | None = None,
    body: bytes = b"",
    route: Mapping[str, str] | None = None,
) -> func.HttpRequest:
    return func.HttpRequest(method, f"https://api.example{path}", headers=headers or {}, route_params=route, body=body)


def fine(_: func.HttpRequest) -> func.HttpResponse:
    return reply(200, HealthView(status="ok"))


ERROR_STATUSES = (400, 401, 403, 404, 405, 409, 410, 413, 415, 422, 429, 431, 500, 502, 503, 504)


def sample(kind: type[FlowRunnerError]) -> FlowRunnerError:
    if kind is MethodNotAllowed:
        return MethodNotAllowed(("GET",))
    return ClaimsNeeded("{}") if kind is ClaimsNeeded else kind()


def family(root: type[FlowRunnerError]) -> Iterator[type[FlowRunnerError]]:
    yield root
    for kind in root.__subclasses__():
        if kind.__module__ == errors.__name__:
            yield from family(kind)


def of_status(status: int) -> FlowRunnerError:
    return next(sample(kind) for kind in family(FlowRunnerError) if kind.status == status)


def raising(error: Exception) -> Handler:
    def failing(_: func.HttpRequest) -> func.HttpResponse:
        raise error

    return failing


def refused(error: FlowRunnerError, request: func.HttpRequest | None = None) -> func.HttpResponse:
    """What the edge makes of an error."""
    return Desk().edge().answers(raising(error))(request or ask())


def document(response: func.HttpResponse) -> dict[str, JsonValue]:
    found = json.loads(response.get_body())
    assert isinstance(found, dict)
    return found


def everything(response: func.HttpResponse) -> str:
    """Status, headers and body as one text, to look for what must not be there."""
    return f"{response.status_code} {list(response.headers.items())} {response.get_body().decode()}"
