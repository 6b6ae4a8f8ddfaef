"""Beginning to connect, and taking the browser's answer."""

from dataclasses import replace

import pytest

from shared.errors import (
    AttemptSpent,
    FlowRunnerError,
    InputRefused,
    TooManyAttempts,
    TooManyChanges,
)
from shared.model.connections import AttemptState, ConnectAttempt
from shared.model.identity import Principal
from shared.usecases.connect import Begun
from tests.usecases.world_fixtures import DAY, MINUTE, SECOND, World, race


def stored(world: World, begun: Begun) -> ConnectAttempt:
    row = world.store.attempt(begun.id).read()
    assert row is not None
    return row


# Begin


def test_an_attempt_lives_ten_minutes_and_belongs_to_who_began(world: World, ada: Principal) -> None:
    begun = world.begin(ada)
    row, user = stored(world, begun), world.user(ada)
    assert begun.expires_at == row.expires_at == world.clock() + 10 * MINUTE
    assert (row.state, row.owner, row.user) == (AttemptState.NEW, world.inside(ada).owner, user.id)
    assert [a.id for a in user.attempts] == [begun.id]


def test_at_most_five_attempts_are_open_for_a_user(world: World, ada: Principal, ben: Principal) -> None:
    for _ in range(5):
        world.begin(ada)
        world.clock.move(SECOND)
    with pytest.raises(TooManyAttempts) as refused:
        world.begin(ada)
    assert refused.value.retry_after == 10 * 60 - 5 + 1
    assert world.begin(ben)


def test_five_attempts_are_the_limit_when_panes_race_too(world: World, ada: Principal) -> None:
    world.begin(ada)
    begun = race(*[lambda: world.begin(ada)] * 7)
    assert [b.slug for b in begun if isinstance(b, FlowRunnerError)] == ["too-many-attempts"] * 3
    assert len(world.user(ada).attempts) == 5


def test_an_attempt_that_lapses_frees_its_place(world: World, ada: Principal) -> None:
    first = world.begin(ada)
    world.clock.move(SECOND)
    others = [world.begin(ada) for _ in range(4)]
    world.clock.move(10 * MINUTE - SECOND - 1)
    with pytest.raises(TooManyAttempts):
        world.begin(ada)
    world.clock.move(1)
    world.begin(ada)
    assert first.id not in {a.id for a in world.user(ada).attempts} >= {b.id for b in others}


def test_after_twenty_changes_a_user_waits_for_the_next_day_in_utc(world: World, ada: Principal) -> None:
    world.begin(ada)
    world.changed(ada, 19)
    world.begin(ada)
    world.changed(ada, 1)
    with pytest.raises(TooManyChanges) as refused:
        world.begin(ada)
    assert refused.value.retry_after == 12 * 60 * 60 + 1
    world.clock.move(DAY // 2 - 1)
    with pytest.raises(TooManyChanges):
        world.begin(ada)
    world.clock.move(1)
    assert world.begin(ada)


def test_an_unknown_channel_is_named_and_writes_nothing(world: World, ada: Principal) -> None:
    with pytest.raises(InputRefused) as refused:
        world.begin(ada, channel="chrome:elsewhere")
    assert [e.pointer for e in refused.value.errors] == ["/channel"]
    assert [*world.store.tenants()] == []


@pytest.mark.parametrize("my_domain", ["https://evil.example", "acme.my.salesforce.com.evil.example", "acme/../x"])
def test_a_host_that_is_no_my_domain_is_named_and_writes_nothing(world: World, ada: Principal, my_domain: str) -> None:
    with pytest.raises(InputRefused) as refused:
        world.begin(ada, myDomain=my_domain)
    assert [e.pointer for e in refused.value.errors] == ["/myDomain"]
    assert [*world.store.tenants()] == []


# The callback


def test_the_browser_goes_to_the_channel_s_fixed_address(world: World, ada: Principal) -> None:
    extension = f"chrome:{'abcdefghijklmnop' * 2}"
    begun = world.begin(ada, channel=extension)
    parked = world.cases.park_code(*world.answer(begun), None)
    assert parked.channel == extension
    assert parked.address == world.cases.park_code.channels[extension]


def test_the_callback_keeps_the_code_sealed_and_only_a_hash_of_its_value(world: World, ada: Principal) -> None:
    begun = world.begin(ada)
    state, code = world.answer(begun)
    completion = world.cases.park_code(state, code, None).completion
    row = stored(world, begun)
    assert (row.state, row.completion_expires_at) == (AttemptState.ANSWERED, world.clock() + 5 * MINUTE)
    assert not {state, code, completion} & {str(getattr(row, name)) for name in row.__slots__}
    assert world.calls("token") == []


def test_an_unknown_state_is_spent(world: World, ada: Principal) -> None:
    begun = world.begin(ada)
    with pytest.raises(AttemptSpent):
        world.cases.park_code("A" * 43, "code", None)
    with pytest.raises(AttemptSpent):
        world.cases.park_code(begun.id, "code", None)


def test_a_state_answers_once(world: World, ada: Principal) -> None:
    begun = world.begin(ada)
    state, code = world.answer(begun)
    world.cases.park_code(state, code, None)
    before = stored(world, begun)
    with pytest.raises(AttemptSpent):
        world.cases.park_code(state, "another-code", None)
    assert stored(world, begun) == before


def test_a_state_is_over_after_ten_minutes(world: World, ada: Principal) -> None:
    first, second = (world.answer(world.begin(ada)) for _ in range(2))
    world.clock.move(10 * MINUTE - 1)
    world.cases.park_code(*first, None)
    world.clock.move(1)
    with pytest.raises(AttemptSpent):
        world.cases.park_code(*second, None)


def test_an_answer_of_another_issuer_is_refused_and_the_right_one_still_counts(world: World, ada: Principal) -> None:
    state, code = world.answer(world.begin(ada))
    with pytest.raises(AttemptSpent):
        world.cases.park_code(state, code, "https://login.salesforce.com")
    assert world.cases.park_code(state, code, world.salesforce.base_url)


def test_a_channel_that_is_configured_no_more_gets_no_value(world: World, ada: Principal) -> None:
    state, code = world.answer(world.begin(ada))
    with pytest.raises(AttemptSpent):
        replace(world.cases.park_code, channels={})(state, code, None)


def test_of_two_callbacks_with_one_state_the_faster_wins(world: World, ada: Principal) -> None:
    begun = world.begin(ada)
    state, code = world.answer(begun)
    won: list[str] = []
    park = world.cases.park_code
    world.interruptions.before("save", lambda: won.append(park(state, code, None).completion))
    with pytest.raises(AttemptSpent):
        park(state, code, None)
    assert world.complete(ada, begun.id, won[0])


def test_callbacks_that_all_come_at_once_have_one_winner(world: World, ada: Principal) -> None:
    begun = world.begin(ada)
    state, code = world.answer(begun)
    answers = race(*[lambda: world.cases.park_code(state, code, None)] * 6)
    (won,) = (answer for answer in answers if not isinstance(answer, FlowRunnerError))
    assert [a.slug for a in answers if isinstance(a, FlowRunnerError)] == ["attempt-spent"] * 5
    assert world.complete(ada, begun.id, won.completion)


def test_a_refused_consent_ends_the_attempt_and_frees_its_place(world: World, ada: Principal) -> None:
    begun = [world.begin(ada) for _ in range(5)]
    state, _ = world.answer(begun[0])
    with pytest.raises(AttemptSpent):
        world.cases.park_code(state, "", None)
    assert begun[0].id not in [a.id for a in world.user(ada).attempts]
    with pytest.raises(AttemptSpent):
        world.cases.park_code(state, "aPrx", None)
    assert world.begin(ada)
