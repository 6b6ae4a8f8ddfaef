"""A page that stands for the add-in's fixed return page: it shows the completion value and what to do with it."""

from __future__ import annotations

import base64
import hashlib
from html import escape
from typing import Self

from shared.devkit.tls import LOOPBACK, Answer, Listener, Request

PATH = "/connected"

_STYLE = "body{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:3rem auto;padding:0 1rem}pre{overflow:auto}"
_SCRIPT = """
const value = new URLSearchParams(location.hash.slice(1)).get("completion") || "";
document.getElementById("value").textContent = value || "no completion value came along";
const hint = document.getElementById("hint");
hint.textContent = hint.textContent.replace("COMPLETION", () => value);
"""
_PAGE = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>FlowRunner development pane</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
<h1>Consent given</h1>
<p>This page stands for the add-in's own. It was handed the completion value:</p>
<pre id="value"></pre>
<p>Redeem it as the user who began, within five minutes. ID is the id that the beginning answered, and TOKEN
the bearer token it was asked with:</p>
<pre id="hint">{{command}}</pre>
</main>
<script>{_SCRIPT}</script>
</body>
</html>
"""
_COMMAND = """curl -X POST {base_url}/v1/connections/$ID/completion \\
  -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json" \\
  -d '{{"completion": "COMPLETION"}}'"""


def _hash(text: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


_CSP = (
    f"default-src 'none'; script-src {_hash(_SCRIPT)}; style-src {_hash(_STYLE)}; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = (
    ("Content-Type", "text/html; charset=utf-8"),
    ("Content-Security-Policy", _CSP),
    ("Cache-Control", "no-store"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
)


class Pane:
    """Serves the page at `address` on plain http; a context manager. `base_url` is the app's, for the hint."""

    def __init__(self, base_url: str) -> None:
        self._page = _page(base_url)
        self._listener = Listener(self._answer)

    def __enter__(self) -> Self:
        self._listener.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.stop()

    @property
    def origin(self) -> str:
        """Where the page is served, as browsers say it in `Origin`; known after the start."""
        return f"http://{LOOPBACK}:{self._listener.port}"

    @property
    def address(self) -> str:
        """The page's own address."""
        return self.origin + PATH

    def _answer(self, request: Request) -> Answer:
        if request.method not in {"GET", "HEAD"} or request.path != PATH:
            return Answer(404)
        return Answer(200, self._page, _HEADERS)


def _page(base_url: str) -> bytes:
    return _PAGE.replace("{command}", escape(_COMMAND.format(base_url=base_url), quote=False)).encode()
