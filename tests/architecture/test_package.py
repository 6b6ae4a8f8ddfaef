"""What is installed: pinned, proved by hash, the same wherever it stands twice, and nothing that is not deployed."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.architecture import figures
from tests.architecture.figures import ROOT
from tests.architecture.imports_fixtures import distribution, imports, is_own

DEPLOYED = "requirements.txt"
FILES = (DEPLOYED, "shared/devkit/requirements.txt", "shared/devkit/engine.txt")
ENGINE = "azure-functions-runtime"

_HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}(?=\s|$)")
_OPTION = re.compile(r"--hash=\S*")


@dataclass(frozen=True, slots=True)
class Pin:
    """One requirement line: what is required, and how many files of it are known by hash."""

    line: str
    requirement: Requirement
    hashes: int

    @property
    def name(self) -> str:
        return canonicalize_name(self.requirement.name)

    @property
    def version(self) -> str | None:
        """The one version that it allows, or None."""
        found = re.fullmatch(r"==([0-9][0-9a-z.+!-]*)", str(self.requirement.specifier))
        return found[1] if found else None


def statements(text: str) -> list[str]:
    """The lines that pip reads: continued ones joined, comments left out."""
    joined = re.sub(r"\\\n", " ", text)
    return [line.strip() for line in joined.splitlines() if line.strip() and not line.strip().startswith("#")]


def options(text: str) -> list[str]:
    """Lines that change where or how pip looks."""
    return [line for line in statements(text) if line.startswith("-")]


def pins(text: str) -> list[Pin]:
    lines = [line for line in statements(text) if not line.startswith("-")]
    return [Pin(line, Requirement(_OPTION.sub("", line).strip()), len(_HASH.findall(line))) for line in lines]


def unproved(text: str) -> list[str]:
    """Requirements without one exact version or without a hash."""
    return [pin.name for pin in pins(text) if not pin.version or not pin.hashes]


def content(file: str) -> str:
    return (ROOT / file).read_text("utf-8")


def versions(file: str) -> Mapping[str, str | None]:
    return {pin.name: pin.version for pin in pins(content(file))}


def declared(extra: str = "") -> list[Requirement]:
    """What pyproject.toml asks for: to run, or in one of its extras."""
    project = tomllib.loads(content("pyproject.toml"))["project"]
    found = project["optional-dependencies"][extra] if extra else project["dependencies"]
    return [Requirement(text) for text in found]


# The house


@pytest.mark.parametrize("file", FILES)
def test_every_package_has_one_version_and_its_hashes(file: str) -> None:
    assert unproved(content(file)) == []
    assert pins(content(file))


@pytest.mark.parametrize("file", FILES)
def test_no_requirements_file_says_where_packages_come_from(file: str) -> None:
    assert options(content(file)) == []


@pytest.mark.parametrize("file", FILES)
def test_no_package_stands_twice_in_a_file(file: str) -> None:
    assert len(pins(content(file))) == len(versions(file))


def test_every_declared_dependency_is_pinned_at_a_version_that_fits() -> None:
    pinned = versions(DEPLOYED)
    unfit = [r.name for r in declared() if not r.specifier.contains(pinned.get(canonicalize_name(r.name)) or "0")]
    assert unfit == []


def test_every_development_dependency_is_pinned_at_a_version_that_fits() -> None:
    pinned = versions("shared/devkit/requirements.txt")
    wanted = [*declared(), *declared("dev")]
    unfit = [r.name for r in wanted if not r.specifier.contains(pinned.get(canonicalize_name(r.name)) or "0")]
    assert unfit == []


def test_nothing_for_development_is_deployed() -> None:
    development = {canonicalize_name(r.name) for r in declared("dev")} | {ENGINE}
    assert development & versions(DEPLOYED).keys() == set()


def test_development_runs_what_is_deployed() -> None:
    development = versions("shared/devkit/requirements.txt")
    assert {name: v for name, v in versions(DEPLOYED).items() if development.get(name) != v} == {}


def test_every_package_that_the_product_imports_is_declared() -> None:
    found = {(distribution(i.name), i.where) for s in figures.product() for i in imports(s) if not is_own(i.name)}
    known = {canonicalize_name(r.name) for r in declared()} | {None}
    assert sorted(where for package, where in found if package not in known) == []


def test_every_declared_dependency_is_imported_by_the_product() -> None:
    used = {distribution(i.name) for s in figures.product() for i in imports(s)}
    assert {canonicalize_name(r.name) for r in declared()} - used == set()


# The checking

HASH = "--hash=sha256:" + "0" * 64


@pytest.mark.parametrize(
    "text",
    [
        "a==1.0\n",
        f"a>=1.0 {HASH}\n",
        f"a {HASH}\n",
        f"a==1.* {HASH}\n",
        f"a==1.0,<2 {HASH}\n",
        "a==1.0 \\\n    --hash=sha256:00\n",
    ],
)
def test_a_loose_requirement_is_found(text: str) -> None:
    assert unproved(text) == ["a"]


def test_a_pinned_requirement_passes() -> None:
    text = f"# why\na-b==1.0.post1 ; python_version < '3.13' \\\n    {HASH} \\\n    {HASH}\n"
    assert unproved(text) == []
    assert [(pin.name, pin.version, pin.hashes) for pin in pins(text)] == [("a-b", "1.0.post1", 2)]


@pytest.mark.parametrize("line", ["--no-binary :all:", "-r other.txt", "-e ."])
def test_a_line_that_changes_where_packages_come_from_is_found(line: str) -> None:
    assert options(f"a==1.0 {HASH}\n{line}\n") == [line]
