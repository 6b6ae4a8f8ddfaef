"""Scenarios 6, 9 and 12: Salesforce says no, and whose matter that is."""

import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from shared.devkit.workbench import Workbench
from tests.lifecycle.instances_fixtures import FLOOR_S, OK, Instance, Member, starting, told
from tests.security.journey_fixtures import WAIT_S

REFUSED = (403, "org-setup", "session-refused")
DEAD = (409, "reconnect-needed", "reconnect")
OURS = (502, "salesforce-unusable", "none")


def test_a_401_that_no_refresh_cures_costs_one_token_call_in_ten_minutes(ada: Member) -> None:
    """Scenario 6. 200 requests over ten minutes at four processes; then one more call, and in the end it is cured."""
    ada.expire()
    ada.plan("list", answer="session-expired", times=0)
    for number in range(200):
        ada.world.later(1.9)
        answer = ada.ask(number % 4)
        assert told(answer, "cause") == REFUSED
        assert 0 < int(answer.headers["Retry-After"]) <= 600
    assert (ada.family.asked, ada.shown()) == (1, ("connected", "session-refused", None))
    ada.world.later(30)
    assert [told(ada.ask(at), "cause") for at in range(4)] == [REFUSED] * 4
    assert ada.family.asked == 2
    ada.world.salesforce.steering.withdraw(ada.person.username)
    assert [told(ada.ask(at)) for at in range(4)] == [OK] * 4
    assert (ada.family.asked, ada.shown()) == (2, ("connected", None, None))


def test_a_session_that_is_not_meant_for_rest_costs_no_token_call(ada: Member) -> None:
    """Scenario 6. Salesforce says so itself, with the same status."""
    ada.world.later(2 * FLOOR_S)
    ada.plan("list", answer="not-valid-for-rest", times=0)
    assert [told(ada.ask(at), "cause") for at in range(4)] == [(403, "org-setup", "session-not-for-rest")] * 4
    assert (ada.family.asked, ada.stands()) == (0, (1, 1, "connected", None, False))


def test_a_dead_grant_is_heard_of_once_and_removed(ada: Member) -> None:
    """Scenario 9. A run meets it; a thousand calls later nothing was sent, written or left that a token could be in."""
    world, envelope = ada.world, str(ada.row["grant"])
    world.later(2 * FLOOR_S)
    ada.plan("run", hold="described")
    runs = world.salesforce.recorder.counters().get("run", 0)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(ada.panes[0].run, ada.connection)
        assert world.salesforce.recorder.wait_for("run", runs + 1, WAIT_S)
        world.salesforce.grants.end_approvals(ada.person)
        world.salesforce.steering.release("described")
        first = running.result(WAIT_S)
    assert (told(first), first.json()["reason"]) == (DEAD, "grant-ended")
    with world.untouched(), ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda number: ada.ask_now(number % 4), range(1_000)))
        assert {told(answer) for answer in answers} == {DEAD}
    assert ada.family.asked == 1
    assert (ada.stands(), ada.row["grant"]) == ((1, 1, "needs-reconnect", "grant-ended", False), None)
    with world.database() as database:
        ((record,),) = database.execute(
            "SELECT document FROM runs WHERE id = ?", (first.json()["run"]["id"],)
        ).fetchall()
        assert database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
    assert json.loads(record)["outcome"] == "error"
    assert not any(envelope.encode() in file.read_bytes() for file in world.folder.glob("store.sqlite*"))


@pytest.mark.parametrize(
    ("switches", "answer", "cause"),
    [({"client_secret": "rotated"}, "", "our-credentials"), ({}, "ip-restricted-by-app", "our-address")],
)
def test_a_fault_of_ours_touches_no_row_is_told_once_and_needs_no_reconnect(
    instances: list[Instance], switches: dict[str, str], answer: str, cause: str
) -> None:
    """Scenario 12. One call finds out, the breaker spares the others theirs, and after the fix all go on."""
    members, steering = [Member.joining(instances) for _ in range(5)], instances[0].salesforce.steering
    before, alerts = [member.row for member in members], len(instances[0].lines("refreshes_suspended"))
    steering.switch(switches)
    for member in members:
        member.expire()
        member.plan("token", answer=answer, times=0)
    answers = [member.ask_now() for member in members]
    assert {told(each) for each in answers} == {OURS}
    assert {each.json()["cause"] for each in answers} == {cause}
    assert (sum(member.family.asked for member in members), [member.row for member in members]) == (1, before)
    (alert,) = instances[0].lines("refreshes_suspended")[alerts:]
    assert alert.endswith(f"refreshes_suspended reason={cause}")
    steering.reset()
    until = time.monotonic() + WAIT_S
    while told(members[0].ask_now()) != OK:
        assert time.monotonic() < until
        time.sleep(0.1)
    assert {told(member.ask_now()) for member in members[1:]} == {OK}
    assert {member.stands() for member in members} == {(1, 2, "connected", None, False)}
    assert len(instances[0].lines("refreshes_suspended")) == alerts + 1


def test_a_rotated_client_secret_is_survived_with_the_second_one(bench: Workbench, instances: list[Instance]) -> None:
    """Scenario 12. Each process is refused once, and takes the second secret from then on."""
    ada, ben = Member.joining(instances), Member.joining(instances)
    with starting(bench, 2, SALESFORCE_SECOND_SECRET="newer") as pair:
        instances[0].salesforce.steering.switch({"client_secret": "newer"})
        for number, asked in enumerate((2, 3, 5, 6)):
            ada.expire()
            assert told(ada.at(pair).ask(number // 2)) == OK
            assert (ada.family.asked, ada.stands()) == (asked, (1, number + 2, "connected", None, False))
        assert [len(instance.lines("credentials_refused")) for instance in pair] == [1, 1]
        assert [instance.lines("refreshes_suspended") for instance in pair] == [[], []]
        assert {rotation.secret for rotation in ada.family.rotations} == {0}
    assert ben.stands() == (1, 1, "connected", None, False)


@pytest.mark.parametrize("words", ["contention", "old-contention"])
def test_a_refresh_that_meets_another_one_waits_and_succeeds(ada: Member, words: str) -> None:
    """Scenario 12. "Already being processed" says nothing against the grant."""
    ada.expire()
    ada.plan("token", answer=words, times=2)
    assert told(ada.ask()) == OK
    assert (ada.family.asked, ada.stands()) == (3, (1, 2, "connected", None, False))
