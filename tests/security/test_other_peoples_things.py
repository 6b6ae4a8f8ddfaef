"""Nobody reaches what is another's: somebody else's id gets exactly what an unknown one gets, on every route."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pytest

from tests.security.journey_fixtures import ADA, BEN, TRACE, Attempt, Pane, World, new_key, slug, told
from tests.security.routes_fixtures import BY_ID, Asked, routes, uncovered


@dataclass(frozen=True)
class Victim:
    """Somebody with a connection, and with an attempt whose consent is given."""

    pane: Pane
    connection: str
    attempt: Attempt
    completion: str

    def asked(self, name: str) -> Asked:
        return routes(self.connection, self.attempt.id, self.completion)[name]


@pytest.fixture
def victim(world: World) -> Victim:
    pane = world.pane()
    return Victim(pane, pane.connect(), *pane.answered())


STRANGERS: Mapping[str, Callable[[World, Pane], Pane]] = {
    "a colleague": lambda world, victim: world.pane(tenant=victim.tenant),
    "an admin of the same tenant": lambda world, victim: world.pane(tenant=victim.tenant, admin=True),
    "a user of another tenant": lambda world, _: world.pane(),
    "the same object id in another tenant": lambda world, victim: world.pane(user=victim.user),
    "the same object id at Google": lambda world, victim: world.google_pane(victim.user),
    "a Google domain like the tenant": lambda world, victim: world.google_pane(victim.user, f"{victim.tenant}.com"),
    "an operator": lambda world, _: world.operator(),
}


@pytest.fixture(params=STRANGERS)
def stranger(request: pytest.FixtureRequest, world: World, victim: Victim) -> Pane:
    """Somebody else, who may come in."""
    pane = STRANGERS[request.param](world, victim.pane)
    pane.begin()
    return pane


@pytest.fixture
def colleague(world: World, victim: Victim) -> Pane:
    return world.pane(tenant=victim.pane.tenant)


def test_every_route_is_walked_here(world: World) -> None:
    assert uncovered(world) == set()


@pytest.mark.parametrize("name", BY_ID)
def test_somebody_else_s_id_gets_what_an_unknown_id_gets(victim: Victim, stranger: Pane, name: str) -> None:
    with victim.pane.world.untouched():
        theirs = victim.asked(name).by(stranger, traceparent=TRACE)
        unknown = routes()[name].by(stranger, traceparent=TRACE)
    assert told(theirs) == told(unknown)
    assert (theirs.status_code, slug(theirs)) in {(404, "connection-not-found"), (409, "attempt-spent")}
    assert victim.asked(name).by(victim.pane).ok


@pytest.mark.parametrize("name", ["me", "list_connections"])
def test_what_is_asked_without_an_id_shows_one_s_own_alone(victim: Victim, stranger: Pane, name: str) -> None:
    shown = victim.asked(name).by(stranger).json()
    assert shown.get("connections", shown.get("items")) == []
    assert victim.connection in victim.asked(name).by(victim.pane).text


def test_somebody_else_s_key_is_an_unused_key(victim: Victim, stranger: Pane) -> None:
    key = new_key()
    first = victim.pane.run(victim.connection, key=key).json()
    second = stranger.run(stranger.connect(), key=key).json()
    assert (first["replayed"], second["replayed"]) == (False, False)
    assert first["run"]["id"] != second["run"]["id"]
    assert victim.pane.run(victim.connection, key=key).json()["run"] == first["run"]


@pytest.mark.parametrize("who", [who for who in STRANGERS if who != "an operator"])
def test_nobody_but_an_operator_enrols_a_tenant(world: World, victim: Victim, who: str) -> None:
    with world.untouched():
        answer = routes()["enrol_tenant"].by(STRANGERS[who](world, victim.pane))
    assert (answer.status_code, slug(answer)) == (403, "not-allowed")


def test_an_operator_s_role_counts_in_our_own_tenant_alone(world: World) -> None:
    impostor = world.pane_with(roles=["Operator"], wids=["62e90394-69f5-4237-9190-012177145e10"])
    with world.untouched():
        answer = routes()["enrol_tenant"].by(impostor)
    assert (answer.status_code, slug(answer)) == (403, "not-allowed")


def test_a_bare_guid_is_no_google_domain(world: World, victim: Victim) -> None:
    impostor = world.google_pane(victim.pane.user, victim.pane.tenant)
    with world.untouched():
        assert routes()["me"].by(impostor).status_code == 401


def test_ids_of_one_kind_open_nothing_of_another(world: World, victim: Victim) -> None:
    crossed = routes(victim.attempt.id, victim.connection, victim.completion)
    with world.untouched():
        assert {crossed[name].by(victim.pane).status_code for name in BY_ID} == {404, 409}


@pytest.mark.parametrize("spelling", ["{}A", "%20{}", "{}%00", "{}%0A", "{}%2F", "{}{}"])
def test_a_connection_has_one_spelling(world: World, victim: Victim, spelling: str) -> None:
    spelled = spelling.format(victim.connection, victim.connection)
    with world.untouched():
        assert victim.pane.ask("GET", f"/v1/connections/{spelled}").status_code == 404


@pytest.mark.parametrize("name", [name for name in BY_ID if name != "complete_connection"])
def test_an_ended_connection_is_an_unknown_one_for_its_owner_too(world: World, victim: Victim, name: str) -> None:
    assert victim.asked("end_connection").by(victim.pane).status_code == 204
    with world.untouched():
        theirs = victim.asked(name).by(victim.pane, traceparent=TRACE)
        unknown = routes()[name].by(victim.pane, traceparent=TRACE)
    assert told(theirs) == told(unknown)


def test_two_people_who_join_one_org_as_one_salesforce_user_share_nothing(victim: Victim, colleague: Pane) -> None:
    own = colleague.connect(ADA)
    assert own != victim.connection
    assert colleague.ask("DELETE", f"/v1/connections/{own}").status_code == 204
    assert victim.asked("run_flow").by(victim.pane).ok


def test_one_user_s_flow_list_is_never_shown_to_another(victim: Victim, colleague: Pane) -> None:
    lists = [
        {flow["id"] for flow in pane.ask("GET", f"/v1/connections/{connection}/flows").json()["items"]}
        for pane, connection in ((victim.pane, victim.connection), (colleague, colleague.connect(BEN)))
    ]
    assert lists[0] - lists[1] == {"Approve_Discount", "Create_Case"}


# --- what is said beside the token changes nothing


def claimed(victim: Pane) -> Mapping[str, str]:
    """Headers in which platforms and proxies name a caller, naming the victim."""
    users = ("X_MS_CLIENT_PRINCIPAL_ID", "X_MS_CLIENT_PRINCIPAL", "X_MS_CLIENT_PRINCIPAL_NAME", "X_User_Id")
    tokens = ("X_MS_TOKEN_AAD_ACCESS_TOKEN", "X_MS_TOKEN_AAD_ID_TOKEN", "X_ZUMO_AUTH", "Cookie", "x_functions_key")
    more = {"X_Tenant_Id": victim.tenant, "X_Original_URL": "/v1/tenants", "X_HTTP_Method_Override": "DELETE"}
    return {**dict.fromkeys(users, victim.user), **dict.fromkeys(tokens, victim.token), **more}


@pytest.mark.parametrize("name", ["read_connection", "list_connections", "run_flow"])
def test_platform_headers_make_nobody_somebody_else(victim: Victim, colleague: Pane, name: str) -> None:
    with victim.pane.world.untouched():
        claiming = victim.asked(name).by(colleague, traceparent=TRACE, **claimed(victim.pane))
        plain = victim.asked(name).by(colleague, traceparent=TRACE)
    assert told(claiming) == told(plain)


def test_platform_headers_are_no_token(world: World, victim: Victim) -> None:
    with world.untouched():
        assert victim.asked("me").plainly(world, **claimed(victim.pane)).status_code == 401


def test_a_query_names_nobody(victim: Victim, colleague: Pane) -> None:
    pane = victim.pane
    query = f"user={pane.user}&tenant={pane.tenant}&owner={pane.user}&access_token={pane.token}"
    assert colleague.ask("GET", f"/v1/connections?{query}").json()["items"] == []


@pytest.mark.parametrize("member", ["tenant", "user", "owner", "connection"])
def test_a_body_names_nobody(victim: Victim, colleague: Pane, member: str) -> None:
    with victim.pane.world.untouched():
        answer = colleague.begin_with({member: victim.pane.user})
    assert (answer.status_code, slug(answer)) == (422, "invalid-input")


# --- a writer of the store


def test_a_row_that_is_handed_to_somebody_else_does_not_open(world: World, victim: Victim, colleague: Pane) -> None:
    facts = victim.asked("read_connection").by(victim.pane).json()
    owner = world.document(f"c:{colleague.connect(BEN)}")["owner"]
    world.rewrite(f"c:{victim.connection}", lambda row: row | {"owner": owner})
    with world.untouched():
        shown = [victim.asked(name).by(colleague) for name in ("read_connection", "list_connections", "me")]
        used = [victim.asked(name).by(colleague) for name in ("list_flows", "describe_flow", "run_flow")]
    assert {(answer.status_code, slug(answer)) for answer in used} == {(500, "record-unreadable")}
    assert not [answer for answer in shown if facts["salesforceUser"] in answer.text]


def test_a_grant_that_is_copied_into_another_row_does_not_open(world: World, victim: Victim, colleague: Pane) -> None:
    own, stolen = colleague.connect(BEN), world.document(f"c:{victim.connection}")["grant"]
    world.rewrite(f"c:{own}", lambda row: row | {"grant": stolen})
    with world.untouched():
        answer = colleague.ask("GET", f"/v1/connections/{own}/flows")
    assert (answer.status_code, slug(answer)) == (500, "record-unreadable")
