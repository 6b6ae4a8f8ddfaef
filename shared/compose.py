"""The one place that knows all parts: settings in, use cases out.

Everything is built once a process and shared by the worker's threads. A backend is imported only when settings
choose it, so that a cold start pays for nothing it does not use.
"""

import os
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from shared.errors import BadSettings
from shared.identity.issuers import EntraRule, GoogleRule
from shared.identity.signing_keys import SigningKeys
from shared.identity.verifier import TrustedIssuer, Verifier
from shared.ports import Clock, Emit, Keyring, Orgs, Randomness, SalesforceOAuth, SignIn, Store
from shared.salesforce.client_secrets import ClientSecrets
from shared.salesforce.flow_cache import RecentFlows
from shared.salesforce.hosts import Hosts
from shared.salesforce.oauth import OAuthClient
from shared.salesforce.org import RestOrgs
from shared.salesforce.pool import Pool
from shared.settings import Enrolment, Settings
from shared.telemetry.sinks import LineSink, silence_foreign
from shared.usecases.admission import Admission
from shared.usecases.breaker import Breaker
from shared.usecases.check_readiness import CheckReadiness
from shared.usecases.commit_grant import CommitGrant
from shared.usecases.complete_connection import CompleteConnect
from shared.usecases.connect import BeginConnect, ParkCode
from shared.usecases.connections import EndConnection, ReadConnection, ReadMe
from shared.usecases.end_stale_runs import EndStaleRuns
from shared.usecases.enrol import Enrol, EnrolByOperator
from shared.usecases.flights import Flights
from shared.usecases.grants import Grants
from shared.usecases.insist import Insist
from shared.usecases.list_flows import Catalogue, DescribeFlow, ListFlows
from shared.usecases.refresh import RefreshGrant
from shared.usecases.refresh_failures import RefreshLimits
from shared.usecases.run_flow import RunFlow
from shared.usecases.sessions import Sessions


@dataclass(frozen=True, slots=True)
class UseCases:
    """Everything that the edge can ask for, and what it needs itself."""

    sign_in: SignIn
    clock: Clock
    randomness: Randomness
    emit: Emit
    readiness: CheckReadiness
    read_me: ReadMe
    begin_connect: BeginConnect
    park_code: ParkCode
    complete_connect: CompleteConnect
    read_connection: ReadConnection
    end_connection: EndConnection
    list_flows: ListFlows
    describe_flow: DescribeFlow
    run_flow: RunFlow
    enrol: EnrolByOperator
    end_stale_runs: EndStaleRuns


@dataclass(frozen=True, slots=True)
class _Parts:
    """What stands behind the ports."""

    clock: Clock
    randomness: Randomness
    emit: Emit
    store: Store
    keyring: Keyring
    oauth: SalesforceOAuth
    orgs: Orgs


def build(settings: Settings) -> UseCases:
    """The use cases over real parts. Nothing is asked of the network yet.

    Raises BadSettings for a place that settings name and that cannot be used.
    """
    silence_foreign()
    clock = _clock(settings.clock_file)
    emit = LineSink(sys.stdout, clock)
    pool = Pool(settings.ca_bundle)
    hosts = Hosts(settings.salesforce_login_origin, frozenset(settings.sf_extra_origins))
    parts = _Parts(
        clock=clock,
        randomness=os.urandom,
        emit=emit,
        store=_store(settings, clock),
        keyring=_keyring(settings, clock),
        oauth=_oauth(settings, hosts, pool, emit),
        orgs=_orgs(settings, hosts, pool),
    )
    return _use_cases(settings, parts)


def _use_cases(settings: Settings, parts: _Parts) -> UseCases:
    store, keyring, oauth, clock, emit = parts.store, parts.keyring, parts.oauth, parts.clock, parts.emit
    admission = Admission(store, keyring)
    grants = Grants(oauth, emit)
    sessions = _sessions(settings, parts, grants)
    catalogue = Catalogue(RecentFlows(settings.flow_cache_s, clock))
    enrol = Enrol(store, keyring, admission, clock, parts.randomness)
    newcomers = enrol if settings.enrolment is Enrolment.OPEN else None
    channels = settings.return_channels
    return UseCases(
        sign_in=_verifier(settings, parts),
        clock=clock,
        randomness=parts.randomness,
        emit=emit,
        readiness=CheckReadiness({"store": store.ping, "keys": keyring.ping}, clock),
        read_me=ReadMe(admission, grants),
        begin_connect=BeginConnect(store, admission, newcomers, oauth, channels, clock, parts.randomness),
        park_code=ParkCode(store, keyring, channels, clock, parts.randomness),
        complete_connect=CompleteConnect(store, admission, grants, oauth, clock),
        read_connection=ReadConnection(admission, grants),
        end_connection=EndConnection(admission, grants, clock),
        list_flows=ListFlows(admission, sessions, catalogue),
        describe_flow=DescribeFlow(admission, sessions, catalogue),
        run_flow=RunFlow(admission, sessions, catalogue, clock, emit),
        enrol=EnrolByOperator(enrol),
        end_stale_runs=EndStaleRuns(store, clock, emit),
    )


def _sessions(s: Settings, parts: _Parts, grants: Grants) -> Sessions:
    ticks, pause, randomness, emit = time.monotonic, time.sleep, parts.randomness, parts.emit
    insist = Insist(ticks, pause, randomness)
    refresh = RefreshGrant(
        grants=grants,
        commit=CommitGrant(grants, insist, emit),
        insist=insist,
        oauth=parts.oauth,
        limits=RefreshLimits(s.grant_lease_s, s.token_deadline_s, s.refresh_floor_s),
        breaker=Breaker(ticks, s.breaker_s),
        flights=Flights(),
        ticks=ticks,
        pause=pause,
        randomness=randomness,
        emit=emit,
    )
    return Sessions(grants, refresh, parts.orgs)


def _verifier(s: Settings, parts: _Parts) -> Verifier:
    entra = EntraRule(
        audiences=s.entra_audiences,
        clients=s.entra_clients,
        issuer_template=s.entra_issuer_template,
        scope=s.entra_scope,
        ops_tenant=s.ops_tenant_id,
        ops_client=s.ops_client_id,
        auth_context=s.entra_auth_context,
    )
    google = GoogleRule(audiences=s.google_client_ids)
    trusted = (
        TrustedIssuer(entra, SigningKeys(s.entra_jwks_url, parts.clock, ca_bundle=s.ca_bundle)),
        TrustedIssuer(google, SigningKeys(s.google_jwks_url, parts.clock, ca_bundle=s.ca_bundle, follows_max_age=True)),
    )
    return Verifier(tuple(t for t in trusted if t.rule.audiences), parts.emit, s.token_leeway_s)


def _oauth(s: Settings, hosts: Hosts, pool: Pool, emit: Emit) -> OAuthClient:
    return OAuthClient(
        hosts=hosts,
        pool=pool,
        client_id=s.salesforce_client_id,
        secrets=ClientSecrets(s.salesforce_client_secret, s.salesforce_second_secret, emit),
        redirect_uri=s.salesforce_redirect_uri,
        connect_s=s.sf_connect_s,
        deadline_s=s.token_deadline_s,
        ticks=time.monotonic,
    )


def _orgs(s: Settings, hosts: Hosts, pool: Pool) -> RestOrgs:
    return RestOrgs(
        hosts=hosts,
        pool=pool,
        version=s.salesforce_api_version,
        connect_s=s.sf_connect_s,
        run_s=s.sf_run_s,
        metadata_s=s.sf_metadata_s,
    )


def _store(settings: Settings, clock: Clock) -> Store:
    from shared.store.sqlite import SqliteStore  # noqa: PLC0415  the backend that settings chose

    return SqliteStore(Path(settings.store_path), clock)


def _keyring(settings: Settings, clock: Clock) -> Keyring:
    from shared.keys.local import LocalKeyring  # noqa: PLC0415  the backend that settings chose

    return LocalKeyring(Path(settings.keys_path), os.urandom, clock)


def _clock(offset_file: str) -> Clock:
    """Now in epoch milliseconds; in development moved by the seconds that a file holds."""
    if not offset_file:
        return _now
    try:
        return _MovedClock(Path(offset_file))
    except _NO_OFFSET:
        raise BadSettings("CLOCK_FILE must name a file that holds a number of seconds.") from None


_NO_OFFSET = (OSError, ValueError, OverflowError)


class _MovedClock:
    """The clock moved by a file, which is read at each look; while it cannot be, by what it held last."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset_ms = self._read()

    def __call__(self) -> int:
        with suppress(*_NO_OFFSET):
            self._offset_ms = self._read()
        return _now() + self._offset_ms

    def _read(self) -> int:
        return int(float(self._path.read_text()) * 1_000)


def _now() -> int:
    return time.time_ns() // 1_000_000
