"""One connection whose user, store, network and Salesforce do anything in any order, in the middle of a refresh too."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from shared.compose import build
from shared.devkit.salesforce.ledger import Family
from shared.devkit.workbench import Workbench
from shared.errors import FlowRunnerError, StoreUnavailable
from shared.model.connections import AttemptId, Connection, ConnectionState
from shared.salesforce.flow_cache import RecentFlows
from shared.settings import load
from shared.usecases.list_flows import Catalogue
from tests.usecases.faulty_fixtures import Interruptions, Killed
from tests.usecases.world_fixtures import DAY, FLOOR_MS, MINUTE, SECOND, World, a_key

Act = Callable[[], object]

MOMENTS: Mapping[str, tuple[str, int]] = {
    "row": ("tenant_and_connection", 2),
    "claim": ("save_connection", 1),
    "call": ("refresh", 1),
    "answer": ("refresh done", 1),
    "commit": ("save_connection", 2),
}
"""When somebody may act in the middle of a refresh: before the row is read, is claimed, and so on."""

ACTS = ("elsewhere", "elsewhere", "complete", "complete", "touch", "touch", "disconnect", "erase", "expire", "end")
FATES = ("unsent", "unheard", "killed early", "killed late", "claim unheard", "commit unheard", "put off", "refused")
LOSING = {"unheard", "killed late", "refused"}
"""Fates in which the answer of a rotation never reaches the commit."""

LEAVING = {"killed early", "killed late", "claim unheard", "put off", "refused"}
"""Fates that may leave a claim behind."""

MOSTLY = st.sampled_from([True, True, True, False])


class Connected(RuleBasedStateMachine):
    """`family` is Salesforce's number of the approval that the row lives on; None while there is no row.

    `lost` are those with a rotation that nobody heard of, `leaked` those whose row was erased: both may live on at
    Salesforce, and there is nobody who could revoke them. `quiet` is how often a dead one's token had been sent.
    """

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world, self.other = world, replace(world, interruptions=Interruptions())
        self.ada, self.connection = world.caller("ada"), "0" * 32
        self.list = replace(world.cases.list_flows, catalogue=Catalogue(RecentFlows(0, world.clock)))
        self.parked: tuple[AttemptId, str] | None = None
        self.family: int | None = None
        self.lost, self.leaked, self.quiet = set[int](), set[int](), dict[int, int]()
        self.left = self.struck = False

    @property
    def families(self) -> dict[int, Family]:
        return {each.number: each for each in self.world.salesforce.grants.ledger.families(self.world.username)}

    @property
    def rows(self) -> list[Connection]:
        admitted = self.other.inside(self.ada)
        return [*admitted.rows.connections(admitted.owner)]

    def is_current(self, row: Connection) -> bool:
        family = self.families[self.family or 0]
        return not family.ended and len(family.rotations) == row.version - 1

    def is_sound(self, row: Connection) -> bool:
        """Whether a call over it has to be answered, unless somebody interferes."""
        now = self.world.clock()
        free = row.claim is None and row.held_until <= now and now - row.refreshed_at >= FLOOR_MS
        return row.state is ConnectionState.CONNECTED and free and self.is_current(row)

    # What somebody does, alone or in the middle of something else

    def does(self, act: str) -> None:
        acts: dict[str, Act] = {
            "elsewhere": lambda: self.other.instance().list_flows(self.ada, self.connection),
            "complete": lambda: self.completed(self.other),
            "disconnect": lambda: self.disconnected(self.other),
            "erase": self.erased,
            "expire": lambda: self.world.salesforce.grants.expire_sessions(self.world.person),
            "end": lambda: self.world.salesforce.grants.end_approvals(self.world.person),
            "touch": lambda: [self.other.inside(self.ada).rows.save_connection(row) for row in self.rows],
        }
        with suppress(FlowRunnerError):
            acts[act]()

    def begun(self) -> None:
        if self.parked is None:
            begun = self.other.begin(self.ada)
            answer = self.other.answer_without_page(begun)
            self.parked = begun.id, self.other.cases.park_code(*answer, None).completion

    def completed(self, world: World) -> None:
        self.begun()
        parked, self.parked = self.parked, None
        assert parked
        self.connection = world.complete(self.ada, *parked).row.id
        self.family = max(self.families)

    def disconnected(self, world: World) -> None:
        world.cases.end_connection(self.ada, self.connection)
        self.family = None

    def erased(self) -> None:
        for row in self.rows:
            self.other.inside(self.ada).rows.forget_connection(row)
            self.leaked.add(self.family or 0)
            self.family = None

    @initialize()
    def connect(self) -> None:
        self.does("complete")

    @rule(act=st.sampled_from(ACTS))
    def act(self, act: str) -> None:
        self.does(act)

    @rule()
    def begin(self) -> None:
        with suppress(FlowRunnerError):
            self.begun()

    @rule(ms=st.sampled_from([SECOND, 20 * SECOND, 46 * SECOND, MINUTE, 11 * MINUTE, DAY, 8 * DAY]))
    def wait(self, ms: int) -> None:
        self.world.clock.move(ms)

    @rule(act=st.sampled_from(("elsewhere", "disconnect", "erase")))
    def complete(self, act: str) -> None:
        self.interrupted("save_connection", act, lambda: self.completed(self.world))

    @rule(act=st.sampled_from(("elsewhere", "complete")))
    def disconnect(self, act: str) -> None:
        self.interrupted("forget_connection", act, lambda: self.disconnected(self.world))

    def interrupted(self, method: str, act: str, call: Act) -> None:
        self.world.interruptions.before(method, lambda: self.does(act))
        with suppress(FlowRunnerError):
            call()
        self.world.interruptions.planned.clear()

    # Calls that refresh, and what becomes of those

    @rule(expired=MOSTLY, old=MOSTLY, running=MOSTLY)
    def call(self, expired: bool, old: bool, running: bool) -> None:  # noqa: FBT001  three coins
        self.prepare(expired, old)
        sound = any(self.is_sound(row) for row in self.rows)
        assert self.is_answered(running) or not sound

    @rule(old=MOSTLY, fate=st.sampled_from(["", *FATES]), at=st.sampled_from([*MOMENTS]), act=st.sampled_from(ACTS))
    def call_in_bad_weather(self, old: bool, fate: str, at: str, act: str) -> None:  # noqa: FBT001  a coin
        self.prepare(True, old)
        self.plan(at, lambda: self.does(act))
        self.struck, number, before = False, self.family or 0, self.families
        self.plan_fate(fate)
        self.is_answered(True)
        self.world.interruptions.planned.clear()
        self.world.salesforce.steering.reset()
        self.left |= self.struck and fate in LEAVING
        if self.struck and fate in LOSING and number:
            rotated = len(self.families[number].rotations) > len(before[number].rotations)
            self.lost |= {number} if rotated else set()

    def prepare(self, expired: bool, old: bool) -> None:  # noqa: FBT001  two coins
        """Old: there is a grant that may be refreshed, unless its user has made too many changes today."""
        if old and not any(row.grant for row in self.rows):
            self.does("complete")
        if old:
            held_until = max((row.held_until for row in self.rows), default=0)
            self.world.clock.move(max(FLOOR_MS, held_until - self.world.clock()))
        if expired:
            self.does("expire")

    def is_answered(self, running: bool) -> bool:  # noqa: FBT001  a coin
        try:
            if running:
                self.world.run(self.ada, self.connection, "Daily_Digest", a_key())
            else:
                self.list(self.ada, self.connection)
        except (FlowRunnerError, Killed):
            return False
        return True

    def plan(self, moment: str, act: Act, done: str = "") -> None:
        """Do that at a moment of the next refresh, also after what is planned there already."""
        method, number = MOMENTS[moment]
        queue = self.world.interruptions.planned.setdefault(method + done, deque())
        earlier = queue.pop() if len(queue) == number else lambda: None
        self.world.interruptions.before(method + done, lambda: (earlier(), act()), call=number)

    def plan_fate(self, fate: str) -> None:
        match fate:
            case "unsent" | "unheard":
                drop = "before" if fate == "unsent" else "after"
                self.plan("call", lambda: self.strikes(lambda: self.world.plan("token", drop=drop)))
            case "killed early" | "killed late":
                self.plan("call" if fate == "killed early" else "answer", lambda: self.strikes(error=Killed()))
            case "claim unheard" | "commit unheard":
                self.plan(fate.partition(" ")[0], lambda: self.strikes(error=StoreUnavailable()), " done")
            case "put off" | "refused":
                away_ms = self.world.limits.lease_ms if fate == "refused" else 0
                self.plan("commit", lambda: self.strikes(lambda: self.world.clock.move(away_ms), StoreUnavailable()))

    def strikes(self, act: Act = lambda: None, error: BaseException | None = None) -> None:
        self.struck = True
        act()
        if error:
            raise error

    # What holds at any time

    @invariant()
    def there_is_one_row_where_its_user_made_it_and_nobody_has_ended_it_and_else_none(self) -> None:
        assert len(self.rows) == (self.family is not None)

    @invariant()
    def no_live_grant_is_lost_and_no_dead_one_is_used(self) -> None:
        for row in self.rows:
            number, family = self.family or 0, self.families[self.family or 0]
            if row.state is ConnectionState.CONNECTED:
                assert self.is_current(row) or family.ended == "ended" or number in self.lost
                continue
            assert row.grant is None
            assert family.ended == "ended" or (family.ended == "family-revoked" and number in self.lost)
            assert self.quiet.setdefault(number, family.asked) == family.asked

    @invariant()
    def no_token_is_sent_again_whose_rotation_is_known(self) -> None:
        assert {number for number, family in self.families.items() if family.replays} <= self.lost

    @invariant()
    def no_approval_lives_on_but_those_that_nobody_can_name(self) -> None:
        alive = {number for number, family in self.families.items() if not family.ended}
        assert alive <= self.lost | self.leaked | {self.family or 0}

    @invariant()
    def a_claim_is_left_behind_by_those_alone_who_could_not_help_it(self) -> None:
        self.left &= any(row.claim for row in self.rows)
        assert self.left or not any(row.claim for row in self.rows)


@pytest.fixture
def deploy(tmp_path: Path) -> Iterator[Callable[[], World]]:
    numbers = count()
    with Workbench(tmp_path / "workbench") as bench:
        built = build(load(bench.environment))
        yield lambda: World(bench, built, tmp_path / str(next(numbers)))


def test_a_grant_is_lost_only_where_the_answer_to_its_rotation_never_reached_the_commit(
    deploy: Callable[[], World],
) -> None:
    class Machine(Connected):
        def __init__(self) -> None:
            super().__init__(deploy())

    shown_as_found = (Phase.reuse, Phase.generate)  # to shrink a failure would take longer than a test may
    run_state_machine_as_test(
        Machine, settings=settings(max_examples=60, stateful_step_count=30, deadline=None, phases=shown_as_found)
    )
