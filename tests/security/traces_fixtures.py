"""What journeys leave behind, the names of all that was said on them, and a search that knows disguises."""

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import quote

import requests

MAIL = ("sender", "sender name", "recipient", "recipient name", "copy", "subject", "thread")
OURS = ("bearer signature", "bearer claims", "access token", "refresh token", "verifier", "code", "client secret")
"""What no client and no browser is ever shown by us."""

TYPED = (
    "typed",
    "key",
    "undeclared name",
    "undeclared value",
    "unreadable",
    "address",
    "header",
    "guess",
    "description",
)
RETURNED = ("output", "fault", "page", "message", "flow name", "flow label", "instance host", "foreign host")
NAMED = ("username", "salesforce user", "org", "object id", "tenant id", "google subject", "google domain")
PASSING = ("state", "completion", "refused bearer", "database words", "later record")
SECRETS = (*MAIL, *OURS, *TYPED, *RETURNED, *NAMED, *PASSING)
STORED = tuple(name for name in SECRETS if name != "database words")
"""All but the one that the journeys themselves write into the database."""


@dataclass(frozen=True)
class Traces:
    """What the journeys left: files, printed lines, answers; and, to prove that they took place, all that was said."""

    secrets: Mapping[str, str]
    files: Mapping[str, bytes]
    keyring: bytes
    printed: bytes
    answers: list[requests.Response]
    said: bytes

    @property
    def store(self) -> bytes:
        """The database and its companions, at every moment at which they were looked at."""
        return b"".join(self.files.values())

    @property
    def problems(self) -> bytes:
        return b"".join(whole(answer) for answer in self.answers if answer.status_code >= 400)


def whole(answer: requests.Response) -> bytes:
    """Headers and body of an answer."""
    return f"{answer.status_code} {answer.headers}\n".encode() + answer.content


def disguises(secret: str) -> Iterator[bytes]:
    """The ways in which a value can lie somewhere and still be read."""
    raw = secret.encode()
    yield from (raw, raw.lower(), raw[::-1], raw.hex().encode(), secret.encode("utf-16-le"))
    yield from (quote(secret, safe="").encode(), json.dumps(secret)[1:-1].encode())
    for shift in range(3):
        # Whole groups alone: what stands before and after would be encoded together with the ends.
        encoded = base64.b64encode(bytes(shift) + raw)[4 * (shift > 0) : -4]
        yield from (encoded, encoded.translate(bytes.maketrans(b"+/", b"-_")))


def found(secret: str, where: bytes) -> bool:
    """Whether a value can be read there, in any disguise."""
    lower = where.lower()
    return any(shape in where or shape in lower for shape in disguises(secret))


def digests(secret: str) -> Iterator[bytes]:
    """How an unkeyed digest of a value would begin."""
    for algorithm in (hashlib.md5, hashlib.sha1, hashlib.sha256, hashlib.sha512):
        yield algorithm(secret.encode()).hexdigest()[:24].encode()
