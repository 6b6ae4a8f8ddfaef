"""Scenarios 13 and 14: records that were moved, changed or put back do not open; those under an older key do."""

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

from shared.devkit.workbench import Workbench
from tests.lifecycle.instances_fixtures import FLOOR_S, OK, Instance, Member, starting, told
from tests.security.journey_fixtures import WAIT_S, at_once

UNREADABLE = (500, "record-unreadable", "ask-admin")
NO_SUCH_KEY = (503, "keys-unavailable", "retry")
Row = Mapping[str, object]


FITTING = frozenset(
    [f"{name}-{what}" for name in ("grant", "org") for what in ("part-2", "part-3", "of-another-tenant", "of-before")]
    + ["all-of-another-tenant", "all-of-before-under-todays-version", "generation", "version", "org_version", "user"]
)
"""What has the form of a record, so that the seal alone tells; of the others the store says at once what they are."""


def other(letter: str) -> str:
    return "1" if letter == "0" else "0"


def broken(envelope: str) -> Iterator[tuple[str, str]]:
    """An envelope with one letter of each part changed, with one part less or empty, and nothing in its place."""
    parts = envelope.split(".")
    for place, part in enumerate(parts):
        middle = len(part) // 2
        changed = part[:middle] + other(part[middle]) + part[middle + 1 :]
        yield f"part-{place}", ".".join([*parts[:place], changed, *parts[place + 1 :]])
        yield f"without-{place}", ".".join([*parts[:place], *parts[place + 1 :]])
        yield f"empty-{place}", ".".join([*parts[:place], "", *parts[place + 1 :]])
    yield "nothing", ""


def tampered(mine: Row, theirs: Row, older: Row) -> Iterator[tuple[str, Row]]:
    """The row in every way in which it may not be believed."""
    for name in ("grant", "org"):
        for what, text in broken(str(mine[name])):
            yield f"{name}-{what}", {**mine, name: text}
        yield f"{name}-of-another-tenant", {**mine, name: theirs[name]}
        yield f"{name}-of-before", {**mine, name: older[name]}
    yield "all-of-another-tenant", {**theirs, "id": mine["id"], "owner": mine["owner"]}
    yield "all-of-before-under-todays-version", {**older, "version": mine["version"]}
    for name in ("generation", "version", "org_version"):
        yield name, {**mine, name: int(str(mine[name])) + 1}
    for name in ("id", "user"):
        yield name, {**mine, name: other(str(mine[name])[0]) + str(mine[name])[1:]}
    for name in ("state", "kind"):
        yield name, {**mine, name: f"{mine[name]}x"}


def shown(member: Member) -> object:
    """State and reason of a connection as its owner sees it, or the problem with that."""
    answer = member.panes[0].ask("GET", f"/v1/connections/{member.connection}")
    view = answer.json()
    return (view["state"], view["reason"]) if answer.ok else told(answer)[1]


def put(member: Member, row: Row) -> None:
    """Write the member's row behind the back of everybody."""
    member.world.rewrite(f"c:{member.connection}", lambda _: row)


def test_no_record_that_was_moved_changed_or_put_back_opens(
    instances: list[Instance], ada: Member, ben: Member
) -> None:
    """Scenario 13. Each is refused with an alarm at a running process, and Salesforce hears nothing of it."""
    older = ada.row
    ada.expire()
    assert told(ada.ask()) == OK
    mine = ada.row
    for number, (what, row) in enumerate(tampered(mine, ben.row, older)):
        instance = instances[number % 4]
        asked, alarms = (len(instance.lines(event)) for event in ("request function=list_flows", "record_unreadable"))
        put(ada, row)
        expected = NO_SUCH_KEY if what.endswith("-part-1") else UNREADABLE
        ada.world.later(2)
        with ada.world.untouched():
            assert told(ada.ask_now(number % 4)) == expected, what
            assert told(ada.panes[number % 4].run(ada.connection)) == expected, what
        assert shown(ada) in (("connected", None), ("needs-reconnect", "record-unreadable"), expected[1]), what
        (line,) = instance.lines("request function=list_flows")[asked:]
        assert f"error_code={expected[1]} " in line, what
        if what in FITTING:
            assert instance.lines(f"record_unreadable tenant_id={ada.panes[0].tenant_ref()}")[alarms:], what
    put(ada, mine)
    assert (told(ada.ask()), ada.family.asked) == (OK, 1)


def test_an_older_record_that_is_put_back_under_a_call_is_not_refreshed(ada: Member) -> None:
    """Scenario 13. It opened at the beginning of the call; the one that the claim returns does not."""
    older = ada.row
    ada.expire()
    assert told(ada.ask()) == OK
    ada.expire()
    ada.plan("list", hold="rolled back")
    lists = ada.world.salesforce.recorder.counters()["list"]
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(ada.ask)
        assert ada.world.salesforce.recorder.wait_for("list", lists + 1, WAIT_S)
        put(ada, {**ada.row, "grant": older["grant"]})
        ada.world.salesforce.steering.release("rolled back")
        assert told(call.result(WAIT_S)) == UNREADABLE
    assert (ada.family.asked, ada.stands()) == (1, (1, 2, "connected", None, False))


def test_a_new_key_version_fails_no_request_at_processes_that_know_only_the_old_one(
    bench: Workbench, instances: list[Instance], ada: Member
) -> None:
    """Scenario 14. A fifth process seals under the new key at once, the four others learn of it from what it wrote."""
    crowd = [ada.ask_now] * 2
    assert [told(ada.ask(at)) for at in range(4)] == [OK] * 4
    key = ada.world.folder / "keys" / f"{ada.panes[0].tenant_ref()}.1.2"
    key.touch(mode=0o600, exist_ok=False)
    key.write_bytes(os.urandom(32))
    with starting(bench, 1) as fifth:
        five = ada.at([*fifth, *instances])
        for version in range(2, 8):
            ada.world.later(FLOOR_S + 1)
            ada.world.salesforce.grants.expire_sessions(ada.person)
            first = [told(five.ask_now(0))] if version == 2 else []
            answers = at_once(*[lambda at=at: told(five.ask_now(at)) for at in range(5) for _ in crowd])
            assert first + answers == [OK] * len(first + answers)
            assert (ada.row["version"], str(ada.row["grant"]).split(".")[1]) == (version, "2")
    assert (ada.family.asked, ada.family.replays) == (6, [])
