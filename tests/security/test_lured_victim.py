"""A consent belongs to the pane that began it (identity-contract 5): a lured victim gives an attacker nothing."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from urllib.parse import parse_qs, quote, urlsplit

import pytest

from shared.devkit.salesforce import consent
from shared.devkit.salesforce.people import find_user
from tests.security.journey_fixtures import (
    BEN,
    CALLBACK,
    GUESS,
    Attempt,
    Pane,
    World,
    at_once,
    attempts_in,
    completion_of,
    refused,
)


@dataclass(frozen=True)
class Lured:
    """An attacker's attempt to which a victim has consented; `completion` is what the victim's browser was given."""

    attacker: Pane
    victim: Pane
    attempt: Attempt
    completion: str


@pytest.fixture
def lured(world: World) -> Lured:
    attacker = world.pane()
    victim = world.pane(tenant=attacker.tenant)
    victim.begin()
    return Lured(attacker, victim, *attacker.answered(BEN))


# --- the story


def test_the_pane_that_began_gets_the_connection_and_learns_whose_it_is(world: World) -> None:
    pane = world.pane()
    attempt, completion = pane.answered(BEN)
    joined = pane.complete(attempt.id, completion).json()
    assert (joined["state"], joined["salesforceUser"][:15]) == ("connected", "0055gK0000002Ab")
    assert pane.connections() == [joined["id"]]


def test_a_lured_victim_s_consent_attaches_nothing_to_anybody(lured: Lured) -> None:
    assert lured.attacker.connections() == []
    assert lured.victim.connections() == []


def test_a_consent_is_not_exchanged_before_the_pane_redeems_it(world: World) -> None:
    pane = world.pane()
    with world.overheard() as calls:
        attempt, completion = pane.answered()
    assert {call.endpoint for call in calls} == {"authorize", "consent"}
    with world.overheard() as calls:
        pane.complete(attempt.id, completion)
    assert [(call.endpoint, call.secure, call.status) for call in calls] == [("token", False, 200)]


def test_five_guesses_end_the_attempt_for_the_right_value_too(lured: Lured) -> None:
    assert all(refused(lured.attacker, lured.attempt.id, f"{GUESS}{n}") for n in range(5))
    assert refused(lured.attacker, lured.attempt.id, lured.completion)


def test_four_wrong_values_do_not_end_an_attempt(world: World) -> None:
    pane = world.pane()
    attempt, completion = pane.answered()
    assert all(refused(pane, attempt.id, f"{GUESS}{n}") for n in range(4))
    assert pane.complete(attempt.id, completion).ok


def test_guesses_at_once_are_never_more_than_five(lured: Lured) -> None:
    guesses = [lambda n=n: lured.attacker.complete(lured.attempt.id, f"{GUESS}{n}") for n in range(16)]
    assert {answer.status_code for answer in at_once(*guesses)} == {409}
    assert 1 <= attempts_in(lured.attacker.world)[lured.attempt.id]["tries"] <= 5


def test_the_victim_s_own_pane_cannot_redeem_it_either(lured: Lured) -> None:
    assert refused(lured.victim, lured.attempt.id, lured.completion)
    assert lured.victim.connections() == []


def test_nobody_else_can_use_up_the_tries_of_an_attempt(world: World) -> None:
    pane, stranger = world.pane(), world.pane()
    stranger.begin()
    attempt, completion = pane.answered()
    assert all(refused(stranger, attempt.id, f"{GUESS}{n}") for n in range(6))
    assert pane.complete(attempt.id, completion).ok


def test_the_value_of_another_attempt_opens_nothing(lured: Lured) -> None:
    other, own_value = lured.attacker.answered()
    assert refused(lured.attacker, lured.attempt.id, own_value)
    assert lured.attacker.complete(other.id, own_value).ok


def test_an_attempt_that_nobody_consented_to_cannot_be_redeemed(world: World) -> None:
    pane = world.pane()
    assert refused(pane, pane.begin().id, GUESS)


def test_the_state_does_not_serve_as_the_attempt_s_public_id(lured: Lured) -> None:
    assert lured.attempt.id == sha256(lured.attempt.state.encode()).hexdigest()
    assert refused(lured.attacker, lured.attempt.state, lured.completion)


def test_a_writer_of_the_store_cannot_put_a_value_of_their_own_in_place_of_the_victim_s(lured: Lured) -> None:
    with lured.attacker.world.database() as database:
        change = "UPDATE attempts SET document = json_set(document, '$.completion_hash', ?) WHERE id = ?"
        database.execute(change, (sha256(GUESS.encode()).hexdigest(), lured.attempt.id))
    sent = lured.attacker.world.sent_to_salesforce()
    assert not lured.attacker.complete(lured.attempt.id, GUESS).ok
    assert lured.attacker.world.sent_to_salesforce() == sent


def test_a_completion_is_redeemed_once(world: World) -> None:
    pane = world.pane()
    attempt, completion = pane.answered()
    assert pane.complete(attempt.id, completion).ok
    assert refused(pane, attempt.id, completion)
    assert len(pane.connections()) == 1


def test_of_many_completions_at_once_exactly_one_wins(world: World) -> None:
    pane = world.pane()
    attempt, completion = pane.answered()
    with world.overheard() as calls:
        answers = at_once(*[lambda: pane.complete(attempt.id, completion)] * 8)
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 7
    assert [call.endpoint for call in calls] == ["token"]
    assert len(pane.connections()) == 1


def test_consents_to_one_org_that_are_redeemed_at_once_leave_one_live_grant(world: World) -> None:
    pane = world.pane()
    attempts = [pane.answered("load-4@acme.example") for _ in range(3)]
    answers = at_once(*(lambda a=a, c=c: pane.complete(a.id, c) for a, c in attempts))
    assert {(answer.status_code, answer.json()["id"]) for answer in answers} == {(200, pane.connections()[0])}
    user = find_user("load-4@acme.example")
    assert user is not None
    assert world.salesforce.grants.live_approvals(user) == 1
    assert pane.run(pane.connections()[0]).ok


def test_each_attempt_has_a_state_and_a_challenge_of_its_own(world: World) -> None:
    pane = world.pane()
    asked = [parse_qs(urlsplit(pane.begin().url).query) for _ in range(3)]
    for name in ("state", "code_challenge"):
        assert len({query[name][0] for query in asked}) == 3
        assert {len(query[name][0]) for query in asked} == {43}


# --- the callback


@pytest.mark.parametrize("channel", ["outlook", "chrome:abcdefghijklmnopabcdefghijklmnop"])
def test_the_browser_goes_to_the_channel_s_fixed_address(world: World, channel: str) -> None:
    answer = world.browse(consent(world.pane().begin(channel=channel).url))
    fixed = dict(pair.split("=", 1) for pair in world.bench.environment["RETURN_CHANNELS"].split())[channel]
    assert answer.headers["Location"] == f"{fixed}#completion={completion_of(answer)}"
    opener = "unsafe-none" if channel == "outlook" else "same-origin"
    assert (answer.headers["Cross-Origin-Opener-Policy"], answer.content) == (opener, b"")


def test_a_replayed_callback_gives_nothing_and_leaves_the_first_value_good(world: World) -> None:
    pane = world.pane()
    attempt = pane.begin()
    url = consent(attempt.url)
    completion = completion_of(world.browse(url))
    with world.untouched():
        assert world.browse(url).status_code == 400
    assert pane.complete(attempt.id, completion).ok


def test_of_two_callbacks_with_one_state_at_once_exactly_one_wins(world: World) -> None:
    pane = world.pane()
    attempt = pane.begin()
    urls = [consent(attempt.url), consent(attempt.url, BEN)]
    answers = at_once(*(lambda url=url: world.browse(url) for url in urls))
    assert sorted(answer.status_code for answer in answers) == [303, 400]
    winner = next(answer for answer in answers if answer.status_code == 303)
    assert pane.complete(attempt.id, completion_of(winner)).ok


def without_code(url: str) -> str:
    return f"{CALLBACK}?state={parse_qs(urlsplit(url).query)['state'][0]}"


BROKEN: Mapping[str, Callable[[str], str]] = {
    "an unknown state": lambda _: f"{CALLBACK}?code=aPrx&state={GUESS}",
    "no state": lambda _: f"{CALLBACK}?code=aPrx",
    "no code": without_code,
    "nothing": lambda _: CALLBACK,
    "an empty code": lambda url: f"{without_code(url)}&code=",
    "the state twice": lambda url: f"{url}&state={GUESS}",
    "the code twice": lambda url: f"{url}&code=aPrx",
    "a code that is too long": lambda url: f"{without_code(url)}&code={'a' * 5_000}",
    "an error beside the code": lambda url: f"{url}&error=access_denied",
    "markup for an error": lambda url: f"{url}&error={quote('<script>alert(1)</script>')}",
    "another issuer": lambda url: f"{url}&iss={quote('https://login.salesforce.com.evil.example', safe='')}",
    "bytes that are no text": lambda url: f"{url}&x=%ff",
}


@pytest.mark.parametrize("broken", BROKEN)
def test_every_broken_callback_gets_the_same_page_and_changes_nothing(world: World, broken: str) -> None:
    url = consent(world.pane().begin().url)
    expected = world.browse(f"{CALLBACK}?code=none&state=none")
    with world.untouched():
        answer = world.browse(BROKEN[broken](url))
    same = {"X-Request-Id": "any"}
    assert {**answer.headers, **same} == {**expected.headers, **same}
    assert (answer.status_code, answer.content) == (400, expected.content)
    assert world.browse(url).status_code == 303


@pytest.mark.parametrize("error", ["access_denied", "<script>alert(1)</script>"])
def test_a_denied_consent_ends_the_attempt_and_gives_its_place_back(world: World, error: str) -> None:
    pane = world.pane()
    attempt, *_ = (pane.begin() for _ in range(5))
    url = consent(attempt.url)
    page = world.browse(f"{without_code(url)}&error={quote(error)}&error_description={quote(error)}")
    assert (page.status_code, page.content) == (400, world.ask("GET", CALLBACK).content)
    assert world.browse(url).status_code == 400
    assert refused(pane, attempt.id, GUESS)
    assert pane.begin()


def test_salesforce_s_own_page_denies_by_an_error(world: World) -> None:
    pane = world.pane()
    attempt = pane.begin()
    url = consent(attempt.url, deny=True)
    assert "error=access_denied" in url
    assert world.browse(url).status_code == 400
    assert refused(pane, attempt.id, GUESS)


def test_the_issuer_that_began_may_be_named(world: World) -> None:
    issuer = quote(world.bench.environment["SALESFORCE_LOGIN_ORIGIN"], safe="")
    assert world.browse(f"{consent(world.pane().begin().url)}&iss={issuer}").status_code == 303


@pytest.mark.parametrize("fails", [False, True])
def test_nothing_of_the_query_is_in_the_callback_s_answer(world: World, *, fails: bool) -> None:
    url = consent(world.pane().begin().url)
    query = parse_qs(urlsplit(url).query)
    answer = world.browse(url + "&state=twice" * fails)
    assert answer.status_code == (400 if fails else 303)
    for value in (query["state"][0], query["code"][0].rstrip("=")):
        assert value not in f"{answer.headers}{answer.text}"
