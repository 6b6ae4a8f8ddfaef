"""What the devkit's own tests share: a client that takes nothing from its environment."""

from collections.abc import Iterator

import pytest
import requests

from shared.devkit.tls import DevelopmentCA


@pytest.fixture(scope="session")
def ca(tmp_path_factory: pytest.TempPathFactory) -> DevelopmentCA:
    return DevelopmentCA.create(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def http(ca: DevelopmentCA) -> Iterator[requests.Session]:
    """A session that trusts the development CA, and neither proxies nor bundles of the environment."""
    with requests.Session() as session:
        session.trust_env = False
        session.verify = str(ca.ca_pem)
        yield session
