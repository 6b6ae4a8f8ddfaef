"""Only Salesforce's own hosts are ever spoken to, however much a text looks like one."""

from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.errors import InputRefused, SalesforceUnusable
from shared.model.connections import Environment
from shared.salesforce.hosts import Hosts

HOSTS = Hosts()
LOGIN, EXTRA = "http://127.0.0.1:7080", "https://127.0.0.1:7443"
LOOPBACK = Hosts(LOGIN, frozenset({EXTRA}))
ORG, USER = "00D000000000001EAA", "005000000000001AAA"

GOOD = (
    "https://acme.my.salesforce.com",
    "https://a.my.salesforce.com",
    "https://acme-dev-ed.develop.my.salesforce.com",
    "https://acme--uat.sandbox.my.salesforce.com",
    "https://acme.scratch.my.salesforce.com",
    "https://acme.demo.my.salesforce.com",
    "https://acme.patch.my.salesforce.com",
    "https://acme.trailblaze.my.salesforce.com",
)
LOOK_ALIKES = (
    "", "acme.my.salesforce.com", "http://acme.my.salesforce.com", "https://acme.my.salesforce.com/",
    "https://acme.my.salesforce.com/services", "https://acme.my.salesforce.com?x", "https://acme.my.salesforce.com#x",
    "https://acme.my.salesforce.com:443", "https://acme.my.salesforce.com\n", " https://acme.my.salesforce.com",
    "https://ACME.my.salesforce.com", "HTTPS://acme.my.salesforce.com", "https://acme.my.salesforce.com.evil.example",
    "https://evil.example/acme.my.salesforce.com", "https://acme.my.salesforce.com@evil.example",
    "https://user@acme.my.salesforce.com", "https://evil.example#.my.salesforce.com",
    "https://evil.example\\.my.salesforce.com", "https://evil.example%2f.my.salesforce.com",
    "https://acme.my-salesforce.com", "https://acmemy.salesforce.com", "https://my.salesforce.com",
    "https://.my.salesforce.com", "https://-acme.my.salesforce.com", "https://acme-.my.salesforce.com",
    "https://acme.my.salesforce.com.", "https://acme.extra.my.salesforce.com",
    "https://acme.sandbox.develop.my.salesforce.com", "https://acme.my.site.com",
    "https://acme.my.salesforce-sites.com", "https://acme.lightning.force.com",
    "https://acme.my.salesforce-setup.com", "https://acme.visualforce.com", "https://eu12.salesforce.com",
    "https://acme.my.salesforce.mil", "https://127.0.0.1", "https://[::1]", "https://\u0430cme.my.salesforce.com",
    "https://acme\u3002my.salesforce.com", "https://acme.my.\uff53alesforce.com",
    "https://acme.my.sale\u017fforce.com", f"https://{'a' * 64}.my.salesforce.com", LOGIN, EXTRA,
)  # fmt: skip

PIECES = st.sampled_from(
    [
        "https://", "http://", "//", "acme", "evil.example", ".my", ".salesforce", ".com", ".sandbox", "@", ":", ":443",
        "/", "\\", "?", "#", "%2e", ".", "-", "--", "\n", "\t", " ", "\0", "[", "]", "\u212a", "\u3002", "*", "xn--",
        "login.salesforce.com", ".my.salesforce.com", "SALESFORCE",
    ]
)  # fmt: skip
TEXTS = st.one_of(
    st.text(max_size=60),
    st.lists(PIECES, max_size=8).map("".join),
    st.tuples(st.sampled_from(GOOD), st.integers(0, 60), PIECES).map(lambda t: t[0][: t[1]] + t[2] + t[0][t[1] :]),
)


def refusal(environment: Environment, my_domain: str, hosts: Hosts = HOSTS) -> str:
    """Why a typed My Domain is refused; the value itself must not be in any text."""
    with pytest.raises(InputRefused) as refused:
        hosts.login_origin(environment, my_domain)
    (error,) = refused.value.errors
    assert error.pointer == "/myDomain"
    return error.why


# The org's own address


@pytest.mark.parametrize("origin", GOOD)
def test_my_domain_hosts_are_orgs(origin: str) -> None:
    assert HOSTS.instance(origin) == origin


@pytest.mark.parametrize("text", [*LOOK_ALIKES, "https://login.salesforce.com", "https://test.salesforce.com"])
def test_nothing_else_is_an_org(text: str) -> None:
    with pytest.raises(SalesforceUnusable):
        HOSTS.instance(text)


@given(TEXTS)
@example("https://acme.my.salesforce.com")
def test_what_passes_as_an_org_is_one_for_every_reader_of_addresses(text: str) -> None:
    try:
        passed = HOSTS.instance(text)
    except SalesforceUnusable:
        return
    host = urlsplit(passed).hostname or ""
    assert passed == text == f"https://{host}"
    assert host.isascii()
    assert host.endswith(".my.salesforce.com")
    assert len(host.split(".")) in (4, 5)


def test_an_extra_origin_is_an_org_exactly_as_it_is_written() -> None:
    assert LOOPBACK.instance(EXTRA) == EXTRA
    for text in (EXTRA + "/", EXTRA + "0", EXTRA.replace("https", "http"), LOGIN, "https://127.0.0.1"):
        with pytest.raises(SalesforceUnusable):
            LOOPBACK.instance(text)


def test_an_extra_origin_without_tls_is_no_org() -> None:
    with pytest.raises(SalesforceUnusable):
        Hosts(extra=frozenset({LOGIN})).instance(LOGIN)


# Where a user signs in


@pytest.mark.parametrize("nothing", [None, ""])
def test_without_my_domain_the_generic_hosts_are_used(nothing: str | None) -> None:
    assert HOSTS.login_origin(Environment.PRODUCTION, nothing) == "https://login.salesforce.com"
    assert HOSTS.login_origin(Environment.SANDBOX, nothing) == "https://test.salesforce.com"


@pytest.mark.parametrize("environment", list(Environment))
def test_a_login_host_from_settings_replaces_both(environment: Environment) -> None:
    assert LOOPBACK.login_origin(environment, None) == LOGIN


@pytest.mark.parametrize(
    ("environment", "typed", "origin"),
    [
        (Environment.PRODUCTION, "acme", "https://acme.my.salesforce.com"),
        (Environment.PRODUCTION, "acme.my.salesforce.com", "https://acme.my.salesforce.com"),
        (Environment.PRODUCTION, "https://acme.my.salesforce.com", "https://acme.my.salesforce.com"),
        (Environment.PRODUCTION, "acme.develop.my.salesforce.com", "https://acme.develop.my.salesforce.com"),
        (Environment.SANDBOX, "acme--uat", "https://acme--uat.sandbox.my.salesforce.com"),
        (
            Environment.SANDBOX,
            "acme--uat.sandbox.my.salesforce.com",
            "https://acme--uat.sandbox.my.salesforce.com",
        ),
        (Environment.SANDBOX, "https://acme.scratch.my.salesforce.com", "https://acme.scratch.my.salesforce.com"),
    ],
)
def test_a_my_domain_is_taken_as_name_host_or_origin(environment: Environment, typed: str, origin: str) -> None:
    assert HOSTS.login_origin(environment, typed) == origin


@pytest.mark.parametrize("text", [t for t in LOOK_ALIKES if t not in ("", "acme.my.salesforce.com")])
def test_no_look_alike_is_a_login_host(text: str) -> None:
    refusal(Environment.PRODUCTION, text)


@given(TEXTS.filter(bool), st.sampled_from(Environment))
def test_what_passes_as_a_login_host_is_a_my_domain(text: str, environment: Environment) -> None:
    try:
        origin = HOSTS.login_origin(environment, text)
    except InputRefused:
        return
    assert HOSTS.instance(origin) == origin
    assert text in (origin, origin.removeprefix("https://"), origin.removeprefix("https://").partition(".")[0])


@pytest.mark.parametrize("scheme", ["", "https://", "http://", "HTTPS://"])
@pytest.mark.parametrize("path", ["", "/", "/lightning/page/home?x=1"])
def test_a_lightning_or_setup_address_is_answered_with_what_to_paste(scheme: str, path: str) -> None:
    for host in ("acme.lightning.force.com", "acme--uat.sandbox.lightning.force.com", "ACME.Lightning.Force.com"):
        why = refusal(Environment.PRODUCTION, scheme + host + path)
        assert ("Lightning" in why, "acme.my.salesforce.com" in why) == (True, True)
    why = refusal(Environment.PRODUCTION, f"{scheme}acme.my.salesforce-setup.com{path}")
    assert ("Setup" in why, "acme.my.salesforce.com" in why) == (True, True)


def test_every_other_wrong_spelling_is_answered_with_the_right_form() -> None:
    assert "acme.my.salesforce.com" in refusal(Environment.PRODUCTION, "https://acme.my.salesforce.com/")
    assert "acme--uat.sandbox.my.salesforce.com" in refusal(Environment.SANDBOX, "https://acme.my.salesforce.com/")


def test_a_sandbox_is_not_guessed_from_the_name_of_the_production_org() -> None:
    assert "acme--uat.sandbox.my.salesforce.com" in refusal(Environment.SANDBOX, "acme")


def test_a_refusal_never_holds_what_was_typed() -> None:
    for typed in ("canary.lightning.force.com", "https://canary.my.salesforce-setup.com/x", "https://canary.example"):
        assert "canary" not in refusal(Environment.PRODUCTION, typed)


def test_loopback_origins_are_login_hosts_only_when_they_are_listed() -> None:
    assert LOOPBACK.login_origin(Environment.PRODUCTION, EXTRA) == EXTRA
    refusal(Environment.PRODUCTION, EXTRA)
    refusal(Environment.PRODUCTION, EXTRA + "/", LOOPBACK)


# A login host read back from the store


@pytest.mark.parametrize("origin", [*GOOD, "https://login.salesforce.com", "https://test.salesforce.com"])
def test_a_stored_login_host_is_proved_again(origin: str) -> None:
    assert HOSTS.login_again(origin) == origin


@pytest.mark.parametrize("text", LOOK_ALIKES)
def test_a_stored_look_alike_is_refused(text: str) -> None:
    with pytest.raises(SalesforceUnusable):
        HOSTS.login_again(text)


def test_the_generic_hosts_are_no_login_hosts_where_another_replaces_them() -> None:
    assert LOOPBACK.login_again(LOGIN) == LOGIN
    with pytest.raises(SalesforceUnusable):
        LOOPBACK.login_again("https://login.salesforce.com")


# Whose session it is


@pytest.mark.parametrize(
    "origin", ["https://login.salesforce.com", "https://test.salesforce.com", "https://acme.my.salesforce.com"]
)
@pytest.mark.parametrize(("org", "user"), [(ORG, USER), (ORG[:15], USER[:15]), (ORG, USER[:15])])
def test_an_identity_has_18_characters_whatever_its_form(origin: str, org: str, user: str) -> None:
    assert HOSTS.identity(f"{origin}/id/{org}/{user}") == (ORG, USER)


@pytest.mark.parametrize("origin", [LOGIN, EXTRA, "https://login.salesforce.com"])
def test_loopback_origins_may_tell_an_identity_when_they_are_listed(origin: str) -> None:
    assert LOOPBACK.identity(f"{origin}/id/{ORG}/{USER}") == (ORG, USER)


def identity_with(change: Callable[[str], str]) -> str:
    return change(f"https://login.salesforce.com/id/{ORG}/{USER}")


@pytest.mark.parametrize(
    "url",
    [
        "",
        identity_with(lambda u: u + "/"),
        identity_with(lambda u: u + "\n"),
        identity_with(lambda u: u + "?x=1"),
        identity_with(lambda u: u.replace("/id/", "/idx/")),
        identity_with(lambda u: u.replace("/id/", "/x/id/")),
        identity_with(lambda u: u.replace("https", "http")),
        identity_with(lambda u: u.replace("login.salesforce.com", "evil.example")),
        identity_with(lambda u: u.replace("login.salesforce.com", "login.salesforce.com.evil.example")),
        identity_with(lambda u: u.replace("login.", "login@evil.example.")),
        identity_with(lambda u: u.replace("login.salesforce.com", "127.0.0.1:7080")),
        identity_with(lambda u: u.replace("00D", "001")),
        identity_with(lambda u: u.replace("005", "003")),
        identity_with(lambda u: u.replace("EAA", "EAB")),
        identity_with(lambda u: u.replace(ORG, ORG[:16])),
        identity_with(lambda u: u.replace(f"{ORG}/{USER}", f"{USER}/{ORG}")),
        identity_with(lambda u: u.replace(f"/{USER}", "")),
        identity_with(lambda u: u.replace("00D000000000001", "00D00000000000\u0661")),
    ],
)
def test_anything_else_is_nobodys_identity(url: str) -> None:
    with pytest.raises(SalesforceUnusable):
        HOSTS.identity(url)


def test_no_refusal_holds_the_address_that_was_refused() -> None:
    canary = "https://canary.example"
    for ask in (HOSTS.instance, HOSTS.login_again, HOSTS.identity):
        with pytest.raises(SalesforceUnusable) as refused:
            ask(canary)
        assert "canary" not in f"{refused.value} {refused.value!r} {refused.value.detail}"
