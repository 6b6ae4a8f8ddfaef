"""`make demo`: what its transcript promises, held against a whole run in a process of its own."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from shared.devkit.journey import TYPED, AddIn, DemoFailed
from shared.devkit.message import read_message
from shared.devkit.tls import Answer, Listener, Request
from shared.devkit.transcript import WIDTH, cells
from shared.model.answers import MeView

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "shared" / "devkit" / "sample.eml"
NO_HEADERS = Path(__file__).parent / "messages" / "headers_missing.eml"
RUN_FIELDS = "connection finished_at flow form id kind outcome started_at user"


def demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command as `make demo` calls it, with nothing of the caller's environment."""
    return subprocess.run(  # noqa: S603  the arguments are this file's own
        [sys.executable, "-m", "shared.devkit", "demo", *arguments],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "PYTHONUTF8": "1"},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


@pytest.fixture(scope="module")
def sample() -> subprocess.CompletedProcess[str]:
    return demo()


@pytest.fixture(scope="module")
def odd() -> subprocess.CompletedProcess[str]:
    return demo(f"--eml={NO_HEADERS}")


@pytest.fixture(scope="module")
def transcript(sample: subprocess.CompletedProcess[str]) -> str:
    return sample.stdout


def step(transcript: str, title: str) -> list[str]:
    """The lines below the step whose title holds this text."""
    steps = re.split(r"\n\n(?= {0,2}\d+   )", transcript)
    found = [text.splitlines()[1:] for text in steps if title in text.splitlines()[0]]
    assert len(found) == 1, f"{title} in {len(found)} steps"
    return [line.strip() for line in found[0]]


def named(lines: list[str]) -> dict[str, str]:
    """Labelled lines by their labels."""
    return {line[:22].strip(): line[22:] for line in lines}


def test_the_journey_ends_well(sample: subprocess.CompletedProcess[str]) -> None:
    assert (sample.returncode, sample.stderr) == (0, "")


def test_each_step_has_its_number_and_its_time(transcript: str) -> None:
    heads = re.findall(r"^ {0,2}(\d+)   \S.* ([\d,]+) ms$", transcript, re.MULTILINE)
    assert [int(number) for number, _ in heads] == list(range(1, 17))


def test_every_line_fits_and_none_is_coloured(transcript: str) -> None:
    assert [line for line in transcript.splitlines() if cells(line) > WIDTH] == []
    assert "\033" not in transcript


def test_nothing_that_is_shown_could_be_used_as_a_secret(transcript: str) -> None:
    assert re.findall(r"[A-Za-z0-9_+/=-]{40,}", transcript) == []
    assert "eyJ0eX… (" in transcript


def test_the_message_is_shown_as_an_add_in_sees_it(transcript: str) -> None:
    shown = named(step(transcript, "Read the message"))
    assert shown["sender"] == "Sofie Vermeulen <sofie.vermeulen@bakkerij-vermeulen.example>"
    assert shown["subject"] == read_message(SAMPLE)["subject"]
    assert shown["threadId"] == "order-2207@acme.example"


def test_describe_says_where_each_input_would_be_filled_from(transcript: str) -> None:
    lines = [re.split(r"\s{2,}", line) for line in step(transcript, "What one of them declares")]
    assert ["subject", "STRING, required", "email.subject"] in lines
    assert ["senderEmail", "STRING", "email.senderEmail"] in lines
    assert ["priority", "PICKLIST", "what the user picks: Low, Medium, High"] in lines


def test_the_run_shows_its_outputs_and_where_inputs_came_from(transcript: str) -> None:
    shown = named(step(transcript, "Run it with the message"))
    assert shown["outcome"] == "success, finished"
    assert re.fullmatch(r"500\w{15}", shown["output caseId"])
    assert (shown["input subject"], shown["input priority"]) == ("from email.subject", "from user")


def test_salesforce_was_sent_the_declared_inputs_alone(transcript: str) -> None:
    lines = step(transcript, "What Salesforce was sent")
    assert named(lines[: lines.index("")]) == {
        "subject": read_message(SAMPLE)["subject"],
        "senderEmail": "sofie.vermeulen@bakkerij-vermeulen.example",
        "priority": "High",
    }
    assert "The app made 4 calls: token, list, describe, run." in lines


def test_the_run_s_record_holds_ids_times_and_outcome_alone(transcript: str) -> None:
    raw = transcript.partition("What is remembered of the run")[2].partition("\n\n")[0]
    fields = re.findall(r"^ {7}(\w+)", raw, re.MULTILINE)
    assert " ".join(fields) == RUN_FIELDS


def test_the_same_key_runs_nothing_twice(transcript: str) -> None:
    shown = named(step(transcript, "nothing runs twice"))
    assert shown["replayed"] == "yes; the outcome is still success"
    assert shown["outputs"].startswith("null")
    assert shown["runs in Salesforce"] == "1, as before, and no call of any other kind"


def test_every_kind_of_row_is_listed_and_every_field_explained(transcript: str) -> None:
    lines = step(transcript, "What the store holds now")
    kinds = [line.partition(": ")[2] for line in lines if re.match(r"(tenants|attempts|runs): ", line)]
    assert {"a tenant", "a user", "a connection", "a connect attempt", "the run, as shown above"} <= set(kinds)
    assert "nobody has explained" not in transcript
    assert [line for line in lines if line.endswith("…")] == []


def test_nothing_of_the_message_is_shown_of_the_store(transcript: str) -> None:
    held = transcript.partition("What is remembered of the run")[2]
    for word in ("sofie", "vermeulen", "Oven", "daan", "order-2207", "care@acme", "High", "500"):
        assert re.search(rf"\b{word}\b(?! ms)", held, re.IGNORECASE) is None


def test_no_file_holds_anything_of_the_message(transcript: str) -> None:
    shown = named(step(transcript, "Where the message is now"))
    assert shown["looked for"].startswith("10 texts")
    assert shown["found"] == "none"


def test_a_message_without_headers_is_run_with_what_the_user_types(odd: subprocess.CompletedProcess[str]) -> None:
    assert (odd.returncode, odd.stderr) == (0, "")
    lines = step(odd.stdout, "What Salesforce was sent")
    assert named(lines[: lines.index("")]) == {"subject": TYPED, "priority": "High"}


def test_a_missing_message_ends_the_demo_with_one_sentence(tmp_path: Path) -> None:
    done = demo(f"--eml={tmp_path / 'none.eml'}")
    assert (done.returncode, done.stderr) == (
        1,
        f"Step 1 failed: {tmp_path / 'none.eml'}: No such file or directory.\n",
    )


PROBLEM = b'{"type": "https://problems.example/tenant-suspended"}'


@pytest.mark.parametrize(
    ("status", "body", "sentence"),
    [
        (403, PROBLEM, "GET /v1/me answered 403, tenant-suspended."),
        (500, b"oops", "GET /v1/me answered 500, an answer of unknown form."),
        (500, b"[]", "GET /v1/me answered 500, an answer of unknown form."),
        (200, b"{}", "GET /v1/me answered 200, an answer of unknown form."),
    ],
)
def test_an_answer_that_is_not_the_promised_one_fails_the_step(status: int, body: bytes, sentence: str) -> None:
    def answer(_: Request) -> Answer:
        return Answer(status, body, (("Content-Type", "application/json"),))

    app = Listener(answer)
    app.start()
    with requests.Session() as http, pytest.raises(DemoFailed) as failed:
        http.trust_env = False
        AddIn(f"http://127.0.0.1:{app.port}", http, "token").get("/v1/me", MeView)
    app.stop()
    assert str(failed.value) == sentence
