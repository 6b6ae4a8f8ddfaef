"""`python -m shared.devkit`: what it prints, and how it refuses."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import jwt
import pytest
import requests

from shared.devkit.__main__ import main
from shared.devkit.minting import (
    GLOBAL_ADMINISTRATOR,
    OPERATOR_ROLE,
    TENANT_ADMIN_ROLE,
    guid_of,
    mint_entra,
    mint_google,
)
from shared.devkit.workbench import Workbench, write_private

ROOT = Path(__file__).resolve().parents[2]
SHARED = ("SF_EXTRA_ORIGINS", "CA_BUNDLE", "STORE_PATH", "KEYS_PATH")

Claims = Callable[..., dict[str, object]]


@pytest.fixture(scope="module")
def devkit_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dev")
    with Workbench(folder) as bench:
        write_private(folder / "devkit.json", bench.devkit_record())
    return folder / "devkit.json"


def devkit(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """The command as a person calls it, with these settings and none of the caller's own."""
    environment = {"PATH": os.environ["PATH"], **settings}
    return subprocess.run(  # noqa: S603  the arguments are this file's own
        [sys.executable, "-m", "shared.devkit", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def claims_of(devkit_file: Path, capsys: pytest.CaptureFixture[str]) -> Claims:
    """What the printed token says, for these options."""

    def printed(*options: str) -> dict[str, object]:
        assert main(["token", *options], {"DEVKIT_FILE": str(devkit_file)}) == 0
        (line,) = capsys.readouterr().out.splitlines()
        claims: dict[str, object] = jwt.decode(line, options={"verify_signature": False})
        return claims

    return printed


def test_the_command_prints_a_token_and_nothing_else(devkit_file: Path) -> None:
    done = devkit("token", DEVKIT_FILE=str(devkit_file))
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"[\w-]+\.[\w-]+\.[\w-]+\n", done.stdout)


def test_a_token_is_the_default_user_s(devkit_file: Path, claims_of: Claims) -> None:
    entra = json.loads(devkit_file.read_text())["entra"]
    claims = claims_of()
    assert (claims["tid"], claims["oid"], claims["aud"]) == (entra["tenant"], entra["oid"], entra["audiences"][0])
    assert claims["iss"] == f"https://login.microsoftonline.com/{entra['tenant']}/v2.0"
    assert not {"roles", "wids", "auth_time"} & claims.keys()


def test_a_token_s_tenant_and_user_may_be_words_or_guids(claims_of: Claims) -> None:
    guid = "6F9619FF-8B86-D011-B42D-00CF4FC964FF"
    claims = claims_of("--tenant", "umbrella", "--user", guid)
    assert (claims["tid"], claims["oid"]) == (guid_of("umbrella"), guid.lower())


def test_an_admin_s_token_has_roles_and_a_fresh_sign_in(claims_of: Claims) -> None:
    claims = claims_of("--admin")
    assert claims["roles"] == [TENANT_ADMIN_ROLE]
    assert claims["wids"] == [GLOBAL_ADMINISTRATOR]
    assert claims["auth_time"] == claims["iat"]


def test_an_operator_s_token_has_the_role(claims_of: Claims) -> None:
    assert claims_of("--operator")["roles"] == [OPERATOR_ROLE]


def test_a_google_token_is_google_s(claims_of: Claims) -> None:
    claims = claims_of("--google", "--tenant", "umbrella", "--user", "117")
    assert (claims["iss"], claims["hd"], claims["sub"]) == ("https://accounts.google.com", "umbrella.example", "117")


def unserved(file: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """The one sentence with which `token` refuses."""
    assert main(["token"], {"DEVKIT_FILE": str(file)}) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    (sentence,) = printed.err.splitlines()
    return sentence


def test_without_the_file_one_sentence_says_what_to_start(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "devkit.json"
    assert unserved(file, capsys) == f"There is no {file} yet: start `make run` first."


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"entra": {"key_pem": "none"}}'])
def test_a_file_of_another_form_is_one_sentence_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    file = tmp_path / "devkit.json"
    file.write_text(text)
    assert unserved(file, capsys) == f"{file} is not what `make run` writes: start `make run` again."


def test_a_token_is_an_admin_s_or_an_operator_s(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["token", "--admin", "--operator"], {})
    assert "not allowed with" in capsys.readouterr().err


def test_an_operator_is_not_google_s(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["token", "--google", "--operator"], {}) == 2
    assert capsys.readouterr().err == "An operator's token is Entra's: leave out --google.\n"


def test_a_google_token_may_claim_what_nobody_may_believe(claims_of: Claims) -> None:
    claims = claims_of("--google", "--admin", "--user", "grace")
    assert (claims["roles"], claims["wids"]) == ([TENANT_ADMIN_ROLE], [GLOBAL_ADMINISTRATOR])
    assert (claims["sub"], claims["auth_time"]) == (guid_of("grace"), claims["iat"])


def refusal(**settings: str) -> str:
    """The one sentence with which `run` refuses."""
    done = devkit("run", **settings)
    assert done.returncode == 2
    (sentence,) = done.stderr.splitlines()
    return sentence


@pytest.mark.parametrize("port", ["seven", "-1", "65536", "1.5"])
def test_a_port_that_is_none_stops_the_start(port: str) -> None:
    assert refusal(PORT=port) == "PORT cannot be read: it is a whole number from 0 to 65535."


def test_a_port_that_is_taken_stops_the_start_and_leaves_the_other_s_file_alone(tmp_path: Path) -> None:
    file = tmp_path / "devkit.json"
    file.touch()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        sentence = refusal(PORT=str(port), DEVKIT_FILE=str(file))
    assert sentence == f"Port {port} is taken: give another one with PORT."
    assert file.exists()


def test_an_issuers_file_that_is_none_stops_the_start(tmp_path: Path) -> None:
    sentence = refusal(PORT="0", ISSUERS=str(tmp_path / "issuers.json"))
    assert sentence == "ISSUERS names no file that holds issuers' addresses and keys."


@pytest.fixture
def around(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Settings of an instance that keeps to a folder of its own and finds issuers and Salesforce there."""
    names = ("CLIENT_ID", "CLIENT_SECRET", "LOGIN_ORIGIN")
    with Workbench(tmp_path) as bench:
        write_private(tmp_path / "issuers.json", bench.issuers_record())
        found = {name: bench.environment[name] for name in (*(f"SALESFORCE_{each}" for each in names), *SHARED)}
        yield found | {
            "DEVKIT_FILE": str(tmp_path / "devkit.json"),
            "ISSUERS": str(tmp_path / "issuers.json"),
            "PORT": "0",
        }


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("SF_RUN_S", "soon", "SF_RUN_S cannot be read: it is a whole number."),
        ("ENTRA_AUDIENCES", "*", "ENTRA_AUDIENCES may not hold a wildcard."),
        ("SALESFORCE_CLIENT_ID", "", "SALESFORCE_CLIENT_ID is missing."),
        ("DEVKIT_FILE", "/dev/null/devkit.json", "DEVKIT_FILE cannot be written."),
    ],
)
def test_a_broken_setting_stops_the_start(around: dict[str, str], name: str, value: str, sentence: str) -> None:
    assert refusal(**around | {name: value}) == sentence


def until_banner(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        yield line
        if "FlowRunner serves at" in line:
            return


@contextmanager
def served(settings: dict[str, str]) -> Iterator[str]:
    """The address of an instance that is up; it is ended by SIGTERM and says goodbye with 0."""
    with subprocess.Popen(
        [sys.executable, "-m", "shared.devkit", "run"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        told = list(until_banner(process.stdout))
        try:
            assert "FlowRunner serves at" in told[-1], told
            yield told[-1].split()[3]
        finally:
            process.terminate()
            said = process.stdout.read()
    assert (process.returncode, "Traceback" in said) == (0, False)


def tenant_state(base_url: str, bearer: str) -> str:
    with requests.Session() as session:
        session.trust_env = False
        answer = session.get(f"{base_url}/v1/me", headers={"Authorization": f"Bearer {bearer}"}, timeout=30)
    return str(answer.json()["tenant"]["state"])


def test_run_serves_enrolled_tenants_again_and_again_each_time_within_ten_seconds(around: dict[str, str]) -> None:
    for _ in range(2):
        began = monotonic()
        with served(around) as base_url:
            assert monotonic() - began < 10
            record = json.loads(Path(around["DEVKIT_FILE"]).read_text())
            assert record["base_url"] == base_url
            assert record["salesforce"]["base_url"] == around["SALESFORCE_LOGIN_ORIGIN"]
            assert tenant_state(base_url, mint_entra(record["entra"])) == "active"
            assert tenant_state(base_url, mint_google(record["google"])) == "active"


def test_a_start_that_fails_leaves_the_file_of_the_instance_that_serves(around: dict[str, str]) -> None:
    with served(around):
        before = Path(around["DEVKIT_FILE"]).read_text()
        assert refusal(**around | {"SF_RUN_S": "abc"}) == "SF_RUN_S cannot be read: it is a whole number."
        assert Path(around["DEVKIT_FILE"]).read_text() == before


def test_what_the_settings_accept_is_what_clients_are_told_to_mint(around: dict[str, str]) -> None:
    chosen = {"ENTRA_AUDIENCES": "api://one api://two", "ENTRA_CLIENTS": "pane", "ENTRA_SCOPE": "flows"}
    chosen |= {"GOOGLE_CLIENT_IDS": "chosen.apps.googleusercontent.com", "OPS_TENANT_ID": guid_of("ours")}
    with served(around | chosen) as base_url:
        record = json.loads(Path(around["DEVKIT_FILE"]).read_text())
        assert tenant_state(base_url, mint_entra(record["entra"])) == "active"
        assert tenant_state(base_url, mint_google(record["google"])) == "active"


def test_an_instance_is_one_process_group_and_dies_as_one(around: dict[str, str]) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "shared.devkit", "run"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **around},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        base_url = next((line for line in process.stdout if "FlowRunner serves at" in line), "").split()[3]
        os.killpg(process.pid, signal.SIGKILL)
        process.stdout.read()  # to its end, which comes when nobody of the group is left to write
    with pytest.raises(requests.ConnectionError), requests.Session() as session:
        session.trust_env = False
        session.get(f"{base_url}/health", timeout=5)


def test_a_second_instance_is_made_from_what_the_first_one_wrote(around: dict[str, str], tmp_path: Path) -> None:
    with served(around) as first:
        file = Path(around["DEVKIT_FILE"])
        shell = ["/bin/sh", "-c", f". {file.with_name('instance.env')} && env"]
        told = subprocess.run(shell, env={}, capture_output=True, text=True, check=True)  # noqa: S603
        settings = dict(line.split("=", 1) for line in told.stdout.splitlines() if "=" in line)
        settings |= {"PORT": "0", "DEVKIT_FILE": str(tmp_path / "second.json")}
        with served(settings) as second:
            record = json.loads(file.read_text())
            assert first != second
            assert tenant_state(second, mint_entra(record["entra"])) == "active"


def test_run_enrols_its_tenants_where_sign_ins_must_be_strong_too(around: dict[str, str]) -> None:
    with served(around | {"ENTRA_AUTH_CONTEXT": "c1"}) as base_url, requests.Session() as session:
        session.trust_env = False
        bearer = mint_entra(json.loads(Path(around["DEVKIT_FILE"]).read_text())["entra"])
        answer = session.get(f"{base_url}/v1/me", headers={"Authorization": f"Bearer {bearer}"}, timeout=30)
        assert answer.json()["type"].endswith("claims-needed")


def test_demo_is_handed_the_message_s_path(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--eml", str(tmp_path / "none.eml")], {}) == 1
    assert "none.eml" in capsys.readouterr().err
