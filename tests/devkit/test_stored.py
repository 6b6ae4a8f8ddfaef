"""Reading the store's file for the demo: every field has its explanation, and a text that lies there is found."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from shared.devkit.stored import COLUMNS, FIELDS, UNEXPLAINED, Row, contents, found, rows, searchable, shown
from shared.store.records import STORED
from shared.store.sqlite_file import SqliteFile

RUN = {"kind": "run", "form": 1, "outcome": "success", "started_at": 1_795_559_608_103}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A store's file with the tables that the product makes, and one run in it."""
    path = tmp_path / "store.sqlite"
    SqliteFile(path, lambda: 0)
    with closing(sqlite3.connect(path)) as connection, connection:
        values = ("t", "u", "r", 1, "success", json.dumps(RUN), "e")
        connection.execute("INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?)", values)
    return path


def test_every_stored_field_is_explained_and_nothing_else() -> None:
    stored = {f"{kind}.{name}" for kind, fields in STORED.items() for name in fields}
    assert FIELDS.keys() == stored | {"kind", "form"}


def test_every_column_is_explained(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection:
        names = {
            column
            for table in ("tenants", "attempts", "runs")
            for _, column, *_ in connection.execute(f"PRAGMA table_info({table})")
        }
    assert names - {"document"} == COLUMNS.keys()


def test_a_row_is_read_with_its_columns_and_its_document(file: Path) -> None:
    assert rows(file) == [
        Row(
            "runs",
            "run",
            {"tenant": "t", "user": "u", "id": "r", "started_at": 1, "outcome": "success", "etag": "e"},
            RUN,
        )
    ]


def test_a_field_that_nobody_explained_says_so() -> None:
    row = Row("runs", "run", {"id": "r"}, {"subject": "Hello"})
    assert row.lines() == [("id", "r", "the row's key"), (" subject", "Hello", UNEXPLAINED)]


def test_a_store_that_cannot_be_read_is_an_sqlite_error(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.Error):
        rows(tmp_path / "none.sqlite")


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("finished_at", 1_795_559_608_103, "2026-11-24 22:33:28 UTC"),
        ("held_until", 1_795_559_608_103, "2026-11-24 22:33:28 UTC"),
        ("finished_at", None, "-"),
        ("completion_expires_at", 0, "0"),
        ("tries", 3, "3"),
        ("grant", "v1.1.AAAAAAAAAAAAAAAA.BBBB", "v1.1.AAAAAAAAA… (26 characters)"),
        ("id", "a" * 64, "a" * 33 + "…"),
        ("attempts", [], "none"),
        ("attempts", [{}, {}], "2 of them"),
    ],
)
def test_a_value_is_shown_in_few_characters(name: str, value: object, text: str) -> None:
    assert shown(name, value) == text


@pytest.mark.parametrize("written", [b"x Oven 3 \xc2\xb0C x", b'{"a": "oven 3 \\u00b0c"}', b"OVEN 3 \\u00B0C"])
def test_a_text_is_found_however_it_was_written(tmp_path: Path, written: bytes) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "app.log").write_bytes(written)
    assert found(["Oven 3 °C", "another"], contents(tmp_path)) == ["app.log: Oven 3 °C"]


def test_short_texts_and_words_of_the_files_themselves_are_not_looked_for() -> None:
    before = {"app.log": b"request function=me"}
    values = ["Ada", "Function=ME", "success", "connected_at", "Sofie Vermeulen", "Sofie Vermeulen"]
    assert searchable(values, before) == ["Sofie Vermeulen"]
