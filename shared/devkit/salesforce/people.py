"""The orgs and users of the devkit's Salesforce."""

from __future__ import annotations

import re
from dataclasses import dataclass

from shared.devkit.salesforce.ids import make_id

_LOAD_USER = re.compile(r"load-(\d{1,5})@acme\.example")


@dataclass(frozen=True, slots=True)
class Org:
    """A Salesforce org; `id` has 18 characters."""

    id: str
    name: str
    sandbox: bool = False


@dataclass(frozen=True, slots=True)
class User:
    """A user of one org; `id` has 18 characters. `blind_to` names the Flows that they may not run."""

    username: str
    id: str
    org: Org
    blind_to: frozenset[str] = frozenset()


PRODUCTION = Org(make_id("00D", 1), "Acme")
SANDBOX = Org(make_id("00D", 2), "Acme UAT", sandbox=True)

USERS = (
    User("ada@acme.example", make_id("005", 1), PRODUCTION),
    User("ben@acme.example", make_id("005", 2), PRODUCTION, frozenset({"Approve_Discount", "Create_Case"})),
    User("cleo@acme.example.uat", make_id("005", 3), SANDBOX, frozenset({"FLR__Log_Mail"})),
)


def find_user(name: str) -> User | None:
    """Return a user by username or id. `load-<n>@acme.example` names as many more as a test needs."""
    extra = _LOAD_USER.fullmatch(name)
    if extra:
        return User(name, make_id("005", 100_000 + int(extra[1])), PRODUCTION)
    return next((user for user in USERS if name in (user.username, user.id)), None)
