"""A Salesforce on loopback with TLS, and the product's own clients in front of it."""

from collections.abc import Iterator

import pytest

from shared.devkit.salesforce import SalesforceServer
from shared.devkit.tls import DevelopmentCA
from shared.salesforce.pool import Pool
from tests.salesforce.salesforce_fixtures import CLIENT_ID, CLIENT_SECRET, REDIRECT_URI, Wired


@pytest.fixture(scope="session")
def ca(tmp_path_factory: pytest.TempPathFactory) -> DevelopmentCA:
    return DevelopmentCA.create(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def pool(ca: DevelopmentCA) -> Iterator[Pool]:
    with Pool(str(ca.ca_pem)) as made:
        yield made


@pytest.fixture
def wired(ca: DevelopmentCA, pool: Pool) -> Iterator[Wired]:
    with SalesforceServer(ca, client_id=CLIENT_ID, client_secret=CLIENT_SECRET, redirect_uri=REDIRECT_URI) as server:
        yield Wired(server, pool)
