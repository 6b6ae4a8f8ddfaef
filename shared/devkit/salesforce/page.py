"""The page on which a person allows or denies the app, and the page that says why that cannot be."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from html import escape

from shared.devkit.salesforce.answers import HTML
from shared.devkit.tls import Answer

_STYLE = """
body { margin: 0; background: #f3f3f3; color: #181818; font: 1rem/1.5 system-ui, sans-serif; }
main { max-width: 26rem; margin: 3rem auto; padding: 2rem; background: #fff; border-radius: .5rem; }
h1 { font-size: 1.4rem; margin-top: 0; }
fieldset { border: 1px solid #747474; border-radius: .25rem; margin: 1rem 0; }
label { display: block; padding: .25rem 0; }
button { font: inherit; padding: .5rem 1.5rem; border: 1px solid #0b5cab; border-radius: .25rem; }
button[value=allow] { background: #0b5cab; color: #fff; }
button[value=deny] { background: #fff; color: #0b5cab; }
button:focus-visible, input:focus-visible { outline: 3px solid #fe9339; outline-offset: 2px; }
"""
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
# Browsers hold form-action against every redirect after the form too, and the app's own targets are not known here.
_CSP = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; img-src data:; form-action 'self' http: https:; "
    "base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = (
    ("Content-Type", HTML),
    ("Content-Security-Policy", _CSP),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cache-Control", "no-store"),
)
_WORDS = {
    "api": "Manage user data via APIs",
    "lightning": "Manage Lightning applications",
    "offline_access": "Perform requests at any time",
    "refresh_token": "Perform requests at any time",
    "web": "Manage user data via web browsers",
}


def consent_page(
    app: str, hidden: Mapping[str, str], scopes: Iterable[str], names: Iterable[str], chosen: str
) -> Answer:
    """Return the page that asks who the person is (one name is chosen already), and whether the app may."""
    fields = "".join(f'<input type="hidden" name="{escape(n)}" value="{escape(v)}">' for n, v in hidden.items())
    wishes = "".join(f"<li>{escape(words)}</li>" for words in sorted({_WORDS[scope] for scope in scopes}))
    people = "".join(_choice(name, checked=name == chosen) for name in names)
    return _page(
        200,
        "Allow access?",
        f"""<p>{escape(app)} is asking to:</p><ul>{wishes}</ul>
<form method="post" action="/services/oauth2/authorize">{fields}
<fieldset><legend>You are</legend>{people}</fieldset>
<button name="decision" value="allow">Allow</button> <button name="decision" value="deny">Deny</button>
</form>""",
    )


def error_page(code: str, reason: str) -> Answer:
    """Return the page on which a connect ends without ever reaching the callback (contract 2.2)."""
    return _page(400, "OAuth Error", f'<p role="alert">{escape(code)}: {escape(reason)}</p>')


def _choice(name: str, *, checked: bool) -> str:
    mark = " checked" if checked else ""
    return f'<label><input type="radio" name="username" value="{escape(name)}"{mark}> {escape(name)}</label>'


def _page(status: int, title: str, content: str) -> Answer:
    text = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<link rel="icon" href="data:,">
<style>{_STYLE}</style>
</head>
<body><main>
<h1>{escape(title)}</h1>
{content}
</main></body>
</html>
"""
    return Answer(status, text.encode(), _HEADERS)
