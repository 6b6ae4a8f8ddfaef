"""One workbench for all, and for each test a deployment of its own in it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shared.compose import UseCases, build
from shared.devkit.workbench import Workbench
from shared.model.identity import Principal
from shared.settings import load
from tests.usecases.world_fixtures import World


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workbench]:
    with Workbench(tmp_path_factory.mktemp("workbench")) as made:
        yield made


@pytest.fixture(scope="session")
def built(bench: Workbench) -> UseCases:
    return build(load(bench.environment))


@pytest.fixture
def deploy(bench: Workbench, built: UseCases, tmp_path: Path) -> Iterator[Callable[..., World]]:
    """Makes a deployment, with other settings of Salesforce if given.

    Everything that was planned for it must have come to pass in the end.
    """
    made: list[World] = []

    def deployed(*, open_enrolment: bool = True, **environment: str) -> World:
        network = build(load({**bench.environment, **environment})) if environment else built
        made.append(World(bench, network, tmp_path / str(len(made)), open_enrolment))
        return made[-1]

    assert bench.salesforce is not None
    bench.salesforce.steering.reset()
    bench.salesforce.recorder.clear()
    yield deployed
    assert [world.interruptions.left() for world in made] == [[] for _ in made]


@pytest.fixture
def world(deploy: Callable[..., World]) -> World:
    """A deployment where users may bring their tenant in."""
    return deploy()


@pytest.fixture
def ada(world: World) -> Principal:
    return world.caller("ada")


@pytest.fixture
def expired(world: World, ada: Principal) -> str:
    """Ada's connection, whose session is over."""
    made = world.connect(ada).row.id
    world.expire_sessions()
    return made


@pytest.fixture
def ben(world: World) -> Principal:
    return world.caller("ben")
