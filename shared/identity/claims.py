"""The strict reading of a token: its shape, its JSON and its times (identity-contract.md 1.3, steps 1, 2 and 5).

PyJWT alone is too kind: it takes duplicate names, any `typ`, fractions as times and tokens of any length
(identity-contract.md 7.1).
"""

import base64
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from shared.identity.refusals import Reason, Refused, require

ALGORITHM = "RS256"

_HEADER_MAX = 16 * 1024
_KID_MAX = 128
_INSTANT_END = 2**32
_LIFE_MAX_S = 30 * 3600
"""Normal life is 60 to 90 minutes, but 20 to 28 hours under continuous access evaluation."""

_BEARER = re.compile(r"(?i:bearer) (([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]+)", re.ASCII)
_TYPES = ("JWT", "at+jwt")
_REFUSED_MEMBERS = frozenset({"crit", "b64", "zip", "cty", "jku", "jwk", "x5u", "x5c"})
"""Extensions that we do not speak, and keys that a token brings along."""
_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

Claims = Mapping[str, object]
"""The payload of a token: a JSON object."""


@dataclass(frozen=True, slots=True)
class UnverifiedToken:
    """A token of the right shape that proves nothing yet. `claims` serve to pick a key set and nothing else."""

    text: str = field(repr=False)
    kid: str = field(repr=False)
    claims: Claims = field(repr=False)


def read_header(value: str) -> UnverifiedToken:
    """The token of an Authorization header's value, before any cryptography. Raises Refused."""
    require(len(value) < _HEADER_MAX, Reason.HEADER)
    shape = _BEARER.fullmatch(value)
    if shape is None:
        raise Refused(Reason.HEADER)
    token, jose_header, payload = shape.groups()
    return UnverifiedToken(token, _kid(json_object(_decoded(jose_header))), json_object(_decoded(payload)))


def json_object(raw: bytes) -> dict[str, object]:
    """One JSON object in strict UTF-8 without byte order mark, duplicate names, NaN or infinity. Raises Refused."""
    try:
        value = _JSON.decode(raw.decode("utf-8", errors="strict"))
    except (ValueError, RecursionError):
        raise Refused(Reason.JSON) from None
    if not isinstance(value, dict):
        raise Refused(Reason.JSON)
    return value


def read_claims(raw: bytes) -> dict[str, object]:
    """The claims of a payload with plausible times. Whether these are past is PyJWT's to say. Raises Refused."""
    claims = json_object(raw)
    issued, expires = _instant(claims, "iat"), _instant(claims, "exp")
    require(issued < expires <= issued + _LIFE_MAX_S, Reason.TIMES)
    require("nbf" not in claims or _instant(claims, "nbf") < expires, Reason.TIMES)
    return claims


def text(claims: Claims, name: str, reason: Reason) -> str:
    """A claim that is a text of printable characters: no control, zero-width or surrogate ones. Raises Refused."""
    value = claims.get(name)
    if not isinstance(value, str) or not value.isprintable():
        raise Refused(reason)
    return value


def guid(claims: Claims, name: str, reason: Reason) -> str:
    """A claim that is a GUID in its canonical, lower-case spelling. Raises Refused."""
    value = text(claims, name, reason)
    require(_GUID.fullmatch(value), reason)
    return value


def lists(claims: Claims, name: str, value: str) -> bool:
    """Whether a claim is a list that holds that text. A text that contains it is no list."""
    values = claims.get(name)
    return isinstance(values, list) and value in values


def life(claims: Claims) -> int:
    """Seconds from `iat` to `exp`, of claims that `read_claims` gave."""
    return _instant(claims, "exp") - _instant(claims, "iat")


def signed_in_at(claims: Claims) -> int | None:
    """`auth_time` in epoch milliseconds; None when it is absent or no instant, which makes no sign-in fresh."""
    try:
        return _instant(claims, "auth_time") * 1000
    except Refused:
        return None


def _kid(header: Mapping[str, object]) -> str:
    require(header.get("alg") == ALGORITHM, Reason.JOSE_HEADER)
    require("typ" not in header or text(header, "typ", Reason.JOSE_HEADER) in _TYPES, Reason.JOSE_HEADER)
    require(_REFUSED_MEMBERS.isdisjoint(header), Reason.JOSE_HEADER)
    kid = text(header, "kid", Reason.JOSE_HEADER)
    require(0 < len(kid) <= _KID_MAX, Reason.JOSE_HEADER)
    return kid


def _instant(claims: Claims, name: str) -> int:
    value = claims.get(name)
    # bool is a subclass of int, and JSON's true is no instant.
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < _INSTANT_END:
        raise Refused(Reason.TIMES)
    return value


def _decoded(segment: str) -> bytes:
    # PyJWT refuses non-canonical base64url later; here it is enough that nothing crashes.
    try:
        return base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    except ValueError:
        raise Refused(Reason.HEADER) from None


def _without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise Refused(Reason.JSON)
    return members


def _finite(number: str) -> float:
    value = float(number)
    require(math.isfinite(value), Reason.JSON)
    return value


def _no_constant(_: str) -> float:
    raise Refused(Reason.JSON)


_JSON = json.JSONDecoder(object_pairs_hook=_without_duplicates, parse_float=_finite, parse_constant=_no_constant)
