"""E-mail files as they are found in the wild: one oddity each in `messages/`, and what an add-in would tell of it."""

import json
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.devkit import message
from shared.devkit.message import read_message
from shared.model.email import RECIPIENTS_MAX, EmailContext

MESSAGES = Path(__file__).parent / "messages"
SAMPLE = Path(message.__file__).parent / "sample.eml"


def box(address: str, name: str = "") -> dict[str, str]:
    return {"address": address, "name": name}


ADA = box("ada@acme.example", "Ada Lovelace")
GRACE = box("grace@globex.example", "Grace Hopper")
SUPPORT = box("support@globex.example")
NOTHING: Mapping[str, object] = MappingProxyType(
    {"sender": None, "to": [], "cc": [], "subject": None, "threadId": None}
)

EXPECTED: Mapping[str, Mapping[str, object]] = MappingProxyType(
    {
        "bare_addresses": {
            "sender": box("ada@acme.example"),
            "to": [box("grace@globex.example"), box("alan@globex.example"), box("postmaster")],
            "cc": [box("bob@globex.example", "Bob"), box("alice@globex.example")],
            "subject": "No names",
        },
        "byte_order_mark": {"sender": ADA, "to": [SUPPORT], "subject": "Saved by an editor"},
        "character_cut_in_two": {"sender": box("andre@acme.example", "André"), "to": [SUPPORT], "subject": "€ 5"},
        "comments": {"sender": ADA, "to": [box("grace@globex.example")], "subject": "(not a comment)"},
        "control_characters": {
            "sender": ADA,
            "to": [box("grace@globex.example", "Grace[31m")],
            "subject": "ab[2Jc line break tab",
            "threadId": "id@acme.example",
        },
        "duplicates": {
            "sender": ADA,
            "to": [SUPPORT, box("sales@globex.example")],
            "cc": [box("a@globex.example"), box("b@globex.example")],
            "subject": "The first",
            "threadId": "one@acme.example",
        },
        "empty": {},
        "encoded_words": {
            "sender": box("juergen@acme.example", "Jürgen Müller"),
            "to": [box("rene@globex.example", "René Čapek")],
            "subject": "Übersicht 2026: € 5 日本",
        },
        "encoded_words_broken": {
            "sender": box("juergen@acme.example", "Jürgen"),
            "to": [box("two@globex.example", "Two words")],
            "subject": "=?utf-8?x?abc?= 50=Üwhy? =?utf-8?q?open",
        },
        "folded": {
            "sender": ADA,
            "to": [GRACE, box("alan@globex.example")],
            "subject": "A subject that is folded twice",
            "threadId": "first@acme.example",
        },
        "groups": {
            "sender": ADA,
            "to": [GRACE, box("alan@globex.example"), box("solo@globex.example")],
            "subject": "A group",
        },
        "headers_missing": {},
        "lone_surrogates": {"sender": box("ada@acme.example", "Ada"), "to": [SUPPORT], "subject": "abØ"},
        "mailbox_file": {"sender": ADA, "to": [SUPPORT], "subject": "Unix lines"},
        "not_a_message": {},
        "quoted_commas": {
            "sender": box("ada@acme.example", "Lovelace, Ada"),
            "to": [box("grace@globex.example", 'Hopper, Grace "Amazing"'), box('"a, b"@globex.example')],
            "subject": "Names in quotes",
        },
        "raw_latin1": {
            "sender": box("juergen@acme.example", "Jürgen Müller"),
            "to": [SUPPORT],
            "subject": "“Übersicht”",
        },
        "raw_utf8": {
            "sender": box("jürgen@acme.example", "Jürgen Müller"),
            "to": [box("yamada@例え.example", "山田")],
            "subject": "Übersicht €",
        },
        "reply_without_references": {
            "sender": ADA,
            "to": [SUPPORT],
            "subject": "Re: Hello",
            "threadId": "parent@acme.example",
        },
        "sender_of_one_author": {"sender": ADA, "to": [SUPPORT], "subject": "Sent for her"},
        "several_authors": {
            "sender": box("office@acme.example", "Office"),
            "to": [SUPPORT],
            "subject": "From both",
        },
        "several_authors_no_sender": {
            "sender": box("ada@acme.example", "Ada"),
            "to": [SUPPORT],
            "subject": "From both",
        },
        "space_between": {"sender": ADA, "to": [SUPPORT], "subject": "Hello, world and more"},
        "thread_id_without_brackets": {
            "sender": ADA,
            "to": [SUPPORT],
            "subject": "Odd id",
            "threadId": "plain@acme.example",
        },
        "undisclosed": {"sender": ADA, "subject": "To nobody that we know"},
        "unknown_charset": {"sender": box("rene@acme.example", "René"), "to": [SUPPORT], "subject": "caféé"},
    }
)
"""What differs from a message that says nothing, by file name."""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mail") / "message.eml"


def read(file: Path, raw: bytes) -> dict[str, object]:
    file.write_bytes(raw)
    return read_message(file)


def accepted(metadata: dict[str, object]) -> EmailContext:
    return EmailContext.model_validate_json(json.dumps(metadata))


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_an_odd_message_is_read_as_a_person_would(name: str) -> None:
    assert read_message(MESSAGES / f"{name}.eml") == {**NOTHING, **EXPECTED[name]}


def test_every_odd_message_is_expected_to_say_something() -> None:
    assert {path.stem for path in MESSAGES.iterdir()} == EXPECTED.keys()


def test_the_sample_is_an_ordinary_message() -> None:
    metadata = read_message(SAMPLE)
    assert metadata["sender"] == box("sofie.vermeulen@bakkerij-vermeulen.example", "Sofie Vermeulen")
    assert metadata["subject"] == "Oven 3 stops at 180 °C \u2013 we bake for Saturday's market"
    assert metadata["cc"] == [box("renee.bakker@bakkerij-vermeulen.example", "Renée Bakker")]
    assert metadata["threadId"] == "order-2207@acme.example"


def test_nothing_of_the_body_is_read(file: Path) -> None:
    assert read(file, b"Subject: a\r\n\r\nTo: body@acme.example\r\nCc: body@acme.example\r\n") == {
        **NOTHING,
        "subject": "a",
    }


def test_an_encoded_comma_separates_nobody(file: Path) -> None:
    metadata = read(file, b"To: =?utf-8?q?Hopper=2C_Grace?= <grace@globex.example>, =?utf-8?q?b=40c=2C?= <d@e.example>")
    assert metadata["to"] == [box("grace@globex.example", "Hopper, Grace"), box("d@e.example", "b@c,")]


def test_an_encoded_word_in_the_middle_of_a_quoted_name_is_read(file: Path) -> None:
    assert read(file, b'To: "Dr. =?utf-8?b?TcO8bGxlcg==?=, Head" <m@globex.example>')["to"] == [
        box("m@globex.example", "Dr. Müller, Head")
    ]


def test_brackets_in_a_decoded_name_make_no_second_address(file: Path) -> None:
    metadata = read(file, b"From: =?utf-8?q?Boss_=3Cboss=40acme.example=3E?= <eve@evil.example>")
    assert metadata["sender"] == box("eve@evil.example", "Boss <boss@acme.example>")


def test_no_more_recipients_are_read_than_a_run_takes(file: Path) -> None:
    many = b",\r\n ".join(b"p%d@globex.example" % n for n in range(RECIPIENTS_MAX + 1))
    metadata = read(file, b"To: " + many)
    assert len(accepted(metadata).to) == RECIPIENTS_MAX
    assert accepted(metadata).to[0].address == "p0@globex.example"


def test_a_long_name_or_subject_is_cut(file: Path) -> None:
    metadata = accepted(read(file, b"From: " + b"n" * 1_001 + b" <a@acme.example>\r\nSubject: " + b"s" * 10_001))
    assert metadata.sender is not None
    assert (len(metadata.sender.name), len(metadata.subject or "")) == (1_000, 10_000)


def test_an_address_that_is_too_long_is_left_out_rather_than_cut(file: Path) -> None:
    metadata = read(file, b"To: " + b"a" * 1_000 + b"@acme.example, b@acme.example")
    assert metadata["to"] == [box("b@acme.example")]


def test_an_id_that_is_too_long_gives_way_to_the_next(file: Path) -> None:
    metadata = read(file, b"References: <" + b"a" * 2_001 + b">\r\nMessage-ID: <b@acme.example>")
    assert metadata["threadId"] == "b@acme.example"


@pytest.mark.parametrize("depth", [100, 20_000])
def test_nested_comments_do_not_stop_the_reading(file: Path, depth: int) -> None:
    metadata = read(file, b"To: " + b"(" * depth + b" a@acme.example\r\nSubject: still there")
    assert metadata["subject"] == "still there"


BROKEN = (b"a@[ ", b"<", b".:", b".>", b"=?utf-8?q?=0A", b"a@acme.example <", b'"a', b"a@b@c", b"@", b"<>", b":;", b",")


@pytest.mark.parametrize("address", BROKEN)
def test_a_broken_address_does_not_cost_the_others(file: Path, address: bytes) -> None:
    metadata = read(file, b"To: good@acme.example, " + address)
    assert box("good@acme.example") in json.loads(json.dumps(metadata["to"]))


def test_a_private_character_in_a_name_is_not_taken_for_a_mark_of_ours(file: Path) -> None:
    metadata = read(file, "To: \ue0007\ue000 <a@acme.example>, =?utf-8?q?b?= <b@acme.example>".encode())
    assert metadata["to"] == [box("a@acme.example", "7"), box("b@acme.example", "b")]


def test_a_file_that_is_not_there_is_an_oserror(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"none\.eml"):
        read_message(tmp_path / "none.eml")


PIECES = (
    *(b"=?utf-8?q?", b"=?utf-8?b?", b"?=", b"=?x?y?z?=", b"=?utf-7?q?+2AA-?=", b"=?idna?q?a?=", b"=?utf-16?b?2AA=?="),
    *(b"=?unicode_escape?q?=5Cud800?=", b"=?us-ascii?q?=E9?=", b"=FF", b"=0A", b"\xc3", b"\xa9", b"\xff", b"\x00"),
    *(b"<", b">", b"@", b",", b";", b":", b'"', b"\\", b"(", b")", b"[", b"]", b" ", b"\t", b"\r\n ", b"\n", b"\r"),
    *(b"a", b"b.c", b"group:", b"\xee\x80\x800\xee\x80\x80", b"\xf0\x9f\x98\x80", b"*''%", b"."),
)
NAMES = (b"From", b"Sender", b"To", b"Cc", b"Subject", b"Message-ID", b"References", b"In-Reply-To")
VALUES = st.lists(st.sampled_from(PIECES), max_size=25).map(b"".join)
MANGLED = st.lists(st.tuples(st.sampled_from(NAMES), VALUES), max_size=8).map(
    lambda headers: b"".join(name + b": " + value + b"\r\n" for name, value in headers)
)


def texts(value: object) -> list[str]:
    """Every text in a JSON value."""
    if isinstance(value, str):
        return [value]
    inner = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    return [text for each in inner for text in texts(each)]


@given(raw=st.one_of(MANGLED, st.binary(max_size=400)))
def test_whatever_the_bytes_are_a_run_takes_what_comes_out(file: Path, raw: bytes) -> None:
    metadata = read(file, raw)
    json.dumps(metadata, ensure_ascii=False).encode("utf-8", "strict")
    accepted(metadata)
    assert [text for text in texts(metadata) if any(unicodedata.category(c) in {"Cc", "Cs"} for c in text)] == []


@given(name=st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=30))
def test_a_name_comes_back_as_it_was_written(file: Path, name: str) -> None:
    encoded = "".join(f"={byte:02X}" for byte in name.encode())
    metadata = read(file, f"From: =?utf-8?q?{encoded}?= <ada@acme.example>\r\n".encode())
    assert metadata["sender"] == box("ada@acme.example", name)
