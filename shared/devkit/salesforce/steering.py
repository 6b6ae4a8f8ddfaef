"""How a test steers the devkit's Salesforce: answers for the next calls, and switches that stay until a reset."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from typing import Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, field_validator, model_validator

from shared.devkit.salesforce.answers import CONTENTION, JSON, NAMED, text_answer
from shared.devkit.salesforce.people import find_user
from shared.devkit.tls import Answer

Endpoint = Literal["authorize", "consent", "token", "revoke", "versions", "limits", "list", "describe", "run"]
"""What can be called: `consent` is the form of the authorize page, the last three are those of Flows."""

ENDPOINTS: frozenset[Endpoint] = frozenset(get_args(Endpoint))
"""The names of all endpoints."""

_OF_NOBODY: frozenset[Endpoint] = frozenset({"authorize", "consent", "versions"})
_GATE_POLL_S = 0.05


class Plan(BaseModel):
    """What happens to one call of an endpoint.

    `answer` names one of `answers.NAMED`; `status` with `body` and `content_type` makes one of your own;
    with neither the call is processed as usual. `processed`: do the work first, then give the planned answer.
    `user` (a username) leaves everybody else's calls alone; whose a call is tells its code or token, spent or not.
    `delay` (seconds) and `hold` (until that name is released) act before the work, `delay_after` and
    `hold_after` between work and answer; `drip` is the seconds between bytes of the answer's body.
    `drop` hangs up, before or after the work. `times`: how many calls; 0 means until a reset.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    endpoint: Endpoint
    user: str = ""
    answer: str = ""
    status: int = 0
    body: str = ""
    content_type: str = JSON
    processed: bool = False
    delay: float = 0.0
    delay_after: float = 0.0
    hold: str = ""
    hold_after: str = ""
    drip: float = 0.0
    drop: Literal["", "before", "after"] = ""
    times: int = 1

    @model_validator(mode="after")
    def _check_user(self) -> Self:
        if self.user and self.endpoint in _OF_NOBODY:
            raise ValueError(f"a call of {self.endpoint} is made for nobody known")
        if self.user and find_user(self.user) is None:
            raise ValueError(f"there is no user {self.user}")
        return self

    @field_validator("answer")
    @classmethod
    def _check_answer(cls, answer: str) -> str:
        if answer and answer not in NAMED:
            raise ValueError(f"there are {', '.join(sorted(NAMED))}")
        return answer

    def replacement(self) -> Answer | None:
        """Return the planned answer, or None when the true one is wanted."""
        if self.answer:
            return NAMED[self.answer]
        return text_answer(self.status, self.body, self.content_type) if self.status else None

    def works(self) -> bool:
        """Tell whether the call is really processed."""
        return self.drop != "before" and (self.processed or self.replacement() is None)


class Switches(BaseModel):
    """What stays until changed or reset; an empty text means the true value.

    `rotation`: refresh tokens rotate. `overlap_guard`: two refreshes at once are refused with
    `contention_text`. `rotation_kills_access`: a refresh ends the older access tokens.
    `approval_limit`: approvals a user has for the app before the oldest dies.
    `same_access_token`: a live session's token is handed out again.
    `instance_url`, `id_url`, `scope`, `signature`, `omit`: what the token answer says, or leaves out.
    `id_form`: 15 or 18 characters in the identity URL. `consent_error`: the error a consent ends with.
    `result_form`: the action result as `list`, as single `object`, or `short` (without the newer keys).
    `newest_version`: the org's newest API version. `idle_days`: how long an unused refresh token lives, 0 for ever.
    `client_secret`: what the token endpoint takes instead of the app's own, several of them blank-separated.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    rotation: bool = True
    overlap_guard: bool = True
    contention_text: str = CONTENTION
    rotation_kills_access: bool = False
    approval_limit: int = 5
    same_access_token: bool = False
    instance_url: str = ""
    id_url: str = ""
    scope: str = ""
    signature: str = ""
    omit: list[str] = []
    id_form: Literal[15, 18] = 18
    consent_error: str = ""
    result_form: Literal["list", "object", "short"] = "list"
    newest_version: int = 67
    idle_days: int = 30
    client_secret: str = ""


class Steering:
    """Plans for coming calls, the switches, and the gates of held calls.

    Plans are first in first out among those for an endpoint and for the user whose call it is.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._plans: list[Plan] = []
        self._gates: dict[str, threading.Event] = {}
        self.switches = Switches()
        self.stopping = threading.Event()

    def plan(self, values: Mapping[str, object]) -> None:
        """Queue a plan. Raises ValueError for what is unknown or of a wrong type."""
        plan = Plan.model_validate(values)
        with self._lock:
            self._plans.append(plan)

    def switch(self, values: Mapping[str, object]) -> None:
        """Set switches. Raises ValueError for what is unknown or of a wrong type."""
        with self._lock:
            self.switches = Switches.model_validate(self.switches.model_dump() | dict(values))

    def take(self, endpoint: Endpoint, user: str = "") -> Plan:
        """Return the plan for a call that has just arrived and use it up once; `user` is whose call it is, if known."""
        with self._lock:
            for place, plan in enumerate(self._plans):
                if plan.endpoint == endpoint and plan.user in ("", user):
                    left = [plan.model_copy(update={"times": plan.times - 1})] if plan.times > 1 else []
                    self._plans[place : place + 1] = left if plan.times else [plan]
                    return plan
            return Plan(endpoint=endpoint)

    def withdraw(self, user: str) -> int:
        """Forget the plans for calls of this user and return how many there were."""
        with self._lock:
            before = len(self._plans)
            self._plans = [plan for plan in self._plans if plan.user != user]
            return before - len(self._plans)

    def pause(self, seconds: float, gate: str) -> None:
        """Wait this long and until the gate is released; a stop ends both."""
        if seconds:
            self.stopping.wait(seconds)
        if gate:
            event = self._gate(gate)
            while not event.wait(_GATE_POLL_S) and not self.stopping.is_set():
                continue

    def release(self, gate: str) -> None:
        """Let the calls held under this name go on, and those still to come."""
        self._gate(gate).set()

    def reset(self) -> None:
        """Forget plans and switches and let every held call go."""
        with self._lock:
            for gate in self._gates.values():
                gate.set()
            self._plans, self._gates, self.switches = [], {}, Switches()

    def _gate(self, name: str) -> threading.Event:
        with self._lock:
            return self._gates.setdefault(name, threading.Event())


def steering_of(body: bytes) -> dict[str, object]:
    """Return the JSON object of a steering request. Raises ValueError when it is none."""
    what = json.loads(body or b"{}")
    if not isinstance(what, dict):
        raise ValueError("a JSON object is expected")
    return what
