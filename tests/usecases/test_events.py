"""What telemetry is told: names from a closed list, facts of our own making, and nothing about anybody."""

import io
import json
import secrets
from dataclasses import asdict, replace

import pytest

from shared.errors import FlowRunnerError, RecordUnreadable, StoreUnavailable
from shared.model.events import EventName
from shared.model.identity import Principal
from shared.model.requests import RunFlowBody
from shared.telemetry.sinks import LineSink
from shared.telemetry.vocabulary import fitting
from tests.usecases.world_fixtures import BREAKER_S, MINUTE, SECOND, World, a_key

CANARY = f"canary{secrets.token_hex(8)}"
MESSAGE = {
    "email": {
        "sender": {"address": f"{CANARY}@from.example", "name": CANARY},
        "to": [f"{CANARY}@to.example"],
        "cc": [f"{CANARY}@cc.example"],
        "subject": f"About {CANARY}",
        "threadId": f"<{CANARY}@thread.example>",
    }
}


def quietly(world: World, caller: Principal, connection: str) -> None:
    """Run a Flow with the message, however it ends."""
    asked = RunFlowBody.model_validate_json(json.dumps(MESSAGE))
    try:
        world.cases.run_flow(caller, connection, "Echo_Mail", a_key(), asked)
    except FlowRunnerError:
        return


def away(world: World) -> None:
    """The store takes nothing before a refresh's lease has ended."""
    world.clock.move(world.limits.lease_ms)
    raise StoreUnavailable


@pytest.fixture
def told(world: World) -> list[str]:
    """Lets everything happen to a user that is ever told of one; each personal value in it."""
    ada = world.caller(CANARY, CANARY)
    joined = world.connect(ada)
    quietly(world, ada, joined.row.id)
    world.expire_sessions()
    quietly(world, ada, joined.row.id)
    refreshed = world.opened(ada)
    world.interruptions.fail("save_run", StoreUnavailable(), call=2)
    quietly(world, ada, joined.row.id)
    world.clock.move(16 * MINUTE)
    world.interruptions.fail("stale_runs", RecordUnreadable())
    world.cases.end_stale_runs()
    world.plan("revoke", drop="before")
    world.connect(ada)
    world.inside(ada).rows.save_connection(replace(world.row(ada), grant=joined.row.grant))
    world.cases.end_connection(ada, joined.row.id)
    again = world.connect(ada)
    world.expire_sessions()
    world.plan("token", status=429, body="{}")
    quietly(world, ada, again.row.id)
    world.plan("token", answer="invalid-client")
    quietly(world, ada, again.row.id)
    world.clock.move(BREAKER_S * SECOND)
    world.interruptions.before("save_connection", lambda: away(world), call=2)
    quietly(world, ada, again.row.id)
    world.clock.move(MINUTE)
    quietly(world, ada, again.row.id)
    tokens = [token for opened in (joined, refreshed, again) for token in asdict(opened.grant).values()]
    facts = [value for value in asdict(joined.org).values() if isinstance(value, str)]
    return [CANARY, ada.subject, ada.tenant.value, world.username, "Echo_Mail", *tokens, *facts]


def test_everything_that_can_be_told_of_a_user_was_told(world: World, told: list[str]) -> None:
    assert len(told) == 15
    assert {event.name for event in world.events} == {
        EventName.GRANT_REFRESHED,
        EventName.RUN_RECORD_LEFT_OPEN,
        EventName.TENANT_SKIPPED,
        EventName.STALE_RUNS_ENDED,
        EventName.GRANT_NOT_REVOKED,
        EventName.RECORD_UNREADABLE,
        EventName.GRANT_NOT_REFRESHED,
        EventName.REFRESHES_SUSPENDED,
        EventName.GRANT_NOT_STORED,
        EventName.GRANT_ENDED,
    }


def test_no_event_holds_a_personal_value(world: World, told: list[str]) -> None:
    assert [value for value in told if value in repr(world.events)] == []


def test_every_fact_fits_its_grammar_and_none_is_dropped(world: World, told: list[str]) -> None:
    lines = io.StringIO()
    sink = LineSink(lines, world.clock)
    for event in world.events:
        assert fitting(event) == {name: str(value) for name, value in event.facts.items() if value is not None}
        sink(event)
    assert len(lines.getvalue().splitlines()) == len(world.events)
    assert [value for value in told if value in lines.getvalue()] == []
