"""The host's routes, without a process: templates, precedence, parameters, refusals."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.devkit.routing import ANY_METHOD, IndexedFunction, Router, RouteRefused, decode_path, shadowed

GET = ("GET",)
APP = (
    IndexedFunction("fallback", "{*path}", ANY_METHOD),
    IndexedFunction("list_flows", "v1/connections/{c}/flows", GET),
    IndexedFunction("describe_flow", "v1/connections/{c}/flows/{f}", GET),
    IndexedFunction("recent_flows", "v1/connections/{c}/flows/recent", GET),
    IndexedFunction("begin", "v1/connections", ("POST",)),
    IndexedFunction("connections", "v1/connections", GET),
    IndexedFunction("disconnect", "v1/connections/{c}", ("DELETE",)),
    IndexedFunction("me", "V1/Me", GET),
    IndexedFunction("receipt", "v1/.well-known/{name}", GET),
    IndexedFunction("tick", schedule="0 0 0 * * *"),
)
ROUTER = Router(APP)


def named(method: str, path: str) -> str | None:
    match = ROUTER.match(method, path)
    return None if match is None else match.function.name


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("GET", "/v1/me", "me"),
        ("GET", "/V1/ME", "me"),
        ("GET", "/v1/me/", "me"),
        ("GET", "/v1//me", "fallback"),
        ("GET", "/v1/me//", "fallback"),
        ("GET", "//v1/me", "fallback"),
        ("POST", "/v1/me", "fallback"),
        ("GET", "/v1/connections", "connections"),
        ("POST", "/v1/connections", "begin"),
        ("PUT", "/v1/connections", "fallback"),
        ("GET", "/v1/connections/7/flows", "list_flows"),
        ("GET", "/v1/connections//flows", "fallback"),
        ("GET", "/v1/connections/7/flows/", "list_flows"),
        ("GET", "/v1/connections/7/flows/recent", "recent_flows"),
        ("GET", "/v1/connections/7/flows/RECENT/", "recent_flows"),
        ("GET", "/v1/connections/7/flows/recently", "describe_flow"),
        ("GET", "/v1/connections/7/flows/a/b", "fallback"),
        ("DELETE", "/v1/connections/flows", "disconnect"),
        ("OPTIONS", "/v1/connections/7", "fallback"),
        ("GET", "/", "fallback"),
        ("GET", "/v1/other/../me", "me"),
        ("GET", "/v1/%2e%2E/v1/m%65", "me"),
        ("GET", "/v1%2Fme", "fallback"),
        ("GET", "/../../v1/me", "me"),
        ("TRACE", "/v1/me", None),
    ],
)
def test_a_request_goes_to_the_most_specific_route_that_takes_its_method(
    method: str, path: str, name: str | None
) -> None:
    assert named(method, path) == name


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("/v1/connections/a%20b", "a b"),
        ("/v1/connections/a+b", "a+b"),
        ("/v1/connections/a%2Fb", "a%2Fb"),
        ("/v1/connections/a%2fb", "a%2fb"),
        ("/v1/connections/a%252Fb", "a%2Fb"),
        ("/v1/connections/%C3%A4%E2%82%AC", "ä€"),
        ("/v1/connections/%C3%28", "%C3%28"),
        ("/v1/connections/%zz%4", "%zz%4"),
        ("/v1/connections/a%00b", "a%00b"),
        ("/v1/connections/MiXed/", "MiXed"),
    ],
)
def test_a_parameter_is_decoded_once_and_keeps_its_slashes_encoded(path: str, value: str) -> None:
    match = ROUTER.match("DELETE", path)
    assert match is not None
    assert match.params == {"c": value}


@pytest.mark.parametrize(
    ("path", "params"),
    [("/", {}), ("/a", {"path": "a"}), ("/a/b%20c/", {"path": "a/b c/"}), ("/a//b", {"path": "a//b"})],
)
def test_a_catch_all_holds_the_rest_of_the_path(path: str, params: dict[str, str]) -> None:
    match = ROUTER.match("GET", path)
    assert match is not None
    assert match.params == params


def test_every_parameter_of_a_route_is_handed_over() -> None:
    match = ROUTER.match("GET", "/v1/connections/7/flows/My_Flow")
    assert match is not None
    assert match.params == {"c": "7", "f": "My_Flow"}


@pytest.mark.parametrize(
    ("path", "decoded"),
    [
        ("/a/./b", "/a/b"),
        ("/a/b/..", "/a/"),
        ("/a/.", "/a/"),
        ("/..", "/"),
        ("/.hidden/..also", "/.hidden/..also"),
        ("/a%2F..%2Fb", "/a%2F..%2Fb"),
    ],
)
def test_dot_segments_are_resolved_after_decoding(path: str, decoded: str) -> None:
    assert decode_path(path) == decoded


@given(st.text(alphabet="ab/%.25Fef", max_size=20))
def test_no_path_reaches_above_the_root_whatever_its_escapes(path: str) -> None:
    decoded = decode_path("/" + path)
    assert decoded.startswith("/")
    assert not {".", ".."} & set(decoded.split("/"))


@given(st.text(alphabet=st.characters(codec="ascii"), max_size=30))
def test_every_path_is_answered_when_there_is_a_catch_all(path: str) -> None:
    assert named("GET", "/" + path) is not None


@pytest.mark.parametrize("template", ["{id?}", "{id:int}", "{id=5}", "{a}-{b}", "x{a}", "{**all}", "{}", "a?", "{a b}"])
def test_a_form_of_template_that_is_not_served_is_refused(template: str) -> None:
    with pytest.raises(RouteRefused, match="odd"):
        Router([IndexedFunction("odd", f"v1/{template}", GET)])


def test_a_catch_all_before_the_end_is_refused() -> None:
    with pytest.raises(RouteRefused, match="odd"):
        Router([IndexedFunction("odd", "v1/{*rest}/x", GET)])


@pytest.mark.parametrize(("one", "other"), [("v1/me", "V1/ME"), ("v1/{a}", "v1/{b}"), ("{*x}", "{*y}"), ("a", "a/")])
def test_two_functions_on_one_route_and_method_are_refused(one: str, other: str) -> None:
    functions = [IndexedFunction("first", one, ("GET", "PUT")), IndexedFunction("second", other, ("POST", "PUT"))]
    with pytest.raises(RouteRefused, match="first and second both answer PUT"):
        Router(functions)


def test_functions_that_share_a_route_but_no_method_are_served() -> None:
    Router([IndexedFunction("first", "v1/{a}", GET), IndexedFunction("second", "v1/{b}", ("POST",))])


@pytest.mark.parametrize("name", ["fallback", "Fallback", "LIST", "list"])
def test_a_general_route_whose_function_comes_first_by_name_is_told(name: str) -> None:
    general = IndexedFunction(name, "{*path}", ANY_METHOD)
    assert shadowed([APP[1], general]) == [("list_flows", name)]


@pytest.mark.parametrize(
    ("specific", "general"),
    [
        (IndexedFunction("a_recent", "v1/recent", GET), IndexedFunction("b_item", "v1/{id}", GET)),
        (IndexedFunction("b_recent", "v1/recent", GET), IndexedFunction("C_all", "{*path}", GET)),
        (IndexedFunction("recent", "v1/recent", GET), IndexedFunction("item", "v1/{id}", ("POST",))),
        (IndexedFunction("recent", "v1/recent", GET), IndexedFunction("item", "v2/{id}", GET)),
        (IndexedFunction("recent", "v1/recent", GET), IndexedFunction("item", "v1/{id}/x", GET)),
    ],
)
def test_routes_that_either_order_serves_alike_are_not_told(
    specific: IndexedFunction, general: IndexedFunction
) -> None:
    assert shadowed([general, specific]) == []
