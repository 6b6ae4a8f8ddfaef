"""Everything around the app on one development machine: issuers, Salesforce, the pane, and the app's settings."""

from __future__ import annotations

import json
import secrets
import shlex
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType
from typing import Self, TypedDict

import requests

from shared.devkit.issuers import EntraIssuer, GoogleIssuer
from shared.devkit.minting import (
    ENTRA_ISSUER,
    OPS_CLIENT_ID,
    OPS_TENANT,
    EntraEntry,
    GoogleEntry,
    entra_claims,
    google_claims,
    guid_of,
)
from shared.devkit.pane import Pane
from shared.devkit.salesforce import SalesforceServer
from shared.devkit.tls import LOOPBACK, DevelopmentCA

PORT = 7071
EXTENSION = "abcdefghijklmnopabcdefghijklmnop"
"""The id of a browser extension that does not exist."""

CONSUMER_KEY = "3MVG9.FlowRunner.Development"
_STALE_RUNS = "0 */5 * * * *"
_THREADS = "128"
_ENROL_WAIT_S = 30.0
_ENROLLED = frozenset({200, 201})
_SHARED = (
    "ISSUERS",
    "SALESFORCE_LOGIN_ORIGIN",
    "SF_EXTRA_ORIGINS",
    "SALESFORCE_CLIENT_ID",
    "SALESFORCE_CLIENT_SECRET",
    "SALESFORCE_REDIRECT_URI",
    "CA_BUNDLE",
    "RETURN_CHANNELS",
    "STORE_PATH",
    "KEYS_PATH",
)


class WorkbenchFailed(Exception):
    """A part of the workbench cannot be had; the text is one sentence that names the setting."""


class EntraRecord(EntraEntry):
    """The `entra` part of the issuers' file: the entry, the key set's address and the operations identities."""

    jwks_url: str
    ops_tenant: str
    ops_client_id: str


class GoogleRecord(GoogleEntry):
    """The `google` part of the issuers' file: the entry and the key set's address."""

    jwks_url: str


class IssuersRecord(TypedDict):
    """The issuers' file: what another instance needs to trust and use the same issuers."""

    entra: EntraRecord
    google: GoogleRecord


class Workbench:
    """The world around one app on 127.0.0.1; a context manager.

    `given` holds settings by their environment names, and wins over what is made here; with ISSUERS (a path)
    the issuers of that file are used and none is started, with SALESFORCE_LOGIN_ORIGIN no Salesforce is.
    `port` is where the app will be served; nothing is bound to it. `environment` is complete after the start.
    Raises WorkbenchFailed for an issuers' file that cannot be used.
    """

    def __init__(self, folder: Path, *, given: Mapping[str, str] = MappingProxyType({}), port: int = PORT) -> None:
        self.base_url = f"http://{LOOPBACK}:{port}"
        self.environment: dict[str, str] = {}
        self.salesforce: SalesforceServer | None = None
        self._given = {name: value for name, value in given.items() if value.strip()}
        self._folder = folder.resolve()
        self._port = port
        self._known, self.entra, self.google = _issuers(self._given.get("ISSUERS", ""))
        self._parts = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as parts:
            if self._known is None:
                parts.enter_context(self.entra)
                parts.enter_context(self.google)
            pane = parts.enter_context(Pane(self.base_url))
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.environment = self._around(pane) | self._given
            if "SALESFORCE_LOGIN_ORIGIN" not in self._given:
                self._start_salesforce(parts)
            self._parts = parts.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._parts.close()

    def token(self, user: str = "", tenant: str = "", *, admin: bool = False, operator: bool = False) -> str:
        """An Entra access token for an hour; GUIDs or words, the default user's and tenant's when empty.

        An operator's has satisfied the authentication context that the app asks for, if it does.
        """
        entra, settings = self._entra(), self.environment
        claims = entra_claims(
            guid_of(tenant or entra["tenant"]),
            guid_of(user or entra["oid"]),
            audience=entra["audiences"][0],
            azp=entra["azp"],
            admin=admin,
            operator=operator,
        )
        claims["scp"] = entra["scope"]
        if operator:
            tid = settings["OPS_TENANT_ID"]
            claims |= {"tid": tid, "iss": ENTRA_ISSUER.replace("{tid}", tid), "azp": settings["OPS_CLIENT_ID"]}
            claims["acrs"] = [settings.get("ENTRA_AUTH_CONTEXT", "")]
        return self.entra.sign(claims)

    def google_token(self, user: str = "", tenant: str = "") -> str:
        """A Google ID token for an hour; `tenant` is a domain; the default subject's and domain's when empty."""
        google = self._google()
        claims = google_claims(tenant or google["hd"], user or google["sub"], client_id=google["client_id"])
        return self.google.sign(claims)

    def enrol_defaults(self, base_url: str = "") -> None:
        """Enrol the default Entra tenant and Google domain with the served app, as an operator; idempotent.

        Raises WorkbenchFailed when the app refuses, and requests' errors when it is away.
        """
        record = self.issuers_record()
        bearer = {"Authorization": f"Bearer {self.token(operator=True)}"}
        with requests.Session() as session:
            session.trust_env = False
            for provider, tenant in (("entra", record["entra"]["tenant"]), ("google", record["google"]["hd"])):
                answer = session.post(
                    f"{base_url or self.base_url}/v1/tenants",
                    json={"provider": provider, "id": tenant},
                    headers=bearer,
                    timeout=_ENROL_WAIT_S,
                    allow_redirects=False,
                )
                if answer.status_code not in _ENROLLED:
                    raise WorkbenchFailed(f"The default {provider} tenant was not enrolled: {answer.status_code}.")

    def shared_settings(self, issuers: str) -> str:
        """Lines for a shell: the settings with which another instance shares store, keys, Salesforce and issuers.

        `issuers` is the path of the issuers' file.
        """
        known = self.environment | {"ISSUERS": str(Path(issuers).absolute())}
        told = {name: known[name] for name in _SHARED if name in known}
        return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in told.items())

    def devkit_record(self) -> dict[str, object]:
        """What `.dev/devkit.json` holds: where all is, and the keys with which a client mints its own tokens."""
        settings = self.environment
        bundle, origins = settings.get("CA_BUNDLE", ""), settings.get("SF_EXTRA_ORIGINS", "").split()
        return {
            "base_url": self.base_url,
            "entra": {name: value for name, value in self._entra().items() if name in EntraEntry.__annotations__},
            "google": {name: value for name, value in self._google().items() if name in GoogleEntry.__annotations__},
            "salesforce": {
                "base_url": settings["SALESFORCE_LOGIN_ORIGIN"],
                "instance_url": next(iter(origins), ""),
                "ca_pem": Path(bundle).read_text(encoding="ascii") if bundle else "",
            },
        }

    def issuers_record(self) -> IssuersRecord:
        """What `.dev/issuers.json` holds, for the ISSUERS setting of another instance; the present keys."""
        if self._known is not None:
            return self._known
        entra: EntraRecord = {
            **self.entra.entry(),
            "jwks_url": self.entra.jwks_url,
            "ops_tenant": OPS_TENANT,
            "ops_client_id": OPS_CLIENT_ID,
        }
        google: GoogleRecord = {**self.google.entry(), "jwks_url": self.google.jwks_url}
        return {"entra": entra, "google": google}

    def _entra(self) -> EntraRecord:
        """The issuer's record with what the app's settings accept."""
        known, settings = self.issuers_record()["entra"], self.environment
        accepted: EntraRecord = {
            **known,
            "audiences": settings["ENTRA_AUDIENCES"].split(),
            "azp": settings["ENTRA_CLIENTS"].split()[0],
            "scope": settings["ENTRA_SCOPE"],
        }
        return accepted

    def _google(self) -> GoogleRecord:
        accepted: GoogleRecord = {
            **self.issuers_record()["google"],
            "client_id": self.environment["GOOGLE_CLIENT_IDS"].split()[0],
        }
        return accepted

    def _around(self, pane: Pane) -> dict[str, str]:
        issuers = self.issuers_record()
        entra, google = issuers["entra"], issuers["google"]
        return {
            "ENVIRONMENT": "development",
            "ENTRA_AUDIENCES": " ".join(entra["audiences"]),
            "ENTRA_CLIENTS": entra["azp"],
            "ENTRA_SCOPE": entra["scope"],
            "ENTRA_JWKS_URL": entra["jwks_url"],
            "OPS_TENANT_ID": entra["ops_tenant"],
            "OPS_CLIENT_ID": entra["ops_client_id"],
            "GOOGLE_CLIENT_IDS": google["client_id"],
            "GOOGLE_JWKS_URL": google["jwks_url"],
            "CORS_ORIGINS": f"{pane.origin} chrome-extension://{EXTENSION}",
            "RETURN_CHANNELS": f"outlook={pane.address} chrome:{EXTENSION}=https://{EXTENSION}.chromiumapp.org/sf",
            "SALESFORCE_REDIRECT_URI": f"{self.base_url}/v1/oauth/salesforce/callback",
            "STORE_PATH": str(self._folder / "store.sqlite"),
            "KEYS_PATH": str(self._folder / "keys"),
            "STALE_RUN_SCHEDULE": _STALE_RUNS,
            "PYTHON_THREADPOOL_THREAD_COUNT": _THREADS,
        }

    def _start_salesforce(self, parts: ExitStack) -> None:
        # The folder carries the port, so that a second instance leaves the first one's certificates alone.
        ca = DevelopmentCA.create(self._folder / f"tls-{self._port}")
        app = {"SALESFORCE_CLIENT_ID": CONSUMER_KEY, "SALESFORCE_CLIENT_SECRET": secrets.token_hex(32)} | self._given
        server = SalesforceServer(
            ca,
            client_id=app["SALESFORCE_CLIENT_ID"],
            client_secret=app["SALESFORCE_CLIENT_SECRET"],
            redirect_uri=self.environment["SALESFORCE_REDIRECT_URI"],
        )
        self.salesforce = parts.enter_context(server)
        addresses = {"SALESFORCE_LOGIN_ORIGIN": server.base_url, "SF_EXTRA_ORIGINS": server.instance_url}
        self.environment |= addresses | {"CA_BUNDLE": str(ca.ca_pem)} | app


def write_private(path: Path, content: Mapping[str, object] | str) -> None:
    """Write JSON or text that its owner alone can read, whole or not at all. Raises OSError."""
    text = content if isinstance(content, str) else json.dumps(content, indent=2) + "\n"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, delete=False) as file:
        file.write(text)
    Path(file.name).replace(path)


def _issuers(path: str) -> tuple[IssuersRecord | None, EntraIssuer, GoogleIssuer]:
    """A file's record and its issuers, which others serve; without a path, new issuers to be served here."""
    if not path:
        return None, EntraIssuer(), GoogleIssuer()
    try:
        record: IssuersRecord = json.loads(Path(path).read_bytes())
        entra, google = EntraIssuer.load(record["entra"]), GoogleIssuer.load(record["google"])
        missing = (
            EntraRecord.__annotations__.keys() - record["entra"]
            | GoogleRecord.__annotations__.keys() - record["google"]
        )
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        missing = {"entra", "google"}
    if missing:
        raise WorkbenchFailed("ISSUERS names no file that holds issuers' addresses and keys.")
    return record, entra, google
