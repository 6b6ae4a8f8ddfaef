"""Secrets at rest: AES-256-GCM, bound to the one place where each belongs (design decision 7)."""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from shared.errors import KeysUnavailable, RecordUnreadable
from shared.model.identity import TenantRef
from shared.model.sealed import Place, Sealed
from shared.ports import Randomness

FORMAT = "v1"
KEY_BYTES = 32
NONCE_BYTES = 12

_ENVELOPE = re.compile(r"v1\.([0-9A-Za-z]{1,64})\.([0-9A-Za-z_-]{16})\.([0-9A-Za-z_-]{22,})")


@dataclass(frozen=True, slots=True)
class TenantKeys:
    """The keys of one tenant generation, by version: the newest seals, all of them open."""

    newest: str
    ciphers: Mapping[str, AESGCM] = field(repr=False)


class KeySource(Protocol):
    """The way to one tenant generation's keys. Raises KeysUnavailable when they cannot be had."""

    def __call__(self, *, anew: bool) -> TenantKeys:
        """The keys; `anew` asks the ring itself and not a memory of it."""
        ...


@dataclass(frozen=True, slots=True)
class TenantSealer:
    """The Sealer port for one tenant generation. The envelope is `v1.<key version>.<nonce>.<ciphertext>`."""

    tenant: TenantRef
    generation: int
    keys: KeySource = field(repr=False)
    randomness: Randomness = field(repr=False)

    def seal(self, place: Place, secret: bytes) -> Sealed:
        """The secret, sealed for that place under the newest key version."""
        keys = self.keys(anew=False)
        nonce = self.randomness(NONCE_BYTES)
        ciphertext = keys.ciphers[keys.newest].encrypt(nonce, secret, self._bound(keys.newest, place))
        return Sealed(".".join((FORMAT, keys.newest, _text(nonce), _text(ciphertext))))

    def open(self, place: Place, sealed: Sealed) -> bytes:
        """The secret. Raises RecordUnreadable unless every byte and every part of the place is as sealed.

        A key version that the ring does not have, asked once more, is KeysUnavailable: an operator's matter.
        """
        envelope = _ENVELOPE.fullmatch(sealed.text)
        if envelope is None:
            raise RecordUnreadable
        version, nonce, ciphertext = envelope[1], _bytes(envelope[2]), _bytes(envelope[3])
        cipher = self.keys(anew=False).ciphers.get(version) or self.keys(anew=True).ciphers.get(version)
        if cipher is None:
            raise KeysUnavailable
        try:
            return cipher.decrypt(nonce, ciphertext, self._bound(version, place))
        except InvalidTag:
            raise RecordUnreadable from None

    def _bound(self, version: str, place: Place) -> bytes:
        """The associated data: each part with its length before it, so that no two places read alike."""
        parts = (
            FORMAT,
            version,
            self.tenant,
            str(self.generation),
            place.owner,
            place.user,
            place.kind,
            place.record,
            str(place.version),
        )
        encoded = (part.encode() for part in parts)
        return b"".join(len(part).to_bytes(4, "big") + part for part in encoded)


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    """The bytes behind base64url (RFC 4648, 5) without padding. Raises RecordUnreadable for a second spelling."""
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        raise RecordUnreadable from None
    if _text(raw) != text:
        raise RecordUnreadable
    return raw
