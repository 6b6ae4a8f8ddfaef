"""Identity tokens for development: the claims of Entra and Google, signed with a devkit issuer's key.

The issuer strings are the true ones (identity-contract.md sections 1 and 2). An entry of the devkit's file
is all that a process needs to mint tokens of its own.
"""

from __future__ import annotations

import base64
import json
import secrets
import time
import uuid
from collections.abc import Mapping
from typing import TypedDict

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

ENTRA_ISSUER = "https://login.microsoftonline.com/{tid}/v2.0"
GOOGLE_ISSUER = "https://accounts.google.com"
SCOPE = "access_as_user"
TENANT_ADMIN_ROLE = "Tenant.Admin"
OPERATOR_ROLE = "Operator"
GLOBAL_ADMINISTRATOR = "62e90394-69f5-4237-9190-012177145e10"
_TOKEN_LIFE_S = 3600


def guid_of(word: str) -> str:
    """Return a GUID as it is (lower case), and for any other word its UUID5 in the DNS namespace."""
    try:
        return str(uuid.UUID(word))
    except ValueError:
        return str(uuid.uuid5(uuid.NAMESPACE_DNS, word))


# Development's fixed identities. None of them exists at a real provider.
API_CLIENT_ID = guid_of("api.flowrunner.example")
ADD_IN_CLIENT_ID = guid_of("add-in.flowrunner.example")
OPS_TENANT = guid_of("operations.flowrunner.example")
OPS_CLIENT_ID = guid_of("operations-client.flowrunner.example")
DEFAULT_TENANT = guid_of("acme")
DEFAULT_USER = guid_of("ada")
GOOGLE_CLIENT_ID = "100000000001-flowrunner.apps.googleusercontent.com"
DEFAULT_DOMAIN = "acme.example"
DEFAULT_SUBJECT = "110000000000000000001"


class EntraEntry(TypedDict):
    """The `entra` part of the devkit's file: what a client needs to mint Entra tokens."""

    key_pem: str
    kid: str
    audiences: list[str]
    tenant: str
    oid: str
    azp: str
    scope: str
    issuer: str


class GoogleEntry(TypedDict):
    """The `google` part of the devkit's file: what a client needs to mint Google ID tokens."""

    key_pem: str
    kid: str
    client_id: str
    hd: str
    sub: str
    iss: str


def base64url(raw: bytes) -> str:
    """Return base64url without padding (RFC 7515 section 2)."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _part(value: Mapping[str, object] | bytes) -> str:
    if isinstance(value, bytes):
        return base64url(value)
    return base64url(json.dumps(value, separators=(",", ":")).encode())


def sign_token(
    key: rsa.RSAPrivateKey, header: Mapping[str, object] | bytes, claims: Mapping[str, object] | bytes
) -> str:
    """Return a compact RS256 JWS (RFC 7515). Bytes are signed as they are, so that broken JSON can be sent."""
    signed = f"{_part(header)}.{_part(claims)}"
    signature = key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
    return f"{signed}.{base64url(signature)}"


def load_key(pem: str) -> rsa.RSAPrivateKey:
    """Return the RSA key of an entry. Raises ValueError or TypeError for anything else."""
    key = serialization.load_pem_private_key(pem.encode(), password=None)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise TypeError("an issuer's key must be RSA")
    return key


def entra_claims(
    tenant: str,
    oid: str,
    *,
    audience: str = API_CLIENT_ID,
    azp: str = ADD_IN_CLIENT_ID,
    admin: bool = False,
    operator: bool = False,
    guest: bool = False,
) -> dict[str, object]:
    """Return a full, correct set of v2.0 access-token claims, issued now for one hour.

    `operator` overrides tenant and client with the fixed operations identities.
    """
    now = int(time.time())
    tid = OPS_TENANT if operator else tenant
    claims: dict[str, object] = {
        "aud": audience,
        "iss": ENTRA_ISSUER.replace("{tid}", tid),
        "iat": now,
        "nbf": now,
        "exp": now + _TOKEN_LIFE_S,
        "azp": OPS_CLIENT_ID if operator else azp,
        "azpacr": "0",
        "oid": oid,
        "sub": secrets.token_urlsafe(32),
        "tid": tid,
        "scp": SCOPE,
        "ver": "2.0",
        "uti": secrets.token_urlsafe(16),
    }
    if admin:
        claims |= {"roles": [TENANT_ADMIN_ROLE], "wids": [GLOBAL_ADMINISTRATOR], "auth_time": now}
    if operator:
        claims |= {"roles": [OPERATOR_ROLE], "auth_time": now}
    return claims | ({"acct": 1} if guest else {})


def google_claims(hd: str, sub: str, *, client_id: str = GOOGLE_CLIENT_ID) -> dict[str, object]:
    """Return a full, correct set of Google ID-token claims, issued now for one hour."""
    now = int(time.time())
    return {
        "iss": GOOGLE_ISSUER,
        "aud": client_id,
        "azp": client_id,
        "sub": sub,
        "hd": hd,
        "email": f"person@{hd}",
        "email_verified": True,
        "iat": now,
        "exp": now + _TOKEN_LIFE_S,
    }


def mint_entra(
    entry: EntraEntry,
    *,
    tenant: str | None = None,
    user: str | None = None,
    admin: bool = False,
    operator: bool = False,
) -> str:
    """Return an Entra access token made from the devkit's file alone; words stand for their UUID5."""
    claims = entra_claims(
        guid_of(tenant or entry["tenant"]),
        guid_of(user or entry["oid"]),
        audience=entry["audiences"][0],
        azp=entry["azp"],
        admin=admin,
        operator=operator,
    )
    return sign_token(load_key(entry["key_pem"]), header_of(entry["kid"]), claims | {"scp": entry["scope"]})


def mint_google(entry: GoogleEntry, *, tenant: str | None = None, user: str | None = None, admin: bool = False) -> str:
    """Return a Google ID token made from the devkit's file alone.

    A tenant word without a dot gets `.example`, a user word that is no number stands for its UUID5. An admin's
    carries the claims that an Entra admin's would: Google has no such roles, and nobody may believe them.
    """
    hd = tenant or entry["hd"]
    hd = hd if "." in hd else f"{hd}.example"
    sub = user if user and user.isdecimal() else guid_of(user) if user else entry["sub"]
    claims = google_claims(hd, sub, client_id=entry["client_id"])
    if admin:
        claims |= {"roles": [TENANT_ADMIN_ROLE], "wids": [GLOBAL_ADMINISTRATOR], "auth_time": claims["iat"]}
    return sign_token(load_key(entry["key_pem"]), header_of(entry["kid"]), claims)


def header_of(kid: str) -> dict[str, object]:
    """Return the usual JOSE header of a token signed with this key."""
    return {"typ": "JWT", "alg": "RS256", "kid": kid}
