"""What becomes of good tokens when the tenant wants more of a sign-in, or when an issuer's keys cannot be had."""

import base64
import json
import uuid
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path

import pytest

from shared.devkit.minting import entra_claims
from shared.devkit.workbench import Workbench
from tests.security.journey_fixtures import Pane, World, at_once, serving, slug
from tests.security.routes_fixtures import GUARDED, routes

WANTED = {"access_token": {"acrs": {"essential": True, "value": "c1"}}}
FLOOR_S = 5 * 60
HOUR_S = 60 * 60


# --- a stronger sign-in


@pytest.fixture(scope="module")
def stepped_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """An app that wants the authentication context c1 of every token."""
    with serving(tmp_path_factory.mktemp("stepped"), {"ENTRA_AUTH_CONTEXT": "c1"}) as world:
        yield world


@pytest.mark.parametrize("name", GUARDED)
def test_a_weak_sign_in_gets_the_challenge_in_header_and_body(stepped_world: World, name: str) -> None:
    with stepped_world.untouched():
        answer = routes()[name].by(stepped_world.pane())
    assert (answer.status_code, slug(answer), answer.json()["nextAction"]) == (401, "claims-needed", "sign-in")
    assert json.loads(answer.json()["claims"]) == WANTED
    challenge = answer.headers["WWW-Authenticate"]
    encoded = challenge.removeprefix('Bearer error="insufficient_claims", claims="').removesuffix('"')
    assert json.loads(base64.b64decode(encoded, validate=True)) == WANTED


def test_the_challenge_is_shown_to_the_browser(stepped_world: World) -> None:
    origin = stepped_world.bench.environment["CORS_ORIGINS"].split()[0]
    answer = stepped_world.pane().ask("GET", "/v1/me", Origin=origin)
    assert answer.headers["Access-Control-Allow-Origin"] == origin
    assert "WWW-Authenticate" in answer.headers["Access-Control-Expose-Headers"].split(", ")


def test_a_sign_in_that_met_the_challenge_comes_in(stepped_world: World) -> None:
    pane = stepped_world.pane_with(acrs=["c0", "c1"])
    assert pane.run(pane.connect()).ok


@pytest.mark.parametrize("acrs", [[], ["c2"], "c1", ["c1 c2"], {"c1": True}, ["C1"]])
def test_another_context_is_not_the_one(stepped_world: World, acrs: object) -> None:
    assert stepped_world.pane_with(acrs=acrs).ask("GET", "/v1/me").status_code == 401


def test_a_token_that_is_refused_for_another_reason_learns_nothing_of_the_challenge(stepped_world: World) -> None:
    answer = stepped_world.pane_with(aud=str(uuid.uuid4())).ask("GET", "/v1/me")
    assert (answer.headers["WWW-Authenticate"], "claims" in answer.json()) == ('Bearer error="invalid_token"', False)


def test_a_request_without_a_token_learns_nothing_of_the_challenge(stepped_world: World) -> None:
    answer = stepped_world.ask("GET", "/v1/me")
    assert (answer.headers["WWW-Authenticate"], "claims" in answer.json()) == ("Bearer", False)


# --- an issuer whose keys cannot be had


def entra_fails(bench: Workbench) -> None:
    bench.entra.fail()


@pytest.fixture(scope="module")
def dark_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """An app that started when Microsoft's keys could not be had, and still cannot have them."""
    with serving(tmp_path_factory.mktemp("dark"), prepare=entra_fails) as world:
        yield world


@pytest.fixture
def dawning_world(tmp_path: Path) -> Iterator[World]:
    """The same, for the test that ends the outage."""
    with serving(tmp_path, prepare=entra_fails) as world:
        yield world


@pytest.fixture
def lit_world(tmp_path: Path) -> Iterator[World]:
    """An app that has the keys of both issuers."""
    with serving(tmp_path) as world:
        assert {pane.begin_with({}).status_code for pane in (world.pane(), world.google_pane())} == {201}
        yield world


def test_while_keys_cannot_be_had_nobody_is_told_to_sign_in_again(dark_world: World) -> None:
    for name, asked in routes().items():
        with dark_world.untouched():
            answer = asked.by(dark_world.pane())
        assert (name, answer.status_code, slug(answer)) == (name, 503, "issuer-unavailable")
        assert 1 <= int(answer.headers["Retry-After"]) <= FLOOR_S
        assert "WWW-Authenticate" not in answer.headers
    assert dark_world.bench.entra.requests == 1


def test_one_issuer_s_outage_is_not_the_other_s(dark_world: World) -> None:
    pane = dark_world.google_pane()
    assert pane.run(pane.connect()).ok


def test_a_token_that_is_no_token_is_refused_as_ever(dark_world: World) -> None:
    assert dark_world.ask("GET", "/v1/me").status_code == 401
    assert dark_world.ask("GET", "/v1/me", Authorization="Bearer x.y.z").status_code == 401


def test_after_the_outage_people_come_in(dawning_world: World) -> None:
    pane = dawning_world.pane()
    assert pane.begin_with({}).status_code == 503
    dawning_world.bench.entra.recover()
    assert pane.begin_with({}).status_code == 503
    dawning_world.later(FLOOR_S)
    assert pane.begin_with({}).status_code == 201


def test_many_at_once_in_the_dark_ask_for_the_keys_once(dark_world: World) -> None:
    panes = [dark_world.pane() for _ in range(8)]
    assert {answer.status_code for answer in at_once(*[lambda p=p: p.begin_with({}) for p in panes])} == {503}
    assert dark_world.bench.entra.requests == 1


def test_a_later_outage_logs_nobody_out(lit_world: World) -> None:
    lit_world.bench.entra.stop()
    lit_world.bench.google.stop()
    for hours in (0, 2, 21):
        lit_world.later(hours * HOUR_S)
        for pane in (lit_world.pane(), lit_world.google_pane()):
            assert [pane.begin_with({}).status_code for _ in range(2)] == [201] * 2


def test_a_key_dies_when_nobody_has_confirmed_it_for_a_day(lit_world: World) -> None:
    lit_world.bench.entra.stop()
    lit_world.later(24 * HOUR_S)
    answer = lit_world.pane().begin_with({})
    assert (answer.status_code, slug(answer)) == (503, "issuer-unavailable")


def test_an_unknown_key_during_an_outage_is_nobody_s_fault(lit_world: World) -> None:
    lit_world.later(FLOOR_S)
    lit_world.bench.entra.stop()
    lit_world.bench.entra.rotate()
    assert lit_world.pane().begin_with({}).status_code == 503


def test_a_new_key_is_taken_up_and_the_old_one_still_serves(lit_world: World) -> None:
    bench = lit_world.bench
    user, tenant = str(uuid.uuid4()), str(uuid.uuid4())
    old = bench.entra.sign(entra_claims(tenant, user))
    bench.entra.rotate()
    lit_world.later(FLOOR_S)
    panes = [Pane(lit_world, token, user, tenant) for token in (bench.entra.sign(entra_claims(tenant, user)), old)]
    assert [pane.begin_with({}).status_code for pane in panes] == [201, 201]


def test_a_flood_of_unknown_keys_at_a_slow_issuer_holds_up_nobody_whose_key_is_known(lit_world: World) -> None:
    issuer, known = lit_world.bench.entra, lit_world.pane()
    issuer.slow(2)
    issuer.rotate(published=False)
    strangers = [lit_world.pane() for _ in range(8)]
    lit_world.later(FLOOR_S)
    asked = issuer.requests
    with ThreadPoolExecutor(len(strangers)) as pool:
        answers = [pool.submit(pane.begin_with, {}) for pane in strangers]
        wait(answers, return_when=FIRST_COMPLETED)  # the first to go, since another one waits for the fetch
        assert [known.begin_with({}).status_code for _ in range(3)] == [201] * 3
        assert not all(answer.done() for answer in answers)
    assert {answer.result().status_code for answer in answers} == {401}
    assert issuer.requests == asked + 1
