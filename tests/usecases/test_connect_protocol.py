"""Two users who begin, consent, redeem and wait in any order, against a model of what may come of it."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from shared.errors import AttemptSpent, TooManyAttempts
from shared.usecases.connect import Begun
from tests.usecases.world_fixtures import MINUTE, World

USERS = ("ada", "ben")
MOSTLY = st.sampled_from([True, True, True, True, False])
PICK = st.integers(0, 99)


@dataclass
class Attempt:
    """What a test knows of an attempt: whose it is, its answer from Salesforce, and how far it has come."""

    owner: str
    begun: Begun
    answer: tuple[str, str]
    state: str = "new"
    value: str = ""
    value_until: int = 0
    tries: int = 0

    def open_at(self, now: int) -> bool:
        return self.state != "done" and now < self.begun.expires_at

    def takes(self, who: str, value: str, now: int) -> bool:
        in_time = now < min(self.begun.expires_at, self.value_until)
        return self.state == "answered" and in_time and self.tries < 5 and (who, value) == (self.owner, self.value)


class Connecting(RuleBasedStateMachine):
    def __init__(self, deploy: Callable[..., World]) -> None:
        super().__init__()
        self.world = deploy()
        self.callers = {user: self.world.caller(user) for user in USERS}
        self.known: list[Attempt] = []
        self.joined: Counter[str] = Counter()

    def open(self) -> list[Attempt]:
        return [a for a in self.known if a.open_at(self.world.clock())]

    def any_of(self, state: str, pick: int) -> Attempt:
        """Any attempt, but preferably one in that state."""
        liked = [a for a in self.known if a.state == state] * 4 + self.known
        return liked[pick % len(liked)]

    @precondition(lambda self: len(self.open()) < 7)
    @rule(who=st.sampled_from(USERS), at_once=MOSTLY)
    def begin(self, who: str, at_once: bool) -> None:  # noqa: FBT001  a coin
        full = len([a for a in self.open() if a.owner == who]) >= 5
        try:
            begun = self.world.begin(self.callers[who])
        except TooManyAttempts:
            assert full
            return
        assert not full
        self.known.append(Attempt(who, begun, self.world.answer_without_page(begun)))
        if at_once:
            self.consent(self.known[-1])

    @precondition(lambda self: self.known)
    @rule(pick=PICK)
    def consent_to_any(self, pick: int) -> None:
        self.consent(self.any_of("new", pick))

    def consent(self, attempt: Attempt) -> None:
        now = self.world.clock()
        may = attempt.state == "new" and now < attempt.begun.expires_at
        try:
            parked = self.world.cases.park_code(*attempt.answer, None)
        except AttemptSpent:
            assert not may
            return
        assert may
        attempt.state, attempt.value, attempt.value_until = "answered", parked.completion, now + 5 * MINUTE

    @precondition(lambda self: self.known)
    @rule(pick=PICK, other=PICK, own=MOSTLY, right=MOSTLY)
    def redeem(self, pick: int, other: int, own: bool, right: bool) -> None:  # noqa: FBT001  two coins
        attempt, another, now = self.any_of("answered", pick), self.any_of("answered", other), self.world.clock()
        who = attempt.owner if own else another.owner
        value = attempt.value if right else another.value
        may, could = attempt.takes(who, value, now), attempt.takes(who, attempt.value, now)
        try:
            self.world.complete(self.callers[who], attempt.begun.id, value or "w" * 43)
        except AttemptSpent:
            assert not may
            attempt.tries += could
            return
        assert may
        attempt.state = "done"
        self.joined[who] += 1

    @rule(minutes=st.sampled_from([1, 2, 5]))
    def wait(self, minutes: int) -> None:
        self.world.clock.move(minutes * MINUTE)

    @invariant()
    def a_user_is_connected_by_their_own_completed_attempts_alone(self) -> None:
        for who in {attempt.owner for attempt in self.known}:
            held = self.world.cases.read_me(self.callers[who]).connections
            assert [row.generation for row, _ in held] == [self.joined[who]] * bool(self.joined[who])


def test_only_who_began_and_redeems_the_value_of_their_own_consent_is_connected_and_once(
    deploy: Callable[..., World],
) -> None:
    class Machine(Connecting):
        def __init__(self) -> None:
            super().__init__(deploy)

    run_state_machine_as_test(Machine, settings=settings(max_examples=40, stateful_step_count=30, deadline=None))
