"""Instances that tests share: one workbench, four processes in it for most tests, two hasty ones for the others."""

from collections.abc import Iterator

import pytest

from shared.devkit.workbench import Workbench
from tests.lifecycle.instances_fixtures import HASTY, SETTINGS, Instance, Member, starting


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workbench]:
    folder = tmp_path_factory.mktemp("lifecycle")
    (folder / "clock").write_text("0")
    with Workbench(folder, given={"CLOCK_FILE": str(folder / "clock"), **SETTINGS}) as made:
        yield made


@pytest.fixture(scope="session")
def shared_instances(bench: Workbench) -> Iterator[list[Instance]]:
    with starting(bench, 4) as made:
        yield made


@pytest.fixture
def instances(shared_instances: list[Instance]) -> Iterator[list[Instance]]:
    """Four processes; Salesforce is as usual again afterwards."""
    yield shared_instances
    shared_instances[0].salesforce.steering.reset()


@pytest.fixture(scope="session")
def shared_hasty(bench: Workbench) -> Iterator[list[Instance]]:
    with starting(bench, 2, **HASTY) as made:
        yield made


@pytest.fixture
def hasty(shared_hasty: list[Instance]) -> Iterator[list[Instance]]:
    """Two processes that give up a token call after two seconds, and hold a claim for four."""
    yield shared_hasty
    shared_hasty[0].salesforce.steering.reset()


@pytest.fixture
def ada(instances: list[Instance]) -> Member:
    return Member.joining(instances)


@pytest.fixture
def ben(instances: list[Instance]) -> Member:
    return Member.joining(instances)
