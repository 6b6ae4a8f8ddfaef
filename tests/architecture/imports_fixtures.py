"""What a module imports and which foreign names it uses, read from its syntax tree."""

import ast
import functools
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from types import MappingProxyType

from tests.architecture.figures import Source, dotted, scoped

OWN = ("function_app", "functions", "shared", "tests")

DISTRIBUTIONS: Mapping[str, str] = MappingProxyType(
    {
        "azure.core": "azure-core",
        "azure.cosmos": "azure-cosmos",
        "azure.functions": "azure-functions",
        "azure.identity": "azure-identity",
        "azure.keyvault.secrets": "azure-keyvault-secrets",
        "google.protobuf": "protobuf",
        "jwt": "pyjwt",
        "opencensus.ext.azure": "opencensus-ext-azure",
        "simple_salesforce": "simple-salesforce",
    }
)
"""Import names whose distribution is called otherwise."""


@dataclass(frozen=True, slots=True)
class Import:
    """One imported name in full (`shared.model.flows.Flow`), where, and whether inside a function or class."""

    name: str
    where: str
    late: bool


@functools.cache
def imports(source: Source) -> tuple[Import, ...]:
    """Every import, those for the type checker included."""
    return tuple(
        Import(name, source.at(node), bool(scope))
        for scope, node in scoped(source.tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in _imported(node, source)
    )


@functools.cache
def uses(source: Source) -> tuple[Import, ...]:
    """Every foreign name in use, in full: `datetime.datetime.now` for `dt.now()` after `import datetime as dt`."""
    known = dict(_bound(source))
    found = list(imports(source))
    for scope, node in scoped(source.tree):
        first, _, rest = dotted(node).partition(".")
        if first in known:
            name = f"{known[first]}.{rest}".rstrip(".")
            found.append(Import(name, source.at(node), bool(scope)))
    return tuple(found)


def calls(source: Source) -> list[Import]:
    """Every foreign name that is called, in full."""
    called = {
        source.at(n) + dotted(n.func).rpartition(".")[2] for n in ast.walk(source.tree) if isinstance(n, ast.Call)
    }
    return [use for use in uses(source) if use.where + use.name.rpartition(".")[2] in called]


def is_under(name: str, prefixes: Collection[str]) -> bool:
    """Whether a dotted name is one of these or stands below one; `functions._` stands for every private module."""
    return any(name == p or name.startswith(p if p.endswith("_") else f"{p}.") for p in prefixes)


def is_own(name: str) -> bool:
    return is_under(name, OWN)


def landing(name: str, known: Collection[str]) -> str:
    """The module of ours that an imported name lands in; the name itself when there is none."""
    parts = name.split(".")
    candidates = (".".join(parts[:end]) for end in range(len(parts), 0, -1))
    return next((c for c in candidates if c in known), name)


def distribution(name: str) -> str | None:
    """The package to install for an imported name; None for the standard library."""
    top = name.partition(".")[0]
    if top in sys.stdlib_module_names:
        return None
    renamed = [d for prefix, d in DISTRIBUTIONS.items() if is_under(name, [prefix])]
    return renamed[0] if renamed else top.replace("_", "-").lower()


def cycle(sources: Collection[Source]) -> list[str]:
    """The modules of one import cycle, in order; empty when there is none."""
    known = {s.module for s in sources}
    graph = {s.module: {landing(i.name, known) for i in imports(s)} & known - {s.module} for s in sources}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return [str(name) for name in error.args[1]]
    return []


def _imported(node: ast.Import | ast.ImportFrom, source: Source) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
        return
    origin = _origin(node, source)
    yield from (origin if alias.name == "*" else f"{origin}.{alias.name}" for alias in node.names)


def _origin(node: ast.ImportFrom, source: Source) -> str:
    if not node.level:
        return node.module or ""
    parts = source.module.split(".") + ([""] if source.path.endswith("__init__.py") else [])
    return ".".join([*parts[: -node.level], *([node.module] if node.module else [])])


def _bound(source: Source) -> Iterator[tuple[str, str]]:
    """Each local name that an import binds, and what it stands for in full."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.partition(".")[0]
                yield (alias.asname, alias.name) if alias.asname else (top, top)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield alias.asname or alias.name, f"{_origin(node, source)}.{alias.name}"
