"""What comes after the fifteen scenarios: idle grants, many sign-ins, and answers to a refresh that say odd things."""

import pytest

from shared.devkit.salesforce.people import SANDBOX
from shared.devkit.salesforce.tokens import identity_url
from tests.lifecycle.instances_fixtures import OK, Answered, Member, told

DAY_S = 86_400
CONNECTED = ("connected", None, None)


@pytest.mark.parametrize(
    ("days", "shown", "end"),
    [
        (22, CONNECTED, OK),
        (23, ("connected", None, "idle"), OK),
        (29, ("connected", None, "idle"), OK),
        (30, ("needs-reconnect", "idle", None), (409, "reconnect-needed", "idle")),
        (31, ("needs-reconnect", "idle", None), (409, "reconnect-needed", "idle")),
    ],
)
def test_thirty_idle_days_are_foreseen_and_a_refresh_begins_them_anew(
    ada: Member, days: int, shown: tuple[str, str | None, str | None], end: Answered
) -> None:
    ada.expire()
    assert told(ada.ask()) == OK
    ada.world.later(days * DAY_S)
    ada.world.salesforce.grants.age_approvals(ada.person, days)
    assert ada.shown() == shown
    ada.world.salesforce.grants.expire_sessions(ada.person)
    assert told(ada.ask(), "reason") == end
    assert ada.shown() == (CONNECTED if end == OK else shown)
    assert ada.family.asked == 2


def test_a_session_that_outlives_the_thirty_days_serves_on(ada: Member) -> None:
    ada.world.later(31 * DAY_S)
    assert (told(ada.ask()), ada.shown()) == (OK, ("needs-reconnect", "idle", None))
    ada.reconnect()
    assert ada.shown() == CONNECTED


def test_six_sign_ins_again_never_meet_the_limit_of_five_approvals(ada: Member) -> None:
    for number in range(6):
        ada.reconnect(number % 4)
        assert ada.approvals == 1
        ada.expire()
        assert told(ada.ask((number + 1) % 4)) == OK
    assert [family.ended for family in ada.families] == ["revoked"] * 6 + [""]
    assert ada.stands() == (7, 2, "connected", None, False)


@pytest.mark.parametrize(
    "odd", [{"omit": ["instance_url"]}, {"instance_url": "https://acme.my.salesforce.com.evil.example"}]
)
def test_an_address_that_is_missing_or_foreign_costs_nobody_the_fresh_grant(
    ada: Member, odd: dict[str, object]
) -> None:
    ada.world.salesforce.steering.switch(odd)
    for number in range(2):
        ada.expire()
        assert [told(ada.ask(at)) for at in range(4)] == [OK] * 4
        assert (len(ada.family.rotations), ada.family.replays) == (number + 1, [])


def test_the_same_access_token_again_is_a_refresh_as_any_other(ada: Member) -> None:
    ada.world.salesforce.steering.switch({"same_access_token": True})
    ada.world.later(120)
    ada.plan("list", answer="session-expired")
    with ada.world.overheard() as calls:
        assert told(ada.ask()) == OK
    lists = [call.header("Authorization") for call in calls if call.endpoint == "list"]
    assert lists[0] == lists[1]
    assert (ada.family.asked, ada.stands()) == (1, (1, 2, "connected", None, False))


def test_a_refreshed_sandbox_is_another_org_and_is_connected_anew(ada: Member) -> None:
    """The same user name, and another org: nobody may go on as if nothing had happened."""
    ada.expire()
    ada.world.salesforce.steering.switch(
        {"id_url": identity_url(ada.person, 18).replace(ada.person.org.id, SANDBOX.id)}
    )
    assert [told(ada.ask(at)) for at in range(4)] == [(409, "reconnect-needed", "reconnect")] * 4
    assert (ada.family.asked, ada.approvals, ada.row["grant"]) == (1, 0, None)
