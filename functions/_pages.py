"""What a person's browser gets at the callback: a redirect, or one plain page. Neither needs a script."""

import base64
import hashlib

import azure.functions as func

from shared.errors import FlowRunnerError
from shared.usecases.connect import Parked

_STYLE = "body{font:16px/1.5 system-ui,sans-serif;max-width:32rem;margin:4rem auto;padding:0 1rem}"
_PAGE = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>FlowRunner</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
<h1>Salesforce was not connected</h1>
<p>Close this window and connect again from FlowRunner in your mailbox.</p>
</main>
</body>
</html>
"""
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_CSP = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
_OUTLOOK = "outlook"


def sent_on(parked: Parked) -> func.HttpResponse:
    """303 to the channel's fixed address, the completion value in the fragment, which no server and no log sees.

    office.js closes its dialog when the opener is cut, so Outlook's answers alone set no opener policy
    (identity-contract 6.2).
    """
    opener = "unsafe-none" if parked.channel == _OUTLOOK else "same-origin"
    return _html(
        "", 303, Location=f"{parked.address}#completion={parked.completion}", Cross_Origin_Opener_Policy=opener
    )


def unmade(error: FlowRunnerError, _: str) -> func.HttpResponse:
    """One page for every failure; it shows nothing of the request. It may stand in Outlook's dialog."""
    status = error.status if error.status >= 500 else 400  # noqa: PLR2004  ours, or a request that cannot be used
    return _html(_PAGE, status, Cross_Origin_Opener_Policy="unsafe-none")


def _html(body: str, status: int, **headers: str) -> func.HttpResponse:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    fixed = {"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": _CSP, "X-Frame-Options": "DENY"}
    return func.HttpResponse(body, status_code=status, headers=fixed | named)
