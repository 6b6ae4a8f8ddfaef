"""Whose word we take for what: the full rule of each provider (identity-contract.md 1.3 steps 6 to 12, and 2).

A rule is asked only about claims whose signature a key of its own provider has verified.
"""

import json
import re
from dataclasses import dataclass
from typing import ClassVar, Protocol

from shared.errors import ClaimsNeeded, PersonalAccount
from shared.identity.claims import Claims, guid, life, lists, signed_in_at, text
from shared.identity.refusals import Reason, require
from shared.model.identity import Principal, Provider, Role, TenantId

TENANT_PLACE = "{tenantid}"
CONSUMERS = "9188040d-6c67-4c5b-b112-36a304b66dad"
"""The tenant of all personal Microsoft accounts."""
NO_TENANT = "00000000-0000-0000-0000-000000000000"
GLOBAL_ADMINISTRATOR = "62e90394-69f5-4237-9190-012177145e10"
TENANT_ADMIN_ROLE = "Tenant.Admin"
OPERATOR_ROLE = "Operator"

GOOGLE_ISSUERS = ("https://accounts.google.com", "accounts.google.com")
GOOGLE_CONSUMER_DOMAINS = ("gmail.com", "googlemail.com")
_GOOGLE_LIFE_MAX_S = 24 * 3600
_GOOGLE_SUBJECT = re.compile(r"[\x21-\x7e]{1,255}")
_HOST_MAX = 253
_HOST = re.compile(r"([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]")


class Rule(Protocol):
    """What one provider's verified claims must say."""

    @property
    def provider(self) -> Provider:
        """Whose rule this is."""
        ...

    @property
    def audiences(self) -> tuple[str, ...]:
        """The accepted values of `aud`."""
        ...

    def may_issue(self, issuer: object) -> bool:
        """Whether an unverified `iss` points at this provider: enough to pick a key set, and proof of nothing."""
        ...

    def principal(self, claims: Claims, key_issuer: str | None) -> Principal:
        """The caller, from verified claims and the issuer that the verifying key names.

        Raises Refused, or PersonalAccount and ClaimsNeeded when nothing else is wrong.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class EntraRule:
    """Entra access tokens, version 2.0, of members and guests of an organisation.

    `issuer_template` holds `{tenantid}`. The operations client is accepted in the operations tenant alone.
    `auth_context` is the id of an authentication context that each token must have satisfied; empty is off.
    """

    provider: ClassVar[Provider] = Provider.ENTRA

    audiences: tuple[str, ...]
    clients: tuple[str, ...]
    issuer_template: str
    scope: str = "access_as_user"
    ops_tenant: str = ""
    ops_client: str = ""
    auth_context: str = ""

    def may_issue(self, issuer: object) -> bool:
        """Whether it begins as our template does."""
        return isinstance(issuer, str) and issuer.startswith(self.issuer_template.partition(TENANT_PLACE)[0])

    def principal(self, claims: Claims, key_issuer: str | None) -> Principal:
        """The member or guest behind the claims, with the roles that count for us."""
        tid, issuer = self._tenant(claims, key_issuer)
        self._check_purpose(claims, tid)
        # 12: the user.
        oid = guid(claims, "oid", Reason.SUBJECT)
        if tid == CONSUMERS:
            raise PersonalAccount
        if self.auth_context and not lists(claims, "acrs", self.auth_context):
            raise ClaimsNeeded(_challenge(self.auth_context))
        guest = _is_guest(claims, issuer)
        roles = self._roles(claims, tid, guest=guest)
        return Principal(TenantId(self.provider, tid), oid, roles, guest, signed_in_at(claims))

    def _tenant(self, claims: Claims, key_issuer: str | None) -> tuple[str, str]:
        # 6: the tenant.
        tid = guid(claims, "tid", Reason.TENANT)
        require(tid != NO_TENANT, Reason.TENANT)
        # 7: its issuer, byte for byte.
        issuer = self.issuer_template.replace(TENANT_PLACE, tid)
        require(claims.get("iss") == issuer, Reason.ISSUER)
        # 8: the key's own issuer, or a key of one class of tenants would validate another.
        require(key_issuer is not None and key_issuer.replace(TENANT_PLACE, tid) == issuer, Reason.KEY_ISSUER)
        return tid, issuer

    def _check_purpose(self, claims: Claims, tid: str) -> None:
        # 9: for us.
        require(text(claims, "aud", Reason.AUDIENCE) in self.audiences, Reason.AUDIENCE)
        # 10: version 2.0, from our client, for our scope.
        require(claims.get("ver") == "2.0", Reason.VERSION)
        azp = text(claims, "azp", Reason.CLIENT)
        require(azp in self.clients or self._operations(tid, azp), Reason.CLIENT)
        require(self.scope in text(claims, "scp", Reason.SCOPE).split(" "), Reason.SCOPE)
        # 11: on behalf of a person.
        require(claims.get("idtyp", "user") == "user", Reason.APP_ONLY)

    def _operations(self, tid: str, azp: object) -> bool:
        return tid == self.ops_tenant and azp == self.ops_client

    def _roles(self, claims: Claims, tid: str, *, guest: bool) -> frozenset[Role]:
        # A customer's admin hands out our app roles in their own tenant, so an operator is believed from ours alone.
        roles = set()
        if not guest and (lists(claims, "wids", GLOBAL_ADMINISTRATOR) or lists(claims, "roles", TENANT_ADMIN_ROLE)):
            roles.add(Role.ADMIN)
        if not guest and self._operations(tid, claims.get("azp")) and lists(claims, "roles", OPERATOR_ROLE):
            roles.add(Role.OPERATOR)
        return frozenset(roles)


@dataclass(frozen=True, slots=True, kw_only=True)
class GoogleRule:
    """Google ID tokens of Workspace users. `audiences` are our client ids. They carry no role."""

    provider: ClassVar[Provider] = Provider.GOOGLE

    audiences: tuple[str, ...]

    def may_issue(self, issuer: object) -> bool:
        """Whether it is one of Google's two spellings."""
        return issuer in GOOGLE_ISSUERS

    def principal(self, claims: Claims, key_issuer: str | None) -> Principal:  # noqa: ARG002 - Google's keys name none
        """The Workspace user behind the claims; the tenant is `hd`, never the part of an address after @."""
        require(claims.get("iss") in GOOGLE_ISSUERS, Reason.ISSUER)
        require(text(claims, "aud", Reason.AUDIENCE) in self.audiences, Reason.AUDIENCE)
        require("azp" not in claims or text(claims, "azp", Reason.CLIENT) in self.audiences, Reason.CLIENT)
        subject = text(claims, "sub", Reason.SUBJECT)
        require(_GOOGLE_SUBJECT.fullmatch(subject), Reason.SUBJECT)
        require(claims.get("email_verified") is True, Reason.EMAIL_UNVERIFIED)
        require(life(claims) <= _GOOGLE_LIFE_MAX_S, Reason.TIMES)
        tenant = TenantId(self.provider, _workspace_domain(claims))
        return Principal(tenant, subject, signed_in_at=signed_in_at(claims))


def _workspace_domain(claims: Claims) -> str:
    # Any address can be made into a Google account, so without `hd` it is a personal one whatever its e-mail.
    if "hd" not in claims:
        raise PersonalAccount
    domain = text(claims, "hd", Reason.DOMAIN)
    require(len(domain) <= _HOST_MAX and _HOST.fullmatch(domain), Reason.DOMAIN)
    if domain in GOOGLE_CONSUMER_DOMAINS:
        raise PersonalAccount
    return domain


def _is_guest(claims: Claims, issuer: str) -> bool:
    # Whatever is not plainly a member counts as a guest: a guest has fewer rights.
    account = claims.get("acct", 0)
    return isinstance(account, bool) or account != 0 or claims.get("idp", issuer) != issuer


def _challenge(auth_context: str) -> str:
    wanted = {"access_token": {"acrs": {"essential": True, "value": auth_context}}}
    return json.dumps(wanted, separators=(",", ":"))
