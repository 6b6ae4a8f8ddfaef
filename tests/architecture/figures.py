"""The figures of the house, counted over the syntax tree: `test_budget.py` holds them, `main` prints them.

What is counted
    code line     a line that holds a token: no blank, no comment, no docstring
    function      its code lines from `def` to its end, decorators left out; a nested one counts alone and in its
                  parent; stubs (`...`, only a docstring) and overloads are left out
    branches      1 + if, for, while, except, case, each further `and`/`or`, each `if` of a comprehension
    typed         every parameter and the result are annotated
    public        no leading underscore, in a class or module that has none either; `__call__` is public
    per 1,000     occurrences for 1,000 code lines of the same files

Run as a script it needs nothing but the standard library.
"""

import ast
import functools
import io
import statistics
import sys
import tokenize
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = ("function_app.py", "functions", "shared")
DEVKIT = "shared/devkit/"
DEVKIT_TESTS = ("tests/devkit/", "tests/worker/test_host_")

FILE_MAX = 250
FUNCTION_P95, FUNCTION_MAX, BRANCHES_MAX = 25, 40, 10
ANY_MAX, IGNORES_MAX, MOCKS_MAX = 2, 1, 1
TESTS_MIN, TESTS_MAX, DEVKIT_TESTS_MIN = 1.2, 2, 0.6

Function = ast.FunctionDef | ast.AsyncFunctionDef
_SILENT = {tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER, tokenize.ENCODING}
_BRANCHES = ast.If | ast.IfExp | ast.For | ast.AsyncFor | ast.While | ast.ExceptHandler | ast.match_case
_MOCKING = ("unittest.mock", "mock", "mocker", "pytest_mock")


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """One Python file: its path from the root with slashes, its text, tree, rows of code, and comments by row."""

    path: str
    tree: ast.Module
    code: frozenset[int]
    comments: tuple[tuple[int, str], ...]

    @classmethod
    def of(cls, path: str, text: str) -> Self:
        tree = ast.parse(text)
        tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
        rows = {row for t in tokens if t.type not in _SILENT | {tokenize.COMMENT} for row in _rows(t)}
        comments = tuple((t.start[0], t.string) for t in tokens if t.type == tokenize.COMMENT)
        return cls(path, tree, frozenset(rows - _docstring_rows(tree)), comments)

    @property
    def module(self) -> str:
        """Its dotted name; a package is named by its folder."""
        return self.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    def at(self, node: ast.AST) -> str:
        """Where a node stands, as an editor opens it."""
        return f"{self.path}:{getattr(node, 'lineno', 1)}"

    def length(self, node: Function) -> int:
        """Code lines of a function."""
        return len(self.code.intersection(range(node.lineno, (node.end_lineno or node.lineno) + 1)))


@dataclass(frozen=True, slots=True)
class Figure:
    """One counted thing: where it stands, what it is, and how much of it there is."""

    where: str
    what: str
    amount: int = 1

    def __str__(self) -> str:
        return f"{self.where} {self.what}: {self.amount}"


@functools.cache
def read(*prefixes: str) -> tuple[Source, ...]:
    """Every Python file at or under these paths, read once; what is not there is left out."""
    found = [file for prefix in prefixes for file in _files(ROOT / prefix)]
    return tuple(Source.of(file.relative_to(ROOT).as_posix(), file.read_text("utf-8")) for file in found)


def product() -> list[Source]:
    """What is deployed."""
    return [s for s in read(*PRODUCT) if not s.path.startswith(DEVKIT)]


def devkit() -> list[Source]:
    """The loopback counterparts and the host: test equipment, with tests of their own."""
    return list(read(DEVKIT))


def tests(*, of_devkit: bool) -> list[Source]:
    """The tests of the devkit, or all the others."""
    return [s for s in read("tests") if s.path.startswith(DEVKIT_TESTS) is of_devkit]


def scoped(node: ast.AST, scope: str = "") -> Iterator[tuple[str, ast.AST]]:
    """Every node below, with the dotted name of the function or class that it is or stands in."""
    for child in ast.iter_child_nodes(node):
        inner = f"{scope}.{child.name}".lstrip(".") if isinstance(child, ast.ClassDef | Function) else scope
        yield inner, child
        yield from scoped(child, inner)


def functions(source: Source) -> Iterator[tuple[str, Function]]:
    """Every function with its dotted name, without stubs and overloads."""
    for name, node in scoped(source.tree):
        if isinstance(node, Function) and not _is_stub(node):
            yield name, node


def lengths(source: Source) -> list[Figure]:
    return [Figure(source.at(node), name, source.length(node)) for name, node in functions(source)]


def branches(source: Source) -> list[Figure]:
    return [Figure(source.at(node), name, _branches(node)) for name, node in functions(source)]


def untyped(source: Source) -> list[Figure]:
    """Functions with a parameter or a result that is not annotated, stubs included."""
    found = [(name, node) for name, node in scoped(source.tree) if isinstance(node, Function)]
    return [Figure(source.at(node), name) for name, node in found if not _is_typed(node)]


def undocumented(source: Source) -> list[Figure]:
    """Public names without a docstring; an empty file needs none."""
    missing = [source.tree] if source.code and not ast.get_docstring(source.tree) else []
    documentable = [node for node in _public(source.tree.body) if not ast.get_docstring(node)]
    return [Figure(source.at(node), getattr(node, "name", "the module")) for node in (*missing, *documentable)]


def anys(source: Source) -> list[Figure]:
    names = [node for node in ast.walk(source.tree) if isinstance(node, ast.Name | ast.Attribute)]
    return [Figure(source.at(node), "Any") for node in names if dotted(node).rpartition(".")[2] == "Any"]


def ignores(source: Source) -> list[Figure]:
    """Comments that silence the type checker; `noqa` is the linter's and not counted."""
    silenced = [(row, text) for row, text in source.comments if "type: ignore" in text or "pyright: ignore" in text]
    return [Figure(f"{source.path}:{row}", text) for row, text in silenced]


def broad_excepts(source: Source) -> list[Figure]:
    """Handlers of everything, and `suppress` of everything, each as `module:function`."""
    found = [(scope, node) for scope, node in scoped(source.tree) if _is_broad(node)]
    return [Figure(source.at(node), f"{source.module}:{scope}") for scope, node in found]


def mocks(source: Source) -> list[Figure]:
    """Uses of mocking libraries, and of monkeypatch to replace an attribute."""
    imported = {
        alias.asname or alias.name
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ImportFrom) and node.module in _MOCKING
        for alias in node.names
    }
    used = [node for node in ast.walk(source.tree) if isinstance(node, ast.Name | ast.Attribute)]
    return [Figure(source.at(node), dotted(node)) for node in used if _is_mock(node, imported)]


def code_lines(sources: Iterable[Source]) -> int:
    return sum(len(s.code) for s in sources)


def p95(amounts: Sequence[int]) -> int:
    """The value that 95 of 100 do not pass; 0 of nothing."""
    return sorted(amounts)[min(len(amounts) - 1, len(amounts) * 95 // 100)] if amounts else 0


def dotted(node: ast.AST) -> str:
    """`a.b.c` of a name or a chain of attributes; empty for anything else."""
    if isinstance(node, ast.Attribute):
        owner = dotted(node.value)
        return f"{owner}.{node.attr}" if owner else ""
    return node.id if isinstance(node, ast.Name) else ""


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    return sorted(p for p in path.rglob("*.py") if "__pycache__" not in p.parts)


def _rows(token: tokenize.TokenInfo) -> range:
    return range(token.start[0], token.end[0] + 1)


def _docstring_rows(tree: ast.Module) -> set[int]:
    held: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | Function) and ast.get_docstring(node) is not None:
            first = node.body[0]
            held.update(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    return held


def _is_stub(node: Function) -> bool:
    silent = all(
        isinstance(s, ast.Pass) or (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant)) for s in node.body
    )
    return silent or _has_decorator(node, "overload")


def _has_decorator(node: Function, *names: str) -> bool:
    return any(dotted(d).rpartition(".")[2] in names for d in node.decorator_list)


def _branches(node: ast.AST) -> int:
    total = 1
    for child in ast.walk(node):
        total += isinstance(child, _BRANCHES)
        total += len(child.values) - 1 if isinstance(child, ast.BoolOp) else 0
        total += len(child.ifs) if isinstance(child, ast.comprehension) else 0
    return total


def _is_typed(node: Function) -> bool:
    every = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs, node.args.vararg, node.args.kwarg]
    given = [a for i, a in enumerate(every) if a and not (i == 0 and a.arg in {"self", "cls", "mcs"})]
    return node.returns is not None and all(a.annotation for a in given)


def _public(body: Sequence[ast.stmt]) -> Iterator[ast.ClassDef | Function]:
    for node in body:
        if not isinstance(node, ast.ClassDef | Function) or (node.name.startswith("_") and node.name != "__call__"):
            continue
        if isinstance(node, ast.ClassDef):
            yield node
            yield from _public(node.body)
        elif not _has_decorator(node, "overload", "setter", "deleter"):
            yield node


def _is_broad(node: ast.AST) -> bool:
    if isinstance(node, ast.ExceptHandler):
        return node.type is None or _names_everything(node.type)
    if isinstance(node, ast.Call) and dotted(node.func).rpartition(".")[2] == "suppress":
        return any(_names_everything(arg) for arg in node.args)
    return False


def _names_everything(node: ast.expr) -> bool:
    several = node.elts if isinstance(node, ast.Tuple) else [node]
    return any(dotted(each).rpartition(".")[2] in {"Exception", "BaseException"} for each in several)


def _is_mock(node: ast.expr, imported: set[str]) -> bool:
    name = dotted(node)
    owner = name.rpartition(".")[0]
    return name in imported or owner in _MOCKING or name == "monkeypatch.setattr"


def table() -> str:
    """The figures, one a line, product beside devkit and both, and what the house allows."""
    areas = [(product(), tests(of_devkit=False)), (devkit(), tests(of_devkit=True))]
    areas.append((areas[0][0] + areas[1][0], areas[0][1] + areas[1][1]))
    columns = zip(_ROWS, *(_column(*area) for area in areas), strict=True)
    head = ("", "product", "devkit", "all", "budget")
    rows = [head, *((label, *figures, budget) for (label, budget), *figures in columns)]
    return "\n".join(f"{label:<34}{a:>10}{b:>10}{c:>10}    {budget}".rstrip() for label, a, b, c, budget in rows)


_ROWS = (
    ("files", ""),
    ("code lines", ""),
    ("file, median", ""),
    ("file, longest", f"<= {FILE_MAX}"),
    ("functions", ""),
    ("function, median", ""),
    ("function, 95 of 100 up to", f"<= {FUNCTION_P95}"),
    ("function, longest", f"<= {FUNCTION_MAX}"),
    ("branches of a function, most", f"<= {BRANCHES_MAX}"),
    ("untyped functions", "0"),
    ("public names without docstring", "0"),
    ("Any per 1,000", f"<= {ANY_MAX}"),
    ("ignores per 1,000", f"<= {IGNORES_MAX}"),
    ("broad excepts", "named places"),
    ("test lines", ""),
    ("test lines per source line", f"{TESTS_MIN} to {TESTS_MAX} over all, devkit >= {DEVKIT_TESTS_MIN}"),
    ("mocks per 1,000 test lines", f"<= {MOCKS_MAX}"),
)


def _column(source: list[Source], tested: list[Source]) -> list[str]:
    files = [len(s.code) for s in source if s.code] or [0]
    long = [f.amount for s in source for f in lengths(s)] or [0]
    lines, test_lines = max(1, sum(files)), code_lines(tested)
    outside = [s for s in source if not s.path.startswith("functions/")]
    return [
        *(f"{n:g}" for n in (len(files), sum(files), statistics.median(files), max(files))),
        *(f"{n:g}" for n in (len(long), statistics.median(long), p95(long), max(long))),
        str(max((f.amount for s in source for f in branches(s)), default=0)),
        str(sum(len(untyped(s)) for s in source)),
        str(sum(len(undocumented(s)) for s in outside)),
        *(f"{1000 * sum(len(count(s)) for s in source) / lines:.1f}" for count in (anys, ignores)),
        str(sum(len(broad_excepts(s)) for s in source)),
        f"{test_lines}",
        f"{test_lines / lines:.2f}",
        f"{1000 * sum(len(mocks(s)) for s in tested) / max(1, test_lines):.1f}",
    ]


def main() -> int:
    """Print the table."""
    sys.stdout.write(table() + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
