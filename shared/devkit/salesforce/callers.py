"""By which credential a call is made: what tells whose it is."""

from __future__ import annotations

from urllib.parse import parse_qsl

from shared.devkit.tls import Request

BEARER = "Bearer "
_IN_FORM = ("refresh_token", "code", "token")


def credential_of(request: Request) -> str:
    """Return a call's bearer token, or else the token or code in its form; empty where there is none."""
    header = request.header("Authorization") or ""
    if header.startswith(BEARER):
        return header.removeprefix(BEARER)
    try:
        form = dict(parse_qsl(request.body.decode("ascii", "replace"))) if request.method == "POST" else {}
    except ValueError:
        return ""
    return next((form[name] for name in _IN_FORM if name in form), "")
