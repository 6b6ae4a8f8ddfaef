"""The development keyring: a folder with one file a key, readable by its owner alone."""

import hmac
import os
import re
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from shared.errors import BadSettings, KeysUnavailable
from shared.keys.sealing import KEY_BYTES, TenantKeys, TenantSealer
from shared.model.identity import TenantRef, keyed_digest
from shared.ports import Clock, Randomness, Sealer

FRESH_MS = 10 * 60_000
"""How long keys are used without asking the folder."""

STALE_MS = 60 * 60_000
"""How long they are used when the folder cannot be asked."""

_PEPPER = "pepper"
_REF = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class _Kept:
    """Keys in memory, and since when (epoch milliseconds)."""

    keys: TenantKeys = field(repr=False)
    since: int

    def younger_than(self, life: int, now: int) -> bool:
        return 0 <= now - self.since < life


class LocalKeyring:
    """The Keyring port over a folder, which is made when it is not there. Thread-safe, and shared by processes.

    A key's file is named by tenant ref, generation and version. Raises BadSettings when the folder cannot be
    used, or when anybody but its owner can read it or a file in it.
    """

    def __init__(self, folder: Path, randomness: Randomness, clock: Clock) -> None:
        self._folder = folder.absolute()
        self._randomness = randomness
        self._clock = clock
        self._kept: dict[tuple[TenantRef, int], _Kept] = {}
        try:
            _make(self._folder)
            _refuse_readable(self._folder)
            if not (self._folder / _PEPPER).exists():
                self._write_once(_PEPPER)
            self._pepper = self._read(_PEPPER)
        except (OSError, KeysUnavailable):
            raise BadSettings("KEYS_PATH must name a folder of ours that holds whole keys.") from None

    def mint(self, tenant: TenantRef, generation: int) -> None:
        """Make the key of a tenant generation, unless it is there; when this returns it is on disk."""
        prefix = _prefix(tenant, generation)
        try:
            if any(self._versions(prefix)):
                _sync(self._folder)
            else:
                self._write_once(f"{prefix}1")
        except OSError:
            raise KeysUnavailable from None

    def sealer(self, tenant: TenantRef, generation: int) -> Sealer:
        """What seals for that tenant generation; the keys are asked for at each use."""
        return TenantSealer(tenant, generation, partial(self._keys, tenant, generation), self._randomness)

    def digest(self, label: str, *parts: str) -> str:
        """A digest under the pepper, for names that precede or outlive a tenant: 32 lower hex."""
        return keyed_digest(self._pepper, label, *parts)

    def ping(self) -> None:
        """Return when the folder can be read and holds the pepper that we began with. Raises KeysUnavailable."""
        try:
            same = hmac.compare_digest(self._read(_PEPPER), self._pepper)
        except OSError:
            raise KeysUnavailable from None
        if not same:
            raise KeysUnavailable

    def _keys(self, tenant: TenantRef, generation: int, *, anew: bool) -> TenantKeys:
        name, now = (tenant, generation), self._clock()
        kept = self._kept.get(name)
        if kept and not anew and kept.younger_than(FRESH_MS, now):
            return kept.keys
        try:
            keys = self._load(tenant, generation)
        except OSError:
            if kept and kept.younger_than(STALE_MS, now):
                return kept.keys
            raise KeysUnavailable from None
        except KeysUnavailable:
            self._kept.pop(name, None)
            raise
        self._kept[name] = _Kept(keys, now)
        return keys

    def _load(self, tenant: TenantRef, generation: int) -> TenantKeys:
        """What the folder holds. Raises KeysUnavailable for a missing or broken key, OSError where nobody can tell."""
        prefix = _prefix(tenant, generation)
        ciphers = {str(version): AESGCM(self._read(f"{prefix}{version}")) for version in self._versions(prefix)}
        if not ciphers:
            raise KeysUnavailable
        return TenantKeys(max(ciphers, key=int), ciphers)

    def _versions(self, prefix: str) -> Iterator[int]:
        for path in self._folder.iterdir():
            version = path.name.removeprefix(prefix)
            if path.name != version and re.fullmatch(r"[1-9][0-9]{0,8}", version):
                yield int(version)

    def _read(self, name: str) -> bytes:
        secret = (self._folder / name).read_bytes()
        if len(secret) != KEY_BYTES:
            raise KeysUnavailable
        return secret

    def _write_once(self, name: str) -> None:
        """A new secret under that name, whole and on disk; of racing writers the first is kept.

        A crash may leave the draft: it begins with a dot and the name, for whoever destroys that key.
        """
        draft = self._folder / f".{name}.{self._randomness(8).hex()}"
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(self._randomness(KEY_BYTES))
                file.flush()
                os.fsync(descriptor)
            with suppress(FileExistsError):
                os.link(draft, self._folder / name)
        finally:
            draft.unlink()
        _sync(self._folder)


def _prefix(tenant: TenantRef, generation: int) -> str:
    """How a tenant generation's files begin. A ref comes out of stored rows, so it is proved before it names a file."""
    if not _REF.fullmatch(tenant):
        raise KeysUnavailable
    return f"{tenant}.{generation}."


def _make(folder: Path) -> None:
    for missing in (*reversed(folder.parents), folder):
        if not missing.exists():
            missing.mkdir(mode=0o700, exist_ok=True)


def _refuse_readable(folder: Path) -> None:
    for path in (folder, *folder.iterdir()):
        with suppress(FileNotFoundError):  # another process's draft
            if stat.S_IMODE(path.stat().st_mode) & 0o077:
                raise BadSettings("KEYS_PATH must be a folder whose owner alone can read it and every file in it.")


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
