"""Handlers sign in, read, make one call and reply; use cases are frozen values with one call (design.md, section 2)."""

import ast
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

import pytest

from tests.architecture import figures
from tests.architecture.figures import Figure, Function, Source, dotted, scoped

TRIGGERS = {"route": ("answers", "pages"), "timer_trigger": ("ticks",)}
"""Each trigger, and the wrappers of the edge of which a handler wears one."""

HANDLER_LINES = 6

Choosing = (
    ast.If
    | ast.IfExp
    | ast.Match
    | ast.Try
    | ast.TryStar
    | ast.For
    | ast.AsyncFor
    | ast.While
    | ast.ListComp
    | ast.SetComp
    | ast.DictComp
    | ast.GeneratorExp
)

COLLABORATORS: Mapping[str, str] = MappingProxyType(
    {
        "Admission": "the first step of every use case also finds the caller's connection, in the same round trip",
        "RefreshGrant": "the connection's row remembers what became of the session that a refresh gave",
    }
)
"""Use cases that other use cases ask for more than their call."""

NO_USE_CASES: Mapping[str, str] = MappingProxyType(
    {"Flights": "what is under way in this process", "Insist": "how to write to a store that is away"}
)
"""What is called like a use case and is none."""

PROOFS = ("Principal", "Admitted")
"""What proves a caller; only Admission makes the second, of the first."""

CALLED_BY_NOBODY_PROVED: Mapping[str, str] = MappingProxyType(
    {
        "CheckReadiness": "public, and says nothing of anybody",
        "EndStaleRuns": "a timer's",
        "Enrol": "the step of two other use cases, each of which has a principal",
        "ParkCode": "Salesforce's redirect, which carries no token; it proves itself by the state",
    }
)
"""Use cases whose first argument is no principal, and why that is safe."""


def of(text: str, path: str = "functions/snippet.py") -> Source:
    return Source.of(path, text)


def edges() -> list[Source]:
    """The modules with handlers; private ones hold what handlers share."""
    found = [s for s in figures.product() if s.path.startswith("functions/")]
    return [s for s in found if not s.path.removeprefix("functions/").startswith("_")]


def use_case_files() -> list[Source]:
    return [s for s in figures.product() if s.path.startswith("shared/usecases/")]


def triggers(node: Function) -> list[ast.Call]:
    calls = [d for d in node.decorator_list if isinstance(d, ast.Call)]
    return [c for c in calls if dotted(c.func).rpartition(".")[2] in TRIGGERS]


def handlers(source: Source) -> list[tuple[str, Function]]:
    functions = [(name, node) for name, node in scoped(source.tree) if isinstance(node, Function)]
    return [(name, node) for name, node in functions if triggers(node)]


def choices(source: Source) -> list[str]:
    """Branches and loops in handlers."""
    inside = [(name, each) for name, node in handlers(source) for each in ast.walk(node) if isinstance(each, Choosing)]
    return [f"{source.at(each)} {name}: {type(each).__name__}" for name, each in inside]


def long_handlers(source: Source) -> list[str]:
    found = [Figure(source.at(node), name, source.length(node)) for name, node in handlers(source)]
    return [str(figure) for figure in found if figure.amount > HANDLER_LINES]


def not_anonymous(source: Source) -> list[str]:
    """Routes that do not spell out that the platform asks for no key of its own."""
    asked = [call for _, node in handlers(source) for call in triggers(node) if dotted(call.func).endswith(".route")]
    return [source.at(call) for call in asked if _auth_level(call) != "func.AuthLevel.ANONYMOUS"]


def unwrapped(source: Source) -> list[str]:
    """Handlers that do not wear the edge, where headers are set and errors end."""
    found = [(node, dotted(call.func).rpartition(".")[2]) for _, node in handlers(source) for call in triggers(node)]
    return [source.at(node) for node, trigger in found if not _wrappers(node) & set(TRIGGERS[trigger])]


def homeless(source: Source) -> list[str]:
    """Handlers that stand in no blueprint factory."""
    factories = _factories(source)
    return [source.at(node) for name, node in handlers(source) if name.rpartition(".")[0] not in factories]


def loose_use_cases(sources: Iterable[Source]) -> list[str]:
    """Use cases that can be changed after they were built."""
    frozen = {"frozen": True, "slots": True}
    return [s.at(c) for s, c in use_cases(sources) if not any(_options(d) == frozen for d in c.decorator_list)]


def chatty_use_cases(sources: Iterable[Source]) -> list[str]:
    """Use cases with more public methods than their call."""
    found = [(s, c) for s, c in use_cases(sources) if c.name not in COLLABORATORS]
    methods = [(s, m) for s, c in found for m in c.body if isinstance(m, Function)]
    return [f"{s.at(m)} {m.name}" for s, m in methods if not m.name.startswith("_")]


def unproved_use_cases(sources: Iterable[Source]) -> list[str]:
    """Use cases that can be called without a principal."""
    found = [(s, c) for s, c in use_cases(sources) if c.name not in CALLED_BY_NOBODY_PROVED]
    return [f"{s.at(c)} {c.name}" for s, c in found if _first_argument(c) not in PROOFS]


def use_cases(sources: Iterable[Source]) -> Iterator[tuple[Source, ast.ClassDef]]:
    for source in sources:
        for node in source.tree.body:
            if isinstance(node, ast.ClassDef) and _call(node) and node.name not in NO_USE_CASES:
                yield source, node


def _auth_level(call: ast.Call) -> str:
    return next((dotted(k.value) for k in call.keywords if k.arg == "auth_level"), "")


def _wrappers(node: Function) -> set[str]:
    called = [d.func if isinstance(d, ast.Call) else d for d in node.decorator_list]
    return {dotted(d).rpartition(".")[2] for d in called}


def _factories(source: Source) -> set[str]:
    made = [n for n in source.tree.body if isinstance(n, Function) and n.returns and not n.name.startswith("_")]
    return {node.name for node in made if dotted(node.returns or node) == "func.Blueprint"}


def _options(decorator: ast.expr) -> dict[str | None, object]:
    if not isinstance(decorator, ast.Call) or dotted(decorator.func) != "dataclass":
        return {}
    return {k.arg: k.value.value for k in decorator.keywords if isinstance(k.value, ast.Constant)}


def _call(node: ast.ClassDef) -> Function | None:
    methods = [m for m in node.body if isinstance(m, Function) and m.name == "__call__"]
    return methods[0] if methods else None


def _first_argument(node: ast.ClassDef) -> str:
    call = _call(node)
    arguments = call.args.args[1:] if call else []
    return dotted(arguments[0].annotation) if arguments and arguments[0].annotation else ""


# The house


def test_a_handler_does_not_choose_or_loop() -> None:
    assert [found for s in edges() for found in choices(s)] == []


def test_a_handler_has_at_most_6_code_lines() -> None:
    assert [found for s in edges() for found in long_handlers(s)] == []


def test_every_route_is_open_to_the_platform_and_says_so() -> None:
    assert [found for s in edges() for found in not_anonymous(s)] == []


def test_every_handler_answers_through_the_edge() -> None:
    assert [found for s in edges() for found in unwrapped(s)] == []


def test_every_handler_stands_in_a_blueprint_factory() -> None:
    assert [found for s in edges() for found in homeless(s)] == []


def test_every_module_of_functions_makes_a_blueprint_with_handlers() -> None:
    assert [s.path for s in edges() if not _factories(s) or not handlers(s)] == []


def test_use_cases_are_frozen() -> None:
    assert loose_use_cases(use_case_files()) == []


def test_a_use_case_has_its_call_and_no_other_public_method() -> None:
    assert chatty_use_cases(use_case_files()) == []


def test_no_use_case_of_a_user_can_be_called_without_a_principal() -> None:
    assert unproved_use_cases(use_case_files()) == []


def test_every_exception_named_here_is_still_a_use_case() -> None:
    names = {n.name for s in use_case_files() for n in s.tree.body if isinstance(n, ast.ClassDef) and _call(n)}
    assert COLLABORATORS.keys() | CALLED_BY_NOBODY_PROVED.keys() | NO_USE_CASES.keys() <= names


def test_handlers_and_use_cases_were_seen() -> None:
    assert {"run_flow", "me"} <= {node.name for s in edges() for _, node in handlers(s)}
    assert {"RunFlow", "BeginConnect", "ReadMe"} <= {node.name for _, node in use_cases(use_case_files())}


# The checking

GOOD = """
def blueprint(edge: Edge, run: RunFlow) -> func.Blueprint:
    routes = func.Blueprint()

    @routes.route(route="v1/a", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
    @edge.answers
    def a(req: func.HttpRequest) -> func.HttpResponse:
        return reply(200, run(edge.caller(req)))

    @routes.timer_trigger(arg_name="timer", schedule="%A%")
    @edge.ticks
    def b(timer: func.TimerRequest) -> None:
        run()

    return routes
"""


def test_a_good_module_passes_every_check() -> None:
    source = of(GOOD)
    assert [name for name, _ in handlers(source)] == ["blueprint.a", "blueprint.b"]
    checks = (choices, long_handlers, not_anonymous, unwrapped, homeless)
    assert [found for check in checks for found in check(source)] == []


@pytest.mark.parametrize(
    "line",
    [
        "if a: b()",
        "a = b if c else d",
        "for a in b: c()",
        "while a: b()",
        "a = [b for b in c]",
        "a = any(b for b in c)",
        "match a:\n            case 1: b()",
        "try: a()\n        except B: c()",
    ],
)
def test_a_handler_that_chooses_is_found(line: str) -> None:
    assert choices(of(GOOD.replace("        run()", f"        {line}")))


def test_choosing_outside_a_handler_is_fine() -> None:
    assert choices(of(GOOD + "\ndef _f() -> None:\n    if a: b()\n")) == []


def test_a_long_handler_is_found() -> None:
    assert long_handlers(of(GOOD.replace("        run()", "        run()\n" * 6))) == [
        "functions/snippet.py:12 blueprint.b: 7"
    ]


@pytest.mark.parametrize("level", ["", ", auth_level=func.AuthLevel.FUNCTION", ", auth_level='anonymous'", ", **more"])
def test_a_route_without_its_auth_level_is_found(level: str) -> None:
    assert not_anonymous(of(GOOD.replace(", auth_level=func.AuthLevel.ANONYMOUS", level)))


@pytest.mark.parametrize("wrapper", ["    @edge.answers\n", "    @edge.ticks\n"])
def test_a_handler_that_bypasses_the_edge_is_found(wrapper: str) -> None:
    assert unwrapped(of(GOOD.replace(wrapper, "")))


def test_a_timer_dressed_as_a_route_is_found() -> None:
    assert unwrapped(of(GOOD.replace("@edge.ticks", "@edge.answers")))


@pytest.mark.parametrize("returns", ["None", "func.FunctionApp"])
def test_a_handler_outside_a_factory_is_found(returns: str) -> None:
    assert len(homeless(of(GOOD.replace("func.Blueprint:", f"{returns}:")))) == 2


@pytest.mark.parametrize("options", ["(frozen=True)", "(slots=True)", "", "(frozen=False, slots=True)"])
def test_a_use_case_that_can_be_changed_is_found(options: str) -> None:
    text = f"@dataclass{options}\nclass A:\n    def __call__(self, caller: Principal) -> None: ...\n"
    assert loose_use_cases([of(text)]) == ["functions/snippet.py:2"]


def test_a_use_case_with_a_second_public_method_is_found() -> None:
    text = (
        "class A:\n    def __call__(self) -> None: ...\n    def _b(self) -> None: ...\n    def c(self) -> None: ...\n"
    )
    assert chatty_use_cases([of(text)]) == ["functions/snippet.py:4 c"]


@pytest.mark.parametrize("arguments", ["", ", caller: str", ", caller", ", *callers: Principal"])
def test_a_use_case_without_a_principal_is_found(arguments: str) -> None:
    assert unproved_use_cases([of(f"class A:\n    def __call__(self{arguments}) -> None: ...\n")])


def test_a_class_without_a_call_is_no_use_case() -> None:
    assert list(use_cases([of("class A:\n    def b(self) -> None: ...\n")])) == []
