"""A program that plays the person in front of the authorize page."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from http.cookiejar import DefaultCookiePolicy
from urllib.parse import urljoin

import requests

_WAIT_S = 30.0
_FOUND = 302
_ALERT = re.compile(r'<p role="alert">([^<]*)</p>')


class _Form(HTMLParser):
    """The form of a page: where it goes, and its hidden fields; `alert` is the reason on an error page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.action = ""
        self.hidden: dict[str, str] = {}
        self.alert = "".join(_ALERT.findall(page))
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a form's address and a hidden field."""
        values = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.action = values["action"]
        if tag == "input" and values.get("type") == "hidden":
            self.hidden[values["name"]] = values["value"]


def consent(authorize_url: str, username: str = "ada@acme.example", *, deny: bool = False) -> str:
    """Return where the authorize page sends the person's browser: the callback with code or error, and state.

    The callback itself is not called. Raises ValueError, with the page's own words, when the page or its form
    ends elsewhere.
    """
    with requests.Session() as browser:
        browser.trust_env = False
        # The server records cookies that come back to it; only the product's own mistakes belong there.
        browser.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        page = browser.get(authorize_url, timeout=_WAIT_S, allow_redirects=False)
        form = _Form(page.text)
        if not form.action:
            raise ValueError(f"the authorize page answered {page.status_code} {form.alert}")
        filled = form.hidden | {"username": username, "decision": "deny" if deny else "allow"}
        answer = browser.post(urljoin(authorize_url, form.action), filled, timeout=_WAIT_S, allow_redirects=False)
    if answer.status_code != _FOUND:
        raise ValueError(f"the consent answered {answer.status_code} {_Form(answer.text).alert}")
    return answer.headers["Location"]
