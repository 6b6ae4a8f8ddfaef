"""Scenarios 10, 11 and 14: during a refresh somebody else refreshes, signs in again, leaves or is erased."""

from contextlib import ExitStack

import pytest

from tests.lifecycle.instances_fixtures import ENDED_S, OK, Member, told
from tests.security.journey_fixtures import WAIT_S


def test_who_hears_late_that_the_old_token_is_dead_uses_the_newer_one(ada: Member) -> None:
    """Scenario 10. One process sleeps past its lease over its token call; meanwhile another one has refreshed."""
    ada.expire()
    with ada.world.overheard() as calls:
        with ada.held(lambda: ada.ask_now(1), answer="oauth-object") as late:
            ada.world.later(ENDED_S)
            assert told(ada.ask_now(0)) == OK
        assert told(late.result(WAIT_S)) == OK
    lists = [call for call in calls if call.endpoint == "list"]
    assert [call.status for call in lists] == [401, 401, 200, 200]
    assert lists[2].header("Authorization") == lists[3].header("Authorization")
    assert (ada.family.asked, len(ada.family.rotations), ada.family.replays) == (2, 1, [])
    assert ada.stands() == (1, 2, "connected", None, False)


def test_who_hears_late_that_the_token_is_dead_while_another_refreshes_is_not_sent_to_reconnect(ada: Member) -> None:
    """Scenario 10. The newer refresh has not been stored yet: nobody can tell, and nothing is over."""
    ada.expire()
    with ExitStack() as sleep:
        late = sleep.enter_context(ada.held(lambda: ada.ask_now(1), answer="oauth-object"))
        ada.world.later(ENDED_S)
        with ada.held(lambda: ada.ask_now(0), after=True) as other:
            sleep.close()
            assert told(late.result(WAIT_S)) == (503, "salesforce-unavailable", "retry")
            assert ada.stands()[2] == "connected"
    assert (told(other.result(WAIT_S)), ada.stands()) == (OK, (1, 2, "connected", None, False))


def test_a_late_answer_is_kept_where_another_one_tried_meanwhile_in_vain(ada: Member) -> None:
    """Scenario 10. The lease is over, another process was turned away and gave its claim back: nothing is lost yet."""
    ada.expire()
    with ada.held(lambda: ada.ask_now(1), after=True) as late:
        ada.world.later(ENDED_S)
        ada.plan("token", status=429)
        assert ada.ask_now(0).status_code in {429, 503}
    assert told(late.result(WAIT_S)) == OK
    assert (told(ada.ask()), ada.stands()) == (OK, (1, 2, "connected", None, False))
    assert (ada.family.asked, ada.family.replays) == (2, [])


@pytest.mark.parametrize("after", [False, True], ids=["before-the-refresh", "after-the-refresh"])
def test_a_new_sign_in_beats_a_late_refresh(ada: Member, *, after: bool) -> None:
    """Scenario 11. The user signs in at another process; the superseded grant, or the late one, is revoked once."""
    ada.expire()
    with ada.world.overheard() as calls:
        with ada.held(ada.ask_now, after=after) as late:
            ada.reconnect(at=1)
        assert told(late.result(WAIT_S)) == OK
    assert [call.status for call in calls if call.endpoint == "revoke"].count(200) == 1
    assert (ada.approvals, [family.ended for family in ada.families]) == (1, ["revoked", ""])
    assert ada.stands() == (2, 1, "connected", None, False)
    ada.expire()
    assert [told(ada.ask(at)) for at in range(4)] == [OK] * 4
    assert (ada.family.asked, ada.family.replays) == (1, [])


@pytest.mark.parametrize("after", [False, True], ids=["before-the-refresh", "after-the-refresh"])
@pytest.mark.parametrize("by", ["its-user", "erasure"])
def test_a_late_refresh_brings_no_deleted_connection_back(ada: Member, by: str, *, after: bool) -> None:
    """Scenario 14. Whoever deletes the row, the grant that comes too late is given back to Salesforce."""
    ada.expire()
    with ada.held(ada.ask_now, after=after) as late:
        if by == "its-user":
            assert ada.panes[1].ask("DELETE", f"/v1/connections/{ada.connection}").ok
        else:
            with ada.world.database() as database:
                database.execute("DELETE FROM tenants WHERE tenant = ?", (ada.panes[0].tenant_ref(),))
    assert told(late.result(WAIT_S)) == (409, "reconnect-needed", "reconnect")
    assert ada.approvals == 0
    with ada.world.database() as database:
        assert database.execute("SELECT * FROM tenants WHERE id = ?", (f"c:{ada.connection}",)).fetchall() == []
