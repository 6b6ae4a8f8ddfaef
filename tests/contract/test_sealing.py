"""Sealed secrets: they open in their own place as they were, or not at all."""

import base64
import os
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from types import MappingProxyType

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import KeysUnavailable, RecordUnreadable
from shared.keys.sealing import TenantKeys, TenantSealer
from shared.model.identity import TenantRef
from shared.model.sealed import Place, Sealed
from shared.ports import Randomness
from tests.contract.store_fixtures import OTHER_REF, REF

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
PLACE = Place("grant", "record", 7, "owner", "user")
KEYS = {"1": os.urandom(32), "2": os.urandom(32)}

_words = st.text(max_size=12)
PLACES = st.builds(Place, kind=_words, record=_words, version=st.integers(0, 99), owner=_words, user=_words)


class Ring:
    """A ring in memory; `asked` says how often, and whether a memory would have done."""

    def __init__(self, newest: str = "2", keys: Mapping[str, bytes] = MappingProxyType(KEYS)) -> None:
        self.keys = dict(keys)
        self.newest = newest
        self.asked: list[bool] = []

    def __call__(self, *, anew: bool) -> TenantKeys:
        self.asked.append(anew)
        return TenantKeys(self.newest, {version: AESGCM(key) for version, key in self.keys.items()})


def sealer(
    ring: Ring | None = None, ref: TenantRef = REF, generation: int = 1, randomness: Randomness = os.urandom
) -> TenantSealer:
    return TenantSealer(ref, generation, ring or Ring(), randomness)


SEALER = sealer()


def refuses(text: str, place: Place = PLACE, by: TenantSealer = SEALER) -> bool:
    try:
        by.open(place, Sealed(text))
    except RecordUnreadable:
        return True
    return False


def bound(*parts: str) -> bytes:
    return b"".join(len(part.encode()).to_bytes(4, "big") + part.encode() for part in parts)


def base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


@given(PLACES, st.binary(max_size=300))
def test_a_secret_opens_in_its_place_as_it_was(place: Place, secret: bytes) -> None:
    assert SEALER.open(place, SEALER.seal(place, secret)) == secret


def test_the_envelope_is_the_one_that_rows_already_hold() -> None:
    """Written out by hand, since a row that was sealed yesterday has to open tomorrow."""
    nonce = bytes(range(12))
    parts = bound("v1", "2", REF, "3", "owner", "user", "grant", "record", "7")
    ciphertext = AESGCM(KEYS["2"]).encrypt(nonce, b"secret", parts)

    made = sealer(generation=3, randomness=lambda size: nonce[:size]).seal(PLACE, b"secret")
    assert made.text == f"v1.2.{base64url(nonce)}.{base64url(ciphertext)}"


def test_each_nonce_is_12_fresh_bytes_of_the_given_randomness() -> None:
    drawn: list[bytes] = []

    def randomness(size: int) -> bytes:
        drawn.append(os.urandom(size))
        return drawn[-1]

    texts = [sealer(randomness=randomness).seal(PLACE, b"secret").text for _ in range(3)]
    assert [text.split(".")[2] for text in texts] == [base64url(nonce) for nonce in drawn]
    assert [len(nonce) for nonce in drawn] == [12] * 3


def test_the_same_secret_never_looks_the_same() -> None:
    assert len({SEALER.seal(PLACE, b"secret").text for _ in range(100)}) == 100


def test_every_changed_byte_is_refused() -> None:
    """Each character, by one bit and by case; in the key's version the other version that exists is tried too."""
    text = SEALER.seal(PLACE, b"a refresh token").text
    for at, character in enumerate(text):
        for other in {chr(ord(character) ^ 1), character.swapcase(), "1", ".", "=", "A"} - {character}:
            changed = text[:at] + other + text[at + 1 :]
            if changed.split(".")[1] in KEYS or len(changed.split(".")) != 4:
                assert refuses(changed), changed


@given(st.data())
def test_no_other_character_opens_anywhere(data: st.DataObject) -> None:
    text = SEALER.seal(PLACE, b"a refresh token").text
    at = data.draw(st.integers(0, len(text) - 1).filter(lambda place: place != 3))
    other = data.draw(st.characters().filter(lambda character: character != text[at]))

    assert refuses(text[:at] + other + text[at + 1 :])


@given(st.data())
def test_no_flipped_bit_of_nonce_or_ciphertext_opens(data: st.DataObject) -> None:
    version, key, *sealed = SEALER.seal(PLACE, b"a refresh token").text.split(".")
    raw = [bytearray(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))) for part in sealed]
    part = data.draw(st.sampled_from(raw))
    part[data.draw(st.integers(0, len(part) - 1))] ^= 1 << data.draw(st.integers(0, 7))

    assert refuses(".".join((version, key, *(base64url(bytes(changed)) for changed in raw))))


@given(st.data())
def test_no_part_can_be_cut_or_lengthened(data: st.DataObject) -> None:
    parts = SEALER.seal(PLACE, b"a refresh token").text.split(".")
    at = data.draw(st.integers(0, 3))
    parts[at] = data.draw(
        st.sampled_from(["", parts[at][:-1], parts[at][1:], parts[at] + "A", parts[at] + "=", parts[at] * 2])
    )
    text = ".".join(parts)

    try:
        assert refuses(text)
    except KeysUnavailable:
        assert at == 1


@pytest.mark.parametrize("size", range(1, 7))
def test_a_second_spelling_of_the_same_bytes_is_refused(size: int) -> None:
    """The last character of base64url has bits to spare, which a lenient reader drops."""
    text = SEALER.seal(PLACE, b"x" * size).text
    spare = {0: 1, 1: 16, 2: 4}[(size + 16) % 3]
    last = ALPHABET.index(text[-1])
    spellings = [text[:-1] + ALPHABET[last ^ extra] for extra in range(1, spare)]

    assert all(refuses(spelling) for spelling in spellings)
    assert refuses(text + "=")
    assert refuses(text.replace("-", "+").replace("_", "/") + " ")


@pytest.mark.parametrize(
    "text", ["", "v1", "v1...", "v1.1..", "v2.1.AAAA.AAAA", "....", "v1.1.\ud800.x", "x" * 10_000, "v1.é.a.b"]
)
def test_what_is_no_envelope_is_refused(text: str) -> None:
    assert refuses(text)


MOVED: list[Callable[[Place], Place]] = [
    lambda place: replace(place, kind="org"),
    lambda place: replace(place, record="another"),
    lambda place: replace(place, version=place.version + 1),
    lambda place: replace(place, version=place.version - 1),
    lambda place: replace(place, owner="another"),
    lambda place: replace(place, user="another"),
    lambda place: replace(place, owner="", user="owneruser"),
    lambda place: replace(place, owner=place.user, user=place.owner),
    lambda place: replace(place, owner="owneru", user="ser"),
    lambda place: replace(place, kind="grantr", record="ecord"),
]


@pytest.mark.parametrize("move", MOVED)
def test_a_secret_opens_in_no_other_place(move: Callable[[Place], Place]) -> None:
    assert refuses(SEALER.seal(PLACE, b"secret").text, move(PLACE))


@given(PLACES, PLACES)
def test_no_two_places_read_alike(place: Place, other: Place) -> None:
    assert place == other or refuses(SEALER.seal(place, b"secret").text, other)


def test_every_part_of_a_place_is_bound() -> None:
    for part in fields(Place):
        other = getattr(PLACE, part.name) + (1 if part.name == "version" else "x")
        assert refuses(SEALER.seal(PLACE, b"secret").text, replace(PLACE, **{part.name: other}))


def test_a_secret_opens_for_no_other_tenant_even_under_the_same_key() -> None:
    assert refuses(SEALER.seal(PLACE, b"secret").text, by=sealer(ref=OTHER_REF))


def test_a_secret_opens_for_no_other_generation_even_under_the_same_key() -> None:
    assert refuses(SEALER.seal(PLACE, b"secret").text, by=sealer(generation=2))


def test_a_secret_opens_under_no_other_version_even_of_the_same_key() -> None:
    same = Ring(keys={"1": KEYS["1"], "2": KEYS["1"]})
    text = sealer(same).seal(PLACE, b"secret").text

    assert refuses(text.replace("v1.2.", "v1.1."), by=sealer(same))


def test_an_unknown_version_is_asked_for_once_more_and_no_further() -> None:
    sealed, ring = SEALER.seal(PLACE, b"secret"), Ring(newest="1", keys={"1": KEYS["1"]})
    with pytest.raises(KeysUnavailable):
        sealer(ring).open(PLACE, sealed)

    assert ring.asked == [False, True]


def test_a_known_version_is_not_asked_for_again() -> None:
    ring = Ring()
    sealer(ring).open(PLACE, SEALER.seal(PLACE, b"secret"))

    assert ring.asked == [False]


def test_a_sealer_and_its_keys_show_nothing_of_them() -> None:
    shown = repr(SEALER) + repr(Ring()(anew=False)) + str(SEALER.keys(anew=False))

    assert not [key for key in KEYS.values() if repr(key)[2:-1] in shown or key.hex() in shown]
    assert "AESGCM" not in shown
