"""Salesforce's redirect, and the two things that a person's browser gets for it."""

import base64
import hashlib
import re
from urllib.parse import urlencode

import azure.functions as func
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functions._pages import sent_on, unmade
from functions._reading import code_and_state
from shared import errors
from shared.errors import AttemptSpent
from shared.usecases.connect import Parked
from tests.edge.edge_fixtures import Desk, ask, canary, everything, raising

CHROME = f"chrome:{'abcdefghijklmnop' * 2}"
OTHERS = "&".join(f"x{number}=1" for number in range(18))
"""Eighteen further parameters: with state and code the most that are read."""


def callback(query: str) -> func.HttpRequest:
    return ask(path=f"/v1/oauth/salesforce/callback?{query}")


@pytest.mark.parametrize(
    ("query", "read"),
    [
        pytest.param("state=s&code=c", ("s", "c", None), id="as Salesforce sends it"),
        pytest.param("code=c&state=s", ("s", "c", None), id="the other way round"),
        pytest.param("state=s&code=c&iss=https%3A%2F%2Fa.example", ("s", "c", "https://a.example"), id="an issuer"),
        pytest.param("state=s&code=c&iss=", ("s", "c", ""), id="an empty issuer, which no login host is"),
        pytest.param("state=s&error=access_denied", ("s", "", None), id="a refusal, which has no code"),
        pytest.param("state=s&code=aPrx%3D%3D%2B", ("s", "aPrx==+", None), id="a code with signs of its own"),
        pytest.param("state=s&code=c&sfdc_community_url=x&x=1&x=2", ("s", "c", None), id="unknown ones, even twice"),
        pytest.param("state=s&code=c&State=t&CODE=d", ("s", "c", None), id="other names in capitals"),
        pytest.param(f"state=s&code=c&{OTHERS}", ("s", "c", None), id="20 parameters"),
        pytest.param(f"state={'s' * 4_096}&code=c", ("s" * 4_096, "c", None), id="a state of 4,096 signs"),
        pytest.param(f"state=s&code={'c' * 4_096}", ("s", "c" * 4_096, None), id="a code of 4,096 signs"),
    ],
)
def test_state_code_and_issuer_are_read_from_the_query(query: str, read: tuple[str, str, str | None]) -> None:
    assert code_and_state(callback(query)) == read


LONG = "x" * 4_097
SPENT: dict[str, list[str]] = {
    "incomplete": ["", "code=c", "state=s", "state=&code=c", "state=s&code=", "state=s;code=c", "#state=s&code=c"],
    "one twice": ["state=s&code=c&state=s", "state=s&code=c&code=d", "state=s&code=c&iss=a&iss=a"],
    "one twice, once as an escape": ["state=s&code=c&st%61te=t"],
    "a refusal of nothing": ["error=access_denied", "state=s&error=", "state=s&code=c&error=access_denied"],
    "too long": [f"state={LONG}&code=c", f"state=s&code={LONG}", f"state=s&code=c&iss={LONG}"],
    "21 parameters": [f"state=s&code=c&{OTHERS}&y=1"],
    "no UTF-8": ["state=%ff&code=c", "state=s&code=%c3%28", "state=s&code=c&x=%ff", "state=s&code=%ed%a0%80"],
    "no escape": ["state=%zz&code=c", "state=s&code=c%4"],
}


@pytest.mark.parametrize(
    "query", [pytest.param(query, id=f"{why}: {query[:40]}") for why, queries in SPENT.items() for query in queries]
)
def test_a_redirect_that_brings_no_single_code_ends_the_attempt(query: str) -> None:
    with pytest.raises(AttemptSpent):
        code_and_state(callback(query))


@given(
    query=st.text(max_size=60)
    | st.dictionaries(st.sampled_from(["state", "code", "iss", "x"]), st.text()).map(urlencode)
)
@settings(deadline=None, max_examples=300)
def test_whatever_the_query_it_is_read_or_the_attempt_is_spent(query: str) -> None:
    try:
        state, code, _ = code_and_state(callback(query))
    except AttemptSpent:
        return
    assert state.encode()
    assert code.encode()


# Pages


def page(error: Exception, query: str = "state=s&code=c") -> func.HttpResponse:
    return Desk().edge().pages(unmade)(raising(error))(callback(query))


def test_the_browser_is_sent_on_with_the_value_in_the_fragment() -> None:
    response = sent_on(Parked("outlook", "https://add-in.example/connected", "the-value"))
    assert (response.status_code, response.get_body()) == (303, b"")
    assert response.headers["Location"] == "https://add-in.example/connected#completion=the-value"


@pytest.mark.parametrize(
    ("channel", "policy"), [("outlook", "unsafe-none"), (CHROME, "same-origin")], ids=["outlook", "chrome"]
)
def test_only_outlooks_dialog_keeps_its_opener(channel: str, policy: str) -> None:
    response = sent_on(Parked(channel, "https://x.example", "v"))
    assert response.headers["Cross-Origin-Opener-Policy"] == policy


def test_a_failure_may_stand_in_outlooks_dialog_too() -> None:
    assert page(AttemptSpent()).headers["Cross-Origin-Opener-Policy"] == "unsafe-none"


FAULTS: list[tuple[type[Exception], int]] = [
    *((AttemptSpent, 400), (errors.HeadersTooLarge, 400), (errors.TenantSuspended, 400)),
    *((ValueError, 500), (errors.RecordUnreadable, 500), (errors.StoreUnavailable, 503)),
]


@pytest.mark.parametrize(("error", "status"), FAULTS)
def test_a_page_says_by_its_status_alone_whether_request_or_server_was_at_fault(
    error: type[Exception], status: int
) -> None:
    response = page(error())
    assert (response.status_code, response.get_body()) == (status, PAGE.get_body())


@pytest.mark.parametrize("error", [AttemptSpent, ValueError], ids=["foreseen", "unforeseen"])
def test_a_page_shows_nothing_of_the_query_or_the_error(error: type[Exception]) -> None:
    secret = canary()
    query = urlencode({"state": secret, "code": secret, "error_description": secret, secret: secret})
    assert secret not in everything(page(error(secret), query))


PAGE = page(AttemptSpent())
REDIRECT = Desk().edge().pages(unmade)(lambda _: sent_on(Parked("outlook", "https://x.example", "v")))(callback(""))
ANSWERS = pytest.mark.parametrize("answer", [PAGE, REDIRECT], ids=["page", "redirect"])


@ANSWERS
def test_the_callbacks_answers_are_framed_by_nobody_and_run_no_script(answer: func.HttpResponse) -> None:
    policy = answer.headers["Content-Security-Policy"]
    assert re.fullmatch(
        r"default-src 'none'; style-src 'sha256-[A-Za-z0-9+/=]{44}'; "
        r"frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
        policy,
    )
    assert answer.headers["X-Frame-Options"] == "DENY"


@ANSWERS
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
        ("Strict-Transport-Security", "max-age=63072000; includeSubDomains"),
        ("Referrer-Policy", "no-referrer"),
        ("Permissions-Policy", "camera=(), geolocation=(), microphone=()"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
        ("Vary", "Origin"),
        ("Content-Type", "text/html; charset=utf-8"),
    ],
)
def test_the_callbacks_answers_carry_the_other_headers_too(answer: func.HttpResponse, name: str, value: str) -> None:
    assert answer.headers.getlist(name) == [value]


def test_the_one_style_that_is_allowed_is_the_one_that_stands_in_the_page() -> None:
    styles = re.findall(r"<style>(.*?)</style>", PAGE.get_body().decode(), re.DOTALL)
    assert len(styles) == 1
    digest = base64.b64encode(hashlib.sha256(styles[0].encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in PAGE.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    "loading", ["<script", "<link", "<img", "<iframe", "<form", "style=", "href=", "src=", "url(", "@import"]
)
def test_a_page_loads_nothing_and_leads_nowhere(loading: str) -> None:
    assert loading not in PAGE.get_body().decode().lower()


def test_a_page_tells_a_person_what_to_do() -> None:
    text = PAGE.get_body().decode()
    assert '<html lang="en">' in text
    assert "Close this window and connect again from FlowRunner in your mailbox." in text
