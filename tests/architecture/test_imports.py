"""Who may import whom, and who may touch clock, randomness, environment, log and network (design.md, section 2)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import pytest

from tests.architecture import figures
from tests.architecture.figures import Source
from tests.architecture.imports_fixtures import (
    Import,
    calls,
    cycle,
    distribution,
    imports,
    is_own,
    is_under,
    landing,
    uses,
)

MODEL, ERRORS, PORTS, SETTINGS = "shared.model", "shared.errors", "shared.ports", "shared.settings"


@dataclass(frozen=True, slots=True)
class Wall:
    """What may be imported: own modules by their dotted beginning, outside packages by distribution."""

    own: frozenset[str]
    outside: frozenset[str] = frozenset()

    @classmethod
    def of(cls, own: str, outside: str = "") -> "Wall":
        return cls(frozenset(own.split()), frozenset(outside.split()))


INSIDE = f"{MODEL} {PORTS} {ERRORS}"
WALLS: Mapping[str, Wall] = MappingProxyType(
    {
        MODEL: Wall.of(f"{MODEL} {ERRORS}", "pydantic"),
        ERRORS: Wall.of(""),
        PORTS: Wall.of(MODEL),
        SETTINGS: Wall.of(ERRORS, "pydantic"),
        "shared.usecases": Wall.of(f"{INSIDE} shared.usecases"),
        "shared.identity": Wall.of(f"{INSIDE} shared.identity", "pyjwt requests urllib3 msal"),
        "shared.salesforce": Wall.of(f"{INSIDE} shared.salesforce", "simple-salesforce requests urllib3 cachetools"),
        "shared.store": Wall.of(f"{INSIDE} shared.store", "azure-cosmos azure-core psycopg"),
        "shared.keys": Wall.of(f"{INSIDE} shared.keys", "cryptography pyjwt azure-keyvault-secrets azure-core"),
        "shared.telemetry": Wall.of(
            f"{INSIDE} shared.telemetry", "opencensus opencensus-ext-azure opencensus-context sentry-sdk"
        ),
        "shared.compose": Wall.of(
            f"{INSIDE} {SETTINGS} shared.usecases shared.identity shared.salesforce shared.store shared.keys "
            "shared.telemetry",
            "azure-identity",
        ),
        "functions": Wall.of(f"{MODEL} {ERRORS} shared.usecases functions._", "azure-functions pydantic"),
        "function_app": Wall.of(f"{SETTINGS} shared.compose functions", "azure-functions"),
        "shared.ops": Wall.of(
            f"{MODEL} {ERRORS} {SETTINGS} shared.store.migrations shared.keys.receipts shared.ops",
            "msal requests cryptography psycopg azure-identity azure-keyvault-secrets typer",
        ),
        "shared.devkit": Wall.of(
            f"{MODEL} {ERRORS} shared.devkit",
            "azure-functions azure-functions-runtime azurefunctions-extensions-base croniter cryptography pydantic "
            "pyjwt requests",
        ),
        "shared": Wall.of(""),
    }
)
"""Each module stands behind the wall with the longest name that it begins with."""

COLLABORATORS: Mapping[str, str] = MappingProxyType(
    {
        "commit_grant": "admission grants insist",
        "complete_connection": "admission connect grants",
        "connect": "admission enrol",
        "connections": "admission grants",
        "enrol": "admission",
        "grants": "admission",
        "list_flows": "admission sessions",
        "refresh": "admission breaker commit_grant flights grants insist refresh_failures",
        "run_flow": "admission list_flows sessions",
        "sessions": "admission grants refresh",
    }
)
"""Use cases that work with other use cases: each pair is wanted, and there are no others."""


@dataclass(frozen=True, slots=True)
class Reserved:
    """Names that only some modules may use."""

    what: str
    names: tuple[str, ...]
    owners: tuple[str, ...]


CLOCK, DEVKIT = ("shared.compose", "shared.devkit"), "shared.devkit"
PARTS = ("shared.identity", "shared.salesforce", "shared.store", "shared.keys", "shared.telemetry", "shared.ops")
RESERVED = (
    Reserved(
        "the environment",
        ("os.environ", "os.environb", "os.getenv", "os.getenvb", "os.putenv"),
        # The last two hand an environment on to the app; they read no setting.
        (SETTINGS, "shared.devkit.__main__", "shared.devkit.host", "shared.devkit.host_process"),
    ),
    # Microsoft's engine speaks through logging; the host keeps it quiet.
    Reserved("logging", ("logging",), ("shared.telemetry", "shared.devkit.engine")),
    Reserved(
        "the clock",
        (
            "time.time",
            "time.time_ns",
            "time.gmtime",
            "time.localtime",
            "time.ctime",
            "time.sleep",
            "datetime.datetime.now",
            "datetime.datetime.today",
            "datetime.datetime.utcnow",
            "datetime.date.today",
        ),
        CLOCK,
    ),
    Reserved(
        "a stopwatch",
        ("time.monotonic", "time.monotonic_ns", "time.perf_counter", "time.perf_counter_ns"),
        (*CLOCK, "shared.identity.signing_keys", "shared.salesforce"),
    ),
    Reserved("randomness", ("secrets", "random", "os.urandom", "uuid.uuid1", "uuid.uuid4", "ssl.RAND_bytes"), CLOCK),
    Reserved("imports by text", ("importlib", "runpy", "pkgutil"), CLOCK),
    Reserved("processes", ("subprocess", "multiprocessing", "os.system", "os.fork"), (DEVKIT,)),
    Reserved(
        "the network",
        ("socket", "http.client", "urllib.request", "urllib3", "requests", "smtplib", "asyncio"),
        (*PARTS, "shared.compose", DEVKIT),
    ),
    Reserved("the opened grant", ("shared.model.connections.Grant",), (MODEL, PORTS, "shared.usecases", *PARTS[1:2])),
    Reserved(
        "what came out of a Flow or a mailbox",
        (
            "shared.model.email",
            "shared.model.flows.FlowOutputs",
            "shared.model.flows.FlowInputs",
            "shared.model.runs.FlowResult",
            "shared.model.runs.FlowFault",
        ),
        (MODEL, PORTS, "shared.usecases", "shared.salesforce", "functions", DEVKIT),
    ),
)

LATE = ("msal",)
"""What may be imported inside a function outside compose, since few calls need it."""


def snippet(text: str, path: str = "shared/model/snippet.py") -> Source:
    return Source.of(path, text)


def everything() -> list[Source]:
    return [*figures.product(), *figures.devkit()]


def wall_of(module: str) -> Wall:
    return WALLS[max((name for name in WALLS if is_under(module, [name])), key=len)]


def trespasses(sources: Iterable[Source]) -> list[str]:
    """Every import through a wall, as `place imported`."""
    return [f"{i.where} {i.name}" for s in sources for i in imports(s) if not _allowed(s, i)]


def _allowed(source: Source, found: Import) -> bool:
    wall = wall_of(source.module)
    if is_own(found.name):
        return is_under(found.name, wall.own)
    package = distribution(found.name)
    return package is None or package in wall.outside


def misuses(sources: Iterable[Source], reserved: Reserved) -> list[str]:
    return [
        f"{use.where} {use.name}"
        for source in sources
        if not is_under(source.module, reserved.owners)
        for use in uses(source)
        if is_under(use.name, reserved.names)
    ]


def pairs(sources: Iterable[Source]) -> set[tuple[str, str]]:
    """Which use case imports which other."""
    cases = {s.module: s for s in sources if s.module.startswith("shared.usecases.")}
    found = {(m, landing(i.name, cases)) for m, s in cases.items() for i in imports(s)}
    return {(m.rpartition(".")[2], to.rpartition(".")[2]) for m, to in found if to in cases and to != m}


def late(sources: Iterable[Source]) -> list[str]:
    outside = [s for s in sources if s.module != "shared.compose"]
    return [f"{i.where} {i.name}" for s in outside for i in imports(s) if i.late and not is_under(i.name, LATE)]


# The house


def test_every_module_imports_only_what_its_wall_lets_in() -> None:
    assert trespasses(everything()) == []


def test_parts_that_face_different_systems_never_import_each_other() -> None:
    outward = WALLS.keys() & set(PARTS) - {"shared.ops"}
    crossed = [(a, b) for a in outward for b in outward if a != b and is_under(b, WALLS[a].own)]
    assert crossed == []


@pytest.mark.parametrize("inner", ["functions", "shared.devkit", "function_app", "shared.ops", "tests"])
def test_nobody_imports_what_stands_outermost(inner: str) -> None:
    others = [s for s in everything() if not is_under(s.module, [inner, "function_app"])]
    assert [f"{i.where} {i.name}" for s in others for i in imports(s) if is_under(i.name, [inner])] == []


def test_use_cases_work_together_only_as_named() -> None:
    wanted = {(case, other) for case, named in COLLABORATORS.items() for other in named.split()}
    assert pairs(everything()) == wanted


def test_there_is_no_import_cycle() -> None:
    assert cycle(everything()) == []


def test_imports_stand_at_the_top() -> None:
    assert late(everything()) == []


@pytest.mark.parametrize("reserved", RESERVED, ids=lambda r: r.what)
def test_what_is_reserved_is_used_by_its_owners_alone(reserved: Reserved) -> None:
    assert misuses(everything(), reserved) == []


@pytest.mark.parametrize(
    ("proof", "maker"),
    [
        ("shared.model.identity.Principal", "shared.identity.issuers"),
        ("shared.usecases.admission.Admitted", "shared.usecases.admission"),
    ],
)
def test_what_proves_a_caller_is_made_in_one_place(proof: str, maker: str) -> None:
    others = [s for s in figures.product() if s.module != maker]
    assert [c.where for s in others for c in calls(s) if c.name == proof] == []


def test_identity_does_make_principals() -> None:
    rules = [s for s in everything() if s.module == "shared.identity.issuers"]
    assert [c for s in rules for c in calls(s) if c.name == "shared.model.identity.Principal"]


def test_every_part_of_the_house_was_seen() -> None:
    seen = {s.module for s in everything()}
    inner = "errors ports settings compose model.flows usecases.run_flow identity.verifier salesforce.org store.sqlite"
    wanted = {f"shared.{name}" for name in f"{inner} keys.sealing telemetry.sinks devkit.workbench".split()}
    assert wanted | {"function_app", "functions._http", "functions.run_flow"} <= seen


# The checking


@pytest.mark.parametrize(
    ("path", "statement"),
    [
        ("shared/model/a.py", "import shared.ports"),
        ("shared/model/a.py", "from shared.usecases.connect import BeginConnect"),
        ("shared/errors.py", "from shared.model import flows"),
        ("shared/ports.py", "from shared.errors import Conflict"),
        ("shared/usecases/a.py", "from pydantic import BaseModel"),
        ("shared/usecases/a.py", "import requests"),
        ("shared/usecases/a.py", "from shared import settings"),
        ("shared/identity/a.py", "from shared.salesforce import faults"),
        ("shared/store/a.py", "from cryptography.hazmat import primitives"),
        ("shared/store/a.py", "from shared.keys.sealing import seal"),
        ("shared/keys/a.py", "import azure.cosmos"),
        ("shared/salesforce/a.py", "import pydantic"),
        ("shared/compose.py", "from functions import me"),
        ("functions/me.py", "from shared.ports import Store"),
        ("functions/me.py", "from functions.about import health"),
        ("functions/me.py", "from . import about"),
        ("shared/settings.py", "from shared.model.identity import Provider"),
        ("shared/devkit/a.py", "from shared.usecases.connect import BeginConnect"),
        ("shared/devkit/a.py", "from tests.security import tokens_fixtures"),
        ("shared/__init__.py", "from shared import model"),
        ("shared/new/a.py", "import shared.model.flows"),
        ("function_app.py", "from shared.store.sqlite import SqliteStore"),
    ],
)
def test_an_import_through_a_wall_is_found(path: str, statement: str) -> None:
    assert len(trespasses([snippet(statement, path)])) == 1


@pytest.mark.parametrize(
    ("path", "statement"),
    [
        ("shared/model/a.py", "import json\nfrom pydantic import Field\nfrom shared.errors import Conflict"),
        ("shared/usecases/a.py", "from shared.usecases.grants import Grants\nfrom shared.ports import Store"),
        ("shared/identity/a.py", "import jwt\nimport requests.exceptions"),
        ("shared/salesforce/a.py", "from simple_salesforce import api\nfrom cachetools import TTLCache"),
        ("shared/store/sqlite.py", "import sqlite3\nfrom shared.store.records import row"),
        ("shared/keys/vault.py", "from azure.keyvault.secrets import SecretClient"),
        ("functions/me.py", "import azure.functions as func\nfrom functions._http import reply"),
        ("functions/_http.py", "from functions._reading import bearer"),
        ("function_app.py", "from shared import compose, settings\nfrom functions import me"),
    ],
)
def test_an_import_within_the_walls_passes(path: str, statement: str) -> None:
    assert trespasses([snippet(statement, path)]) == []


def test_relative_imports_are_read_in_full() -> None:
    statement = "from . import a\nfrom .b import c\nfrom .. import ports\nfrom ..keys import d"
    names = ["shared.store.a", "shared.store.b.c", "shared.ports", "shared.keys.d"]
    assert [i.name for i in imports(snippet(statement, "shared/store/sqlite.py"))] == names
    assert [i.name for i in imports(snippet("from .a import b", "shared/store/__init__.py"))] == ["shared.store.a.b"]


def test_a_cycle_is_found_with_its_path() -> None:
    first = snippet("from shared.model import b", "shared/model/a.py")
    second = snippet("import shared.model.c", "shared/model/b.py")
    third = snippet("from shared.model.a import x", "shared/model/c.py")
    assert set(cycle([first, second, third])) == {"shared.model.a", "shared.model.b", "shared.model.c"}
    assert cycle([first, second]) == []


def test_a_pair_of_use_cases_is_found_by_either_spelling() -> None:
    first = snippet("from shared.usecases import b", "shared/usecases/a.py")
    second = snippet("from shared.usecases.a import A", "shared/usecases/b.py")
    assert pairs([first, second]) == {("a", "b"), ("b", "a")}


def test_a_late_import_is_found_unless_it_is_compose_or_msal() -> None:
    text = "def f() -> None:\n    import msal\n    from shared.store import sqlite\n"
    assert late([snippet(text, "shared/identity/a.py")]) == ["shared/identity/a.py:3 shared.store.sqlite"]
    assert late([snippet(text, "shared/compose.py")]) == []


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("the environment", "import os\nx = os.environ['A']"),
        ("the environment", "from os import getenv as g\nx = g('A')"),
        ("logging", "import logging"),
        ("logging", "from logging import getLogger"),
        ("the clock", "import time\nx = time.time()"),
        ("the clock", "from time import time_ns"),
        ("the clock", "import datetime as dt\nx = dt.datetime.now(dt.UTC)"),
        ("the clock", "from datetime import date\nx = date.today"),
        ("a stopwatch", "from time import monotonic"),
        ("randomness", "import secrets\nx = secrets.token_bytes(16)"),
        ("randomness", "import uuid\nx = uuid.uuid4()"),
        ("randomness", "from os import urandom"),
        ("imports by text", "import importlib\nx = importlib.import_module('a')"),
        ("processes", "import subprocess\nsubprocess.run([])"),
        ("the network", "import urllib.request"),
        ("the network", "import requests\nx = requests.get('')"),
        ("what came out of a Flow or a mailbox", "from shared.model.flows import FlowOutputs"),
        ("what came out of a Flow or a mailbox", "from shared.model import email"),
        ("the opened grant", "from shared.model.connections import Grant"),
    ],
)
def test_a_reserved_name_is_found_in_whoever_does_not_own_it(what: str, text: str) -> None:
    reserved = next(r for r in RESERVED if r.what == what)
    assert misuses([snippet(text, "shared/outsider.py")], reserved)
    assert misuses([snippet(text, f"{reserved.owners[0].replace('.', '/')}.py")], reserved) == []


@pytest.mark.parametrize(
    "text",
    [
        "from datetime import UTC, datetime\nx = datetime.fromtimestamp(1, UTC)",
        "time = 1\nx = time.time",
        "import hmac\nx = hmac.compare_digest('a', 'b')",
        "random = 2\nx = random",
        "import uuid\nx = uuid.UUID('a')",
    ],
)
def test_a_name_that_only_looks_reserved_passes(text: str) -> None:
    assert [r.what for r in RESERVED if misuses([snippet(text, "shared/usecases/a.py")], r)] == []


def test_making_a_principal_is_told_from_speaking_of_one() -> None:
    text = "from shared.model.identity import Principal\ndef f(a: Principal) -> Principal:\n    return Principal(a)\n"
    assert [c.where for c in calls(snippet(text))] == ["shared/model/snippet.py:3"]


@pytest.mark.parametrize(
    ("name", "package"),
    [
        ("json", None),
        ("jwt.types", "pyjwt"),
        ("azure.functions", "azure-functions"),
        ("azure.keyvault.secrets", "azure-keyvault-secrets"),
        ("azure_functions_runtime.loader", "azure-functions-runtime"),
        ("simple_salesforce.exceptions", "simple-salesforce"),
    ],
)
def test_an_import_name_leads_to_its_package(name: str, package: str | None) -> None:
    assert distribution(name) == package
