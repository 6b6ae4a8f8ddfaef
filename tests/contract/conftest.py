"""Every store and every keyring, by name: a new backend joins its suite by a name in its list."""

from pathlib import Path

import pytest

from shared.ports import Keyring, Store, TenantStore
from tests.contract.keyring_fixtures import KEYRINGS, KeyringBackend
from tests.contract.store_fixtures import REF, STORES, SetClock, open_store


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture(params=sorted(STORES))
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def store(backend: str, tmp_path: Path, clock: SetClock) -> Store:
    return open_store(backend, tmp_path, clock)


@pytest.fixture
def rows(store: Store) -> TenantStore:
    return store.tenant(REF)


@pytest.fixture(params=sorted(KEYRINGS))
def ring(request: pytest.FixtureRequest, tmp_path: Path) -> KeyringBackend:
    return KEYRINGS[str(request.param)](tmp_path / "keys")


@pytest.fixture
def keyring(ring: KeyringBackend, clock: SetClock) -> Keyring:
    return ring.open(clock)
