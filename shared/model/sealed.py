"""What a secret looks like at rest, and the place that it is bound to."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sealed:
    """A secret as stored: `version.key version.nonce.ciphertext`, opened only in its own place."""

    text: str

    @property
    def key_version(self) -> str:
        """The version of the tenant key that sealed it."""
        return self.text.split(".")[1]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a sealed record belongs; it opens nowhere else (associated data of AES-256-GCM).

    `owner` is the owner digest, in a user's call always computed from the principal and never read from the
    row, else whoever writes to the store could hand a victim's grant to themselves. `version` is the sealed
    record's own, moved by a commit, so that an older secret cannot be put back beside a newer row.
    """

    kind: str
    record: str
    version: int = 1
    owner: str = ""
    user: str = ""
