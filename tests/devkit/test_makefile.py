"""The commands of the README: what they pass on, and how they refuse."""

import os
import stat
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def venv(tmp_path: Path) -> Path:
    """A virtual environment that counts as installed; its Python prints what it was called with."""
    python = tmp_path / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(
        "#!/bin/sh\n"
        'for argument in "$@"; do echo "argument $argument"; done\n'
        'echo "PORT ${PORT-absent}"; echo "STORE_PATH ${STORE_PATH-absent}"; echo "PYTHONPATH ${PYTHONPATH-absent}"\n'
    )
    python.chmod(stat.S_IRWXU)
    (tmp_path / "venv" / ".installed").touch()
    return tmp_path / "venv"


def make(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603  the arguments are this file's own
        ["make", *arguments],  # noqa: S607  whichever make the person has
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


COMMANDS = ["help", "install", "demo", "run", "test", "readme", "soak", "smoke", "figures", "check", "lock", "clean"]


def test_make_alone_lists_the_commands() -> None:
    lines = make().stdout.splitlines()
    assert [line.split()[1] for line in lines] == COMMANDS


def test_without_a_fitting_python_one_sentence_says_so(tmp_path: Path) -> None:
    done = make("install", f"VENV={tmp_path / 'venv'}", "PYTHON=python-that-is-none")
    sentence = "Python 3.11 or 3.12 with its venv module is needed; none was found as: python-that-is-none."
    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == sentence
    assert not (tmp_path / "venv").exists()


@pytest.mark.parametrize("name", ["message.eml", "two words.eml", "a $dollar.eml", "--option.eml", "ä.eml"])
def test_demo_takes_any_path(venv: Path, name: str) -> None:
    done = make("demo", f"VENV={venv}", f"EML={name}")
    assert done.stdout.splitlines()[:4] == [
        f"argument {each}" for each in ("-m", "shared.devkit", "demo", f"--eml={name}")
    ]


def test_demo_without_a_message_names_none(venv: Path) -> None:
    assert "eml" not in make("demo", f"VENV={venv}").stdout


def test_run_passes_settings_on_from_both_sides(venv: Path) -> None:
    told = make("run", f"VENV={venv}", "PORT=7072", STORE_PATH="a $b c").stdout
    assert "PORT 7072\n" in told
    assert "STORE_PATH a $b c\n" in told


def test_the_caller_s_own_python_path_stays_outside(venv: Path) -> None:
    assert "PYTHONPATH absent\n" in make("run", f"VENV={venv}", PYTHONPATH="/elsewhere").stdout


def test_the_gate_of_every_change_can_be_called() -> None:
    gate = ROOT / ".ci" / "run"
    assert os.access(gate, os.X_OK)
    assert gate.read_text().rstrip().endswith("make --no-print-directory test")
