"""One frozen value from the environment; unsafe mixtures stop the start with one sentence."""

import os
import re
import ssl
import sys
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlsplit

from shared.errors import BadSettings

ENTRA_ISSUER = "https://login.microsoftonline.com/{tenantid}/v2.0"
ENTRA_KEYS = "https://login.microsoftonline.com/common/discovery/v2.0/keys"
GOOGLE_KEYS = "https://www.googleapis.com/oauth2/v3/certs"
LEEWAY_MAX_S = 300
WAITS_MAX_S = 200
"""The platform cuts an HTTP call at 230 s; a run cut there would lose its answer unnoticed."""

SCHEDULE_FIELDS = 6

GMAIL = "https://mail.google.com"
"""Where the extension's content scripts run; its service worker calls us instead (identity-contract 6.4)."""

_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class Deployment(StrEnum):
    """Where this runs. Absent means production, so that nothing loose starts by forgetting."""

    PRODUCTION = "production"
    DEVELOPMENT = "development"


class Enrolment(StrEnum):
    """Who may bring a tenant in: an operator, or a user's first explicit act."""

    OPERATOR = "operator"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be configured. A field's environment name is its own in capitals.

    Lists are blank-separated. `return_channels` are `name=address` pairs, where the user's browser goes after
    the consent. Times ending in `_s` are seconds.
    """

    environment: Deployment = Deployment.PRODUCTION
    enrolment: Enrolment = Enrolment.OPERATOR

    entra_audiences: tuple[str, ...] = ()
    entra_clients: tuple[str, ...] = ()
    entra_scope: str = "access_as_user"
    entra_issuer_template: str = ENTRA_ISSUER
    entra_jwks_url: str = ENTRA_KEYS
    entra_auth_context: str = ""
    ops_tenant_id: str = ""
    ops_client_id: str = ""
    google_client_ids: tuple[str, ...] = ()
    google_jwks_url: str = GOOGLE_KEYS
    token_leeway_s: int = 60

    cors_origins: tuple[str, ...] = ()
    return_channels: Mapping[str, str] = field(default_factory=dict)

    salesforce_client_id: str = ""
    salesforce_client_secret: str = field(default="", repr=False)
    salesforce_second_secret: str = field(default="", repr=False)
    salesforce_redirect_uri: str = ""
    salesforce_login_origin: str = ""
    sf_extra_origins: tuple[str, ...] = ()
    salesforce_api_version: str = "66.0"
    sf_connect_s: int = 5
    sf_run_s: int = 100
    sf_metadata_s: int = 15
    token_deadline_s: int = 20
    grant_lease_s: int = 45
    refresh_floor_s: int = 60
    breaker_s: int = 60
    flow_cache_s: int = 300
    ca_bundle: str = ""

    store: str = "sqlite"
    store_path: str = ""
    keys: str = "local"
    keys_path: str = ""
    clock_file: str = ""
    stale_run_schedule: str = ""
    python_threadpool_thread_count: int = 0

    @property
    def development(self) -> bool:
        """Whether loopback origins are data rather than a reason to stop."""
        return self.environment is Deployment.DEVELOPMENT


def _pairs(text: str) -> Mapping[str, str]:
    pairs = [pair.split("=", 1) for pair in text.split()]
    if len({pair[0] for pair in pairs}) < len(pairs):
        raise ValueError("a name twice")
    return MappingProxyType(dict(pairs))


_READ: Mapping[object, Callable[[str], object]] = MappingProxyType(
    {
        str: str.strip,
        int: int,
        tuple[str, ...]: lambda text: tuple(text.split()),
        Mapping[str, str]: _pairs,
        Deployment: lambda text: Deployment(text.strip().lower()),
        Enrolment: lambda text: Enrolment(text.strip().lower()),
    }
)


def load(environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings, checked. Raises BadSettings with one sentence that names the setting and shows no value."""
    given: dict[str, object] = {}
    for wanted in fields(Settings):
        name = wanted.name.upper()
        text = environment.get(name, "")
        if text.strip():
            try:
                given[wanted.name] = _READ[wanted.type](text)
            except (ValueError, KeyError):
                raise BadSettings(f"{name} cannot be read: {_expected(wanted.type)}.") from None
        elif wanted.default is MISSING and wanted.default_factory is MISSING:
            raise BadSettings(f"{name} is missing.")
    if given.get("environment") is Deployment.DEVELOPMENT:
        given.setdefault("enrolment", Enrolment.OPEN)
    settings = Settings(**given)  # type: ignore[arg-type]  # each value was read by its field's own type
    check(settings)
    return settings


def _expected(kind: object) -> str:
    if kind is int:
        return "it is a whole number"
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return "it is one of " + ", ".join(kind)
    return "it holds name=address pairs, each name once"


def check(settings: Settings) -> None:
    """Raise BadSettings for the first thing that may not be, in one sentence that names the setting."""
    for rule in (_identity, _salesforce, _browsers, _limits, _parts):
        rule(settings)


def _need(condition: object, sentence: str) -> None:
    if not condition:
        raise BadSettings(sentence)


def _identity(s: Settings) -> None:
    _need(s.entra_audiences or s.google_client_ids, "ENTRA_AUDIENCES and GOOGLE_CLIENT_IDS are both empty.")
    _need(not s.entra_audiences or s.entra_clients, "ENTRA_CLIENTS is empty although ENTRA_AUDIENCES is set.")
    for name in ("entra_audiences", "entra_clients", "google_client_ids"):
        _need(not any("*" in v for v in getattr(s, name)), f"{name.upper()} may not hold a wildcard.")
    _need("{tenantid}" in s.entra_issuer_template, "ENTRA_ISSUER_TEMPLATE must hold {tenantid}.")
    _need(s.entra_issuer_template == ENTRA_ISSUER, "ENTRA_ISSUER_TEMPLATE is not Microsoft's issuer.")
    _need(0 <= s.token_leeway_s <= LEEWAY_MAX_S, f"TOKEN_LEEWAY_S must be 0 to {LEEWAY_MAX_S} seconds.")
    _need(bool(s.ops_tenant_id) == bool(s.ops_client_id), "OPS_TENANT_ID and OPS_CLIENT_ID go together.")
    for name in ("ops_tenant_id", "ops_client_id"):
        _need(not getattr(s, name) or _GUID.fullmatch(getattr(s, name)), f"{name.upper()} must be a lower-case GUID.")
    for name, pinned in (("entra_jwks_url", ENTRA_KEYS), ("google_jwks_url", GOOGLE_KEYS)):
        url = getattr(s, name)
        _need(url == pinned or (s.development and _loopback(url)), f"{name.upper()} is not the provider's key set.")


def _salesforce(s: Settings) -> None:
    for name in ("salesforce_client_id", "salesforce_client_secret", "salesforce_redirect_uri"):
        _need(getattr(s, name), f"{name.upper()} is missing.")
    _need(_web(s, s.salesforce_redirect_uri), "SALESFORCE_REDIRECT_URI must be an https address.")
    _need(re.fullmatch(r"[0-9]{2}\.0", s.salesforce_api_version), "SALESFORCE_API_VERSION must look like 66.0.")
    for name in ("salesforce_login_origin", "sf_extra_origins"):
        origins = getattr(s, name)
        for origin in (origins,) if isinstance(origins, str) else origins:
            allowed = not origin or (s.development and _loopback(origin) and _is_origin(origin))
            _need(allowed, f"{name.upper()} may name loopback origins, in development only.")
    _need(not s.ca_bundle or s.development, "CA_BUNDLE is for development only.")
    _need(not s.ca_bundle or _holds_certificates(s.ca_bundle), "CA_BUNDLE names no file that holds certificates.")


def _browsers(s: Settings) -> None:
    for origin in s.cors_origins:
        _need(_is_origin(origin) and _client(s, origin), "CORS_ORIGINS holds something that is no exact origin.")
        _need(origin != GMAIL, "CORS_ORIGINS may not hold Gmail's own origin: any script of that page would read ours.")
    _need(s.return_channels, "RETURN_CHANNELS is empty.")
    for name, address in s.return_channels.items():
        _need(re.fullmatch(r"outlook|chrome:[a-p]{32}", name), "RETURN_CHANNELS holds an unknown channel.")
        plain = _web(s, address) and "#" not in address
        _need(plain, "RETURN_CHANNELS holds an address that is not https, holds a fragment or names a user.")
        # Chrome gives that host to the extension alone; anywhere else, a stranger would get completion values.
        own = f"https://{name.removeprefix('chrome:')}.chromiumapp.org/"
        fit = name == "outlook" or address.startswith(own) or (s.development and _loopback(address))
        _need(fit, "RETURN_CHANNELS must point a chrome channel at its own extension's chromiumapp.org host.")


def _parts(s: Settings) -> None:
    _need(not s.clock_file or s.development, "CLOCK_FILE is for development only.")
    _need(s.store == "sqlite", "STORE must be sqlite.")
    _need(s.keys == "local", "KEYS must be local.")
    _need(s.development, "STORE=sqlite and KEYS=local are for development only.")
    _need(s.store_path, "STORE_PATH is missing.")
    _need(s.keys_path, "KEYS_PATH is missing.")


def _limits(s: Settings) -> None:
    for name in ("sf_connect_s", "sf_run_s", "sf_metadata_s", "token_deadline_s", "flow_cache_s", "breaker_s"):
        _need(getattr(s, name) > 0, f"{name.upper()} must be above 0.")
    _need(s.refresh_floor_s >= 0, "REFRESH_FLOOR_S must be 0 or above.")
    # Who holds a claim must have ended the token call, and have time left for the write, before it lapses.
    leased = s.grant_lease_s >= 2 * s.token_deadline_s
    _need(leased, "GRANT_LEASE_S must be at least twice TOKEN_DEADLINE_S.")
    # At worst a run describes, is refused, refreshes, describes again and runs, over a new connection each time.
    waits = 2 * s.sf_metadata_s + s.grant_lease_s + s.sf_run_s + 4 * s.sf_connect_s
    names = "SF_RUN_S, GRANT_LEASE_S, twice SF_METADATA_S and four times SF_CONNECT_S"
    _need(waits <= WAITS_MAX_S, f"{names} together pass the platform's cut.")
    _need(s.stale_run_schedule, "STALE_RUN_SCHEDULE is missing.")
    schedule = s.stale_run_schedule.split()
    _need(len(schedule) == SCHEDULE_FIELDS, "STALE_RUN_SCHEDULE must hold six fields, such as 0 */5 * * * *.")
    _need(s.development or s.python_threadpool_thread_count > 0, "PYTHON_THREADPOOL_THREAD_COUNT must be set.")


def _scheme_and_host(url: str) -> tuple[str, str]:
    """Of an address that names one host; empty for anything else, a user, a wildcard or a blank in it included."""
    try:
        parts = urlsplit("" if re.search(r"[\s*\\]", url) else url)
    except ValueError:
        return "", ""
    return ("", "") if "@" in parts.netloc else (parts.scheme, parts.hostname or "")


def _loopback(url: str) -> bool:
    scheme, host = _scheme_and_host(url)
    return host in LOOPBACK and scheme in {"http", "https"}


def _web(s: Settings, url: str) -> bool:
    scheme, host = _scheme_and_host(url)
    return (scheme == "https" and bool(host)) or (s.development and _loopback(url))


def _is_origin(origin: str) -> bool:
    return re.fullmatch(r"[a-z-]+://[a-z0-9.\[\]:-]+", origin) is not None and "*" not in origin


def _client(s: Settings, origin: str) -> bool:
    return _web(s, origin) or re.fullmatch(r"chrome-extension://[a-p]{32}", origin) is not None


def _holds_certificates(bundle: str) -> bool:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cafile=bundle)
    except (OSError, ValueError):
        return False
    return context.cert_store_stats()["x509"] > 0


def assert_own_package(app: Path) -> None:
    """Stop unless the package `shared` that runs is the one beside function_app.py.

    On an environment reload the engine appends the app's folder to the end of sys.path, where another
    distribution's `shared` would win (azure-facts 1).
    """
    running = Path(sys.modules["shared"].__file__ or "").resolve().parent
    if running != (app / "shared").resolve():
        raise BadSettings("Another package named shared stands before ours on sys.path.")
