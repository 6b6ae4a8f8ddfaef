"""An e-mail file as an add-in would tell of it: sender, recipients, subject, thread, and nothing else.

Real mail breaks every rule of RFC 5322 and RFC 2047. Whatever the bytes are, what comes out is clean text within
the limits of `shared/model/email.py`.
"""

import re
from collections.abc import Iterator, Sequence
from email import policy
from email.errors import MessageError
from email.header import decode_header
from email.parser import BytesHeaderParser
from itertools import count
from pathlib import Path

from shared.model.email import RECIPIENTS_MAX

ADDRESS_MAX = NAME_MAX = 1_000
SUBJECT_MAX = 10_000
THREAD_MAX = 2_000
HEADERS_MAX = 1024 * 1024
"""Bytes that are read of a file; no message has as many of headers."""

_PARSER_FAULTS = (
    MessageError,
    ValueError,
    LookupError,
    AttributeError,
    TypeError,
    NameError,
    AssertionError,
    RecursionError,
)
"""How the standard library's parsers end where they should not; Python 3.11 and 3.12 know all of these."""

_LEADING = re.compile(rb"\A(?:\xef\xbb\xbf|[\r\n])+")
_BREAK = re.compile(r"[\r\n]+")
_ESCAPED_BYTES = re.compile("[\udc80-\udcff]+")
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_DELIMITERS = re.compile(r"[\s<>()\[\]\\,;:\"]+")
_ADDRESS = re.compile(r"[^@]+@[^@]+")
_WORD = r"=\?[^?]*\?[bq]\?[^?]*(?:\?(?!=)[^?]*){0,8}\?="
_WORDS = re.compile(rf"{_WORD}(?:\s*{_WORD})*", re.IGNORECASE)
_MARK = "\ue000"
_MARKED = re.compile(rf"{_MARK}([0-9]+){_MARK}")
_MESSAGE_ID = re.compile(r"<([^<>\s]+)>")

Mailbox = dict[str, str]
Headers = Sequence[tuple[str, str]]


def read_message(path: Path) -> dict[str, object]:
    """The metadata of a message file (RFC 5322), as the body of a run takes it under `email`.

    `sender` is `{"address", "name"}` or None: the first author, but the mailbox of `Sender` where there are several
    authors. `to` and `cc` are lists of the same, groups resolved, comments ignored, at most 2,000 each. `subject` is
    text or None. `threadId` is the id between the angle brackets (RFC 5322, section 3.6.4) of the message that
    began the thread: the first of References, else In-Reply-To, else Message-ID, else None.

    A name or subject that is too long is cut; an address or id that is too long is left out, since a part of it would
    name somebody else. Raises OSError when the file cannot be read, and nothing else.
    """
    with path.open("rb") as file:
        raw = file.read(HEADERS_MAX)
    headers = list(_headers(raw))
    subjects = _values(headers, "subject")
    return {
        "sender": _sender(headers),
        "to": list(_mailboxes(_values(headers, "to")))[:RECIPIENTS_MAX],
        "cc": list(_mailboxes(_values(headers, "cc")))[:RECIPIENTS_MAX],
        "subject": _decoded(subjects[0])[:SUBJECT_MAX] if subjects else None,
        "threadId": _thread(headers),
    }


def _headers(raw: bytes) -> Iterator[tuple[str, str]]:
    """Each header with its unfolded text, in order; the same name may come again."""
    message = BytesHeaderParser(policy=policy.compat32).parsebytes(_LEADING.sub(b"", raw))
    for name, value in message.raw_items():
        yield name.lower(), _clean(_BREAK.sub("", str(value)))


def _values(headers: Headers, name: str) -> list[str]:
    return [value for known, value in headers if known == name]


def _sender(headers: Headers) -> Mailbox | None:
    authors = list(_mailboxes(_values(headers, "from")[:1]))
    senders = list(_mailboxes(_values(headers, "sender")))
    ordered = authors if len(authors) == 1 else [*senders, *authors]
    return ordered[0] if ordered else None


def _mailboxes(values: Sequence[str]) -> Iterator[Mailbox]:
    for value in values:
        yield from _listed(value.replace(_MARK, ""))


def _listed(value: str) -> Iterator[Mailbox]:
    """The mailboxes of one header. What encoded words say is put in last, so their commas separate nobody."""
    words = [_read(run) for run in _WORDS.findall(value)]
    numbers = count()
    marked = _WORDS.sub(lambda _: f"{_MARK}{next(numbers)}{_MARK}", value)
    for parts in _parsed(marked):
        address, name = (_clean(_MARKED.sub(lambda mark: words[int(mark[1])], part)).strip() for part in parts)
        if address and len(address) <= ADDRESS_MAX:
            yield {"address": address, "name": name[:NAME_MAX]}


def _parsed(value: str) -> list[tuple[str, str]]:
    """Address and name of each mailbox; where the parser finds none, or gives up, what looks like an address."""
    try:
        header = policy.default.header_factory("to", value)
        found = [(mailbox.addr_spec, mailbox.display_name) for mailbox in header.addresses]
    except _PARSER_FAULTS:
        found = []
    # The parser takes words before an address without brackets for a part of it, and quotes them.
    known = [pair for pair in found if pair[0] != "<>" and (" " not in pair[0] or '"' in value)]
    if known and len(known) == len(found):
        return known
    seen = {address for address, _ in known}
    return known + [(bare, "") for bare in dict.fromkeys(_bare(value)) if bare not in seen]


def _bare(value: str) -> list[str]:
    """Whatever looks like an address or an id."""
    return [part for part in _DELIMITERS.split(value) if _ADDRESS.fullmatch(part)]


def _thread(headers: Headers) -> str | None:
    for name in ("references", "in-reply-to", "message-id"):
        for value in _values(headers, name):
            ids = _MESSAGE_ID.findall(value) or _bare(value)
            if ids and len(ids[0]) <= THREAD_MAX:
                return str(ids[0])
    return None


def _decoded(text: str) -> str:
    """Text with its encoded words (RFC 2047) read. A character that was cut between two words is made whole."""
    return _clean(_WORDS.sub(lambda run: _read(run[0]), text))


def _read(words: str) -> str:
    try:
        return "".join(_text(part, charset or "") for part, charset in decode_header(words))
    except _PARSER_FAULTS:
        return words


def _text(raw: bytes, charset: str = "") -> str:
    """Bytes as text: in their own charset, else UTF-8, else Windows-1252, which takes everything."""
    for wanted in (charset.partition("*")[0], "utf-8"):
        try:
            return raw.decode(wanted or "utf-8")
        except (LookupError, ValueError):
            continue
    return raw.decode("cp1252", "replace")


def _clean(text: str) -> str:
    """Text without escaped bytes, control characters and lone surrogates; a tab or a break becomes a blank."""
    whole = _ESCAPED_BYTES.sub(lambda run: _text(bytes(ord(c) - 0xDC00 for c in run[0])), text)
    return _UNPRINTABLE.sub("", re.sub(r"\r\n|[\t\r\n]", " ", whole))
