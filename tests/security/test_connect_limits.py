"""How many consents may be under way, how long each lives, and what of Salesforce's answers is never kept."""

from collections.abc import Mapping

import pytest

from shared.devkit.salesforce import consent
from tests.security.journey_fixtures import (
    BEGIN,
    World,
    at_once,
    attempts_in,
    completion_of,
    refused,
    slug,
)

MINUTES = 60


def test_a_sixth_open_attempt_is_refused(world: World) -> None:
    pane = world.pane()
    for _ in range(5):
        pane.begin()
    with world.untouched():
        answer = pane.begin_with({})
    assert (answer.status_code, slug(answer)) == (429, "too-many-attempts")
    assert 1 <= int(answer.headers["Retry-After"]) <= 10 * MINUTES + 1
    assert world.pane(tenant=pane.tenant).begin()


def test_of_many_attempts_begun_at_once_five_are_open(world: World) -> None:
    pane = world.pane()
    pane.begin()
    answers = at_once(*[lambda: pane.ask("POST", "/v1/connections", BEGIN)] * 8)
    assert sorted(answer.status_code for answer in answers) == [201] * 4 + [429] * 4


def test_a_finished_attempt_is_open_no_more(world: World) -> None:
    pane = world.pane()
    for _ in range(4):
        pane.begin()
    pane.connect()
    assert pane.begin()


@pytest.mark.parametrize(("minutes", "status"), [(9.5, 303), (10, 400)])
def test_an_attempt_lives_for_ten_minutes(aging_world: World, minutes: float, status: int) -> None:
    url = consent(aging_world.pane().begin().url)
    aging_world.later(minutes * MINUTES)
    assert aging_world.browse(url).status_code == status


@pytest.mark.parametrize(("minutes", "status"), [(4.5, 200), (5, 409)])
def test_a_completion_value_lives_for_five_minutes(aging_world: World, minutes: float, status: int) -> None:
    pane = aging_world.pane()
    attempt, completion = pane.answered()
    aging_world.later(minutes * MINUTES)
    assert pane.complete(attempt.id, completion).status_code == status


def test_a_completion_value_does_not_outlive_its_attempt(aging_world: World) -> None:
    pane = aging_world.pane()
    attempt = pane.begin()
    url = consent(attempt.url)
    aging_world.later(9 * MINUTES)
    completion = completion_of(aging_world.browse(url))
    aging_world.later(2 * MINUTES)
    assert refused(pane, attempt.id, completion)


def test_lapsed_attempts_make_room_and_leave_the_store(aging_world: World) -> None:
    pane = aging_world.pane()
    lapsed = {pane.begin().id for _ in range(5)}
    aging_world.later(10 * MINUTES)
    assert pane.begin()
    assert not lapsed & attempts_in(aging_world).keys()


# --- what Salesforce answers is proved before it is kept

FOREIGN: Mapping[str, tuple[Mapping[str, object], int]] = {
    "a host that is no org's": ({"instance_url": "https://acme.my.salesforce.com.evil.example"}, 502),
    "an identity at a foreign host": ({"id_url": "https://evil.example/id/00D/005"}, 502),
    "a wrong signature": ({"signature": "d3Jvbmc="}, 502),
    "no api scope": ({"scope": "web refresh_token"}, 403),
    "more than was asked for": ({"scope": "full lightning api web refresh_token"}, 403),
    "no refresh token": ({"omit": ["refresh_token"]}, 403),
}


@pytest.mark.parametrize("what", FOREIGN)
def test_a_token_answer_with_something_foreign_joins_nothing_and_is_revoked(world: World, what: str) -> None:
    switches, status = FOREIGN[what]
    pane = world.pane()
    attempt, completion = pane.answered()
    world.salesforce.steering.switch(switches)
    with world.overheard() as calls:
        assert pane.complete(attempt.id, completion).status_code == status
    assert [call.endpoint for call in calls] == ["token", "revoke"]
    assert pane.connections() == []
