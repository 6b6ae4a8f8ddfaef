"""Rows and documents: whatever the model allows survives the way, and nothing else is read."""

import json
from collections.abc import Callable, Mapping
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import RecordUnreadable
from shared.store.fields import Field, PageKind, Word
from shared.store.records import (
    FORM,
    MODELS,
    STORED,
    Kind,
    Record,
    attempt_of,
    connection_of,
    document_of,
    run_of,
    tenant_of,
    user_of,
)
from tests.contract.store_fixtures import HIGHEST, RECORDS, ROWS, a_run, a_tenant, a_user, unsaved

READ: Mapping[Kind, Callable[[object], Record]] = {
    Kind.TENANT: tenant_of,
    Kind.USER: user_of,
    Kind.CONNECTION: connection_of,
    Kind.ATTEMPT: attempt_of,
    Kind.RUN: run_of,
}
KIND_OF = {model: kind for kind, model in MODELS.items()}

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def written(row: Record) -> dict[str, object]:
    """The row's document after a journey through JSON."""
    document: dict[str, object] = json.loads(json.dumps(document_of(KIND_OF[type(row)], row)))
    return document


def refused(kind: Kind, document: object) -> bool:
    try:
        READ[kind](document)
    except RecordUnreadable:
        return True
    return False


@given(RECORDS)
def test_every_row_comes_back_as_it_was(row: Record) -> None:
    assert READ[KIND_OF[type(row)]](written(row)) == row


@given(RECORDS, st.text(min_size=1, max_size=40))
def test_an_etag_is_no_part_of_the_document(row: Record, etag: str) -> None:
    assert written(replace(row, etag=etag)) == written(unsaved(row))


@pytest.mark.parametrize("kind", Kind)
def test_every_field_of_the_model_is_on_the_list_but_for_what_the_store_gives(kind: Kind) -> None:
    assert set(STORED[kind]) == {field.name for field in fields(MODELS[kind])} - {"etag", "saved_at", "read_at"}


@given(RECORDS, st.data())
def test_a_document_with_a_field_missing_is_not_read(row: Record, data: st.DataObject) -> None:
    document = written(row)
    del document[data.draw(st.sampled_from(sorted(document)))]

    assert refused(KIND_OF[type(row)], document)


@given(RECORDS, st.text(max_size=12), JSON)
def test_a_document_with_a_field_too_many_is_not_read(row: Record, name: str, value: object) -> None:
    document = written(row)

    assert name in document or refused(KIND_OF[type(row)], {**document, name: value})


@given(RECORDS, st.data())
def test_a_value_of_another_type_is_not_read(row: Record, data: st.DataObject) -> None:
    document = written(row)
    name = data.draw(st.sampled_from(sorted(document)))
    values: list[object] = ["", "x", -1, True, 1.5, [], {}, [1], b""]
    other = data.draw(st.sampled_from([value for value in values if type(value) is not type(document[name])]))

    assert refused(KIND_OF[type(row)], {**document, name: other})


@given(RECORDS, st.sampled_from(Kind))
def test_a_document_is_read_as_its_own_kind_only(row: Record, kind: Kind) -> None:
    assert kind is KIND_OF[type(row)] or refused(kind, written(row))


@given(RECORDS, st.sampled_from(Kind))
def test_a_document_that_claims_another_kind_is_not_read(row: Record, kind: Kind) -> None:
    assert kind is KIND_OF[type(row)] or refused(kind, {**written(row), "kind": kind.value})


@pytest.mark.parametrize("form", [0, 2, "1", 1.0, True, None, [1]])
@pytest.mark.parametrize("row", ROWS, ids=lambda row: type(row).__name__)
def test_a_document_of_an_unknown_form_is_not_read(row: Record, form: object) -> None:
    assert refused(KIND_OF[type(row)], {**written(row), "form": form})


@given(st.sampled_from(Kind), JSON)
def test_whatever_stands_in_the_store_is_refused_in_our_own_word(kind: Kind, document: object) -> None:
    assert refused(kind, document)
    assert refused(kind, {"kind": kind.value, "form": FORM, **dict.fromkeys(STORED[kind], document)})


@pytest.mark.parametrize("days", [0, 29, 3_651])
def test_a_retention_that_no_tenant_can_have_is_not_read(days: int) -> None:
    assert refused(Kind.TENANT, {**written(a_tenant()), "retention": days})


@pytest.mark.parametrize(
    "entry",
    [{}, {"id": "0" * 64}, {"id": "0" * 64, "expires_at": 1, "more": 1}, {"id": "me@example.com", "expires_at": 1}, 7],
)
def test_an_open_attempt_of_another_shape_is_not_read(entry: object) -> None:
    assert refused(Kind.USER, {**written(a_user()), "attempts": [entry]})


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("row", ROWS, ids=lambda row: type(row).__name__)
def test_only_a_row_of_that_kind_becomes_its_document(kind: Kind, row: Record) -> None:
    if KIND_OF[type(row)] is kind:
        assert document_of(kind, row)["kind"] == kind
    else:
        with pytest.raises(TypeError):
            document_of(kind, row)


def _words() -> list[tuple[Kind, str, Field]]:
    return [
        (k, name, field) for k, listed in STORED.items() for name, field in listed.items() if isinstance(field, Field)
    ]


@pytest.mark.parametrize(("kind", "name", "field"), _words(), ids=str)
@pytest.mark.parametrize("text", ["me@example.com", "Create_Case", "00D000000000001EAA", "acme.my.salesforce.com", ""])
def test_no_field_takes_free_text(kind: Kind, name: str, field: Field, text: str) -> None:
    assert not field.fits(text)
    assert refused(kind, {**written(next(row for row in ROWS if KIND_OF[type(row)] is kind)), name: text})


HEX = st.integers(30, 66).flatmap(lambda size: st.text("0123456789abcdef", min_size=size, max_size=size))


@given(st.sampled_from([Word.REF, Word.RANDOM_ID, Word.DIGEST]), HEX | st.text(max_size=100))
def test_a_readable_text_is_hex_of_its_length(word: Word, text: str) -> None:
    lengths = {32, 64} if word is Word.DIGEST else {32}

    assert Field(word, PageKind.RUN).fits(text) == (len(text) in lengths and set(text) <= set("0123456789abcdef"))


@pytest.mark.parametrize("word", [Word.REF, Word.RANDOM_ID, Word.DIGEST])
@pytest.mark.parametrize("size", [0, 31, 32, 33, 63, 64, 65, 96])
def test_no_other_length_is_a_readable_text(word: Word, size: int) -> None:
    assert Field(word, PageKind.RUN).fits("a" * size) == (size == 32 or (size == 64 and word is Word.DIGEST))


@given(HEX | st.text(max_size=100))
def test_what_is_no_envelope_is_not_sealed(text: str) -> None:
    assert not Field(Word.SEALED, PageKind.RUN).fits(text)


@pytest.mark.parametrize(("value", "fits"), [(-1, False), (0, True), (HIGHEST, True), (HIGHEST + 1, False)])
def test_a_number_is_one_that_every_reader_keeps(value: int, fits: bool) -> None:  # noqa: FBT001
    assert Field(Word.TIME, PageKind.RUN).fits(value) is fits


def test_a_row_with_a_value_that_may_not_be_stored_becomes_no_document() -> None:
    for wrong in (-1, HIGHEST + 1):
        with pytest.raises(RecordUnreadable):
            document_of(Kind.RUN, replace(a_run(), started_at=wrong))
