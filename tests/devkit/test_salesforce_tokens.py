"""The devkit's token endpoint and revoke: rotation, its punishments, and every row of contract 2.7."""

from collections.abc import Iterator

import pytest
import requests

from shared.devkit.salesforce.people import find_user
from shared.devkit.salesforce.tokens import sign
from shared.devkit.tls import DevelopmentCA
from tests.devkit.salesforce_fixtures import ADA, CLEO, SCOPE, WAIT_S, Client, Held, answered, salesforce

DEAD = {"error": "invalid_grant", "error_description": "expired access/refresh token"}
CONTENTION = {"error": "invalid_grant", "error_description": "token request is already being processed"}


@pytest.fixture
def client(ca: DevelopmentCA, http: requests.Session) -> Iterator[Client]:
    with salesforce(ca, http) as made:
        yield made


def refused(answer: requests.Response) -> tuple[str, str]:
    assert answer.status_code == 400
    return answered(answer)["error"], answered(answer)["error_description"]


def unknown(answer: requests.Response) -> str:
    assert answer.status_code == 501
    return answered(answer)["unknown"]


def held_refresh(client: Client, token: str, **plan: str) -> Held:
    """Start a refresh that stays inside the server, and wait until it is there."""
    client.server.steering.plan({"endpoint": "token", **plan})
    arrived = client.server.recorder.counters()["token"] + 1
    held = Held(lambda: client.refresh(token))
    assert client.server.recorder.wait_for("token", arrived, WAIT_S)
    return held


def test_the_signature_is_that_of_the_contract() -> None:
    identity = "https://login.salesforce.com/id/00D000000000001EAA/005000000000001AAA"
    signed = sign("0123456789ABCDEF", identity, "1766000000000")
    assert signed == "IEksI0k0+dm2GcDUWiQrzwyMEurPy7fX8bc+BHToZDY="


def test_a_code_becomes_exactly_the_answer_of_the_contract(client: Client) -> None:
    assert set(client.connect()) == {
        "access_token",
        "refresh_token",
        "signature",
        "scope",
        "instance_url",
        "id",
        "token_type",
        "issued_at",
    }


def test_the_answer_is_signed_with_the_apps_secret(client: Client) -> None:
    answer = client.connect()
    assert answer["signature"] == sign(client.secret, answer["id"], answer["issued_at"])


def test_the_answer_names_org_and_user_on_the_true_login_host(client: Client) -> None:
    ada = find_user(ADA)
    assert ada
    assert client.connect()["id"] == f"https://login.salesforce.com/id/{ada.org.id}/{ada.id}"


def test_a_sandbox_names_its_own_login_host(client: Client) -> None:
    assert client.connect(CLEO)["id"].startswith("https://test.salesforce.com/id/00D")


def test_issued_at_is_milliseconds_as_text(client: Client) -> None:
    issued_at = client.connect()["issued_at"]
    assert isinstance(issued_at, str)
    assert len(issued_at) == 13


def test_an_access_token_begins_with_the_orgs_short_id(client: Client) -> None:
    answer = client.connect()
    org, _, rest = answer["access_token"].partition("!")
    assert (len(org), answer["id"].split("/")[-2].startswith(org)) == (15, True)
    assert {".", "_"} <= set(rest)


def test_the_instance_is_the_tls_listener(client: Client) -> None:
    assert client.connect()["instance_url"] == client.server.instance_url


def test_the_granted_scopes_come_in_another_order_with_one_synonym(client: Client) -> None:
    granted = client.connect()["scope"].split(" ")
    assert set(granted) == set(SCOPE.split(" ")) - {"offline_access"}
    assert granted != SCOPE.split(" ")[:-1]


def test_without_a_lasting_scope_there_is_no_refresh_token(client: Client) -> None:
    assert "refresh_token" not in client.connect(scope="api web")


def test_the_format_may_be_asked_for(client: Client) -> None:
    assert client.exchange(client.code(), format="json").status_code == 200


def test_the_token_endpoint_answers_at_the_instance_too(client: Client) -> None:
    form = {"grant_type": "refresh_token", "refresh_token": "x", "client_id": "x", "client_secret": "x"}
    answer = client.http.post(f"{client.server.instance_url}/services/oauth2/token", form, timeout=WAIT_S)
    assert refused(answer)[0] == "invalid_client_id"


@pytest.mark.parametrize(
    ("name", "value", "error", "description"),
    [
        ("code", "wrong", "invalid_grant", "invalid authorization code"),
        ("code", None, "invalid_request", "code missing"),
        ("code_verifier", "v" * 64, "invalid_grant", "invalid code verifier"),
        ("code_verifier", None, "invalid_grant", "code_verifier missing"),
        ("redirect_uri", "http://127.0.0.1:7071/x", "redirect_uri_mismatch", "redirect_uri must match the request"),
        ("redirect_uri", None, "invalid_request", "redirect_uri missing"),
        ("client_id", "another", "invalid_client_id", "client identifier invalid"),
        ("client_id", None, "invalid_client_id", "client identifier invalid"),
        ("client_secret", "another", "invalid_client", "invalid client credentials"),
        ("client_secret", None, "invalid_client", "invalid client credentials"),
        ("grant_type", "password", "unsupported_grant_type", "grant type not supported"),
        ("grant_type", None, "unsupported_grant_type", "grant type not supported"),
    ],
)
def test_an_exchange_with_one_wrong_field_is_refused(
    client: Client, name: str, value: str | None, error: str, description: str
) -> None:
    assert refused(client.exchange(client.code(), **{name: value})) == (error, description)


@pytest.mark.parametrize("verifier", ["v" * 42, "v" * 129, "v" * 42 + "="])
def test_a_verifier_outside_the_standard_is_refused_even_when_it_matches(client: Client, verifier: str) -> None:
    client.verifier = verifier
    assert refused(client.exchange(client.code())) == ("invalid_grant", "invalid code verifier")


def test_a_code_works_once(client: Client) -> None:
    code = client.code()
    client.exchange(code)
    assert refused(client.exchange(code)) == ("invalid_grant", "expired authorization code")


@pytest.mark.parametrize(("age_s", "ok"), [(880, True), (901, False)])
def test_a_code_lives_for_15_minutes(client: Client, age_s: int, ok: bool) -> None:  # noqa: FBT001 - a column
    code = client.code()
    client.server.grants.age_codes(age_s)
    assert client.exchange(code).ok is ok


def test_a_wrong_secret_does_not_use_the_code_up(client: Client) -> None:
    code = client.code()
    client.exchange(code, client_secret="another")
    assert client.exchange(code).status_code == 200


def test_a_wrong_secret_does_not_touch_the_refresh_token(client: Client) -> None:
    token = client.connect()["refresh_token"]
    assert refused(client.refresh(token, client_secret="another"))[0] == "invalid_client"
    assert client.refresh(token).status_code == 200


def test_a_refresh_rotates(client: Client) -> None:
    first = client.connect()
    second = answered(client.refresh(first["refresh_token"]))
    assert second["refresh_token"] != first["refresh_token"]
    assert client.alive(second["access_token"])


def test_a_refresh_answer_is_signed_too(client: Client) -> None:
    answer = answered(client.refresh(client.connect()["refresh_token"]))
    assert answer["signature"] == sign(client.secret, answer["id"], answer["issued_at"])


def test_without_rotation_the_answer_has_no_refresh_token_and_the_old_one_lives(client: Client) -> None:
    client.server.steering.switch({"rotation": False})
    token = client.connect()["refresh_token"]
    assert "refresh_token" not in answered(client.refresh(token))
    assert client.refresh(token).status_code == 200


def test_a_rotated_out_token_ends_its_whole_family(client: Client) -> None:
    first = client.connect()
    second = answered(client.refresh(first["refresh_token"]))
    assert answered(client.refresh(first["refresh_token"])) == DEAD
    assert answered(client.refresh(second["refresh_token"])) == DEAD
    assert not client.alive(second["access_token"])
    assert client.server.recorder.events()["replay"] == 1


def test_a_replay_leaves_other_approvals_alone(client: Client) -> None:
    other = client.connect()
    first = client.connect()
    client.refresh(first["refresh_token"])
    client.refresh(first["refresh_token"])
    assert client.refresh(other["refresh_token"]).status_code == 200


@pytest.mark.parametrize("token", ["5Aep-unknown", " "])
def test_an_unknown_refresh_token_is_dead(client: Client, token: str) -> None:
    assert answered(client.refresh(token)) == DEAD


def test_a_missing_refresh_token_is_our_mistake(client: Client) -> None:
    assert refused(client.refresh("")) == ("invalid_request", "refresh_token missing")


def test_a_second_refresh_at_the_same_time_is_refused_and_harms_nothing(client: Client) -> None:
    token = client.connect()["refresh_token"]
    first = held_refresh(client, token, hold="gate")
    assert answered(client.refresh(token)) == CONTENTION
    client.server.steering.release("gate")
    assert client.refresh(answered(first.answer())["refresh_token"]).status_code == 200


def test_the_words_of_that_refusal_can_be_the_older_ones(client: Client) -> None:
    client.server.steering.switch({"contention_text": "expired authorization code"})
    token = client.connect()["refresh_token"]
    first = held_refresh(client, token, hold="gate")
    assert refused(client.refresh(token)) == ("invalid_grant", "expired authorization code")
    client.server.steering.release("gate")
    first.answer()


def test_without_the_guard_the_later_one_is_a_replay(client: Client) -> None:
    client.server.steering.switch({"overlap_guard": False})
    token = client.connect()["refresh_token"]
    slow = held_refresh(client, token, hold="gate")
    quick = answered(client.refresh(token))
    client.server.steering.release("gate")
    assert answered(slow.answer()) == DEAD
    assert answered(client.refresh(quick["refresh_token"])) == DEAD


def test_the_guard_holds_until_the_answer_leaves(client: Client) -> None:
    client.server.steering.switch({"rotation": False})
    token = client.connect()["refresh_token"]
    first = held_refresh(client, token, hold_after="gate")
    assert answered(client.refresh(token)) == CONTENTION
    client.server.steering.release("gate")
    assert first.answer().status_code == 200
    assert client.refresh(token).status_code == 200


def test_a_refresh_of_another_user_is_not_held_up(client: Client) -> None:
    ada, cleo = client.connect(), client.connect(CLEO)
    first = held_refresh(client, ada["refresh_token"], hold="gate")
    assert client.refresh(cleo["refresh_token"]).status_code == 200
    client.server.steering.release("gate")
    assert first.answer().status_code == 200


def test_an_answer_lost_after_rotation_makes_the_next_try_a_replay(client: Client) -> None:
    token = client.connect()["refresh_token"]
    client.server.steering.plan({"endpoint": "token", "drop": "after"})
    with pytest.raises(requests.ConnectionError):
        client.refresh(token)
    assert client.server.recorder.events()["rotation"] == 1
    assert answered(client.refresh(token)) == DEAD


def test_a_call_lost_before_the_work_leaves_the_token_good(client: Client) -> None:
    token = client.connect()["refresh_token"]
    client.server.steering.plan({"endpoint": "token", "drop": "before"})
    with pytest.raises(requests.ConnectionError):
        client.refresh(token)
    assert client.refresh(token).status_code == 200


def test_an_answer_can_be_garbled_after_the_work_is_done(client: Client) -> None:
    token = client.connect()["refresh_token"]
    client.server.steering.plan({"endpoint": "token", "answer": "html", "processed": True})
    assert client.refresh(token).status_code == 503
    assert client.server.recorder.events()["rotation"] == 1


def test_a_planned_answer_stands_even_when_the_work_is_refused(client: Client) -> None:
    client.server.steering.plan({"endpoint": "token", "answer": "html", "processed": True})
    assert client.refresh("unknown").status_code == 503


@pytest.mark.parametrize(("kills", "alive"), [(False, True), (True, False)])
def test_a_refresh_can_end_the_older_access_token(client: Client, kills: bool, alive: bool) -> None:  # noqa: FBT001
    client.server.steering.switch({"rotation_kills_access": kills})
    first = client.connect()
    client.refresh(first["refresh_token"])
    assert client.alive(first["access_token"]) is alive


def test_the_sixth_approval_of_a_user_kills_the_oldest(client: Client) -> None:
    tokens = [client.connect()["refresh_token"] for _ in range(6)]
    assert answered(client.refresh(tokens[0])) == DEAD
    assert all(client.refresh(token).ok for token in tokens[1:])


def test_a_live_sessions_token_can_be_handed_out_again(client: Client) -> None:
    client.server.steering.switch({"same_access_token": True})
    first, second = client.connect(), client.connect()
    assert first["access_token"] == second["access_token"]
    client.revoke(first["refresh_token"])
    assert not client.alive(second["access_token"])


@pytest.mark.parametrize(
    ("switch", "value", "name"),
    [
        ("instance_url", "https://acme.my.salesforce.com.evil.example", "instance_url"),
        ("id_url", "https://login.salesforce.com.evil.example/id/00D/005", "id"),
        ("scope", "refresh_token web", "scope"),
        ("signature", "AAAA", "signature"),
    ],
)
def test_an_answer_can_be_made_to_lie(client: Client, switch: str, value: str, name: str) -> None:
    client.server.steering.switch({switch: value})
    assert client.connect()[name] == value


def test_another_identity_is_signed_as_it_stands(client: Client) -> None:
    client.server.steering.switch({"id_url": "https://test.salesforce.com/id/00D/005"})
    answer = client.connect()
    assert answer["signature"] == sign(client.secret, answer["id"], answer["issued_at"])


def test_the_instance_can_change_at_a_refresh(client: Client) -> None:
    token = client.connect()["refresh_token"]
    client.server.steering.switch({"instance_url": "https://moved.my.salesforce.com"})
    assert answered(client.refresh(token))["instance_url"] == "https://moved.my.salesforce.com"


def test_the_identity_can_have_short_ids(client: Client) -> None:
    client.server.steering.switch({"id_form": 15})
    assert [len(part) for part in client.connect()["id"].split("/")[-2:]] == [15, 15]


def test_parts_of_an_answer_can_be_left_out(client: Client) -> None:
    client.server.steering.switch({"omit": ["id", "scope"]})
    answer = client.connect()
    assert {"id", "scope"}.isdisjoint(answer)
    assert answer["signature"]


def test_revoking_a_refresh_token_answers_nothing_and_takes_its_access_tokens(client: Client) -> None:
    tokens = client.connect()
    answer = client.revoke(tokens["refresh_token"])
    assert (answer.status_code, answer.content) == (200, b"")
    assert not client.alive(tokens["access_token"])
    assert answered(client.refresh(tokens["refresh_token"])) == DEAD


def test_revoking_an_access_token_leaves_the_refresh_token(client: Client) -> None:
    tokens = client.connect()
    assert client.revoke(tokens["access_token"]).status_code == 200
    assert not client.alive(tokens["access_token"])
    assert client.refresh(tokens["refresh_token"]).status_code == 200


def test_revoking_twice_says_invalid_token(client: Client) -> None:
    token = client.connect()["refresh_token"]
    client.revoke(token)
    assert refused(client.revoke(token))[0] == "invalid_token"


def test_a_revoke_without_a_token_revokes_nothing(client: Client) -> None:
    tokens = client.connect()
    assert refused(client.revoke(""))[0] == "invalid_token"
    assert client.alive(tokens["access_token"])


def test_the_get_form_of_revoke_is_refused_by_name(client: Client) -> None:
    url = f"{client.server.base_url}/services/oauth2/revoke?token=x"
    assert unknown(client.http.get(url, timeout=WAIT_S)) == "method GET at /services/oauth2/revoke"


def test_an_unknown_form_field_is_refused_by_name(client: Client) -> None:
    assert unknown(client.exchange(client.code(), assertion="x")) == "form field assertion"


def test_a_field_of_the_other_grant_is_refused_by_name(client: Client) -> None:
    assert unknown(client.refresh("x", code="x")) == "form field code with grant_type refresh_token"


def test_another_format_is_refused_by_name(client: Client) -> None:
    assert unknown(client.exchange(client.code(), format="xml")) == "format xml"


def test_a_json_body_is_refused_by_name(client: Client) -> None:
    url = f"{client.server.base_url}/services/oauth2/token"
    assert unknown(client.http.post(url, json={}, timeout=WAIT_S)) == "content type application/json"


def test_fields_in_the_address_are_refused_by_name(client: Client) -> None:
    url = f"{client.server.base_url}/services/oauth2/token?client_secret=x"
    assert unknown(client.http.post(url, {"grant_type": "x"}, timeout=WAIT_S)) == "query parameter client_secret"


def test_a_field_twice_is_refused_by_name(client: Client) -> None:
    url = f"{client.server.base_url}/services/oauth2/token"
    fields = [("grant_type", "refresh_token"), ("grant_type", "refresh_token")]
    assert unknown(client.http.post(url, fields, timeout=WAIT_S)) == "form field grant_type more than once"


def test_basic_authentication_is_refused_by_name(client: Client) -> None:
    url = f"{client.server.base_url}/services/oauth2/token"
    answer = client.http.post(url, {"grant_type": "refresh_token"}, auth=("id", "secret"), timeout=WAIT_S)
    assert unknown(answer) == "header Authorization at /services/oauth2/token"
