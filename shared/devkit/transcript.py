"""Numbered steps on a terminal: what was done, how long it took, and what came of it, in lines of 100 columns."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter
from typing import TextIO

WIDTH = 100
_INDENT = 6
_TIME = 10
_LABEL = 22
_BOLD, _PLAIN = "\033[1m", "\033[0m"


class Transcript:
    """Writes to one stream; titles are bold on a terminal, and nothing is coloured elsewhere.

    `step` is the number of the step under way, 0 before the first.
    """

    def __init__(self, out: TextIO) -> None:
        self.step = 0
        self._out = out
        self._kept: list[str] = []
        self._marks = (_BOLD, _PLAIN) if out.isatty() else ("", "")

    @contextmanager
    def doing(self, title: str) -> Iterator[None]:
        """One step: its title at once, its time at the end, and below it what was said meanwhile."""
        self.step += 1
        self._kept = []
        head = padded(f"{self.step:>3}   {title}", WIDTH - _TIME)
        self._write(f"\n{self._marks[0]}{head}{self._marks[1]}")
        began, ended = perf_counter(), "\n"
        try:
            yield
            took = f"{(perf_counter() - began) * 1000:,.0f} ms"
            ended = f"{took:>{_TIME}}\n" + "".join(f"{line}\n" for line in self._kept)
        finally:
            self._write(ended)

    def title(self, text: str) -> None:
        """Write a line of its own, outside of any step."""
        self._write(f"{self._marks[0]}{fitted(text, WIDTH)}{self._marks[1]}\n")

    def say(self, label: str, value: object) -> None:
        """Say one thing by its name; values that are too long for the line are cut."""
        width = max(_LABEL, cells(label) + 2)
        self._keep(padded(label, width) + fitted(str(value), WIDTH - _INDENT - width))

    def table(self, rows: Sequence[Sequence[str]]) -> None:
        """Say several things in columns; the last takes what is left."""
        widths = [max(cells(text) for text in column) for column in zip(*rows, strict=True)]
        for row in rows:
            parts = [padded(text, width) for text, width in zip(row[:-1], widths[:-1], strict=True)]
            self._keep("  ".join([*parts, row[-1]]))

    def note(self, text: str = "") -> None:
        """Say a sentence, in as many lines as it takes."""
        line = ""
        for word in text.split():
            if line and len(line) + 1 + len(word) > WIDTH - _INDENT:
                self._keep(line)
                line = ""
            line = f"{line} {word}".strip()
        self._keep(line)

    def _keep(self, text: str) -> None:
        self._kept.append((" " * _INDENT + fitted(text, WIDTH - _INDENT)).rstrip())

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()


def cells(text: str) -> int:
    """How many columns of a terminal a text takes."""
    return sum(_cells(c) for c in text)


def fitted(text: str, width: int) -> str:
    """The text without what a terminal would act upon, cut to so many columns."""
    plain = "".join(c if c.isprintable() else "?" for c in text)
    if cells(plain) <= width:
        return plain
    taken = 0
    for end, c in enumerate(plain):
        taken += _cells(c)
        if taken >= width:
            return plain[:end] + "…"
    return plain


def padded(text: str, width: int) -> str:
    """The text in exactly so many columns."""
    cut = fitted(text, width)
    return cut + " " * (width - cells(cut))


def secret(text: str) -> str:
    """A secret's first characters, which show that it is there and are of no use to anybody."""
    return f"{text[:6]}… ({len(text)} characters)"


def _cells(c: str) -> int:
    if unicodedata.combining(c):
        return 0
    return 2 if unicodedata.east_asian_width(c) in {"W", "F"} else 1
