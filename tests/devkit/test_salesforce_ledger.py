"""What the devkit's Salesforce keeps of each approval, plans for one user, idle tokens and a second secret."""

from collections.abc import Callable, Iterator
from functools import partial

import pytest
import requests

from shared.devkit.salesforce.ledger import Family
from shared.devkit.salesforce.tokens import sign
from shared.devkit.tls import DevelopmentCA
from tests.devkit.salesforce_fixtures import ADA, BEN, CLEO, CLIENT_ID, WAIT_S, Client, answered, salesforce

TOO_BUSY = 503
DEAD = {"error": "invalid_grant", "error_description": "expired access/refresh token"}


@pytest.fixture
def client(ca: DevelopmentCA, http: requests.Session) -> Iterator[Client]:
    with salesforce(ca, http) as made:
        yield made


def families(client: Client, user: str = ADA) -> list[Family]:
    return client.server.grants.ledger.families(user)


def only(client: Client) -> Family:
    [family] = families(client)
    return family


def told(client: Client) -> bool | None:
    """Whether the answer of the one rotation went out whole, as soon as that is known."""
    ledger = client.server.grants.ledger
    assert ledger.wait_for(ADA, lambda family: family.rotations[-1].whole is not None, WAIT_S)
    return only(client).rotations[-1].whole


# Plans for one user.


@pytest.mark.parametrize("by", ["refresh", "spent", "code"])
def test_a_plan_for_a_user_meets_their_token_calls_alone(client: Client, by: str) -> None:
    calls: dict[str, Callable[[], requests.Response]] = {}
    for user in (ADA, BEN):
        token, code = client.connect(user)["refresh_token"], client.code(user)
        if by == "spent":
            client.refresh(token)
        calls[user] = partial(client.exchange, code) if by == "code" else partial(client.refresh, token)
    client.server.steering.plan({"endpoint": "token", "user": BEN, "answer": "too-busy"})
    assert [calls[user]().status_code == TOO_BUSY for user in (ADA, BEN, BEN)] == [False, True, False]


def test_a_plan_for_a_user_meets_their_rest_calls_also_when_the_session_is_over(client: Client) -> None:
    access = {user: client.connect(user)["access_token"] for user in (ADA, BEN)}
    client.server.grants.expire_sessions(None)
    client.server.steering.plan({"endpoint": "limits", "user": BEN, "answer": "too-busy"})
    limits = "/services/data/v66.0/limits"
    assert [client.get(limits, access[user]).status_code for user in (ADA, BEN)] == [401, TOO_BUSY]
    assert client.get(limits).status_code == 401


def test_a_plan_for_a_user_meets_a_revoke_of_theirs(client: Client) -> None:
    tokens = {user: client.connect(user)["refresh_token"] for user in (ADA, BEN)}
    client.server.steering.plan({"endpoint": "revoke", "user": BEN, "answer": "too-busy"})
    assert [client.revoke(tokens[user]).status_code for user in (ADA, BEN)] == [200, TOO_BUSY]


def test_plans_are_used_in_order_among_those_that_fit(client: Client) -> None:
    tokens = {user: client.connect(user)["refresh_token"] for user in (ADA, BEN)}
    for user, status in ((BEN, 420), ("", 421), (BEN, 422)):
        client.server.steering.plan({"endpoint": "token", "user": user, "status": status})
    assert [client.refresh(tokens[user]).status_code for user in (ADA, BEN, BEN, BEN)] == [421, 420, 422, 200]


def test_a_users_plans_can_be_withdrawn(client: Client) -> None:
    for user in (ADA, BEN, BEN):
        client.server.steering.plan({"endpoint": "token", "user": user, "answer": "too-busy"})
    assert client.server.steering.withdraw(BEN) == 2
    assert client.refresh(client.connect(BEN)["refresh_token"]).ok


@pytest.mark.parametrize(("endpoint", "user"), [("token", "mallory"), ("authorize", ADA)])
def test_a_plan_for_nobody_is_refused(client: Client, endpoint: str, user: str) -> None:
    answer = client.steer("plan", endpoint=endpoint, user=user)
    assert answer.status_code == 400
    assert (user if endpoint == "token" else endpoint) in answer.json()["error"]


# The ledger.


def test_the_ledger_counts_what_was_asked_of_an_approval_and_what_came_of_it(client: Client) -> None:
    token = client.connect()["refresh_token"]
    client.server.steering.plan({"endpoint": "token", "user": ADA, "answer": "too-busy"})
    client.refresh(token)
    client.refresh(token)
    client.refresh(token)
    found = only(client)
    assert (found.user, found.asked, len(found.rotations), found.replays[0].rotation) == (ADA, 3, 1, 0)
    assert found.ended == "family-revoked"
    assert found.approved_at <= found.rotations[0].asked_at <= found.rotations[0].rotated_at <= found.replays[0].at
    assert found.replays[0].at <= found.ended_at


def test_each_approval_has_its_own_account(client: Client) -> None:
    first, _ = client.connect(), client.connect()
    client.revoke(first["refresh_token"])
    client.connect(scope="api web")
    assert [family.ended for family in families(client)] == ["revoked", "", "session-only"]


def test_a_contention_is_counted_at_its_approval(client: Client) -> None:
    with client.server.grants.refreshing(token := client.connect()["refresh_token"], guard=True, contention="x"):
        client.refresh(token)
    assert (only(client).contentions, only(client).asked) == (1, 1)


@pytest.mark.parametrize(
    ("plan", "whole"),
    [
        ({}, True),
        ({"drip": 0.0001}, True),
        ({"drop": "after"}, False),
        ({"answer": "html-200", "processed": True}, False),
    ],
)
def test_the_ledger_tells_whether_a_rotations_answer_went_out_whole(
    client: Client,
    plan: dict[str, object],
    whole: bool,  # noqa: FBT001 - a column
) -> None:
    token = client.connect()["refresh_token"]
    client.server.steering.plan({"endpoint": "token", **plan})
    try:
        client.refresh(token)
    except requests.ConnectionError:
        assert "drop" in plan
    assert told(client) is whole
    assert only(client).rotations[0].withheld is not whole


@pytest.mark.parametrize("plan", [{"hold_after": "gate"}, {"drip": 0.02}])
def test_an_answer_to_a_client_that_has_hung_up_did_not_go_out(client: Client, plan: dict[str, object]) -> None:
    token = client.connect()["refresh_token"]
    client.server.steering.plan({"endpoint": "token", **plan})
    app = {"client_id": CLIENT_ID, "client_secret": client.secret}
    form = {"grant_type": "refresh_token", "refresh_token": token, **app}
    url = f"{client.server.base_url}/services/oauth2/token"
    with requests.Session() as impatient:
        impatient.trust_env = False
        with pytest.raises(requests.Timeout), impatient.post(url, form, timeout=0.2, stream=True) as answer:
            assert answer.raw.read(1)
            raise requests.Timeout
    client.server.steering.release("gate")
    assert told(client) is False
    assert not only(client).rotations[0].withheld


def test_the_ledger_can_be_had_from_another_process(client: Client) -> None:
    client.refresh(client.connect()["refresh_token"])
    client.connect(CLEO)
    client.server.grants.end_approvals(None)
    client.connect(CLEO)
    body = client.http.get(f"{client.server.base_url}/_steer/ledger", timeout=WAIT_S).json()
    assert [(each["user"], each["ended"], len(each["rotations"])) for each in body["approvals"]] == [
        (ADA, "ended", 1),
        (CLEO, "ended", 0),
        (CLEO, "", 0),
    ]
    assert body["alive"] == {CLEO: 1}


# Idle tokens, and a second secret.


@pytest.mark.parametrize(("limit", "days", "ok"), [(30, 29, True), (30, 31, False), (0, 31, True)])
def test_a_refresh_token_dies_when_it_is_idle_for_too_long(
    client: Client,
    limit: int,
    days: int,
    ok: bool,  # noqa: FBT001 - a column
) -> None:
    client.server.steering.switch({"idle_days": limit})
    token = client.connect()["refresh_token"]
    assert client.steer("age-approvals", user=ADA, days=days).ok
    answer = client.refresh(token)
    assert answer.ok if ok else answered(answer) == DEAD
    assert only(client).ended == ("" if ok else "idle")


def test_each_use_begins_the_idle_time_anew_and_others_do_not_age(client: Client) -> None:
    other, token = client.connect(BEN)["refresh_token"], client.connect()["refresh_token"]
    for _ in range(3):
        client.server.grants.age_approvals(None if token == other else client.server.grants.owner(token), 20)
        token = answered(client.refresh(token))["refresh_token"]
    assert client.refresh(other).ok


def test_the_token_endpoint_can_take_other_secrets_and_signs_with_the_one_it_was_given(client: Client) -> None:
    tokens = client.connect()
    client.server.steering.switch({"client_secret": "new newer"})
    assert answered(client.refresh(tokens["refresh_token"]))["error"] == "invalid_client"
    client.secret = "newer"
    renewed = answered(client.refresh(tokens["refresh_token"]))
    assert renewed["signature"] == sign("newer", renewed["id"], renewed["issued_at"])
    assert only(client).rotations[0].secret == 1
