"""The transcript's lines: aligned, at most 100 columns wide, and harmless to a terminal."""

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.devkit.transcript import WIDTH, Transcript, cells, fitted, padded, secret


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def written(out: io.StringIO) -> list[str]:
    return out.getvalue().splitlines()


def test_a_step_ends_with_its_time_at_the_right_edge() -> None:
    out = io.StringIO()
    with Transcript(out).doing("Begin"):
        pass
    assert re.fullmatch(r"  1   Begin +[\d,]+ ms", written(out)[1])
    assert len(written(out)[1]) == WIDTH


def test_a_step_s_title_is_there_before_the_step_is_over() -> None:
    out = io.StringIO()
    with Transcript(out).doing("Slow"):
        assert "Slow" in out.getvalue()


def test_what_a_step_says_stands_below_its_title() -> None:
    out = io.StringIO()
    say = Transcript(out)
    with say.doing("Begin"):
        say.say("label", "value")
        say.table([("a", "b"), ("longer", "c")])
    assert written(out)[2:] == ["      label                 value", "      a       b", "      longer  c"]


def test_a_failed_step_shows_no_time_and_passes_the_error_on() -> None:
    out = io.StringIO()
    with pytest.raises(ValueError, match="broken"), Transcript(out).doing("Begin"):
        raise ValueError("broken")
    assert written(out)[-1].strip() == "1   Begin"


def test_titles_are_bold_on_a_terminal_and_nowhere_else() -> None:
    for out, marked in ((Terminal(), True), (io.StringIO(), False)):
        say = Transcript(out)
        say.title("FlowRunner")
        with say.doing("Begin"):
            say.say("a", "b")
        assert ("\033[1m" in out.getvalue()) is marked


def test_a_long_sentence_goes_on_in_the_next_line() -> None:
    out = io.StringIO()
    say = Transcript(out)
    with say.doing("Begin"):
        say.note("word " * 40)
    assert written(out)[2:] == [
        "      " + " ".join(["word"] * 18) + " word",
        "      " + " ".join(["word"] * 19),
        *["      word word"],
    ]


def test_control_characters_never_reach_the_terminal() -> None:
    assert fitted("a\033[2J\nb\u202ec", 20) == "a?[2J?b?c"


def test_a_wide_character_takes_two_columns_and_a_combining_one_none() -> None:
    assert (cells("日本"), cells("e\u0301")) == (4, 1)
    assert padded("日本", 6) == "日本  "


def test_a_text_that_is_too_long_ends_in_an_ellipsis() -> None:
    assert fitted("abcdef", 4) == "abc…"
    assert fitted("日本語", 4) == "日…"


def test_a_secret_shows_six_characters_and_its_length() -> None:
    assert secret("abcdefghijkl") == "abcdef… (12 characters)"


@given(text=st.text(), width=st.integers(1, 60))
def test_a_fitted_text_fits(text: str, width: int) -> None:
    assert cells(fitted(text, width)) <= width
    assert fitted(text, width).isprintable()


@given(label=st.text(max_size=150), value=st.text(max_size=300))
def test_no_line_is_wider_than_the_page(label: str, value: str) -> None:
    out = io.StringIO()
    say = Transcript(out)
    with say.doing(label):
        say.say(label, value)
        say.note(value)
        say.table([(label, value), ("", label)])
    assert max(cells(line) for line in out.getvalue().split("\n")) <= WIDTH
