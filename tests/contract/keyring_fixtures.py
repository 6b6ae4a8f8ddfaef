"""Keyrings by name, and what a test must be able to do to each from the outside."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from shared.keys.local import LocalKeyring
from shared.model.identity import TenantRef
from shared.ports import Clock, Keyring


class KeyringBackend(Protocol):
    """Where a keyring's keys are, in the hands of an operator."""

    def open(self, clock: Clock) -> Keyring:
        """Another instance over the same keys, as a second process would make it."""
        ...

    def rotate(self, tenant: TenantRef, generation: int, version: int) -> None:
        """Add a key version."""
        ...

    def lose(self, tenant: TenantRef, generation: int, version: int) -> None:
        """Remove a key version."""
        ...

    def go_away(self) -> None:
        """Let nothing be read any more."""
        ...


class LocalFolder:
    """The keys of a LocalKeyring."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def open(self, clock: Clock) -> Keyring:
        return LocalKeyring(self.folder, os.urandom, clock)

    def rotate(self, tenant: TenantRef, generation: int, version: int) -> None:
        path = self.folder / f"{tenant}.{generation}.{version}"
        path.touch(mode=0o600)
        path.write_bytes(os.urandom(32))

    def lose(self, tenant: TenantRef, generation: int, version: int) -> None:
        (self.folder / f"{tenant}.{generation}.{version}").unlink()

    def go_away(self) -> None:
        self.folder.rename(self.folder.with_name("elsewhere"))


KEYRINGS: Mapping[str, Callable[[Path], KeyringBackend]] = {"local": LocalFolder}
