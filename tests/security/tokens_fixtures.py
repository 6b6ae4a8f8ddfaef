"""A verifier over two real loopback issuers, and small ways to break one thing of a good token."""

import base64
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from shared.devkit import issuers as devkit
from shared.errors import NotSignedIn
from shared.identity.issuers import EntraRule, GoogleRule
from shared.identity.signing_keys import SigningKeys
from shared.identity.verifier import TrustedIssuer, Verifier
from shared.model.events import Event
from shared.model.identity import BearerToken, Principal

Claims = dict[str, object]
Change = Callable[[Claims], Claims | bytes]

ISSUER_TEMPLATE = "https://login.microsoftonline.com/{tenantid}/v2.0"
CONSUMERS = "9188040d-6c67-4c5b-b112-36a304b66dad"


@dataclass
class Watch:
    """A clock in epoch milliseconds that stands still until it is moved."""

    now: int = field(default_factory=lambda: int(time.time() * 1000))

    def __call__(self) -> int:
        return self.now

    def move(self, *, hours: float = 0, minutes: float = 0, ms: int = 0) -> None:
        self.now += int((hours * 60 + minutes) * 60_000) + ms


def entra_rule(auth_context: str = "") -> EntraRule:
    return EntraRule(
        audiences=(devkit.API_CLIENT_ID, "api://add-in.example/api"),
        clients=(devkit.ADD_IN_CLIENT_ID,),
        issuer_template=ISSUER_TEMPLATE,
        scope=devkit.SCOPE,
        ops_tenant=devkit.OPS_TENANT,
        ops_client=devkit.OPS_CLIENT_ID,
        auth_context=auth_context,
    )


@dataclass
class Wire:
    """Two issuers on the wire and the verifier that trusts them; `events` is what telemetry was told."""

    entra: devkit.EntraIssuer
    google: devkit.GoogleIssuer
    verifier: Verifier
    events: list[Event]

    def sign_in(self, token: str) -> Principal:
        return self.verifier(BearerToken("Bearer " + token))

    def refusal(self, token: str) -> str:
        """Prove that a token is refused as every other, without a fetch, and say which check failed."""
        return self.header_refusal("Bearer " + token)

    def header_refusal(self, header: str) -> str:
        asked = self.entra.requests + self.google.requests
        with pytest.raises(NotSignedIn) as refused:
            self.verifier(BearerToken(header))
        assert (str(refused.value), refused.value.detail, refused.value.members) == ("Sign in first", "", {})
        assert self.entra.requests + self.google.requests == asked
        return str(self.events[-1].facts["reason"])


@contextmanager
def wire() -> Iterator[Wire]:
    """The verifier with both key sets fetched."""
    with devkit.EntraIssuer() as entra, devkit.GoogleIssuer() as google:
        events: list[Event] = []
        watch = Watch()
        trusted = (
            TrustedIssuer(entra_rule(), SigningKeys(entra.jwks_url, watch)),
            TrustedIssuer(
                GoogleRule(audiences=(devkit.GOOGLE_CLIENT_ID, "second.apps.googleusercontent.com")),
                SigningKeys(google.jwks_url, watch, follows_max_age=True),
            ),
        )
        made = Wire(entra, google, Verifier(trusted, events.append), events)
        made.sign_in(entra.sign(entra_claims()))
        made.sign_in(google.sign(google_claims()))
        yield made


def entra_claims(tenant: str = devkit.DEFAULT_TENANT) -> Claims:
    return devkit.entra_claims(tenant, devkit.DEFAULT_USER)


def google_claims() -> Claims:
    return devkit.google_claims(devkit.DEFAULT_DOMAIN, devkit.DEFAULT_SUBJECT)


def put(**members: object) -> Change:
    return lambda claims: claims | members


def without(*names: str) -> Change:
    return lambda claims: {name: value for name, value in claims.items() if name not in names}


def now_plus(**seconds: int) -> Change:
    return lambda claims: claims | {name: int(time.time()) + offset for name, offset in seconds.items()}


def rewritten(rewrite: Callable[[bytes], bytes]) -> Change:
    return lambda claims: rewrite(json.dumps(claims).encode())


def with_member(raw: str) -> Change:
    """The same JSON with one more member in front, written as it is."""
    return rewritten(lambda payload: b"{" + raw.encode() + b"," + payload[1:])


def parts(header: Mapping[str, object] | bytes) -> str:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def settled() -> None:
    """Wait until no key set is being fetched."""
    for thread in threading.enumerate():
        if thread.name == "signing-keys":
            thread.join()
