"""The devkit's authorize page: what a person sees, and what comes back to the callback (contract 2.2)."""

import base64
import hashlib
import re
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
import requests

from shared.devkit.salesforce import consent
from shared.devkit.tls import DevelopmentCA
from tests.devkit.salesforce_fixtures import (
    ADA,
    BEN,
    CLEO,
    REDIRECT_URI,
    WAIT_S,
    Client,
    Page,
    query_of,
    salesforce,
)


@pytest.fixture
def client(ca: DevelopmentCA, http: requests.Session) -> Iterator[Client]:
    with salesforce(ca, http) as made:
        yield made


def shown(client: Client, **change: str | None) -> requests.Response:
    return client.http.get(client.authorize_url(**change), timeout=WAIT_S)


def posted(client: Client, **change: str) -> requests.Response:
    """Post the form by hand, with one field changed."""
    page = Page(shown(client).text)
    form = {field["name"]: field["value"] for tag, field in page.tags if field.get("type") == "hidden"}
    form |= {"username": ADA, "decision": "allow"} | change
    url = f"{client.server.base_url}/services/oauth2/authorize"
    return client.http.post(url, form, timeout=WAIT_S, allow_redirects=False)


def test_the_page_lets_a_person_choose_who_they_are(client: Client) -> None:
    people = Page(shown(client).text).named("username")
    assert [person["value"] for person in people if person["type"] == "radio"] == [ADA, BEN, CLEO]
    assert [person["value"] for person in people if "checked" in person] == [ADA]


def test_the_page_has_a_button_for_each_decision(client: Client) -> None:
    assert [each["value"] for each in Page(shown(client).text).named("decision")] == ["allow", "deny"]


def test_the_page_says_who_asks_for_what(client: Client) -> None:
    text = " ".join(Page(shown(client, scope="api refresh_token offline_access").text).words)
    assert "FlowRunner is asking to:" in text
    assert text.count("Perform requests at any time") == 1
    assert "browsers" not in text


def test_the_page_can_be_read_aloud(client: Client) -> None:
    page = Page(shown(client).text)
    assert ("html", {"lang": "en"}) in page.tags
    assert all(page.has(tag) for tag in ("main", "h1", "fieldset", "legend", "label"))


def test_the_page_runs_no_script_and_cannot_be_framed(client: Client) -> None:
    policy = shown(client).headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "script-src" not in policy


def test_the_policy_allows_the_pages_own_style(client: Client) -> None:
    page = shown(client)
    style = re.search(r"<style>(.*?)</style>", page.text, re.DOTALL)
    assert style
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"'sha256-{digest}'" in page.headers["Content-Security-Policy"]


def test_the_page_is_not_kept_and_leaks_no_address(client: Client) -> None:
    headers = shown(client).headers
    assert (headers["Cache-Control"], headers["Referrer-Policy"]) == ("no-store", "no-referrer")


@pytest.mark.parametrize("hint", [BEN, "load-7@acme.example"])
def test_a_login_hint_is_chosen_already(client: Client, hint: str) -> None:
    people = Page(shown(client, login_hint=hint).text).named("username")
    assert [person["value"] for person in people if "checked" in person] == [hint]


def test_an_unknown_login_hint_is_no_choice(client: Client) -> None:
    assert "mallory" not in "".join(
        each["value"] for each in Page(shown(client, login_hint="mallory").text).named("username")
    )


def test_what_the_caller_sends_is_never_markup(client: Client) -> None:
    page = Page(shown(client, state='"><script>alert(1)</script>').text)
    assert not page.has("script")
    assert page.named("state")[0]["value"] == '"><script>alert(1)</script>'


@pytest.mark.parametrize(
    ("name", "value", "word"),
    [
        ("client_id", "another", "invalid_client_id"),
        ("redirect_uri", REDIRECT_URI + "/", "redirect_uri_mismatch"),
        ("redirect_uri", "http://evil.example/callback", "redirect_uri_mismatch"),
        ("scope", "api full", "invalid_scope"),
        ("scope", "api  web", "invalid_scope"),
        ("response_type", "token", "unsupported_response_type"),
        ("code_challenge_method", "plain", "invalid_request"),
        ("code_challenge", "short", "invalid_request"),
        ("code_challenge", None, "invalid_request"),
        ("state", None, "invalid_request"),
        ("scope", None, "invalid_request"),
    ],
)
def test_a_wrong_request_ends_on_an_error_page(client: Client, name: str, value: str | None, word: str) -> None:
    answer = shown(client, **{name: value})
    assert (answer.status_code, answer.history) == (400, [])
    assert word in answer.text
    assert not Page(answer.text).has("form")


def test_a_form_is_checked_as_the_page_was(client: Client) -> None:
    answer = posted(client, redirect_uri="http://evil.example/callback")
    assert (answer.status_code, answer.headers.get("Location")) == (400, None)


def test_an_unknown_user_ends_on_an_error_page(client: Client) -> None:
    assert "there is no such user" in posted(client, username="mallory@acme.example").text


def test_an_unknown_decision_is_refused_by_name(client: Client) -> None:
    answer = posted(client, decision="maybe")
    assert (answer.status_code, answer.json()["unknown"]) == (501, "decision maybe")


@pytest.mark.parametrize(
    ("name", "value"),
    [("display", "poster"), ("prompt", "none"), ("immediate", "true"), ("response_mode", "query")],
)
def test_an_unknown_parameter_or_option_is_refused_by_name(client: Client, name: str, value: str) -> None:
    answer = shown(client, **{name: value})
    assert answer.status_code == 501
    assert name in answer.json()["unknown"]


def test_the_optional_parameters_are_taken(client: Client) -> None:
    assert shown(client, prompt="login consent", display="popup", nonce="n").status_code == 200


def test_consent_comes_back_with_code_and_state(client: Client) -> None:
    back = consent(client.authorize_url())
    assert back.startswith(f"{REDIRECT_URI}?")
    assert set(query_of(back)) == {"code", "state"}
    assert query_of(back)["state"] == "a state/with=signs"


def test_a_code_is_encoded_once(client: Client) -> None:
    back = consent(client.authorize_url())
    assert "%3D%3D" in urlsplit(back).query
    assert query_of(back)["code"].endswith("==")


def test_two_consents_give_two_codes(client: Client) -> None:
    assert client.code() != client.code()


def test_a_denial_comes_back_without_a_code(client: Client) -> None:
    outcome = query_of(consent(client.authorize_url(), deny=True))
    assert outcome == {
        "error": "access_denied",
        "error_description": "end-user denied authorization",
        "state": "a state/with=signs",
    }


def test_a_steered_error_comes_back_with_a_description_that_is_markup(client: Client) -> None:
    client.server.steering.switch({"consent_error": "OAUTH_APP_BLOCKED"})
    outcome = query_of(consent(client.authorize_url()))
    assert (outcome["error"], outcome["state"]) == ("OAUTH_APP_BLOCKED", "a state/with=signs")
    assert "<b>" in outcome["error_description"]


def test_a_program_learns_why_the_page_is_an_error(client: Client) -> None:
    with pytest.raises(ValueError, match="400 redirect_uri_mismatch: redirect_uri must match"):
        consent(client.authorize_url(redirect_uri="http://127.0.0.1:7071/other"))


def test_a_program_learns_why_its_form_failed(client: Client) -> None:
    with pytest.raises(ValueError, match="400 invalid_login"):
        consent(client.authorize_url(), "mallory@acme.example")


def test_a_program_playing_the_person_sends_no_cookie_back(client: Client) -> None:
    consent(client.authorize_url())
    assert client.server.recorder.counters() == {"authorize": 1, "consent": 1}
    assert client.server.recorder.cookies() == []
