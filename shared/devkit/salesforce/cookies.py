"""The cookie that comes with every answer, as Salesforce sets them: a client that keeps it mixes its users up."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import replace

from shared.devkit.salesforce.people import User
from shared.devkit.tls import Answer

_NAME = "Set-Cookie"


def cookie_of(user: User | None) -> str:
    """Return the value of the cookie `BrowserId`: always the same for a user, always another without one."""
    return hashlib.sha256(user.id.encode()).hexdigest()[:22] if user else secrets.token_hex(11)


def with_cookie(answer: Answer, user: User | None) -> Answer:
    """Return the answer with the cookie, unless it has one already."""
    if any(name == _NAME for name, _ in answer.headers):
        return answer
    return replace(answer, headers=(*answer.headers, (_NAME, f"BrowserId={cookie_of(user)}; Path=/; HttpOnly")))
