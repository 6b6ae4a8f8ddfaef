"""Token to Principal: the only place where one is made out of a token.

The steps of identity-contract.md 1.3; the first that fails ends it, with one answer for all:
   1. the header's shape and size                                   claims.read_header
   2. the JOSE header                                               claims.read_header
   3. the provider, and its key of that id                          below, signing_keys
   4. the signature and the times                                   below, PyJWT
   5. the payload, strictly, parsed once for all that follows       claims.read_claims
   6. to 12. what this provider's claims must say                   issuers
Step 13, the tenant's state, belongs to the use cases.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import jwt
from jwt.types import Options

from shared.errors import ClaimsNeeded, IssuerUnavailable, NotSignedIn, PersonalAccount
from shared.identity.claims import ALGORITHM, Claims, UnverifiedToken, read_claims, read_header
from shared.identity.issuers import Rule
from shared.identity.refusals import Reason, Refused, word_for
from shared.identity.signing_keys import SigningKey, SigningKeys
from shared.model.events import Event, EventName
from shared.model.identity import BearerToken, Principal, Provider
from shared.ports import Emit

_OPTIONS: Options = {
    "verify_signature": True,
    "enforce_minimum_key_length": True,
    "require": ["exp", "iat", "iss", "aud"],
    "verify_exp": True,
    "verify_nbf": True,
    "verify_iat": True,
    "verify_aud": True,
    "strict_aud": False,  # strict takes one configured audience only; the rule refuses lists
    "verify_iss": False,  # Entra's issuer depends on the tenant; the rule compares it byte for byte
    "verify_sub": True,
    "verify_jti": True,
}


class _StrictJwt(jwt.PyJWT):
    """PyJWT with our reading of the payload, so that it and the rules see the same object.

    PyJWT calls this after the signature and before the times, and means it to be overridden.
    """

    def _decode_payload(self, decoded: dict[str, object]) -> dict[str, object]:
        # 5: the payload, strictly.
        return read_claims(cast("bytes", decoded["payload"]))


_JWT = _StrictJwt()


@dataclass(frozen=True, slots=True)
class TrustedIssuer:
    """A provider: its rule, and the keys that speak for it and for nobody else."""

    rule: Rule
    keys: SigningKeys


@dataclass(frozen=True, slots=True)
class Verifier:
    """The SignIn port: takes the value of an Authorization header. `leeway_s` is the allowed clock skew in seconds."""

    issuers: Sequence[TrustedIssuer]
    emit: Emit
    leeway_s: int = 60

    def __call__(self, token: BearerToken) -> Principal:
        """The caller. Raises NotSignedIn, PersonalAccount, ClaimsNeeded, IssuerUnavailable."""
        provider: Provider | None = None
        try:
            # 1 and 2: the shape of both headers.
            unverified = read_header(token)
            trusted = self._issuer_of(unverified.claims)
            provider = trusted.rule.provider
            return self._proved(unverified, trusted)
        except (PersonalAccount, ClaimsNeeded, IssuerUnavailable) as error:
            self._tell(error, provider)
            raise
        except Exception as error:  # noqa: BLE001 - whatever a token makes a library do, it proves nobody
            self._tell(error, provider)
            raise NotSignedIn from None

    def _proved(self, unverified: UnverifiedToken, trusted: TrustedIssuer) -> Principal:
        # 3: this provider's key.
        key = trusted.keys.key(unverified.kid)
        # 4 and 5: signature, payload, times.
        claims = self._verified(unverified.text, key, trusted.rule.audiences)
        # 6 to 12: the provider's rule.
        return trusted.rule.principal(claims, key.issuer)

    def _issuer_of(self, unverified: Claims) -> TrustedIssuer:
        """The provider whose keys to ask. Its full rule decides afterwards, on verified claims."""
        named = unverified.get("iss")
        for trusted in self.issuers:
            if trusted.rule.may_issue(named):
                return trusted
        raise Refused(Reason.UNKNOWN_ISSUER)

    def _verified(self, token: str, key: SigningKey, audiences: Sequence[str]) -> Claims:
        claims: Claims = _JWT.decode(
            token, key.jwk, algorithms=[ALGORITHM], options=_OPTIONS, audience=audiences, leeway=self.leeway_s
        )
        return claims

    def _tell(self, error: Exception, provider: Provider | None) -> None:
        self.emit(Event(EventName.SIGN_IN_REFUSED, {"reason": word_for(error), "provider": provider}))
