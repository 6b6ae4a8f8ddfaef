"""Which function answers a request: ASP.NET's route templates, as far as the product uses them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

ANY_METHOD: Final = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
"""What a function that names no methods answers to."""

_LITERAL, _PARAMETER, _CATCH_ALL = 1, 3, 5
"""ASP.NET's weights of precedence for one segment; the lower wins."""

_SEGMENT = re.compile(r"\{(?P<star>\*?)(?P<name>[A-Za-z_][A-Za-z0-9_]*)\}|(?P<literal>[^{}*?]+)")
_ESCAPES = re.compile(r"(?:%[0-9A-Fa-f]{2})+")
_KEPT = re.compile(r"(%2[Ff]|%00)")
_DOT_SEGMENTS = frozenset({".", ".."})


class RouteRefused(Exception):
    """A route that cannot be served as Azure would serve it; the text says which function and why."""


@dataclass(frozen=True, slots=True)
class IndexedFunction:
    """One function as the engine indexed it.

    `route` (prefix included, no leading slash) and `auth_level` are None for timers; `methods` are in capitals
    and empty for timers; `schedule` is None for HTTP.
    """

    name: str
    route: str | None = None
    methods: tuple[str, ...] = ()
    auth_level: str | None = None
    schedule: str | None = None


@dataclass(frozen=True, slots=True)
class Match:
    """The function that answers, and what its route's parameters hold."""

    function: IndexedFunction
    params: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Segment:
    weight: int
    text: str


@dataclass(frozen=True, slots=True)
class Route:
    """A parsed template."""

    function: IndexedFunction
    segments: tuple[_Segment, ...]

    @property
    def precedence(self) -> tuple[int, ...]:
        """The sort key: lower is asked first."""
        return tuple(segment.weight for segment in self.segments)

    @property
    def shape(self) -> tuple[str, ...]:
        """The template with its parameters' names left out: two routes of one shape match the same paths."""
        return tuple(s.text.lower() if s.weight == _LITERAL else f"{{{s.weight}}}" for s in self.segments)

    def params_of(self, path: list[str]) -> dict[str, str] | None:
        """What the parameters hold when these segments match, else None."""
        params: dict[str, str] = {}
        for index, segment in enumerate(self.segments):
            if segment.weight == _CATCH_ALL:
                rest = "/".join(path[index:])
                return params | ({segment.text: rest} if rest else {})
            if index >= len(path) or not path[index]:
                return None
            if segment.weight == _PARAMETER:
                params[segment.text] = path[index]
            elif segment.text != path[index].lower():
                return None
        return params if path[len(self.segments) :] in ([], [""]) else None  # one trailing slash is let pass


class Router:
    """The app's routes, most specific first. Raises RouteRefused for a template, a method or a name given twice."""

    def __init__(self, functions: Iterable[IndexedFunction]) -> None:
        routes = [parse_route(function) for function in functions if function.route is not None]
        _refuse_twins(routes)
        self._routes = sorted(routes, key=lambda route: route.precedence)

    def match(self, method: str, target: str) -> Match | None:
        """The function for a method and a request target's path, still percent-encoded; None when there is none."""
        path = decode_path(target).removeprefix("/").split("/")
        for route in self._routes:
            if method in route.function.methods:
                params = route.params_of(path)
                if params is not None:
                    return Match(route.function, params)
        return None


def parse_route(function: IndexedFunction) -> Route:
    """The route of an HTTP function. Raises RouteRefused for a form of template that is not served."""
    template = (function.route or "").strip("/")
    segments = tuple(_segment(function.name, text) for text in template.split("/")) if template else ()
    if any(segment.weight == _CATCH_ALL for segment in segments[:-1]):
        raise RouteRefused(f"The route of {function.name} has a catch-all before its end.")
    return Route(function, segments)


def decode_path(path: str) -> str:
    """A path decoded once as Kestrel does: %2F and broken escapes stay as they are, dot segments are resolved.

    %00, at which Kestrel hangs up, stays encoded too.
    """
    if "%" in path:
        path = _ESCAPES.sub(_decoded, path)
    if "/." in path:
        path = _without_dots(path)
    return path


def shadowed(functions: Iterable[IndexedFunction]) -> list[tuple[str, str]]:
    """Pairs (specific, general) of functions of which Azure may ask the general one first.

    The Functions host tries routes in the order of the functions' names, letter case aside and whatever their
    templates (Azure/azure-functions-host: FunctionMetadataManager.cs, issues 3153 and 9876). An app without such
    a pair is served alike by either rule.
    """
    routes = sorted((parse_route(f) for f in functions if f.route is not None), key=lambda route: route.precedence)
    return [
        (specific.function.name, general.function.name)
        for index, specific in enumerate(routes)
        for general in routes[index + 1 :]
        if general.function.name.upper() < specific.function.name.upper() and _overlap(specific, general)
    ]


def _segment(name: str, text: str) -> _Segment:
    found = _SEGMENT.fullmatch(text)
    if found is None:
        raise RouteRefused(f"The route of {name} has a form that this host does not serve.")
    if found["literal"]:
        return _Segment(_LITERAL, found["literal"].lower())
    return _Segment(_CATCH_ALL if found["star"] else _PARAMETER, found["name"])


def _refuse_twins(routes: Iterable[Route]) -> None:
    seen: dict[tuple[tuple[str, ...], str], str] = {}
    for route in routes:
        for method in route.function.methods:
            other = seen.setdefault((route.shape, method), route.function.name)
            if other != route.function.name:
                raise RouteRefused(f"{other} and {route.function.name} both answer {method} on one route.")


def _decoded(escapes: re.Match[str]) -> str:
    parts = _KEPT.split(escapes[0])
    return "".join(part if index % 2 else _utf8(part) for index, part in enumerate(parts))


def _utf8(escapes: str) -> str:
    try:
        return bytes.fromhex(escapes.replace("%", "")).decode()
    except UnicodeDecodeError:
        return escapes


def _without_dots(path: str) -> str:
    kept: list[str] = []
    parts = path.split("/")
    for part in parts:
        if part == "..":
            kept = kept[:-1] or [""]
        elif part != ".":
            kept.append(part)
    if parts[-1] in _DOT_SEGMENTS:
        kept.append("")
    return "/".join(kept)


def _overlap(specific: Route, general: Route) -> bool:
    if not set(specific.function.methods) & set(general.function.methods):
        return False
    for mine, other in zip(specific.segments, general.segments, strict=False):
        if _CATCH_ALL in (mine.weight, other.weight):
            return True
        if mine.weight == other.weight == _LITERAL and mine.text != other.text:
            return False
    return len(specific.segments) == len(general.segments)
