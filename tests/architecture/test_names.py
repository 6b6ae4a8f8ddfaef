"""Names say what a thing is, and the repository's text speaks of the product alone (design.md, sections 2 and 5)."""

import ast
import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.architecture import figures
from tests.architecture.figures import ROOT, Source

VAGUE = re.compile(r"(^|_)(utils?|helpers?|commons?|bases?|managers?|misc|stuff|tools?)($|_)")
"""Parts of file and folder names that say nothing."""

CLASS_NAMES = re.compile(r"I[A-Z][a-z]\w*|\w+(Service|Impl|Manager|Helper|Utils?|Base|Protocol|Interface)")
"""Class names that speak of a pattern and not of the thing."""

# Each is written so that it does not match its own text here.
FOREIGN = re.compile(
    r"(?<![\w.-])/wor[k]/|/tm[p]/brief|(?<![\w.-])/roo[t]\b|"
    r"pypi\.or[g]|pythonhoste[d]|artifactor[y]|--(extra-)?index-ur[l]|--find-link[s]|--trusted-hos[t]|"
    r"this session'[s]|AI assistan[t]|language mode[l]|Claud[e]|ChatGP[T]|[Cc]oding assistan[t]|my instruction[s]|"
    r"the brie[f] says|as an A[I]\b"
)
"""Machine paths, package registries and their options, and talk about how the text came to be."""

MUST_EXIST = ("function_app.py", "functions/_http.py", "pyproject.toml", "shared/ports.py")


def ours() -> list[Path]:
    """Every file of the work tree that git does not ignore; .gitignore is plain enough to be read by hand."""
    ignored = {".git", *(line.strip("/") for line in (ROOT / ".gitignore").read_text("utf-8").split())}
    found = [p for p in ROOT.rglob("*") if p.is_file() and p.suffix != ".pyc"]
    return [p for p in found if not ignored.intersection(p.relative_to(ROOT).parts)]


def vague_parts(path: Path) -> list[str]:
    return [part for part in path.parts if VAGUE.search(part.removesuffix(path.suffix).lower())]


def vague_classes(sources: Iterable[Source]) -> list[str]:
    classes = [(s, n) for s in sources for n in ast.walk(s.tree) if isinstance(n, ast.ClassDef)]
    return [f"{s.at(n)} {n.name}" for s, n in classes if CLASS_NAMES.fullmatch(n.name)]


def foreign_words(text: str) -> list[str]:
    """Each foreign word as `line word`."""
    lines = enumerate(text.splitlines(), start=1)
    return [f"{number} {found[0]}" for number, line in lines for found in FOREIGN.finditer(line)]


# The house


def test_no_file_or_folder_has_a_name_that_says_nothing() -> None:
    assert [str(p) for p in (path.relative_to(ROOT) for path in ours()) if vague_parts(p)] == []


def test_no_class_is_named_after_a_pattern() -> None:
    assert vague_classes([*figures.product(), *figures.devkit()]) == []


def test_the_repository_speaks_of_the_product_alone() -> None:
    texts = {path.relative_to(ROOT): path.read_bytes().decode("utf-8", "replace") for path in ours()}
    assert [f"{path}:{found}" for path, text in texts.items() for found in foreign_words(text)] == []


def test_the_files_that_must_be_read_were() -> None:
    seen = {path.relative_to(ROOT).as_posix() for path in ours()}
    assert [name for name in MUST_EXIST if name not in seen] == []


def test_nothing_ignored_was_read() -> None:
    assert [p for p in ours() if {".venv", ".git", "__pycache__", ".dev"} & set(p.relative_to(ROOT).parts)] == []


# The checking


@pytest.mark.parametrize(
    "path",
    ["shared/utils.py", "shared/helpers/a.py", "tests/common_fixtures.py", "store_manager.py", "Misc.md", "a/base.py"],
)
def test_a_vague_file_name_is_found(path: str) -> None:
    assert len(vague_parts(Path(path))) == 1


@pytest.mark.parametrize("path", ["shared/devkit/issuers.py", "functions/_http.py", "database.py", "tests/security"])
def test_a_telling_file_name_passes(path: str) -> None:
    assert vague_parts(Path(path)) == []


@pytest.mark.parametrize("name", ["IStore", "StoreService", "StoreImpl", "KeyManager", "UrlUtils", "ModelBase"])
def test_a_class_named_after_a_pattern_is_found(name: str) -> None:
    assert vague_classes([Source.of("shared/a.py", f"class {name}:\n    pass\n")]) == [f"shared/a.py:1 {name}"]


@pytest.mark.parametrize("name", ["Store", "InputType", "IdempotencyKeyNeeded", "IPAddress", "Keyring", "Issuer"])
def test_a_class_named_after_the_thing_passes(name: str) -> None:
    assert vague_classes([Source.of("shared/a.py", f"class {name}:\n    pass\n")]) == []


@pytest.mark.parametrize(
    "words",
    [
        ("see /wor", "k/main/x"),
        ("cd /roo", "t"),
        ("https://pypi.or", "g/simple"),
        ("pip install --index-ur", "l x"),
        ("this session'", "s notes"),
        ("written by an AI assistan", "t"),
    ],
)
def test_foreign_words_are_found_with_their_line(words: tuple[str, str]) -> None:
    assert [found.partition(" ")[0] for found in foreign_words("fine\n" + "".join(words))] == ["2"]


@pytest.mark.parametrize(
    "text",
    ["Salesforce ends the session's token", "https://a.example/work/1", "/rooted", "SessionExpired", "framework/"],
)
def test_words_of_the_product_pass(text: str) -> None:
    assert foreign_words(text) == []
