"""What every keyring promises (shared/ports.py): one suite over each of them."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from shared.errors import KeysUnavailable, RecordUnreadable
from shared.keys.local import FRESH_MS, STALE_MS
from shared.model.identity import TenantRef
from shared.model.sealed import Place, Sealed
from shared.ports import Keyring
from tests.contract.keyring_fixtures import KEYRINGS, KeyringBackend
from tests.contract.races_fixtures import keyring_there, minting, race_processes, race_threads
from tests.contract.store_fixtures import NOW, OTHER_REF, REF, SetClock

PLACE = Place("grant", "record", 1, "owner", "user")


@pytest.fixture
def minted(keyring: Keyring) -> Keyring:
    keyring.mint(REF, 1)
    return keyring


def sealed(keyring: Keyring, secret: bytes = b"secret") -> Sealed:
    return keyring.sealer(REF, 1).seal(PLACE, secret)


def opened(keyring: Keyring, secret: Sealed) -> bytes:
    return keyring.sealer(REF, 1).open(PLACE, secret)


# --- minting


def test_what_one_instance_seals_another_opens(minted: Keyring, ring: KeyringBackend, clock: SetClock) -> None:
    assert opened(ring.open(clock), sealed(minted)) == b"secret"


def test_minting_again_keeps_the_key(minted: Keyring, ring: KeyringBackend, clock: SetClock) -> None:
    secret = sealed(minted)
    for again in (minted, ring.open(clock)):
        again.mint(REF, 1)

    assert opened(ring.open(clock), secret) == b"secret"


def test_minting_again_after_a_rotation_makes_no_old_version(
    minted: Keyring, ring: KeyringBackend, clock: SetClock
) -> None:
    retired = sealed(minted)
    ring.rotate(REF, 1, 2)
    ring.lose(REF, 1, 1)
    ring.open(clock).mint(REF, 1)

    assert sealed(ring.open(clock)).key_version == "2"
    with pytest.raises(KeysUnavailable):
        opened(ring.open(clock), retired)


@pytest.mark.parametrize(("tenant", "generation"), [(OTHER_REF, 1), (REF, 2), (REF, 11)])
def test_a_key_that_was_never_minted_cannot_be_had(minted: Keyring, tenant: TenantRef, generation: int) -> None:
    secret = sealed(minted)
    with pytest.raises(KeysUnavailable):
        minted.sealer(tenant, generation).seal(PLACE, b"secret")
    with pytest.raises(KeysUnavailable):
        minted.sealer(tenant, generation).open(PLACE, secret)


def test_a_key_that_is_minted_after_it_was_missed_can_be_had_at_once(keyring: Keyring) -> None:
    with pytest.raises(KeysUnavailable):
        sealed(keyring)
    keyring.mint(REF, 1)

    assert opened(keyring, sealed(keyring)) == b"secret"


@pytest.mark.parametrize(("tenant", "generation"), [(OTHER_REF, 1), (REF, 2)])
def test_tenants_and_generations_have_keys_of_their_own(minted: Keyring, tenant: TenantRef, generation: int) -> None:
    minted.mint(tenant, generation)
    with pytest.raises(RecordUnreadable):
        minted.sealer(tenant, generation).open(PLACE, sealed(minted))


@pytest.mark.parametrize(
    "ref", ["", "..", "../pepper", "x" * 32, "A" * 32, "0" * 31, "0" * 33, "0" * 32 + "\n", "0" * 31 + "/"]
)
def test_a_ref_that_is_none_names_no_key(keyring: Keyring, ref: str) -> None:
    with pytest.raises(KeysUnavailable):
        keyring.mint(TenantRef(ref), 1)
    with pytest.raises(KeysUnavailable):
        keyring.sealer(TenantRef(ref), 1).seal(PLACE, b"secret")


# --- versions


def test_the_newest_version_seals_and_every_version_opens(
    minted: Keyring, ring: KeyringBackend, clock: SetClock
) -> None:
    earlier = sealed(minted)
    for version in (2, 9, 10):
        ring.rotate(REF, 1, version)
    renewed = ring.open(clock)

    assert (earlier.key_version, sealed(renewed).key_version) == ("1", "10")
    assert opened(renewed, earlier) == opened(renewed, sealed(renewed)) == b"secret"


def test_a_version_that_is_not_known_yet_is_asked_for_at_once(
    minted: Keyring, ring: KeyringBackend, clock: SetClock
) -> None:
    sealed(minted)
    ring.rotate(REF, 1, 2)
    newer = sealed(ring.open(clock))

    assert opened(minted, newer) == b"secret"


def test_a_version_that_nobody_has_is_an_operators_matter_and_no_broken_record(
    minted: Keyring, ring: KeyringBackend, clock: SetClock
) -> None:
    ring.rotate(REF, 1, 2)
    secret = sealed(ring.open(clock))
    ring.lose(REF, 1, 2)

    with pytest.raises(KeysUnavailable):
        opened(minted, secret)
    assert opened(minted, sealed(minted)) == b"secret"


def test_a_new_version_seals_when_the_memory_of_the_old_ones_is_over(
    minted: Keyring, ring: KeyringBackend, clock: SetClock
) -> None:
    assert sealed(minted).key_version == "1"
    ring.rotate(REF, 1, 2)
    clock.now = NOW + FRESH_MS - 1
    assert sealed(minted).key_version == "1"

    clock.now = NOW + FRESH_MS
    assert sealed(minted).key_version == "2"


# --- memory and outages


def test_a_lost_key_ends_with_the_memory_of_it(minted: Keyring, ring: KeyringBackend, clock: SetClock) -> None:
    secret = sealed(minted)
    ring.lose(REF, 1, 1)
    clock.now = NOW + FRESH_MS - 1
    assert opened(minted, secret) == b"secret"

    clock.now = NOW + FRESH_MS
    for _ in range(2):
        with pytest.raises(KeysUnavailable):
            opened(minted, secret)


def test_a_key_that_was_found_missing_is_not_served_when_the_ring_goes_away_later(
    minted: Keyring, ring: KeyringBackend, clock: SetClock
) -> None:
    secret = sealed(minted)
    ring.lose(REF, 1, 1)
    clock.now = NOW + FRESH_MS
    with pytest.raises(KeysUnavailable):
        opened(minted, secret)
    ring.go_away()

    with pytest.raises(KeysUnavailable):
        opened(minted, secret)


def test_an_outage_is_bridged_for_an_hour_and_no_longer(minted: Keyring, ring: KeyringBackend, clock: SetClock) -> None:
    secret = sealed(minted)
    ring.go_away()
    clock.now = NOW + STALE_MS - 1
    assert opened(minted, secret) == opened(minted, sealed(minted)) == b"secret"

    clock.now = NOW + STALE_MS
    with pytest.raises(KeysUnavailable):
        opened(minted, secret)


def test_a_clock_that_was_set_back_makes_no_memory_last(minted: Keyring, ring: KeyringBackend, clock: SetClock) -> None:
    secret = sealed(minted)
    ring.lose(REF, 1, 1)
    clock.now = NOW - 1

    with pytest.raises(KeysUnavailable):
        opened(minted, secret)


def test_a_ring_that_is_away_has_no_key_that_nobody_asked_for_before(keyring: Keyring, ring: KeyringBackend) -> None:
    ring.go_away()
    for asked in (keyring.ping, partial(keyring.mint, REF, 1), partial(sealed, keyring)):
        with pytest.raises(KeysUnavailable):
            asked()


def test_a_ring_that_answers_says_so(keyring: Keyring) -> None:
    keyring.ping()


# --- digests


def test_a_digest_is_32_lower_hex_and_the_same_in_every_instance(
    keyring: Keyring, ring: KeyringBackend, clock: SetClock
) -> None:
    digest = keyring.digest("tenant", "entra", "somebody")

    assert len(digest) == 32
    assert set(digest) <= set("0123456789abcdef")
    assert ring.open(clock).digest("tenant", "entra", "somebody") == digest


def test_a_digest_depends_on_label_parts_and_their_borders(keyring: Keyring) -> None:
    asked = [("a", "b", "c"), ("a", "bc"), ("ab", "c"), ("a", "b", "c", ""), ("a",), ("b", "a", "c"), ("x", "b", "c")]

    assert len({keyring.digest(*parts) for parts in asked}) == len(asked)


def test_digests_of_two_rings_have_nothing_in_common(tmp_path: Path, ring: KeyringBackend, clock: SetClock) -> None:
    other = type(ring)(tmp_path / "other")  # type: ignore[call-arg]  # each backend is made of a folder

    assert other.open(clock).digest("a", "b") != ring.open(clock).digest("a", "b")


# --- races


def test_threads_that_mint_at_once_agree_on_one_key(keyring: Keyring) -> None:
    results = race_threads(minting, [(lambda: keyring, PLACE)] * 16)

    assert all(opened(keyring, secret) == b"secret" for _, secret in results)


@pytest.mark.parametrize("backend", sorted(KEYRINGS))
def test_processes_that_all_come_first_agree_on_pepper_and_key(backend: str, tmp_path: Path) -> None:
    folder = str(tmp_path / "new" / "keys")
    results = race_processes(minting, [(partial(keyring_there, backend, folder), PLACE)] * 4)
    keyring = keyring_there(backend, folder)

    assert {digest for digest, _ in results} == {keyring.digest("label", "part")}
    assert all(opened(keyring, secret) == b"secret" for _, secret in results)


# --- what a refusal tells


def test_a_refusal_is_in_our_own_words(minted: Keyring, ring: KeyringBackend) -> None:
    moved = replace(PLACE, owner="another")
    with pytest.raises(RecordUnreadable) as broken:
        minted.sealer(REF, 1).open(moved, sealed(minted))
    ring.go_away()
    with pytest.raises(KeysUnavailable) as away:
        minted.ping()

    assert (str(broken.value), str(away.value)) == (RecordUnreadable.title, KeysUnavailable.title)
    assert all(error.value.__suppress_context__ and error.value.__cause__ is None for error in (broken, away))
