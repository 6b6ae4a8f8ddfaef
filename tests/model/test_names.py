"""The names that may come in from outside, and the digests that name things inside."""

import hashlib
import hmac
import secrets
from collections.abc import Callable
from urllib.parse import quote, urljoin

import pytest
import requests
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from shared.errors import AttemptSpent, ConnectionNotFound, FlowNotFound, FlowRunnerError, InputRefused
from shared.model.connections import attempt_id, connection_id
from shared.model.flows import flow_name
from shared.model.identity import Provider, keyed_digest, tenant_id
from shared.model.retention import RetentionPolicy

GUID = "5f0b0f6e-1234-4abc-8def-00000000000a"


NAMES = [
    *("a", "Z9", "Create_Case", "A_1_b", "FLR__Log_Mail", "a_b__C"),
    *("n" * 15 + "__" + "F" * 80, "F" * 80, "F_" * 39 + "Fx"),
]
NO_NAMES: dict[str, list[str]] = {
    "a path trick": [
        "",
        ".",
        "..",
        "../query",
        "a/b",
        "a\\b",
        "a%2f..",
        "a%2e%2e",
        "a?x=1",
        "a#x",
        "a;x",
        "a.b",
        "a:b",
    ],
    "a sign": ["a b", "a-b", "Log\n", "Log\x00", "Log\u0661", "L\u00f6g", "\uff2cog"],
    "a bad end": ["1Log", "_Log", "Log_", "__Log", "FLR__", "FLR___Log", "a___b__c"],
    "underscores": ["Log___Mail", "a__b__c", "a____b", "a_" * 8 + "__F"],
    "too long": ["n" * 16 + "__F", "a_" * 7 + "bc__F", "F" * 81, "F_" * 40 + "F"],
}


@pytest.mark.parametrize("name", NAMES)
def test_an_api_name_is_taken_as_it_stands(name: str) -> None:
    assert flow_name(name) == name


@pytest.mark.parametrize(
    "name", [pytest.param(name, id=f"{why}: {name!r}") for why, names in NO_NAMES.items() for name in names]
)
def test_what_no_flow_can_be_called_is_not_found(name: str) -> None:
    with pytest.raises(FlowNotFound):
        flow_name(name)


BASE = "https://acme.my.salesforce.com/services/data/v66.0/actions/custom/flow/"
ODD = st.text(st.sampled_from("aZ09__./\\%?#:@;&= \n\t\x00\u0661\u00fc~-"), max_size=12)


@given(ODD | st.text(max_size=12) | st.from_regex(r"\A[A-Za-z]\w{0,20}\Z"))
@settings(deadline=None, max_examples=300)
@example("..")
@example("FLR__Log_Mail")
def test_an_accepted_name_never_changes_the_path_that_it_joins(text: str) -> None:
    try:
        name = flow_name(text)
    except FlowNotFound:
        return
    assert (quote(name, safe=""), urljoin(BASE, name)) == (name, BASE + name)
    assert requests.Request("POST", BASE + name).prepare().url == BASE + name


# Ids


IDS: list[tuple[Callable[[str], str], int, type[FlowRunnerError]]] = [
    (connection_id, 32, ConnectionNotFound),
    (attempt_id, 64, AttemptSpent),
]


@pytest.mark.parametrize(("take", "size", "error"), IDS, ids=["connection", "attempt"])
def test_an_id_is_so_many_lower_hex_digits(take: Callable[[str], str], size: int, error: type[FlowRunnerError]) -> None:
    good = secrets.token_hex(size // 2)
    assert take(good) == good
    for bad in ("", good[1:], good + "0", "A" * size, "g" * size, good[:-1] + "\n", good[1:] + "\u0661", "../" + good):
        with pytest.raises(error):
            take(bad)


@pytest.mark.parametrize(
    ("provider", "text", "value"),
    [
        (Provider.ENTRA, f" {GUID.upper()} ", GUID),
        (Provider.GOOGLE, "Acme.Example", "acme.example"),
        (Provider.GOOGLE, "xn--mnchen-3ya.example", "xn--mnchen-3ya.example"),
    ],
)
def test_a_tenants_id_is_taken_in_its_one_form(provider: Provider, text: str, value: str) -> None:
    taken = tenant_id(provider, text)
    assert (taken.provider, taken.value) == (provider, value)


NO_TENANTS: dict[Provider, list[str]] = {
    Provider.ENTRA: [
        *("", "acme.example", GUID.replace("-", ""), f"{{{GUID}}}", GUID + "0", GUID.replace("5", "\u0665")),
        *("00000000-0000-0000-0000-000000000000", "9188040D-6C67-4C5B-B112-36A304B66DAD"),
    ],
    Provider.GOOGLE: [
        *(GUID, "example", "acme..example", "-acme.example", "acme.example.", "jan@acme.example", "acme.example/x"),
        *("gmail.com", " GoogleMail.com"),
        *("m\u00fcnchen.example", "a" * 64 + ".example"),
    ],
}


@pytest.mark.parametrize(("provider", "text"), [(p, text) for p, texts in NO_TENANTS.items() for text in texts])
def test_a_tenants_id_of_another_form_is_pointed_at_and_not_repeated(provider: Provider, text: str) -> None:
    with pytest.raises(InputRefused) as caught:
        tenant_id(provider, text)
    assert [(e.pointer, e.why) for e in caught.value.errors] == [("/id", "is no tenant id of that provider")]


# Digests

SECRET = secrets.token_bytes(32)
PARTS = st.lists(st.text(max_size=6), min_size=1, max_size=4)


def test_a_digest_is_128_bits_of_hmac_sha_256_over_length_prefixed_parts() -> None:
    message = b"\x00\x00\x00\x03run" + b"\x00\x00\x00\x02\xc3\xbc" + b"\x00\x00\x00\x00"
    assert keyed_digest(SECRET, "run", "\u00fc", "") == hmac.new(SECRET, message, hashlib.sha256).hexdigest()[:32]


@given(PARTS, PARTS)
@example(["l", "a", "bc"], ["l", "ab", "c"])
@example(["l", "a"], ["l", "a", ""])
@example(["la", "b"], ["l", "ab"])
@example(["owner", "x"], ["run", "x"])
def test_other_labels_or_parts_make_another_digest(one: list[str], other: list[str]) -> None:
    assume(one != other)
    assert keyed_digest(SECRET, *one) != keyed_digest(SECRET, *other)


# Retention


def test_runs_are_kept_for_30_to_3650_days_and_a_year_when_nothing_is_said() -> None:
    assert [RetentionPolicy(30).days, RetentionPolicy(3_650).days, RetentionPolicy().days] == [30, 3_650, 365]


@pytest.mark.parametrize("days", [-1, 0, 29, 3_651])
def test_a_retention_beyond_its_bounds_cannot_be_made(days: int) -> None:
    with pytest.raises(ValueError, match="30 to 3650 days"):
        RetentionPolicy(days)
