"""Which hosts may hear a secret of ours: one allow-list, matched whole on the raw text (identity-contract 5.4).

An address is never parsed first and judged after: what does not look exactly like a Salesforce origin is refused,
so no spelling trick has two readings.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from shared.errors import FieldError, InputRefused, SalesforceUnusable
from shared.model.connections import Environment
from shared.salesforce.ids import normalised

GENERIC: Mapping[Environment, str] = MappingProxyType(
    {
        Environment.PRODUCTION: "https://login.salesforce.com",
        Environment.SANDBOX: "https://test.salesforce.com",
    }
)
"""Where users of any org sign in, unless their org forbids it (salesforce-contract 2.1)."""

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_PARTITION = r"(?:\.(?:sandbox|develop|scratch|demo|patch|trailblaze))?"
_MY_DOMAIN = re.compile(rf"https://{_LABEL}{_PARTITION}\.my\.salesforce\.com", re.ASCII)
_NAME = re.compile(_LABEL, re.ASCII)
_SANDBOX_MARK = "--"
_SANDBOX_HOST = ".sandbox.my.salesforce.com"

_ORG, _USER = (rf"{prefix}[A-Za-z0-9]{{12}}(?:[A-Z0-5]{{3}})?" for prefix in ("00D", "005"))
_IDENTITY = re.compile(rf"(https?://[a-z0-9.:-]+)/id/({_ORG})/({_USER})", re.ASCII)

_LIGHTNING, _SETUP = (
    re.compile(rf"(?:https?://)?[^/\s]*\.{domain}(?:/.*)?", re.ASCII | re.IGNORECASE | re.DOTALL)
    for domain in (r"lightning\.force\.com", r"my\.salesforce-setup\.com")
)
_INSTEAD = "paste your My Domain instead, in the form acme.my.salesforce.com"


@dataclass(frozen=True, slots=True)
class Hosts:
    """The allow-list. `login`, an exact origin, replaces both generic login hosts; `extra` are further origins.

    Both come from settings, which allow them for loopback in development only.
    """

    login: str = ""
    extra: frozenset[str] = frozenset()

    def login_origin(self, environment: Environment, my_domain: str | None) -> str:
        """Where a user signs in. Raises InputRefused (`/myDomain`) that says in words what to paste instead."""
        if not my_domain:
            return self.login or GENERIC[environment]
        if my_domain in self._own():
            return my_domain
        origin = _origin(environment, my_domain)
        fits = origin.endswith(_SANDBOX_HOST) is (environment is Environment.SANDBOX)
        if not fits or not _MY_DOMAIN.fullmatch(origin):
            raise InputRefused(errors=[FieldError("/myDomain", _why_not(environment, my_domain))])
        return origin

    def login_again(self, stored: str) -> str:
        """A login origin read back from the store, proved again. Raises SalesforceUnusable."""
        generic = () if self.login else GENERIC.values()
        return self._proved(stored, stored in generic or stored in self._own())

    def instance(self, text: str) -> str:
        """The origin that an org's API lives at. Raises SalesforceUnusable for any other text."""
        return self._proved(text, text in self.extra and text.startswith("https://"))

    def instance_at(self, login: str, text: str) -> str:
        """The same after a sign-in at that origin: a My Domain leads to its own org alone (identity-contract 5.3)."""
        origin = self.instance(text)
        if _MY_DOMAIN.fullmatch(login) and origin != login:
            raise SalesforceUnusable("Salesforce named another org than the one that was signed in to.")
        return origin

    def sandbox(self, instance: str, *, said: bool) -> bool:
        """Whether the org at that origin is a sandbox; only of `extra` origins, which do not tell, `said` is taken."""
        return said if instance in self.extra else instance.endswith(_SANDBOX_HOST)

    def _own(self) -> frozenset[str]:
        return self.extra | ({self.login} if self.login else frozenset())

    def _proved(self, origin: str, listed: bool) -> str:  # noqa: FBT001  the other half of the same rule
        if not listed and not _MY_DOMAIN.fullmatch(origin):
            raise SalesforceUnusable("Salesforce named a host that is not one of its own.")
        return origin


def identity_of(url: str, origins: Collection[str], *, sandbox: bool) -> tuple[str, str]:
    """Org and user id, 18 characters each, of a token answer's `id`. Raises SalesforceUnusable.

    The URL is read and never called (salesforce-contract 1). Its host is one of `origins` (the login host, the
    org's own) or the generic login host for that kind of org (identity-contract 5.3).
    """
    found, ids = _IDENTITY.fullmatch(url), ids_of(url)
    if found is None or ids is None:
        raise SalesforceUnusable("Salesforce did not say whose session this is.")
    if found[1] not in (*origins, GENERIC[Environment.SANDBOX if sandbox else Environment.PRODUCTION]):
        raise SalesforceUnusable("Salesforce named a user of another host.")
    return ids


def ids_of(url: str) -> tuple[str, str] | None:
    """Org and user id, 18 characters each, of a token answer's `id`, whatever its host; None where there are none."""
    found = _IDENTITY.fullmatch(url)
    try:
        return (normalised(found[2]), normalised(found[3])) if found else None
    except ValueError:
        return None


def _origin(environment: Environment, my_domain: str) -> str:
    """What was typed, as an origin: a bare name is completed, as Salesforce does it."""
    if _NAME.fullmatch(my_domain):
        sandbox = environment is Environment.SANDBOX
        if sandbox and _SANDBOX_MARK not in my_domain:
            return ""
        return f"https://{my_domain}{'.sandbox' if sandbox else ''}.my.salesforce.com"
    return my_domain if my_domain.startswith("https://") else f"https://{my_domain}"


def _why_not(environment: Environment, my_domain: str) -> str:
    if _LIGHTNING.fullmatch(my_domain):
        return f"is the address of a Lightning page; {_INSTEAD}"
    if _SETUP.fullmatch(my_domain):
        return f"is the address of the Setup pages; {_INSTEAD}"
    if environment is Environment.SANDBOX:
        return "is no My Domain of a sandbox; use small letters and the form acme--uat.sandbox.my.salesforce.com"
    if my_domain.endswith(_SANDBOX_HOST):
        return "is the My Domain of a sandbox; choose sandbox as the environment"
    return "is no My Domain; use small letters and the form acme.my.salesforce.com, with nothing after it"
