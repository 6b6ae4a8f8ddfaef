"""Somebody who can write to the store gains nothing: a record that was moved, changed or put back does not open."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from shared.errors import ConnectionNotFound, RecordUnreadable
from shared.model.connections import AttemptId, ConnectAttempt, Connection
from shared.model.identity import Principal
from shared.usecases.connect import digest_of
from tests.usecases.world_fixtures import SECOND, World, a_key, identity_of


@dataclass(frozen=True)
class Scene:
    """Two users of one tenant who are connected, and what an attacker writes."""

    world: World
    ada: Principal
    ben: Principal

    @property
    def mine(self) -> Connection:
        return self.world.row(self.ada)

    @property
    def theirs(self) -> Connection:
        return self.world.row(self.ben)

    def put(self, row: Connection) -> str:
        """Write a row past the product; its id."""
        return self.world.inside(self.ada).rows.save_connection(row).id

    def opens(self, connection: str) -> bool:
        """Whether anything opens the connection for Ada; Salesforce must hear nothing of a failure."""
        try:
            self.world.cases.list_flows(self.ada, connection)
        except RecordUnreadable:
            with pytest.raises(RecordUnreadable):
                self.world.run(self.ada, connection, "Daily_Digest", a_key())
            assert self.world.calls() == []
            return False
        return True


@pytest.fixture
def scene(world: World, ada: Principal, ben: Principal) -> Scene:
    world.connect(ada)
    world.connect(ben, "ben@acme.example")
    return Scene(world, ada, ben)


def test_an_untouched_row_opens(scene: Scene) -> None:
    assert scene.opens(scene.mine.id)


@pytest.mark.parametrize(
    "change",
    [
        lambda mine, _: replace(mine, generation=mine.generation + 1),
        lambda mine, _: replace(mine, version=mine.version + 1),
        lambda mine, _: replace(mine, org_version=mine.org_version + 1),
        lambda mine, _: replace(mine, user="0" * 32),
        lambda mine, _: replace(mine, grant=mine.org),
        lambda mine, _: replace(mine, org=mine.grant),
        lambda mine, theirs: replace(mine, grant=theirs.grant),
        lambda mine, theirs: replace(mine, org=theirs.org),
        lambda mine, theirs: replace(theirs, owner=mine.owner),
        lambda mine, theirs: replace(theirs, owner=mine.owner, user=mine.user),
    ],
    ids=[
        *("generation", "version", "org-version", "user", "org-as-grant", "grant-as-org"),
        *("another-s-grant", "another-s-org", "another-s-row", "another-s-row-with-my-user-id"),
    ],
)
def test_no_part_of_a_row_can_be_changed(scene: Scene, change: Callable[[Connection, Connection], Connection]) -> None:
    assert not scene.opens(scene.put(change(scene.mine, scene.theirs)))


@pytest.mark.parametrize("what", ["grant", "org"])
@pytest.mark.parametrize("since", ["refresh", "consent"])
def test_nothing_older_can_be_put_back(scene: Scene, what: str, since: str) -> None:
    old, world = scene.mine, scene.world
    if since == "refresh":
        world.expire_sessions()
        assert scene.opens(old.id)
        world.salesforce.recorder.clear()
    else:
        world.connect(scene.ada)
    now = scene.mine
    assert not scene.opens(scene.put(replace(now, grant=old.grant) if what == "grant" else replace(now, org=old.org)))


def test_my_row_under_another_owner_is_mine_no_more(scene: Scene) -> None:
    connection = scene.mine.id
    scene.put(replace(scene.mine, owner=scene.theirs.owner))
    with pytest.raises(ConnectionNotFound):
        scene.world.cases.list_flows(scene.ada, connection)
    with pytest.raises(RecordUnreadable):
        scene.world.cases.list_flows(scene.ben, connection)
    assert scene.world.calls() == []


def test_a_grant_of_my_other_connection_does_not_open_here(scene: Scene) -> None:
    scene.world.switch(id_url=identity_of(9))
    scene.world.clock.move(SECOND)
    other = scene.world.connect(scene.ada).row
    admitted = scene.world.inside(scene.ada)
    first = admitted.rows.connections(admitted.owner)[0]
    assert not scene.opens(scene.put(replace(first, grant=other.grant)))
    assert scene.opens(other.id)


def test_a_row_of_another_tenant_does_not_open_in_this_one(world: World, ada: Principal) -> None:
    namesake = world.caller("ada", "umbrella")
    world.connect(ada)
    world.connect(namesake, "ben@acme.example")
    stolen = replace(world.row(namesake), owner=world.inside(ada).owner, etag=None)
    admitted = world.inside(ada)
    admitted.rows.forget_connection(world.row(ada))
    admitted.rows.save_connection(stolen)
    assert not Scene(world, ada, namesake).opens(stolen.id)


# Attempts


def stolen(
    world: World, victim: Principal, change: Callable[[ConnectAttempt], ConnectAttempt]
) -> tuple[AttemptId, str]:
    """An attempt to which its user has consented, changed in the store, and its completion value."""
    begun = world.begin(victim)
    completion = world.park(begun)
    row = world.store.attempt(begun.id).read()
    assert row is not None
    world.store.attempt(begun.id).save(change(row))
    return begun.id, completion


def test_a_parked_code_does_not_open_for_another_owner(world: World, ada: Principal, ben: Principal) -> None:
    world.begin(ben)
    owner, user = world.inside(ben).owner, world.user(ben).id
    attempt, completion = stolen(world, ada, lambda row: replace(row, owner=owner, user=user))
    with pytest.raises(RecordUnreadable):
        world.complete(ben, attempt, completion)
    assert world.calls("token") == []
    assert world.cases.read_me(ben).connections == []


def test_a_parked_code_does_not_open_for_a_value_of_the_writer_s_own(world: World, ada: Principal) -> None:
    value = "w" * 43
    attempt, _ = stolen(world, ada, lambda row: replace(row, completion_hash=digest_of(value)))
    with pytest.raises(RecordUnreadable):
        world.complete(ada, attempt, value)
    assert world.calls("token") == []


def test_a_code_does_not_open_in_another_attempt(world: World, ada: Principal) -> None:
    other = world.begin(ada)
    world.park(other)
    theirs = world.store.attempt(other.id).read()
    assert theirs is not None
    attempt, completion = stolen(world, ada, lambda row: replace(row, code=theirs.code))
    with pytest.raises(RecordUnreadable):
        world.complete(ada, attempt, completion)
    assert world.calls("token") == []


def test_the_callback_parks_nothing_in_an_attempt_that_was_changed(world: World, ada: Principal) -> None:
    first, second = world.begin(ada), world.begin(ada)
    theirs, door = world.store.attempt(first.id).read(), world.store.attempt(second.id)
    row = door.read()
    assert row is not None
    assert theirs is not None
    door.save(replace(row, consent=theirs.consent))
    with pytest.raises(RecordUnreadable):
        world.park(second)
