"""Only Salesforce's own hosts are ever spoken to, however much a text looks like one."""

from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.errors import InputRefused, SalesforceUnusable
from shared.model.connections import Environment
from shared.salesforce.hosts import GENERIC, Hosts, identity_of

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
        (Environment.PRODUCTION, "https://acme.scratch.my.salesforce.com", "https://acme.scratch.my.salesforce.com"),
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
    assert HOSTS.sandbox(origin, said=False) is (environment is Environment.SANDBOX)
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


@pytest.mark.parametrize("form", ["{}", "https://{}"])
@pytest.mark.parametrize(
    "host",
    [
        "acme.my.salesforce.com",
        "acme--uat.my.salesforce.com",
        *(f"acme.{name}.my.salesforce.com" for name in ("develop", "scratch", "demo", "patch", "trailblaze")),
    ],
)
def test_no_other_org_is_filed_as_a_sandbox(host: str, form: str) -> None:
    why = refusal(Environment.SANDBOX, form.format(host))
    assert "acme--uat.sandbox.my.salesforce.com" in why


@pytest.mark.parametrize(
    "typed", ["acme--uat.sandbox.my.salesforce.com", "https://acme--uat.sandbox.my.salesforce.com"]
)
def test_no_sandbox_is_filed_as_a_production_org(typed: str) -> None:
    assert "choose sandbox" in refusal(Environment.PRODUCTION, typed)


# Which kind of org it is


@pytest.mark.parametrize("said", [True, False])
def test_the_orgs_own_host_says_whether_it_is_a_sandbox(*, said: bool) -> None:
    found = {origin for origin in GOOD if HOSTS.sandbox(origin, said=said)}
    assert found == {"https://acme--uat.sandbox.my.salesforce.com"}


@pytest.mark.parametrize("said", [True, False])
def test_of_a_loopback_org_the_consents_word_is_taken(*, said: bool) -> None:
    assert LOOPBACK.sandbox(EXTRA, said=said) is said


# The org that a login leads to


@pytest.mark.parametrize("origin", GOOD)
def test_a_my_domain_leads_to_its_own_org_alone(origin: str) -> None:
    assert HOSTS.instance_at(origin, origin) == origin
    for other in ({*GOOD} - {origin}) | {EXTRA}:
        with pytest.raises(SalesforceUnusable):
            LOOPBACK.instance_at(origin, other)


@pytest.mark.parametrize("login", GENERIC.values())
@pytest.mark.parametrize("origin", GOOD)
def test_a_generic_login_leads_to_any_org_and_to_nothing_else(login: str, origin: str) -> None:
    assert HOSTS.instance_at(login, origin) == origin
    with pytest.raises(SalesforceUnusable):
        HOSTS.instance_at(login, login)


@pytest.mark.parametrize("login", [LOGIN, EXTRA])
def test_a_loopback_login_leads_to_a_listed_origin_or_an_org(login: str) -> None:
    assert [LOOPBACK.instance_at(login, origin) for origin in (EXTRA, GOOD[0])] == [EXTRA, GOOD[0]]


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

PRODUCTION_LOGIN, SANDBOX_LOGIN = GENERIC[Environment.PRODUCTION], GENERIC[Environment.SANDBOX]


@pytest.mark.parametrize("origin", [PRODUCTION_LOGIN, LOGIN, GOOD[0]])
@pytest.mark.parametrize(("org", "user"), [(ORG, USER), (ORG[:15], USER[:15]), (ORG, USER[:15])])
def test_an_identity_has_18_characters_whatever_its_form(origin: str, org: str, user: str) -> None:
    assert identity_of(f"{origin}/id/{org}/{user}", {LOGIN, GOOD[0]}, sandbox=False) == (ORG, USER)


@pytest.mark.parametrize("sandbox", [True, False])
def test_an_identity_comes_from_the_login_host_the_org_or_the_generic_host_that_fits(*, sandbox: bool) -> None:
    fitting, other = (SANDBOX_LOGIN, PRODUCTION_LOGIN) if sandbox else (PRODUCTION_LOGIN, SANDBOX_LOGIN)
    for origin in (GOOD[0], EXTRA, fitting):
        assert identity_of(f"{origin}/id/{ORG}/{USER}", {GOOD[0], EXTRA}, sandbox=sandbox) == (ORG, USER)
    for origin in (other, GOOD[1], LOGIN):
        with pytest.raises(SalesforceUnusable):
            identity_of(f"{origin}/id/{ORG}/{USER}", {GOOD[0], EXTRA}, sandbox=sandbox)


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
        identity_of(url, set(GOOD), sandbox=False)


def test_no_refusal_holds_the_address_that_was_refused() -> None:
    canary = "https://canary.example"
    asks = (HOSTS.instance, HOSTS.login_again, lambda text: identity_of(f"{text}/id/{ORG}/{USER}", (), sandbox=False))
    for ask in asks:
        with pytest.raises(SalesforceUnusable) as refused:
            ask(canary)
        assert "canary" not in f"{refused.value} {refused.value!r} {refused.value.detail}"
