"""The budget of the house, counted over the syntax tree. A figure is raised only with a written reason."""

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

import pytest

from tests.architecture import figures
from tests.architecture.figures import Figure, Source

BROAD_EXCEPTS: Mapping[str, str] = MappingProxyType(
    {
        "functions._http:Edge._answer": "what a handler did not foresee is refused in its own kind of answer",
        "functions._http:Edge._tell": "telemetry that breaks must not cost an answer that stands",
        "functions._http:Edge._wrapped.answered": "the last stop of a request; the host would write the text to a log",
        "functions._http:Edge.ticks.ticked": "the last stop of a timer, for the same reason",
        "shared.devkit.host:Host.start": "a host that did not start is ended, then the error goes on",
        "shared.identity.verifier:Verifier.__call__": "whatever a token makes a library do, it proves nobody",
        "shared.usecases.end_stale_runs:EndStaleRuns._tenant": "one tenant's fault must not stop the others' timer",
        "shared.salesforce.pool:_Adapter.send": "whatever the libraries raise, the call may have arrived: it is lost",
        "shared.usecases.run_flow:RunFlow._recorded": "a run whose call broke is recorded as unknown, then raised on",
    }
)
"""Where everything may be caught, and why. Each re-raises, or answers with a refusal of our own."""

Count = Callable[[Source], list[Figure]]


@pytest.fixture(scope="module", params=["product", "devkit"])
def sources(request: pytest.FixtureRequest) -> list[Source]:
    return figures.product() if request.param == "product" else figures.devkit()


def of(text: str) -> Source:
    return Source.of("shared/model/snippet.py", text)


def counted(count: Count, sources: Iterable[Source]) -> list[Figure]:
    return [figure for source in sources for figure in count(source)]


def over(most: int, found: Iterable[Figure]) -> list[str]:
    return [str(figure) for figure in sorted(found, key=lambda f: -f.amount) if figure.amount > most]


def too_many(per_thousand: int, found: list[Figure], sources: Iterable[Source]) -> list[str]:
    """The places, when there are more of them than the code's length allows."""
    allowed = per_thousand * figures.code_lines(sources) / 1000
    return [f.where for f in found] if len(found) > allowed else []


# The house


def test_a_function_has_at_most_40_code_lines(sources: list[Source]) -> None:
    assert over(figures.FUNCTION_MAX, counted(figures.lengths, sources)) == []


def test_95_of_100_functions_have_at_most_25_code_lines(sources: list[Source]) -> None:
    found = counted(figures.lengths, sources)
    assert figures.p95([f.amount for f in found]) <= figures.FUNCTION_P95, over(figures.FUNCTION_P95, found)


def test_a_function_has_at_most_10_branches(sources: list[Source]) -> None:
    assert over(figures.BRANCHES_MAX, counted(figures.branches, sources)) == []


def test_a_file_has_at_most_250_code_lines(sources: list[Source]) -> None:
    assert over(figures.FILE_MAX, [Figure(s.path, "code lines", len(s.code)) for s in sources]) == []


def test_every_function_is_typed(sources: list[Source]) -> None:
    assert [f.where for f in counted(figures.untyped, sources)] == []


def test_any_is_rare(sources: list[Source]) -> None:
    assert too_many(figures.ANY_MAX, counted(figures.anys, sources), sources) == []


def test_the_type_checker_is_hardly_ever_silenced(sources: list[Source]) -> None:
    assert too_many(figures.IGNORES_MAX, counted(figures.ignores, sources), sources) == []


def test_everything_is_caught_only_in_named_places(sources: list[Source]) -> None:
    found = counted(figures.broad_excepts, sources)
    assert [f"{f.where} {f.what}" for f in found if f.what not in BROAD_EXCEPTS] == []


def test_every_named_place_still_catches_everything() -> None:
    found = {f.what for f in counted(figures.broad_excepts, [*figures.product(), *figures.devkit()])}
    assert set(BROAD_EXCEPTS) - found == set()


def test_every_public_name_outside_functions_has_a_docstring(sources: list[Source]) -> None:
    outside = [s for s in sources if not s.path.startswith("functions/")]
    assert [f"{f.where} {f.what}" for f in counted(figures.undocumented, outside)] == []


def test_hardly_anything_is_mocked() -> None:
    tests = [*figures.tests(of_devkit=False), *figures.tests(of_devkit=True)]
    assert too_many(figures.MOCKS_MAX, counted(figures.mocks, tests), tests) == []


def test_the_house_has_between_1_2_and_2_test_lines_per_line() -> None:
    source = figures.code_lines(figures.product()) + figures.code_lines(figures.devkit())
    tests = sum(figures.code_lines(figures.tests(of_devkit=each)) for each in (True, False))
    assert figures.TESTS_MIN <= round(tests / source, 2) <= figures.TESTS_MAX, f"{tests} for {source}"


def test_the_devkit_has_tests_of_its_own() -> None:
    source, tests = figures.code_lines(figures.devkit()), figures.code_lines(figures.tests(of_devkit=True))
    assert round(tests / source, 2) >= figures.DEVKIT_TESTS_MIN, f"{tests} for {source}"


# The counting


def test_blank_lines_comments_and_docstrings_are_no_code() -> None:
    source = of(
        '"""Module."""\n\n# why\nx = 1  # one\n\n\ndef f() -> None:\n    """Doc.\n\n    More.\n    """\n    x\n'
    )
    assert sorted(source.code) == [4, 7, 12]


def test_a_text_that_is_no_docstring_is_code() -> None:
    assert len(of('x = """\na\nb\n"""\n').code) == 4


def test_a_function_is_as_long_as_its_code_without_decorators() -> None:
    text = "@a\n@b(\n    1,\n)\ndef f() -> None:\n    # why\n    return (\n        1\n    )\n"
    assert [f.amount for f in figures.lengths(of(text))] == [4]


def test_a_nested_function_counts_alone_and_in_its_parent() -> None:
    text = "def f() -> int:\n    def g() -> int:\n        return 1\n    return g()\n"
    assert [(f.what, f.amount) for f in figures.lengths(of(text))] == [("f", 4), ("f.g", 2)]


def test_a_stub_has_no_length() -> None:
    text = "class A:\n    def f(self):\n        '''Doc.'''\n        ...\n    @typing.overload\n    def g(self): 1\n"
    assert figures.lengths(of(text)) == []


@pytest.mark.parametrize(
    ("body", "branches"),
    [
        ("return 1", 1),
        ("return 1 if a else 2", 2),
        ("return a and b and c", 3),
        ("return [x for x in a if x if b]", 3),
        ("for x in a:\n        x()", 2),
        ("while a:\n        x()", 2),
        ("try:\n        x()\n    except (A, B):\n        y()", 2),
        ("match a:\n        case 1:\n            x()\n        case _:\n            y()", 3),
        ("if a:\n        x()\n    elif b:\n        y()\n    else:\n        z()", 3),
    ],
)
def test_each_way_through_a_function_is_a_branch(body: str, branches: int) -> None:
    assert [f.amount for f in figures.branches(of(f"def f() -> int:\n    {body}\n"))] == [branches]


@pytest.mark.parametrize("signature", ["f(a) -> int", "f(a: int)", "f(*a) -> int", "f(**a) -> int", "f(*, a) -> int"])
def test_a_missing_annotation_is_found(signature: str) -> None:
    assert [f.where for f in figures.untyped(of(f"def {signature}: ...\n"))] == ["shared/model/snippet.py:1"]


def test_self_and_cls_need_no_annotation() -> None:
    text = "class A:\n    def f(self, a: int) -> int: ...\n    @classmethod\n    def g(cls, *a: int) -> int: ...\n"
    assert figures.untyped(of(text)) == []


def test_names_without_docstring_are_found_with_their_place() -> None:
    text = "class A:\n    def f(self): ...\n    def __call__(self): ...\ndef g(): ...\n"
    found = [(f.where.rpartition(":")[2], f.what) for f in figures.undocumented(of(text))]
    assert found == [("1", "the module"), ("1", "A"), ("2", "f"), ("3", "__call__"), ("4", "g")]


def test_what_nobody_else_uses_needs_no_docstring() -> None:
    hidden = "def _f(): ...\nclass _A:\n    def f(self): ...\nclass B:\n    '''Doc.'''\n    def __repr__(self): ...\n"
    twice = "    @overload\n    def g(self): ...\n    @g.setter\n    def g(self): ...\n"
    assert figures.undocumented(of(f"'''Doc.'''\n{hidden}{twice}")) == []


def test_an_empty_file_needs_no_docstring() -> None:
    assert figures.undocumented(of("")) == []


def test_any_is_found_by_either_spelling() -> None:
    found = figures.anys(of("import typing\nfrom typing import Any\na: Any\nb: typing.Any\nc: dict[str, Any]\n"))
    assert [f.where[-1] for f in found] == ["3", "4", "5"]


def test_a_silenced_type_error_is_found_and_a_text_about_it_is_not() -> None:
    found = figures.ignores(of("a = 1  # type: ignore[x]\nb = '# type: ignore'\nc = 1  # noqa: E501\n"))
    assert [f.where[-1] for f in found] == ["1"]


@pytest.mark.parametrize(
    "catching",
    [
        "try:\n    a()\nexcept:\n    b()",
        "try:\n    a()\nexcept Exception:\n    b()",
        "try:\n    a()\nexcept (ValueError, builtins.BaseException):\n    b()",
        "with contextlib.suppress(ValueError, Exception):\n    a()",
    ],
)
def test_catching_everything_is_found_with_its_function(catching: str) -> None:
    body = catching.replace("\n", "\n        ")
    found = figures.broad_excepts(of(f"class A:\n    def f(self) -> None:\n        {body}\n"))
    assert [f.what for f in found] == ["shared.model.snippet:A.f"]


def test_catching_what_is_named_is_fine() -> None:
    text = "try:\n    a()\nexcept (ValueError, OSError):\n    b()\nwith suppress(KeyError):\n    a()\n"
    assert figures.broad_excepts(of(text)) == []


@pytest.mark.parametrize(
    "use",
    [
        "from unittest.mock import MagicMock\nx = MagicMock()",
        "from unittest import mock\nx = mock.patch('a')",
        "import unittest.mock\nx = unittest.mock.Mock()",
        "def test(mocker): mocker.patch('a')",
        "def test(monkeypatch): monkeypatch.setattr(a, 'b', c)",
    ],
)
def test_a_mock_is_found(use: str) -> None:
    assert len(figures.mocks(of(use))) == 1


def test_an_http_verb_is_no_mock() -> None:
    assert figures.mocks(of("http.patch('/v1/runs/1')\npatch('/v1')\nmonkeypatch.setenv('A', 'b')\n")) == []


def test_95_of_100_is_the_last_value_that_they_do_not_pass() -> None:
    assert [figures.p95(list(range(1, n + 1))) for n in (0, 1, 20, 100)] == [0, 1, 20, 96]


def test_more_than_the_allowed_number_for_1000_lines_names_the_places() -> None:
    source = of("a: Any = 1\n" + "b = 1\n" * 99)
    assert too_many(figures.ANY_MAX, figures.anys(source), [source]) == ["shared/model/snippet.py:1"]


def test_a_function_over_the_limit_is_named() -> None:
    source = of("def f() -> None:\n" + "    a()\n" * 40)
    assert over(40, figures.lengths(source)) == ["shared/model/snippet.py:1 f: 41"]


def test_the_files_that_must_be_measured_are() -> None:
    seen = {s.path for s in [*figures.product(), *figures.devkit()]}
    assert {"shared/ports.py", "shared/model/flows.py", "shared/devkit/issuers.py", "shared/errors.py"} <= seen


def test_the_table_shows_each_figure_beside_its_budget() -> None:
    assert "function, longest" in figures.table()
    assert "<= 40" in figures.table()
