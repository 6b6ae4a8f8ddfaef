"""The world around the app: its settings hold together, and what is given wins."""

import base64
import hashlib
import json
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

import jwt
import pytest
import requests

from shared.devkit.tls import Answer, Listener, Request
from shared.devkit.workbench import Workbench, WorkbenchFailed, write_private
from shared.settings import Enrolment, load


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workbench]:
    with Workbench(tmp_path_factory.mktemp("world"), port=7999) as bench:
        yield bench


def fetch(url: str, *, bundle: str = "", form: Mapping[str, str] | None = None) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False
        return session.request("POST" if form else "GET", url, data=form, verify=bundle or True, timeout=10)


def claims_of(token: str, jwks_url: str, audience: str) -> Mapping[str, object]:
    """The claims, if a key of that set has signed them."""
    keys = {key["kid"]: jwt.PyJWK(key, "RS256") for key in fetch(jwks_url).json()["keys"]}
    key = keys[jwt.get_unverified_header(token)["kid"]]
    claims: dict[str, object] = jwt.decode(token, key, algorithms=["RS256"], audience=audience)
    return claims


def entra_claims(bench: Workbench, token: str) -> Mapping[str, object]:
    return claims_of(token, bench.environment["ENTRA_JWKS_URL"], bench.environment["ENTRA_AUDIENCES"])


def test_the_settings_pass_the_app_s_own_check(world: Workbench) -> None:
    settings = load(world.environment)
    assert settings.development
    assert settings.enrolment is Enrolment.OPEN
    assert settings.salesforce_redirect_uri == "http://127.0.0.1:7999/v1/oauth/salesforce/callback"


def test_the_default_token_is_the_default_user_s(world: Workbench) -> None:
    entra = world.issuers_record()["entra"]
    claims = entra_claims(world, world.token())
    assert (claims["oid"], claims["tid"]) == (entra["oid"], entra["tenant"])


def test_words_name_other_users_and_tenants(world: Workbench) -> None:
    grace, again = (entra_claims(world, world.token("grace", tenant="umbrella")) for _ in range(2))
    assert (grace["oid"], grace["tid"]) == (again["oid"], again["tid"])
    assert grace["oid"] != entra_claims(world, world.token())["oid"]


def test_an_operator_s_token_comes_from_the_operations_tenant(world: Workbench) -> None:
    claims = entra_claims(world, world.token(operator=True))
    assert (claims["tid"], claims["azp"]) == (world.environment["OPS_TENANT_ID"], world.environment["OPS_CLIENT_ID"])


def test_a_google_token_names_the_domain_asked_for(world: Workbench) -> None:
    token = world.google_token(tenant="umbrella.example")
    audience = world.environment["GOOGLE_CLIENT_IDS"]
    assert claims_of(token, world.environment["GOOGLE_JWKS_URL"], audience)["hd"] == "umbrella.example"


def test_tokens_follow_a_key_rollover(tmp_path: Path) -> None:
    with Workbench(tmp_path) as bench:
        kid = bench.entra.rotate()
        assert jwt.get_unverified_header(bench.token())["kid"] == kid
        assert bench.issuers_record()["entra"]["kid"] == kid
        assert entra_claims(bench, bench.token())


def test_the_client_secret_is_new_each_time(world: Workbench, tmp_path: Path) -> None:
    with Workbench(tmp_path) as other:
        assert other.environment["SALESFORCE_CLIENT_SECRET"] != world.environment["SALESFORCE_CLIENT_SECRET"]


def test_what_is_given_wins_and_a_blank_is_not_given(tmp_path: Path) -> None:
    with Workbench(tmp_path, given={"SF_RUN_S": "7", "STORE_PATH": "/elsewhere", "KEYS_PATH": " "}) as bench:
        settings = load(bench.environment)
    assert (settings.sf_run_s, settings.store_path) == (7, "/elsewhere")
    assert settings.keys_path == str(tmp_path / "keys")


def test_the_devkit_s_salesforce_takes_the_given_client(tmp_path: Path) -> None:
    given = {"SALESFORCE_CLIENT_ID": "a-key", "SALESFORCE_CLIENT_SECRET": "a-secret"}
    form = {"client_id": "a-key", "client_secret": "a-secret", "grant_type": "refresh_token", "refresh_token": "none"}
    with Workbench(tmp_path, given=given) as bench:
        url = f"{bench.environment['SALESFORCE_LOGIN_ORIGIN']}/services/oauth2/token"
        answer = fetch(url, form=form)
    assert answer.json()["error"] == "invalid_grant"


def test_another_salesforce_leaves_its_own_unstarted(tmp_path: Path) -> None:
    bundle = tmp_path / "their-ca.pem"
    bundle.write_text("their certificate")
    given = {
        "SALESFORCE_LOGIN_ORIGIN": "http://127.0.0.1:1",
        "SF_EXTRA_ORIGINS": "https://127.0.0.1:2 https://127.0.0.1:3",
        "CA_BUNDLE": str(bundle),
    }
    with Workbench(tmp_path / "dev", given=given) as bench:
        assert bench.salesforce is None
        assert not {"SALESFORCE_CLIENT_ID", "SALESFORCE_CLIENT_SECRET"} & bench.environment.keys()
        assert bench.devkit_record()["salesforce"] == {
            "base_url": "http://127.0.0.1:1",
            "instance_url": "https://127.0.0.1:2",
            "ca_pem": "their certificate",
        }
    assert not list((tmp_path / "dev").iterdir())


def test_the_devkit_s_file_has_the_promised_names(world: Workbench) -> None:
    record = json.loads(json.dumps(world.devkit_record()))
    assert record.keys() == {"base_url", "entra", "google", "salesforce"}
    assert record["entra"].keys() == {"key_pem", "kid", "audiences", "tenant", "oid", "azp", "scope", "issuer"}
    assert record["google"].keys() == {"key_pem", "kid", "client_id", "hd", "sub", "iss"}
    assert record["salesforce"].keys() == {"base_url", "instance_url", "ca_pem"}
    assert record["entra"]["issuer"] == "https://login.microsoftonline.com/{tid}/v2.0"


def test_the_issuers_file_lets_another_instance_mint_for_the_same_keys(world: Workbench, tmp_path: Path) -> None:
    file = tmp_path / "issuers.json"
    write_private(file, world.issuers_record())
    with Workbench(tmp_path, given={"ISSUERS": str(file)}) as other:
        for name in ("ENTRA_JWKS_URL", "GOOGLE_JWKS_URL", "OPS_TENANT_ID", "GOOGLE_CLIENT_IDS"):
            assert other.environment[name] == world.environment[name]
        assert entra_claims(world, other.token("grace"))
        assert other.entra.jwks_url.startswith("http://127.0.0.1:0/")


def whole(world: Workbench) -> dict[str, dict[str, object]]:
    record: dict[str, dict[str, object]] = json.loads(json.dumps(world.issuers_record()))
    return record


def test_an_issuers_file_that_is_missing_is_refused_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(WorkbenchFailed, match=r"^ISSUERS names no file that holds issuers' addresses and keys\.$"):
        Workbench(tmp_path, given={"ISSUERS": str(tmp_path / "none.json")})


@pytest.mark.parametrize("text", ["", "no JSON", "[]", "{}", '{"entra": 1, "google": 2}'])
def test_an_issuers_file_of_another_form_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "issuers.json"
    file.write_text(text)
    with pytest.raises(WorkbenchFailed, match=r"^ISSUERS"):
        Workbench(tmp_path, given={"ISSUERS": str(file)})


@pytest.mark.parametrize("part", ["entra", "google"])
@pytest.mark.parametrize("name", ["jwks_url", "kid", "key_pem"])
def test_an_issuers_file_that_lacks_a_name_is_refused(world: Workbench, tmp_path: Path, part: str, name: str) -> None:
    record = whole(world)
    del record[part][name]
    write_private(tmp_path / "issuers.json", record)
    with pytest.raises(WorkbenchFailed, match=r"^ISSUERS"):
        Workbench(tmp_path, given={"ISSUERS": str(tmp_path / "issuers.json")})


def test_two_instances_in_one_folder_keep_their_own_certificates(tmp_path: Path) -> None:
    with Workbench(tmp_path, port=7998) as first, Workbench(tmp_path, port=7997):
        answer = fetch(f"{first.environment['SF_EXTRA_ORIGINS']}/services/data/", bundle=first.environment["CA_BUNDLE"])
    assert answer.ok


def test_a_private_file_is_its_owner_s_alone_and_replaces_the_old_one(tmp_path: Path) -> None:
    file = tmp_path / "new" / "file.json"
    for value in (1, 2):
        write_private(file, {"value": value})
    assert json.loads(file.read_text()) == {"value": 2}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(file.parent.iterdir()) == [file]


def enrolling(world: Workbench, status: int) -> list[Request]:
    """What an app that answers every enrolment with that status is sent."""
    seen: list[Request] = []

    def answer(request: Request) -> Answer:
        seen.append(request)
        return Answer(status)

    app = Listener(answer)
    app.start()
    try:
        world.enrol_defaults(f"http://127.0.0.1:{app.port}")
    finally:
        app.stop()
    return seen


@pytest.mark.parametrize("status", [200, 201])
def test_an_operator_enrols_both_default_tenants(world: Workbench, status: int) -> None:
    sent = enrolling(world, status)
    record = world.issuers_record()
    assert [json.loads(request.body) for request in sent] == [
        {"provider": "entra", "id": record["entra"]["tenant"]},
        {"provider": "google", "id": record["google"]["hd"]},
    ]
    bearer = str(sent[0].header("Authorization")).removeprefix("Bearer ")
    assert entra_claims(world, bearer)["tid"] == world.environment["OPS_TENANT_ID"]


def test_a_refused_enrolment_is_told_in_one_sentence(world: Workbench) -> None:
    with pytest.raises(WorkbenchFailed, match=r"^The default entra tenant was not enrolled: 403\.$"):
        enrolling(world, 403)


def pane_of(world: Workbench) -> str:
    return load(world.environment).return_channels["outlook"]


def test_the_pane_runs_the_one_script_that_its_policy_names(world: Workbench) -> None:
    answer = fetch(pane_of(world))
    (script,) = re.findall(r"<script>(.*?)</script>", answer.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = answer.headers["Content-Security-Policy"]
    assert f"script-src 'sha256-{digest}';" in policy
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    assert "innerHTML" not in script


def test_the_pane_tells_how_to_redeem_the_value(world: Workbench) -> None:
    page = fetch(pane_of(world)).text
    assert "curl -X POST http://127.0.0.1:7999/v1/connections/$ID/completion" in page
    assert '-d \'{"completion": "COMPLETION"}\'' in page


def test_the_pane_has_one_page_only(world: Workbench) -> None:
    assert fetch(pane_of(world).replace("/connected", "/other")).status_code == 404
    assert fetch(pane_of(world), form={"completion": "value"}).status_code == 404
