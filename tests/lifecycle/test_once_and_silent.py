"""Scenario 15: no Flow runs twice, and nothing that was said is printed, stored or told in an error."""

import json
import secrets
from collections.abc import Mapping
from urllib.parse import parse_qs

import pytest
import requests

from shared.devkit.salesforce.answers import HTML
from shared.devkit.workbench import Workbench
from tests.lifecycle.instances_fixtures import Instance, Member, refusing, starting
from tests.security.journey_fixtures import at_once, new_key
from tests.security.traces_fixtures import found, whole


def test_a_flow_runs_once_though_its_session_was_over_and_all_ask_at_once(ada: Member) -> None:
    """Scenario 15. One key at four processes: the one that runs it refreshes, the others find its record."""
    key, ran = new_key(), ada.world.ran()
    ada.expire()
    with ada.world.overheard() as calls:
        answers = at_once(*[lambda at=at: ada.panes[at].run(ada.connection, key=key) for at in range(4)] * 2)
    told_of = [answer.json() for answer in answers]
    assert (ada.world.ran() - ran, ada.family.asked) == (1, 1)
    assert sorted(each["replayed"] for each in told_of) == [False] + [True] * 7
    assert len({each["run"]["id"] for each in told_of}) == 1
    assert [call.status for call in calls if call.endpoint == "run"][-1] == 200


@pytest.mark.parametrize(
    "lost",
    [
        {"drop": "after"},
        {"status": 502, "body": "<html>", "content_type": HTML, "processed": True},
        {"hold_after": "x"},
    ],
    ids=["dropped", "502", "timed-out"],
)
def test_a_flow_whose_answer_is_lost_is_not_run_again(hasty: list[Instance], lost: Mapping[str, object]) -> None:
    """Scenario 15. The same key gives the same record, at any process."""
    hal = Member.joining(hasty)
    key, ran = new_key(), hal.world.ran()
    hal.expire()
    hal.plan("describe")
    hal.plan("run", **lost)
    answers = [hal.panes[at].run(hal.connection, key=key).json() for at in (0, 1, 0)]
    assert hal.world.ran() - ran == 1
    assert [(each["outcome"], each["replayed"], each["nextAction"]) for each in answers] == [
        ("unknown", again, "check-salesforce") for again in (False, True, True)
    ]
    assert len({each["run"]["id"] for each in answers}) == 1


class Talk:
    """Runs with a mail that has much to give away, and answers of Salesforce that have more."""

    def __init__(self, member: Member) -> None:
        self.member = member
        self.said = {name: f"{name}-{secrets.token_hex(8)}" for name in ("sender", "subject", "page", "words")}
        self.answers: list[requests.Response] = []

    def run(self, at: int) -> int:
        mail = {"sender": {"address": f"{self.said['sender']}@customer.example"}, "subject": self.said["subject"]}
        self.answers.append(self.member.panes[at].run(self.member.connection, body={"email": mail}))
        return self.answers[-1].status_code

    def fail(self, at: int, plan: Mapping[str, object]) -> int:
        """A run that finds the session over, when nothing that happened before stands in the way of a refresh."""
        person, steering = self.member.person.username, self.member.world.salesforce.steering
        self.member.world.later(600)
        self.member.expire()
        steering.withdraw(person)
        steering.plan({"endpoint": "token", "user": person, **plan})
        return self.run(at)

    def page(self, status: int) -> Mapping[str, object]:
        return {"status": status, "body": f"<html>{self.said['page']}</html>", "content_type": HTML}

    def error(self, word: str) -> Mapping[str, object]:
        body = {"error": word, "error_description": f"No {self.said['words']}."}
        return {"status": 400, "body": json.dumps(body)}

    def secrets(self) -> set[str]:
        """What was said, and every token and client secret that Salesforce has seen."""
        seen = list(self.said.values())
        for call in self.member.world.salesforce.recorder.calls():
            form = parse_qs(call.body) if call.endpoint in {"token", "revoke"} else {}
            seen += [value for name in ("refresh_token", "token", "client_secret") for value in form.get(name, ())]
            seen.append((call.header("Authorization") or "").removeprefix("Bearer "))
        return {value for value in seen if value}


def test_no_refresh_that_fails_gives_anything_away(bench: Workbench, instances: list[Instance]) -> None:
    """Scenario 15. Every way in which a refresh fails; the last one ends the grant."""
    instances[0].salesforce.recorder.clear()
    with starting(bench, 2) as pair:
        talk = Talk(Member.joining(pair))
        assert talk.fail(0, {}) == 200
        assert talk.fail(0, talk.page(503)) == 503
        assert talk.fail(0, talk.page(500)) == 503
        assert talk.fail(0, talk.page(200)) == 503
        assert talk.fail(0, {"drop": "before"}) == 503
        assert talk.fail(0, talk.error("invalid_grant")) == 403
        assert talk.fail(0, {"endpoint": "describe", "answer": "session-expired", "times": 2}) == 403
        assert talk.fail(1, talk.error("invalid_client")) == 502
        with refusing(talk.member):
            assert talk.fail(0, {}) == 503
        assert talk.fail(0, {"drop": "after"}) == 503
        assert talk.fail(0, {}) == 409
        printed = b"".join(instance.printed.read_bytes() for instance in pair)
    stored = b"".join(file.read_bytes() for file in pair[0].folder.glob("store.sqlite*"))
    answered = b"".join(whole(answer) for answer in talk.answers)
    hidden = talk.secrets()
    assert len(hidden) > 10
    assert printed.count(b" grant_not_refreshed ") == 7
    assert [secret for secret in hidden for text in (printed, stored, answered) if found(secret, text)] == []
