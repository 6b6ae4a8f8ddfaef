"""The configuration: what it must hold, what production refuses, and one sentence for each fault."""

import re
import secrets
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st

from shared import settings
from shared.errors import BadSettings
from shared.settings import Deployment, Settings, assert_own_package, check, load

EXTENSION = "abcdefghijklmnop" * 2

PRODUCTION = {
    "ENTRA_AUDIENCES": "0f0b0f6e-0000-4000-8000-000000000001 api://add-in.example/0f0b0f6e",
    "ENTRA_CLIENTS": "0f0b0f6e-0000-4000-8000-000000000002",
    "GOOGLE_CLIENT_IDS": "42-abc.apps.googleusercontent.com",
    "CORS_ORIGINS": f"https://add-in.example chrome-extension://{EXTENSION}",
    "RETURN_CHANNELS": f"outlook=https://add-in.example/done chrome:{EXTENSION}=https://{EXTENSION}.chromiumapp.org/sf",
    "SALESFORCE_CLIENT_ID": "client-id",
    "SALESFORCE_CLIENT_SECRET": secrets.token_hex(16),
    "SALESFORCE_REDIRECT_URI": "https://api.example/v1/oauth/salesforce/callback",
    "STORE_PATH": "flowrunner.db",
    "KEYS_PATH": "keys",
    "OPS_TENANT_ID": "0f0b0f6e-0000-4000-8000-000000000003",
    "OPS_CLIENT_ID": "0f0b0f6e-0000-4000-8000-000000000004",
    "STALE_RUN_SCHEDULE": "0 */5 * * * *",
    "PYTHON_THREADPOOL_THREAD_COUNT": "128",
}
"""Fit for production but for the store and the keyring, which have one backend so far, for development."""

DEVELOPMENT = PRODUCTION | {
    "ENVIRONMENT": "development",
    "ENTRA_JWKS_URL": "http://127.0.0.1:4001/keys",
    "GOOGLE_JWKS_URL": "http://localhost:4002/keys",
    "CORS_ORIGINS": "http://localhost:3000",
    "RETURN_CHANNELS": "outlook=http://localhost:3000/done",
    "SALESFORCE_REDIRECT_URI": "http://127.0.0.1:7071/v1/oauth/salesforce/callback",
    "SALESFORCE_LOGIN_ORIGIN": "http://127.0.0.1:4003",
    "SF_EXTRA_ORIGINS": "https://localhost:4004 https://[::1]:4005",
}


def refusal(environment: dict[str, str]) -> str:
    """The one sentence that stops the start."""
    with pytest.raises(BadSettings) as caught:
        load(environment)
    assert caught.value.__cause__ is None
    return str(caught.value)


def test_a_whole_development_configuration_loads() -> None:
    assert load(DEVELOPMENT).development


def test_production_has_no_backend_of_its_own_yet_and_says_so() -> None:
    assert refusal(PRODUCTION) == "STORE=sqlite and KEYS=local are for development only."


# Each fault


HOST = "evil.example"
NO_GUIDS = [
    *("0F0B0F6E-0000-4000-8000-000000000003", "{0f0b0f6e-0000-4000-8000-000000000003}", "contoso.example"),
    *("0f0b0f6e00004000800000000000003", "0f0b0f6e-0000-4000-8000-00000000000", "*"),
]
BROKEN: dict[str, dict[str, list[str]]] = {
    "ENVIRONMENT": {"cannot be read: it is one of production, development": ["staging", "dev"]},
    "ENROLMENT": {"cannot be read: it is one of operator, open": ["anyone"]},
    "ENTRA_AUDIENCES": {"may not hold a wildcard": ["*", "api://*.example"]},
    "ENTRA_CLIENTS": {"is empty although": [""], "may not hold a wildcard": ["one *"]},
    "GOOGLE_CLIENT_IDS": {"may not hold a wildcard": ["*.apps.googleusercontent.com"]},
    "ENTRA_ISSUER_TEMPLATE": {
        "must hold {tenantid}": ["https://login.microsoftonline.com/common/v2.0"],
        "is not Microsoft's": [
            "https://login.microsoftonline.us/{tenantid}/v2.0",
            "https://sts.windows.net/{tenantid}/",
        ],
    },
    "TOKEN_LEEWAY_S": {
        "cannot be read: it is a whole number": ["a minute", "60.5"],
        "must be 0 to 300 seconds": ["-1", "301"],
    },
    "OPS_TENANT_ID": {"go together": [""], "must be a lower-case GUID": NO_GUIDS},
    "OPS_CLIENT_ID": {"go together": [""], "must be a lower-case GUID": NO_GUIDS},
    "ENTRA_JWKS_URL": {
        "is not the provider's key set": [
            *(f"https://{HOST}/keys", f"http://localhost.{HOST}/keys", f"http://localhost@{HOST}/keys"),
            *("http://127.0.0.2/keys", "ftp://127.0.0.1/keys", "http://[::1"),
        ]
    },
    "GOOGLE_JWKS_URL": {"is not the provider's key set": ["https://www.googleapis.com/oauth2/v1/certs"]},
    "SALESFORCE_CLIENT_ID": {"is missing": [""]},
    "SALESFORCE_CLIENT_SECRET": {"is missing": ["  "]},
    "SALESFORCE_REDIRECT_URI": {
        "is missing": [""],
        "must be an https address": [
            *("http://api.example/callback", "https:///callback", "https://[api.example/callback"),
            *("https://*.api.example/callback", "https://api.example /callback"),
        ],
    },
    "SALESFORCE_API_VERSION": {"must look like 66.0": ["66", "66.5", "v66.0", "\u0666\u0666.0"]},
    "SALESFORCE_LOGIN_ORIGIN": {
        "may name loopback origins": [f"https://{HOST}", "http://127.0.0.1:1/path", "http://[127.0.0.1"]
    },
    "SF_EXTRA_ORIGINS": {
        "may name loopback origins": [f"https://localhost:1 https://{HOST}", f"http://localhost.{HOST}"]
    },
    "CA_BUNDLE": {"names no file that holds certificates": ["no-such-file.pem", str(Path(__file__).parent), __file__]},
    "CORS_ORIGINS": {
        "holds something that is no exact origin": [
            *("*", "null", "https://*.example", "https://add-in.example/", "https://Add-In.example", "ftp://a.example"),
            *("http://add-in.example", f"http://localhost.{HOST}", "https://[add-in.example"),
            *("chrome-extension://abc", f"chrome-extension://{EXTENSION[:-1]}z"),
        ],
        "may not hold Gmail's own origin": ["https://add-in.example https://mail.google.com"],
    },
    "RETURN_CHANNELS": {
        "is empty": [""],
        "cannot be read: it holds name=address pairs, each name once": [
            *("outlook", "outlook=https://a.example outlook=https://b.example"),
        ],
        "holds an unknown channel": ["teams=https://a.example", "chrome:abc=https://a.example"],
        "holds an address that is not https": [
            *("outlook=http://a.example", "outlook=https://a.example#x", "outlook=https://[a.example"),
            *(
                "outlook=https://*.example",
                "outlook=javascript:alert(1)",
                "outlook=https://evil.example\\.add-in.example",
            ),
        ],
        "or names a user": [
            *("outlook=https://add-in.example@evil.example/x", "outlook=https://a:b@add-in.example/x"),
            *("outlook=https://@add-in.example/x", "outlook=http://u@localhost:3000/x"),
        ],
        "must point a chrome channel at its own extension": [
            f"chrome:{EXTENSION}={address}"
            for address in (
                *(f"https://{HOST}/sf", f"https://{EXTENSION[::-1]}.chromiumapp.org/sf", "https://chromiumapp.org/sf"),
                *(f"https://{EXTENSION}.chromiumapp.org.{HOST}/", f"https://{EXTENSION}.chromiumapp.org:8443/sf"),
                *(f"https://{EXTENSION}.chromiumapp.org", f"https://{HOST}/{EXTENSION}.chromiumapp.org/"),
            )
        ],
    },
    "STALE_RUN_SCHEDULE": {
        "is missing": ["", "  "],
        "must hold six fields": ["*/5 * * * *", "0 */5 * * * * *", "00:05:00", "%OTHER%"],
    },
    "STORE": {"must be sqlite": ["mongo"]},
    "KEYS": {"must be local": ["env"]},
    "STORE_PATH": {"is missing": [""]},
    "KEYS_PATH": {"is missing": [""]},
    "SF_CONNECT_S": {"must be above 0": ["0"], "together pass the platform's cut": ["7"]},
    "SF_RUN_S": {"must be above 0": ["-1"], "together pass the platform's cut": ["106"]},
    "SF_METADATA_S": {"must be above 0": ["0"], "together pass the platform's cut": ["18"]},
    "TOKEN_DEADLINE_S": {"must be above 0": ["0"], "must be at least twice TOKEN_DEADLINE_S": ["23"]},
    "GRANT_LEASE_S": {
        "must be at least twice TOKEN_DEADLINE_S": ["39", "0", "-1"],
        "together pass the platform's cut": ["51"],
    },
    "REFRESH_FLOOR_S": {"must be 0 or above": ["-1"], "cannot be read: it is a whole number": ["0.5"]},
    "BREAKER_S": {"must be above 0": ["0", "-1"]},
    "FLOW_CACHE_S": {"must be above 0": ["0"]},
    "PYTHON_THREADPOOL_THREAD_COUNT": {"cannot be read: it is a whole number": ["many"]},
}


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        pytest.param(name, value, why, id=f"{name}={value}")
        for name, faults in BROKEN.items()
        for why, values in faults.items()
        for value in values
    ],
)
def test_one_broken_setting_stops_the_start_with_one_sentence_that_names_it(name: str, value: str, why: str) -> None:
    sentence = refusal(DEVELOPMENT | {name: value})
    assert re.fullmatch(r"[A-Z][^\n]*\.", sentence)
    assert name in sentence
    assert why in sentence


TEXTS = [f.name.upper() for f in fields(Settings) if f.name not in {"entra_scope", "entra_auth_context"}]


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("form", ["{}", "https://{}.example/*", "a={} {}=b", "http://[{}"])
def test_no_sentence_shows_a_value(name: str, form: str) -> None:
    odd = "canary" + secrets.token_hex(8)
    try:
        load(DEVELOPMENT | {name: form.format(odd, odd)})
    except BadSettings as refused:
        sentence = str(refused)
    else:
        sentence = ""
    assert odd not in sentence


@given(value=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30))
@profile(deadline=None, max_examples=40)
@pytest.mark.parametrize("name", TEXTS)
def test_whatever_a_setting_holds_the_start_goes_on_or_stops_with_a_sentence(name: str, value: str) -> None:
    try:
        assert isinstance(load(DEVELOPMENT | {name: value}), Settings)
    except BadSettings as refused:
        sentence = str(refused)
        assert sentence.endswith(".")


def test_an_identity_provider_is_needed() -> None:
    sentence = refusal(DEVELOPMENT | {"ENTRA_AUDIENCES": "", "GOOGLE_CLIENT_IDS": ""})
    assert sentence == "ENTRA_AUDIENCES and GOOGLE_CLIENT_IDS are both empty."


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("SF_RUN_S", "105"), ("SF_METADATA_S", "17"), ("TOKEN_DEADLINE_S", "22"), ("SF_CONNECT_S", "6")),
        *(("GRANT_LEASE_S", "40"), ("GRANT_LEASE_S", "50"), ("REFRESH_FLOOR_S", "0"), ("BREAKER_S", "1")),
        *(("TOKEN_LEEWAY_S", "0"), ("TOKEN_LEEWAY_S", "300")),
    ],
)
def test_a_limit_may_be_reached_exactly(name: str, value: str) -> None:
    assert getattr(load(DEVELOPMENT | {name: value}), name.lower()) == int(value)


# Production


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ENTRA_JWKS_URL", "http://127.0.0.1:4001/keys"),
        ("GOOGLE_JWKS_URL", "https://localhost:4002/keys"),
        ("SALESFORCE_REDIRECT_URI", "http://127.0.0.1:7071/callback"),
        ("SALESFORCE_LOGIN_ORIGIN", "http://127.0.0.1:4003"),
        ("SF_EXTRA_ORIGINS", "https://localhost:4004"),
        ("CA_BUNDLE", __file__),
        ("CORS_ORIGINS", "http://localhost:3000"),
        ("RETURN_CHANNELS", "outlook=http://localhost:3000/done"),
        ("RETURN_CHANNELS", f"chrome:{EXTENSION}=https://localhost:3000/sf"),
        ("CLOCK_FILE", "offset"),
        ("PYTHON_THREADPOOL_THREAD_COUNT", ""),
        ("PYTHON_THREADPOOL_THREAD_COUNT", "0"),
    ],
)
def test_production_refuses_each_loose_thing_by_name(name: str, value: str) -> None:
    assert name in refusal(PRODUCTION | {name: value})


@pytest.mark.parametrize("absent", ["", "  "])
def test_an_environment_that_is_not_named_is_production(absent: str) -> None:
    assert refusal(DEVELOPMENT | {"ENVIRONMENT": absent}) == "ENTRA_JWKS_URL is not the provider's key set."


# What is read


def test_enrolment_is_open_by_default_in_development_alone_and_else_as_it_is_set() -> None:
    set_so = load(DEVELOPMENT | {"ENROLMENT": "operator", "ENVIRONMENT": " Development "})
    assert [s.enrolment for s in (load(DEVELOPMENT), Settings(), set_so)] == ["open", "operator", "operator"]


@pytest.mark.parametrize("name", ["SALESFORCE_CLIENT_SECRET", "SALESFORCE_SECOND_SECRET"])
def test_settings_show_no_secret(name: str) -> None:
    secret = secrets.token_hex(16)
    assert secret not in repr(load(DEVELOPMENT | {name: secret}))


def test_lists_are_divided_by_blanks_of_any_kind() -> None:
    assert load(DEVELOPMENT | {"ENTRA_AUDIENCES": " a\tb \n c,d "}).entra_audiences == ("a", "b", "c,d")


def test_pairs_are_divided_at_the_first_equals_sign() -> None:
    channels = f" outlook=https://a.example/x?y=z  chrome:{EXTENSION}=http://localhost:3000/sf "
    assert load(DEVELOPMENT | {"RETURN_CHANNELS": channels}).return_channels == {
        "outlook": "https://a.example/x?y=z",
        f"chrome:{EXTENSION}": "http://localhost:3000/sf",
    }


def test_settings_made_by_hand_are_checked_alike() -> None:
    with pytest.raises(BadSettings, match="both empty"):
        check(Settings(environment=Deployment.DEVELOPMENT))


# Whose package runs


def test_the_package_beside_the_app_is_its_own() -> None:
    assert_own_package(Path(settings.__file__).parents[1])


def test_another_package_of_the_same_name_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    with pytest.raises(BadSettings, match=r"^Another package named shared stands before ours on sys\.path\.$"):
        assert_own_package(tmp_path)
