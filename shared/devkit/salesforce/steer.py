"""`/_steer`: steering from another process, JSON over plain http; nothing of it is recorded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from shared.devkit.salesforce.answers import json_answer
from shared.devkit.salesforce.grants import GrantBook
from shared.devkit.salesforce.people import User, find_user
from shared.devkit.salesforce.recording import Recorder
from shared.devkit.salesforce.steering import Steering, steering_of
from shared.devkit.tls import Answer, Request

PREFIX = "/_steer"
"""The path above all of it."""


class _Wish(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class _Nothing(_Wish):
    """A wish without particulars."""


class _Gate(_Wish):
    gate: str


class _Who(_Wish):
    user: str | None = None

    def found(self) -> User | None:
        """Return the user, or None for all. Raises ValueError for an unknown one."""
        if self.user is None:
            return None
        user = find_user(self.user)
        if user is None:
            raise ValueError(f"there is no user {self.user}")
        return user


class _Age(_Wish):
    seconds: float


class _Idle(_Who):
    days: float


@dataclass(frozen=True, slots=True)
class SteerEndpoints:
    """What another process may do to the server, by path."""

    steering: Steering
    recorder: Recorder
    grants: GrantBook

    def answer(self, request: Request) -> Answer:
        """Do what is asked: 200; 400 with the reason for bad steering, 501 for an unknown path or method."""
        what = f"{request.method} {request.path.removeprefix(PREFIX + '/')}"
        if what == "GET report":
            return json_answer(200, self.recorder.report())
        if what == "GET ledger":
            return json_answer(200, self.grants.ledger.report())
        act = self._acts().get(what)
        if act is None:
            return json_answer(501, {"error": "not_implemented", "unknown": f"steering {what}"})
        try:
            act(steering_of(request.body))
        except ValueError as bad:
            return json_answer(400, {"error": str(bad)})
        return json_answer(200, {})

    def _acts(self) -> Mapping[str, Callable[[dict[str, object]], None]]:
        return {
            "POST plan": self.steering.plan,
            "POST switch": self.steering.switch,
            "POST reset": self._reset,
            "POST release": self._release,
            "POST expire-sessions": self._expire_sessions,
            "POST end-approvals": self._end_approvals,
            "POST age-codes": self._age_codes,
            "POST age-approvals": self._age_approvals,
            "POST forget": self._forget,
        }

    def _reset(self, values: dict[str, object]) -> None:
        _Nothing.model_validate(values)
        self.steering.reset()

    def _release(self, values: dict[str, object]) -> None:
        self.steering.release(_Gate.model_validate(values).gate)

    def _expire_sessions(self, values: dict[str, object]) -> None:
        self.grants.expire_sessions(_Who.model_validate(values).found())

    def _end_approvals(self, values: dict[str, object]) -> None:
        self.grants.end_approvals(_Who.model_validate(values).found())

    def _age_codes(self, values: dict[str, object]) -> None:
        self.grants.age_codes(_Age.model_validate(values).seconds)

    def _age_approvals(self, values: dict[str, object]) -> None:
        asked = _Idle.model_validate(values)
        self.grants.age_approvals(asked.found(), asked.days)

    def _forget(self, values: dict[str, object]) -> None:
        _Nothing.model_validate(values)
        self.recorder.clear()
