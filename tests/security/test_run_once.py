"""A run happens once or not at all, whatever is repeated, lost or killed, and its record says what is known."""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
import requests

from shared.devkit.host import Host
from tests.security.journey_fixtures import CLEO, ROOT, WAIT_S, Pane, World, at_once, new_key, serving, slug

STALE_S = 16 * 60

Outcome = tuple[int, str, bool, bool, str]
SUCCESS: Outcome = (200, "success", True, False, "none")
AGAIN: Outcome = (200, "success", True, True, "none")
UNKNOWN: Outcome = (200, "unknown", False, False, "check-salesforce")
UNKNOWN_AGAIN: Outcome = (200, "unknown", False, True, "check-salesforce")
STARTED_AGAIN: Outcome = (200, "started", False, True, "none")


def outcome(answer: requests.Response) -> Outcome:
    """Status, outcome, finished, replayed and next action of an answer to a run."""
    told = answer.json()
    assert told["outcome"] == told["run"]["outcome"]
    return answer.status_code, told["outcome"], told["finished"], told["replayed"], told["nextAction"]


@contextmanager
def under_way(call: Callable[[], requests.Response]) -> Iterator["Future[requests.Response]"]:
    """A request in a thread of its own."""
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(call)


@pytest.fixture
def pane(world: World) -> Pane:
    return world.pane()


@pytest.fixture
def connection(pane: Pane) -> str:
    """A connection whose Flow `Count_Runs` is known already, so that a run makes one call."""
    made = pane.connect()
    pane.ask("GET", f"/v1/connections/{made}/flows/Count_Runs")
    return made


@pytest.fixture
def ran(world: World, connection: str) -> int:
    """How often `Count_Runs` had run before, for whomever."""
    assert connection
    return world.ran()


# --- one key


def test_a_repeated_key_gives_the_record_and_runs_nothing(pane: Pane, connection: str, ran: int) -> None:
    key = new_key()
    first = pane.run(connection, key=key)
    with pane.world.untouched():
        second = pane.run(connection, key=key)
    assert (outcome(first), outcome(second)) == (SUCCESS, AGAIN)
    assert (first.json()["outputs"], second.json()["outputs"]) == ({"runs": ran + 1.0}, None)
    assert first.json()["run"] == second.json()["run"]


def test_another_key_runs_again(pane: Pane, connection: str, ran: int) -> None:
    assert [outcome(pane.run(connection)) for _ in range(2)] == [SUCCESS] * 2
    assert pane.world.ran() == ran + 2


@pytest.mark.parametrize("known", [False, True])
def test_one_key_eight_times_at_once_runs_once(world: World, pane: Pane, *, known: bool) -> None:
    key, ran, connection = new_key(), world.ran(), pane.connect()
    if known:
        pane.ask("GET", f"/v1/connections/{connection}/flows/Count_Runs")
    answers = [answer.json() for answer in at_once(*[lambda: pane.run(connection, key=key)] * 8)]
    assert world.ran() == ran + 1
    assert sorted(answer["replayed"] for answer in answers) == [False] + [True] * 7
    assert len({answer["run"]["id"] for answer in answers}) == 1
    assert {answer["outcome"] for answer in answers} <= {"started", "success"}


def test_one_key_at_two_instances_at_once_runs_once(pane: Pane, connection: str, ran: int) -> None:
    key, world = new_key(), pane.world
    with Host(ROOT, world.bench.environment, output=world.folder / "log") as other:
        elsewhere = replace(pane, world=replace(world, host=other))
        answers = at_once(*[lambda p=p: p.run(connection, key=key) for p in (pane, elsewhere)] * 3)
    assert world.ran() == ran + 1
    assert sum(not answer.json()["replayed"] for answer in answers) == 1


def test_a_fresh_token_of_the_same_user_repeats_the_same_run(pane: Pane, connection: str) -> None:
    key = new_key()
    pane.run(connection, key=key)
    renewed = pane.world.pane(pane.user, pane.tenant)
    assert renewed.token != pane.token
    assert outcome(renewed.run(connection, key=key)) == AGAIN


@pytest.mark.parametrize("other", ["flow", "connection"])
def test_a_key_belongs_to_one_flow_over_one_connection(pane: Pane, connection: str, other: str) -> None:
    key, second = new_key(), pane.connect(CLEO)
    pane.run(connection, key=key)
    with pane.world.untouched():
        answer = pane.run(connection, "Daily_Digest", key) if other == "flow" else pane.run(second, key=key)
    assert (answer.status_code, slug(answer)) == (422, "idempotency-key-reused")


@pytest.mark.parametrize("key", ["", "a" * 15, "a" * 65, "with blanks in the middle", f"{'a' * 16},{'b' * 16}"])
def test_a_run_without_a_usable_key_is_no_run(pane: Pane, connection: str, key: str) -> None:
    with pane.world.untouched():
        answer = pane.run(connection, Idempotency_Key=key)
    assert (answer.status_code, slug(answer)) == (400, "idempotency-key-needed")


# --- a problem before the record leaves the key free, one after it has used it up


@pytest.mark.parametrize("body", [{"inputs": {"undeclared": "y"}}, {"mail": {}}])
def test_a_problem_before_the_record_leaves_the_key_free(pane: Pane, connection: str, body: object) -> None:
    key = new_key()
    with pane.world.untouched():
        problem = pane.run(connection, key=key, body=body)
    assert (problem.status_code, "run" in problem.json()) == (422, False)
    assert outcome(pane.run(connection, key=key)) == SUCCESS


def test_a_key_that_has_run_keeps_its_record_though_the_repeat_is_wrong(pane: Pane, connection: str) -> None:
    key = new_key()
    pane.run(connection, key=key)
    with pane.world.untouched():
        answer = pane.run(connection, key=key, body={"inputs": {"undeclared": "y"}})
    assert outcome(answer) == AGAIN


REFUSALS: Mapping[str, tuple[int, str]] = {
    "no-access": (403, "flow-forbidden"),
    "daily-limit": (429, "org-limit"),
    "not-found": (404, "flow-not-found"),
    "api-disabled": (403, "org-setup"),
    "not-valid-for-rest": (403, "org-setup"),
    "rest-list": (422, "invalid-input"),
}


@pytest.mark.parametrize("refusal", REFUSALS)
def test_what_salesforce_refuses_is_an_error_and_is_not_tried_again(pane: Pane, connection: str, refusal: str) -> None:
    key, world = new_key(), pane.world
    world.steer("run", answer=refusal)
    problem = pane.run(connection, key=key)
    assert (problem.status_code, slug(problem)) == REFUSALS[refusal]
    assert problem.json()["run"]["outcome"] == "error"
    with world.untouched():
        assert outcome(pane.run(connection, key=key)) == (200, "error", True, True, "none")


def test_a_fault_is_an_outcome_with_its_words_for_the_user(pane: Pane, connection: str) -> None:
    answer = pane.run(connection, "Faulty_Flow")
    assert outcome(answer) == (200, "error", True, False, "ask-admin")
    assert answer.json()["fault"]["message"] == "An error occurred when executing a flow interview."


def test_a_paused_flow_is_a_success_that_has_not_finished(pane: Pane, connection: str) -> None:
    key = new_key()
    first, second = (pane.run(connection, "Wait_For_Approval", key) for _ in range(2))
    assert outcome(first) == (200, "success", False, False, "none")
    assert outcome(second) == (200, "success", False, True, "none")
    assert first.json()["run"]["finishedAt"] is None


# --- the answer is lost

LOST: Mapping[str, tuple[Mapping[str, object], int]] = {
    "hung up on before": ({"drop": "before"}, 0),
    "hung up on after": ({"drop": "after"}, 1),
    "a page for maintenance": ({"answer": "html"}, 0),
    "a page for maintenance though it ran": ({"answer": "html", "processed": True}, 1),
    "too busy": ({"answer": "too-busy"}, 0),
    "an empty 500": ({"answer": "empty"}, 0),
    "a page with status 200": ({"answer": "html-200", "processed": True}, 1),
    "an empty list": ({"answer": "empty-list", "processed": True}, 1),
    "no content": ({"answer": "no-content", "processed": True}, 1),
    "an answer that is too large": ({"status": 200, "body": "[" * 5_000_000}, 0),
}


@pytest.mark.parametrize("how", LOST)
def test_a_lost_answer_is_unknown_and_is_never_asked_for_again(pane: Pane, connection: str, ran: int, how: str) -> None:
    key, world, (plan, times) = new_key(), pane.world, LOST[how]
    world.steer("run", **plan)
    with world.overheard() as calls:
        answer = pane.run(connection, key=key)
    assert outcome(answer) == UNKNOWN
    assert [call.endpoint for call in calls] == ["run"]
    with world.untouched():
        assert outcome(pane.run(connection, key=key)) == UNKNOWN_AGAIN
    assert world.ran() == ran + times


@pytest.mark.parametrize("slowly", [{"hold_after": "never"}, {"drip": 0.2}])
def test_a_slow_run_is_unknown_at_its_deadline(hasty_world: World, slowly: Mapping[str, object]) -> None:
    pane, key = hasty_world.pane(), new_key()
    connection, ran = pane.connect(), hasty_world.ran()
    hasty_world.steer("run", **slowly)
    answer = pane.run(connection, key=key)
    assert outcome(answer) == UNKNOWN
    assert answer.elapsed.total_seconds() < WAIT_S / 2
    assert outcome(pane.run(connection, key=key)) == UNKNOWN_AGAIN
    assert hasty_world.ran() == ran + 1


# --- a session that is over


def test_an_expired_session_is_renewed_once_and_the_flow_runs_once(pane: Pane, connection: str, ran: int) -> None:
    world = pane.world
    world.salesforce.grants.expire_sessions(None)
    with world.overheard() as calls:
        assert outcome(pane.run(connection)) == SUCCESS
    assert [(call.endpoint, call.status) for call in calls] == [("run", 401), ("token", 200), ("run", 200)]
    assert world.ran() == ran + 1


def test_runs_at_once_over_an_expired_session_renew_it_once(pane: Pane, connection: str, ran: int) -> None:
    world = pane.world
    world.salesforce.grants.expire_sessions(None)
    with world.overheard() as calls:
        answers = at_once(*[lambda: pane.run(connection)] * 4)
    assert [outcome(answer) for answer in answers] == [SUCCESS] * 4
    assert [call.status for call in calls if call.endpoint == "token"] == [200]
    assert world.ran() == ran + 4


def test_a_renewed_grant_is_stored_before_it_is_used(pane: Pane, connection: str) -> None:
    world = pane.world
    before, sent = world.document(f"c:{connection}"), world.salesforce.recorder.counters().get("run", 0)
    world.salesforce.grants.expire_sessions(None)
    world.steer("run")
    world.steer("run", hold="renewed")
    with under_way(lambda: pane.run(connection)) as running:
        assert world.salesforce.recorder.wait_for("run", sent + 2, WAIT_S)
        during = world.document(f"c:{connection}")
        world.salesforce.steering.release("renewed")
        assert outcome(running.result(WAIT_S)) == SUCCESS
    assert (during["version"], during["grant"] == before["grant"]) == (2, False)


def test_a_session_that_is_refused_even_when_fresh_is_not_tried_a_third_time(pane: Pane, connection: str) -> None:
    pane.world.steer("run", answer="session-expired", times=2)
    with pane.world.overheard() as calls:
        answer = pane.run(connection)
    assert (answer.status_code, slug(answer), answer.json()["run"]["outcome"]) == (403, "org-setup", "error")
    assert [call.endpoint for call in calls] == ["run", "token", "run"]


def test_a_grant_that_salesforce_has_ended_is_forgotten(pane: Pane, connection: str) -> None:
    world = pane.world
    world.salesforce.grants.end_approvals(None)
    answer = pane.run(connection)
    assert (answer.status_code, slug(answer), answer.json()["nextAction"]) == (409, "reconnect-needed", "reconnect")
    assert world.document(f"c:{connection}")["grant"] is None
    with world.untouched():
        assert pane.run(connection).status_code == 409


# --- our own process or store goes away


@pytest.fixture
def doomed_world(tmp_path: Path) -> Iterator[World]:
    """An app that a test may kill."""
    with serving(tmp_path) as world:
        yield world


def test_a_run_whose_process_was_killed_becomes_unknown_and_is_not_run_again(doomed_world: World) -> None:
    world, key = doomed_world, new_key()
    pane = world.pane()
    connection = pane.connect()
    world.steer("run", hold_after="killed")
    with under_way(lambda: pane.run(connection, key=key)) as running:
        assert world.salesforce.recorder.wait_for_event("ran:Count_Runs", 1, WAIT_S)
        world.host.kill()
        with suppress(requests.ConnectionError):
            running.result(WAIT_S)
    world.host.start()
    for seconds, expected in ((0, STARTED_AGAIN), (STALE_S, UNKNOWN_AGAIN)):
        assert outcome(pane.run(connection, key=key)) == STARTED_AGAIN
        world.later(seconds)
        assert world.host.fire("stale_run_timer")
        assert outcome(pane.run(connection, key=key)) == expected
    assert world.ran() == 1


def test_a_store_that_is_away_after_a_success_costs_nobody_the_outputs(aging_world: World) -> None:
    world, key = aging_world, new_key()
    pane = world.pane()
    connection, ran = pane.connect(), world.ran()
    world.steer("run", hold_after="locked")
    with under_way(lambda: pane.run(connection, key=key)) as running, world.database() as database:
        assert world.salesforce.recorder.wait_for_event("ran:Count_Runs", ran + 1, WAIT_S)
        database.execute("BEGIN IMMEDIATE")
        world.salesforce.steering.release("locked")
        answer = running.result(WAIT_S)
        database.execute("ROLLBACK")
    assert (outcome(answer), answer.json()["outputs"]) == (SUCCESS, {"runs": ran + 1.0})
    assert f"run_record_left_open tenant_id={pane.tenant_ref()} run_id={answer.json()['run']['id']}" in world.log
    assert outcome(pane.run(connection, key=key)) == STARTED_AGAIN
    world.later(STALE_S)
    assert world.host.fire("stale_run_timer")
    assert outcome(pane.run(connection, key=key)) == UNKNOWN_AGAIN


def test_a_store_that_refuses_the_record_keeps_the_flow_from_running(pane: Pane, connection: str, ran: int) -> None:
    key, world = new_key(), pane.world
    with world.database() as database:
        database.execute("CREATE TRIGGER away BEFORE INSERT ON runs BEGIN SELECT RAISE(ABORT, 'away'); END")
        answer = pane.run(connection, key=key)
        database.execute("DROP TRIGGER away")
    assert (answer.status_code, slug(answer), world.ran()) == (503, "store-unavailable", ran)
    assert outcome(pane.run(connection, key=key)) == SUCCESS


def test_the_timer_leaves_runs_alone_that_have_an_end(aging_world: World) -> None:
    pane = aging_world.pane()
    connection = pane.connect()
    for flow in ("Count_Runs", "Faulty_Flow", "Wait_For_Approval"):
        assert pane.run(connection, flow).ok
    aging_world.later(STALE_S)
    with aging_world.unwritten():
        assert aging_world.host.fire("stale_run_timer")
