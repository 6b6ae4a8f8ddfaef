"""Worlds that tests share: one served app for each way of setting it up, and new people in it for each test."""

from collections.abc import Iterator

import pytest

from tests.security.journey_fixtures import World, serving


@pytest.fixture(scope="session")
def shared_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with serving(tmp_path_factory.mktemp("world")) as world:
        yield world


@pytest.fixture
def world(shared_world: World) -> Iterator[World]:
    """An app where enrolment is open; Salesforce is as usual again afterwards."""
    yield shared_world
    shared_world.salesforce.steering.reset()


@pytest.fixture(scope="session")
def strict_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """An app where operators enrol tenants."""
    with serving(tmp_path_factory.mktemp("strict"), {"ENROLMENT": "operator"}) as world:
        yield world


@pytest.fixture(scope="session")
def shared_aging_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with serving(tmp_path_factory.mktemp("aging")) as world:
        yield world


@pytest.fixture
def aging_world(shared_aging_world: World) -> Iterator[World]:
    """An app in which time passes; no other test minds."""
    yield shared_aging_world
    shared_aging_world.salesforce.steering.reset()


@pytest.fixture(scope="session")
def shared_hasty_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    given = {"SF_RUN_S": "1", "SF_METADATA_S": "1"}
    with serving(tmp_path_factory.mktemp("hasty"), given) as world:
        yield world


@pytest.fixture
def hasty_world(shared_hasty_world: World) -> Iterator[World]:
    """An app that waits one second for an org."""
    yield shared_hasty_world
    shared_hasty_world.salesforce.steering.reset()
