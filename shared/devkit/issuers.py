"""Issuers of identity tokens for development: Entra's and Google's key sets on loopback, with keys of their own."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from shared.devkit.minting import (
    ADD_IN_CLIENT_ID,
    API_CLIENT_ID,
    DEFAULT_DOMAIN,
    DEFAULT_SUBJECT,
    DEFAULT_TENANT,
    DEFAULT_USER,
    ENTRA_ISSUER,
    GLOBAL_ADMINISTRATOR,
    GOOGLE_CLIENT_ID,
    GOOGLE_ISSUER,
    OPERATOR_ROLE,
    OPS_CLIENT_ID,
    OPS_TENANT,
    SCOPE,
    TENANT_ADMIN_ROLE,
    EntraEntry,
    GoogleEntry,
    base64url,
    entra_claims,
    google_claims,
    guid_of,
    header_of,
    load_key,
    mint_entra,
    mint_google,
    sign_token,
)
from shared.devkit.tls import LOOPBACK, Answer, Listener, Request

__all__ = [
    "ADD_IN_CLIENT_ID",
    "API_CLIENT_ID",
    "DEFAULT_DOMAIN",
    "DEFAULT_SUBJECT",
    "DEFAULT_TENANT",
    "DEFAULT_USER",
    "ENTRA_ISSUER",
    "GLOBAL_ADMINISTRATOR",
    "GOOGLE_CLIENT_ID",
    "GOOGLE_ISSUER",
    "OPERATOR_ROLE",
    "OPS_CLIENT_ID",
    "OPS_TENANT",
    "SCOPE",
    "TENANT_ADMIN_ROLE",
    "EntraEntry",
    "EntraIssuer",
    "GoogleEntry",
    "GoogleIssuer",
    "Issuer",
    "entra_claims",
    "google_claims",
    "guid_of",
    "mint_entra",
    "mint_google",
    "sign_token",
]

ENTRA_KEY_ISSUER = "https://login.microsoftonline.com/{tenantid}/v2.0"
ENTRA_KEYS_PATH = "/common/discovery/v2.0/keys"
GOOGLE_KEYS_PATH = "/oauth2/v3/certs"


def _pem_of(key: rsa.RSAPrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


@dataclass(slots=True)
class _Weather:
    """How the key-set address behaves: an error status, slowness in seconds, or a body of the test's own."""

    status: int = 200
    slow_s: float = 0.0
    body: bytes | None = None
    max_age: int = 86_400


class Issuer:
    """A key set on plain http with signing keys of its own; thread-safe.

    `requests` counts what was asked of it. Use `EntraIssuer` or `GoogleIssuer`.
    """

    keys_path = ""
    key_extras: ClassVar[Mapping[str, str]] = {}

    def __init__(self, *, port: int = 0) -> None:
        self.requests = 0
        self._listener = Listener(self._answer, port=port)
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._weather = _Weather()
        self._keys: dict[str, rsa.RSAPrivateKey] = {}
        self._published: list[str] = []
        self.kid = self.rotate()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def jwks_url(self) -> str:
        """The key set's address; known after the first start."""
        return f"http://{LOOPBACK}:{self._listener.port}{self.keys_path}"

    @property
    def key_pem(self) -> str:
        """The present signing key, PKCS 8 in PEM."""
        return _pem_of(self._keys[self.kid])

    def start(self) -> None:
        """Serve the key set."""
        self._stopping.clear()
        self._listener.start()

    def stop(self) -> None:
        """Stop serving; the port is kept for a later start."""
        self._stopping.set()
        self._listener.stop()

    def rotate(self, *, published: bool = True) -> str:
        """Make a new signing key and return its kid; the old ones stay in the key set."""
        return self._adopt(rsa.generate_private_key(65537, 2048), published=published)

    def publish(self, kid: str) -> None:
        """Put a key that was made unpublished into the key set."""
        with self._lock:
            self._published.append(kid)

    def retire(self, kid: str) -> None:
        """Take a key out of the key set; tokens can still be signed with it by `key_of`."""
        with self._lock:
            self._published.remove(kid)

    def key_of(self, kid: str) -> rsa.RSAPrivateKey:
        """Return one of this issuer's keys, retired ones included."""
        return self._keys[kid]

    def fail(self, status: int = 503) -> None:
        """Answer with this status and no keys, until `recover`."""
        self._weather.status = status

    def slow(self, seconds: float) -> None:
        """Wait before each answer, until `recover`."""
        self._weather.slow_s = seconds

    def serve(self, body: bytes) -> None:
        """Answer with these bytes in place of the key set, until `recover`."""
        self._weather.body = body

    def cache_for(self, seconds: int) -> None:
        """Say this max-age with the key set, until `recover`."""
        self._weather.max_age = seconds

    def recover(self) -> None:
        """Be well again: no outage, no slowness, the true key set."""
        self._weather = _Weather()

    def sign(
        self,
        claims: Mapping[str, object] | bytes,
        header: Mapping[str, object] | bytes | None = None,
        key: rsa.RSAPrivateKey | None = None,
    ) -> str:
        """Return an RS256 JWT. A header mapping is laid over the usual one (None removes); bytes replace it."""
        if not isinstance(header, bytes):
            merged = header_of(self.kid) | dict(header or {})
            header = {name: value for name, value in merged.items() if value is not None}
        return sign_token(key or self._keys[self.kid], header, claims)

    def _adopt(self, key: rsa.RSAPrivateKey, *, kid: str = "", published: bool = True) -> str:
        kid = kid or secrets.token_urlsafe(20)
        with self._lock:
            self._keys[kid] = key
            self.kid = kid
            if published:
                self._published.append(kid)
        return kid

    def _restore(self, key_pem: str, kid: str) -> None:
        self.retire(self.kid)
        self._adopt(load_key(key_pem), kid=kid)

    def _key_set(self) -> bytes:
        with self._lock:
            keys = [self._jwk(kid) for kid in self._published]
        return json.dumps({"keys": keys}).encode()

    def _jwk(self, kid: str) -> dict[str, str]:
        numbers = self._keys[kid].public_key().public_numbers()
        modulus = numbers.n.to_bytes((numbers.n.bit_length() + 7) // 8, "big")
        shared = {"kty": "RSA", "use": "sig", "kid": kid, "n": base64url(modulus), "e": "AQAB"}
        return shared | dict(self.key_extras)

    def _answer(self, request: Request) -> Answer:
        with self._lock:
            self.requests += 1
        weather = self._weather
        self._stopping.wait(weather.slow_s)
        if request.method != "GET" or request.path != self.keys_path:
            return Answer(404)
        if weather.status != 200:  # noqa: PLR2004 - the HTTP status OK
            return Answer(weather.status, b"outage", (("Content-Type", "text/plain"),))
        cache = f"public, max-age={weather.max_age}, must-revalidate"
        headers = (("Content-Type", "application/json; charset=utf-8"), ("Cache-Control", cache))
        return Answer(200, self._key_set() if weather.body is None else weather.body, headers)


class EntraIssuer(Issuer):
    """Entra's shape: each published key names the issuer that it may sign for (identity-contract.md 1.3)."""

    keys_path = ENTRA_KEYS_PATH
    key_extras: ClassVar[Mapping[str, str]] = {"issuer": ENTRA_KEY_ISSUER}

    @classmethod
    def load(cls, entry: EntraEntry, *, port: int = 0) -> EntraIssuer:
        """Return an issuer with the key of an entry."""
        issuer = cls(port=port)
        issuer._restore(entry["key_pem"], entry["kid"])
        return issuer

    def entry(self) -> EntraEntry:
        """Return the `entra` part of the devkit's file, private key included."""
        return {
            "key_pem": self.key_pem,
            "kid": self.kid,
            "audiences": [API_CLIENT_ID],
            "tenant": DEFAULT_TENANT,
            "oid": DEFAULT_USER,
            "azp": ADD_IN_CLIENT_ID,
            "scope": SCOPE,
            "issuer": ENTRA_ISSUER,
        }

    def record(self) -> dict[str, object]:
        """Return the entry with address and operations identities, for the issuers' file."""
        extras = {"jwks_url": self.jwks_url, "ops_tenant": OPS_TENANT, "ops_client_id": OPS_CLIENT_ID}
        return {**self.entry(), **extras}


class GoogleIssuer(Issuer):
    """Google's shape: keys name their algorithm and no issuer."""

    keys_path = GOOGLE_KEYS_PATH
    key_extras: ClassVar[Mapping[str, str]] = {"alg": "RS256"}

    @classmethod
    def load(cls, entry: GoogleEntry, *, port: int = 0) -> GoogleIssuer:
        """Return an issuer with the key of an entry."""
        issuer = cls(port=port)
        issuer._restore(entry["key_pem"], entry["kid"])
        return issuer

    def entry(self) -> GoogleEntry:
        """Return the `google` part of the devkit's file, private key included."""
        return {
            "key_pem": self.key_pem,
            "kid": self.kid,
            "client_id": GOOGLE_CLIENT_ID,
            "hd": DEFAULT_DOMAIN,
            "sub": DEFAULT_SUBJECT,
            "iss": GOOGLE_ISSUER,
        }

    def record(self) -> dict[str, object]:
        """Return the entry with its address, for the issuers' file."""
        return {**self.entry(), "jwks_url": self.jwks_url}
