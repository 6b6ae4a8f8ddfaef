"""The soak's accounts: which loss has which cause, and what nothing explains."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from shared.devkit.salesforce.ledger import Family, Replay, Rotation
from shared.devkit.soak_accounts import Account, Books, Cause, Evidence, account
from shared.devkit.soak_instances import Kill
from shared.devkit.soak_store import Lock, Write

DEADLINE, LEASE = 2_000, 7_000
FIRST = Write(at=1_000, connection="c", generation=1, connected_at=1_000, version=1, state="connected")
LOST = replace(FIRST, at=99_000, state="needs-reconnect")
ASKED = 10_000
SENT = Rotation(asked_at=ASKED, rotated_at=ASKED + 10, secret=2, whole=True, told_at=ASKED + 20)
WITHHELD = replace(SENT, whole=False, withheld=True)
GIVEN_UP = replace(SENT, whole=False, told_at=ASKED + DEADLINE + 500)


def claim(name: str = "a", at: int = ASKED - 5) -> Write:
    return replace(FIRST, at=at, claim=name)


def commit(at: int = ASKED + 30) -> Write:
    return replace(FIRST, at=at, version=2)


def settled(
    writes: Sequence[Write],
    *rotations: Rotation,
    kills: Sequence[Kill] = (),
    locks: Sequence[Lock] = (),
    replays: Sequence[Replay] = (),
    told: Sequence[int] = (),
) -> Account:
    family = Family(1, "ada", 900, asked=len(rotations), rotations=list(rotations), replays=list(replays))
    return account({"c": Books([family], told)}, [FIRST, *writes], Evidence(kills, locks, DEADLINE, LEASE))


def cause_of(rotation: Rotation, *, kills: Sequence[Kill] = (), locks: Sequence[Lock] = ()) -> Cause | None:
    """What a connection was lost to, whose one rotation was never stored; None when that is unexplained."""
    found = settled([claim(), LOST], rotation, kills=kills, locks=locks, replays=[Replay(20_000, 0)])
    assert (found.lost, found.repeated) == (1, 0)
    assert len(found.unexplained) + found.causes.total() == 1
    return next(iter(found.causes), None)


def test_a_stored_rotation_is_no_loss() -> None:
    assert settled([claim(), commit()], SENT) == Account()


@pytest.mark.parametrize(
    ("rotation", "kill_at", "cause"),
    [
        (WITHHELD, None, Cause.WIRE),
        (GIVEN_UP, None, Cause.WIRE),
        (replace(SENT, told_at=ASKED + DEADLINE), None, Cause.WIRE),
        (SENT, ASKED + 40, Cause.KILLED),
        (WITHHELD, ASKED + 40, Cause.WIRE),
        (GIVEN_UP, ASKED + 40, Cause.KILLED),
        (GIVEN_UP, ASKED + DEADLINE + 100, Cause.WIRE),
        (SENT, ASKED + LEASE + 2_000, None),
        (SENT, ASKED - 40, None),
        (SENT, None, None),
        (replace(SENT, whole=False, told_at=ASKED + 500), None, None),
    ],
)
def test_the_first_thing_that_kept_an_answer_from_the_store_is_the_cause(
    rotation: Rotation, kill_at: int | None, cause: Cause | None
) -> None:
    assert cause_of(rotation, kills=[] if kill_at is None else [Kill(2, kill_at)]) is cause


def test_only_the_kill_of_who_asked_is_a_cause() -> None:
    assert cause_of(SENT, kills=[Kill(1, ASKED + 40)]) is None


@pytest.mark.parametrize(
    ("since", "until", "cause"),
    [
        (ASKED - 100, ASKED + LEASE, Cause.STORE),
        (ASKED + 3_000, ASKED + LEASE, None),
        (ASKED - 100, ASKED + LEASE - 1_000, None),
    ],
)
def test_only_a_lock_from_the_answer_to_the_leases_end_is_a_cause(since: int, until: int, cause: Cause | None) -> None:
    assert cause_of(SENT, locks=[Lock(since, until)]) is cause


def test_a_kill_that_hit_the_window_is_counted_once() -> None:
    kill = Kill(2, ASKED + 40)
    assert settled([claim(), LOST], SENT, kills=[kill]).window == {kill}
    assert settled([claim(), commit()], SENT, kills=[kill]).window == set()


def test_an_answer_stored_after_somebody_else_had_claimed_the_grant_was_not_stored_in_time() -> None:
    taken = [claim(), claim("b", ASKED + 8_000), commit(ASKED + 8_100), LOST]
    found = settled(taken, SENT, locks=[Lock(ASKED, ASKED + 8_000)], replays=[Replay(ASKED + 8_200, 0)])
    assert (found.causes, found.repeated, found.unexplained) == ({Cause.STORE: 1}, 0, [])


def test_a_loss_that_was_told_is_one_also_when_the_store_took_no_write_of_it() -> None:
    found = settled([claim()], WITHHELD, replays=[Replay(20_000, 0)], told=[20_010])
    assert (found.lost, found.causes, found.unexplained) == (1, {Cause.WIRE: 1}, [])


def test_a_claim_that_was_given_back_before_is_no_takeover() -> None:
    released = replace(FIRST, at=5_100)
    assert settled([claim("z", 5_000), released, claim(), commit()], SENT) == Account()


def test_a_rotation_that_a_new_consent_overtook_is_no_loss() -> None:
    renewed = replace(FIRST, generation=2, connected_at=12_000, at=12_000)
    families = [Family(1, "ada", 900, asked=1, rotations=[SENT]), Family(2, "ada", 11_900)]
    found = account({"c": Books(families)}, [FIRST, claim(), renewed], Evidence((), (), DEADLINE, LEASE))
    assert found == Account(overtaken=1)


def test_an_approval_that_was_never_stored_belongs_to_no_consent() -> None:
    renewed = replace(FIRST, generation=2, connected_at=12_000, at=12_000)
    families = [Family(number, "ada", at) for number, at in ((1, 900), (2, 5_000), (3, 11_900))]
    families[2].rotations, families[2].asked = [replace(SENT, asked_at=13_000, rotated_at=13_000)], 1
    stored = replace(renewed, at=13_100, version=2)
    assert account({"c": Books(families)}, [FIRST, renewed, stored], Evidence((), (), DEADLINE, LEASE)) == Account()


@pytest.mark.parametrize(
    ("writes", "rotations", "why"),
    [
        ([claim(), commit(), LOST], [SENT], "every rotation was stored"),
        ([LOST], [], "every rotation was stored"),
        ([claim()], [SENT], "lives on"),
        ([claim(), commit()], [], "never gave"),
    ],
)
def test_what_does_not_add_up_is_unexplained(writes: list[Write], rotations: list[Rotation], why: str) -> None:
    [told] = settled(writes, *rotations).unexplained
    assert told.startswith("ada, consent 1: ")
    assert why in told


def test_a_consent_and_a_grant_that_only_one_side_knows_are_unexplained() -> None:
    evidence = Evidence((), (), DEADLINE, LEASE)
    assert account({"c": Books([])}, [FIRST], evidence).unexplained == ["c: a consent that Salesforce does not know"]
    used = account({"c": Books([Family(1, "ada", 900, asked=1)])}, [], evidence)
    assert used.unexplained == ["ada: a grant was used that the store never held"]


def test_a_token_that_comes_back_after_its_rotation_was_stored_is_counted() -> None:
    replays = [Replay(20_000, 0), Replay(30_000, 0)]
    assert settled([claim(), commit()], SENT, replays=replays).repeated == 2
    lost = settled([claim(), commit(), LOST], SENT, replace(WITHHELD, asked_at=12_000), replays=[Replay(20_000, 1)])
    assert lost.repeated == 0
