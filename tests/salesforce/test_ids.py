"""Ids of 15 and 18 characters are one id, and a wrong checksum is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.salesforce.ids import normalised

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
SHORT = st.text(ALPHABET, min_size=15, max_size=15)


@pytest.mark.parametrize(
    ("short", "full"),
    [
        ("00D000000000001", "00D000000000001EAA"),
        ("005000000000001", "005000000000001AAA"),
        ("AAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAA555"),
        ("0015gK0000007Ab", "0015gK0000007AbABI"),
    ],
)
def test_a_short_id_gets_its_checksum(short: str, full: str) -> None:
    assert normalised(short) == full


@given(SHORT)
def test_both_forms_of_an_id_become_the_same(short: str) -> None:
    full = normalised(short)
    assert (len(full), full[:15], normalised(full)) == (18, short, full)


@given(SHORT, st.integers(15, 17), st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"))
def test_another_checksum_is_refused(short: str, place: int, letter: str) -> None:
    full = normalised(short)
    changed = full[:place] + letter + full[place + 1 :]
    if changed == full:
        assert normalised(changed) == full
    else:
        with pytest.raises(ValueError, match="checksum"):
            normalised(changed)


def test_an_id_in_another_letter_case_is_not_guessed() -> None:
    with pytest.raises(ValueError):
        normalised("00d000000000001EAA")


@given(st.text().filter(lambda text: len(text) not in (15, 18)))
def test_every_other_length_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        normalised(text)


@pytest.mark.parametrize("text", ["00D00000000000\u0661", "00D00000000000 ", "00D000000000001\n", "00D0000000000-1"])
def test_every_other_character_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        normalised(text)
