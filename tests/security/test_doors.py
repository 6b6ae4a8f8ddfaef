"""Every route asks who is there before anything else: what a missing, refused or unwelcome token gets, on each."""

import time
import uuid
from collections.abc import Callable, Iterator, Mapping

import pytest
import requests

from shared.devkit.issuers import EntraIssuer
from shared.devkit.minting import entra_claims, google_claims
from tests.security.journey_fixtures import CALLBACK, TRACE, Pane, World, slug, told
from tests.security.routes_fixtures import BY_ID, GUARDED, PUBLIC, Asked, routes, uncovered

CONSUMERS = "9188040d-6c67-4c5b-b112-36a304b66dad"
INVALID = 'Bearer error="invalid_token"'
ENTERED = tuple(name for name in GUARDED if name != "enrol_tenant")


@pytest.fixture(scope="module")
def foreign_issuer() -> Iterator[EntraIssuer]:
    """An issuer that nobody here trusts."""
    with EntraIssuer() as issuer:
        yield issuer


@pytest.fixture(scope="module")
def member(shared_world: World) -> Pane:
    """Somebody whose tenant is known and who has a connection."""
    pane = shared_world.pane()
    pane.connect()
    return pane


@pytest.fixture
def asked(member: Pane) -> Mapping[str, Asked]:
    """A good request for each guarded route, with ids that are the member's own."""
    return routes(member.connections()[0])


def refused(answer: requests.Response, challenge: str) -> bool:
    """Whether an answer is the one 401, with that challenge."""
    told = (answer.status_code, slug(answer), answer.json()["nextAction"], answer.headers["WWW-Authenticate"])
    return told == (401, "not-signed-in", "sign-in", challenge)


def bearing(member: Pane, **change: object) -> str:
    """The member's own claims with a change; None takes one away."""
    claims = entra_claims(member.tenant, member.user) | change
    kept = {name: value for name, value in claims.items() if value is not None}
    return f"Bearer {member.world.bench.entra.sign(kept)}"


def since(offset: int) -> Mapping[str, int]:
    """The times of a token of an hour that was issued so many seconds ago."""
    issued = int(time.time()) - offset
    return {"iat": issued, "nbf": issued, "exp": issued + 3_600}


def forged(member: Pane, issuer: EntraIssuer, **header: object) -> str:
    return f"Bearer {issuer.sign(entra_claims(member.tenant, member.user), header)}"


REFUSED: Mapping[str, Callable[[Pane, EntraIssuer], str]] = {
    "no token at all": lambda _, __: "Bearer",
    "another scheme": lambda m, _: f"Basic {m.token}",
    "two tokens": lambda m, _: f"Bearer {m.token}, Bearer {m.token}",
    "no signature": lambda m, _: f"Bearer {m.token.rpartition('.')[0]}.",
    "a changed signature": lambda m, _: f"Bearer {m.token[:-8]}AAAAAAAA",
    "a foreign key": forged,
    "a foreign key that is called like ours": lambda m, foreign: forged(m, foreign, kid=m.world.bench.entra.kid),
    "no algorithm": lambda m, _: forged(m, m.world.bench.entra, alg="none"),
    "a token of yesterday": lambda m, _: bearing(m, **since(86_400)),
    "a token of tomorrow": lambda m, _: bearing(m, **since(-86_400)),
    "another audience": lambda m, _: bearing(m, aud=str(uuid.uuid4())),
    "another client": lambda m, _: bearing(m, azp=str(uuid.uuid4())),
    "an ID token": lambda m, _: bearing(m, scp=None),
    "an app-only token": lambda m, _: bearing(m, idtyp="app"),
    "the issuer of another tenant": lambda m, _: bearing(m, tid=str(uuid.uuid4())),
    "Google's claims, Microsoft's key": lambda m, _: (
        f"Bearer {m.world.bench.entra.sign(google_claims('acme.example', '1'))}"
    ),
    "Microsoft's claims, Google's key": lambda m, _: (
        f"Bearer {m.world.bench.google.sign(entra_claims(m.tenant, m.user))}"
    ),
}


def test_every_route_has_its_door_here(world: World) -> None:
    assert uncovered(world) == set()
    assert PUBLIC.isdisjoint(GUARDED)


@pytest.mark.parametrize("name", GUARDED)
def test_without_a_token_nothing_is_answered(world: World, asked: Mapping[str, Asked], name: str) -> None:
    usual = world.ask("GET", "/v1/me", traceparent=TRACE)
    with world.untouched():
        answer = asked[name].plainly(world, traceparent=TRACE)
    assert refused(answer, "Bearer")
    assert told(answer) == told(usual)


@pytest.mark.parametrize("name", GUARDED)
@pytest.mark.parametrize(
    "kind", ["a changed signature", "a token of yesterday", "another audience", "an app-only token"]
)
def test_a_refused_token_opens_no_route(
    member: Pane, asked: Mapping[str, Asked], foreign_issuer: EntraIssuer, kind: str, name: str
) -> None:
    header = REFUSED[kind](member, foreign_issuer)
    with member.world.untouched():
        assert refused(asked[name].plainly(member.world, Authorization=header), INVALID)


@pytest.mark.parametrize("kind", REFUSED)
def test_every_refusal_reads_the_same(
    member: Pane, asked: Mapping[str, Asked], foreign_issuer: EntraIssuer, kind: str
) -> None:
    headers = {"Authorization": REFUSED[kind](member, foreign_issuer), "traceparent": TRACE}
    usual = member.world.ask("GET", "/v1/me", Authorization="Bearer x.y.z", traceparent=TRACE)
    with member.world.untouched():
        answers = [asked[name].plainly(member.world, **headers) for name in ("me", "run_flow")]
    assert refused(usual, INVALID)
    assert [told(answer) for answer in answers] == [told(usual)] * 2


@pytest.mark.parametrize("name", GUARDED)
def test_a_broken_body_is_not_looked_at_before_the_token(world: World, asked: Mapping[str, Asked], name: str) -> None:
    with world.untouched():
        answer = world.ask(asked[name].method, asked[name].path, b"{", Content_Type="text/plain")
    assert refused(answer, "Bearer")


@pytest.mark.parametrize("place", ["query", "cookie", "body"])
def test_a_token_is_looked_for_in_its_header_alone(member: Pane, place: str) -> None:
    world, given = member.world, f"access_token={member.token}"
    asking: Mapping[str, Callable[[], requests.Response]] = {
        "query": lambda: world.ask("GET", f"/v1/me?{given}"),
        "cookie": lambda: world.ask("GET", "/v1/me", Cookie=given),
        "body": lambda: world.ask("POST", "/v1/connections", {"access_token": member.token}),
    }
    assert refused(asking[place](), "Bearer")


def test_the_member_s_own_token_opens_every_route(member: Pane, asked: Mapping[str, Asked]) -> None:
    told = {name: asked[name].by(member).status_code for name in GUARDED if name != "end_connection"}
    assert {name: status for name, status in told.items() if status not in {200, 201}} == {
        "complete_connection": 409,
        "enrol_tenant": 403,
    }


@pytest.mark.parametrize("name", GUARDED)
@pytest.mark.parametrize("provider", ["entra", "google"])
def test_a_personal_account_is_turned_away(world: World, provider: str, name: str) -> None:
    homeless = {name: value for name, value in google_claims("acme.example", "1").items() if name != "hd"}
    entra, google = world.bench.entra, world.bench.google
    token = google.sign(homeless) if provider == "google" else entra.sign(entra_claims(CONSUMERS, str(uuid.uuid4())))
    with world.untouched():
        answer = routes()[name].plainly(world, Authorization=f"Bearer {token}")
    assert (answer.status_code, slug(answer)) == (403, "personal-account")


# --- a good token of a tenant that may not come in


@pytest.mark.parametrize("name", ENTERED)
@pytest.mark.parametrize("provider", ["entra", "google"])
def test_a_tenant_that_no_operator_enrolled_does_not_come_in(strict_world: World, provider: str, name: str) -> None:
    pane = strict_world.pane() if provider == "entra" else strict_world.google_pane()
    with strict_world.untouched():
        answer = routes()[name].by(pane)
    assert (answer.status_code, slug(answer), answer.json()["nextAction"]) == (403, "tenant-not-enrolled", "ask-admin")


def test_a_tenant_that_an_operator_enrolled_comes_in_at_that_provider_alone(strict_world: World) -> None:
    pane, domain = strict_world.pane(), f"{uuid.uuid4()}.example"
    for provider, tenant in (("entra", pane.tenant), ("google", domain)):
        answer = strict_world.operator().ask("POST", "/v1/tenants", {"provider": provider, "id": tenant})
        assert answer.status_code == 201
    assert pane.run(pane.connect()).ok
    assert strict_world.google_pane(tenant=domain).ask("GET", "/v1/me").ok
    assert strict_world.google_pane(tenant=f"{pane.tenant}.example").ask("GET", "/v1/me").status_code == 403


@pytest.mark.parametrize("name", [name for name in ENTERED if name != "begin_connection"])
def test_where_enrolment_is_open_nothing_but_a_begin_brings_a_tenant_in(world: World, name: str) -> None:
    with world.untouched():
        answer = routes()[name].by(world.pane())
    assert (answer.status_code, slug(answer)) == (403, "tenant-not-enrolled")


@pytest.mark.parametrize("change", [{"environment": "moon"}, {"channel": "elsewhere"}, {"myDomain": "evil.example"}])
def test_a_refused_begin_brings_no_tenant_in(world: World, change: Mapping[str, str]) -> None:
    with world.untouched():
        assert world.pane().begin_with(change).status_code == 422


STATES = {"suspended": (403, "tenant-suspended"), "closing": (410, "tenant-deleted")}


@pytest.mark.parametrize("name", ENTERED)
@pytest.mark.parametrize("state", STATES)
def test_a_live_token_does_not_outlast_its_tenant(world: World, state: str, name: str) -> None:
    pane = world.pane()
    connection = pane.connect()
    attempt, completion = pane.answered()
    asking, ref = routes(connection, attempt.id, completion)[name], pane.tenant_ref()
    world.rewrite(f"t:{ref}", lambda row: row | {"state": state})
    with world.untouched():
        answer = asking.by(pane)
    assert (answer.status_code, slug(answer)) == STATES[state]
    world.rewrite(f"t:{ref}", lambda row: row | {"state": "active"})
    assert asking.by(pane).ok


def test_a_guest_has_a_member_s_rights_to_their_own_and_no_role(world: World) -> None:
    tenant, user = str(uuid.uuid4()), str(uuid.uuid4())
    guest = Pane(world, world.bench.entra.sign(entra_claims(tenant, user, admin=True, guest=True)), user, tenant)
    asking = routes(guest.connect())
    assert all(asking[name].by(guest).ok for name in BY_ID if name != "complete_connection")
    assert guest.ask("GET", "/v1/me").json()["roles"] == []


# --- public routes


@pytest.mark.parametrize("path", ["/health", "/ready", CALLBACK, "/v1/unknown"])
def test_a_bad_token_closes_no_public_route(world: World, path: str) -> None:
    with world.untouched():
        answers = [world.ask("GET", path, traceparent=TRACE, **h) for h in ({}, {"Authorization": "Bearer x.y.z"})]
    assert told(answers[0]) == told(answers[1])


def test_the_parts_behind_ready_are_shown_to_operators_alone(world: World) -> None:
    assert world.operator().ask("GET", "/ready").json()["parts"] == {"store": True, "keys": True}
    for other in (world.pane(admin=True), world.google_pane()):
        assert other.ask("GET", "/ready").json()["parts"] is None
    assert world.ask("GET", "/ready").json()["parts"] is None
