"""`python -m shared.devkit soak`: a short one shows what is required, a shorter one cannot, Ctrl-C ends it."""

import os
import re
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from shared.devkit.__main__ import main
from shared.devkit.soak_store import StoreFile
from shared.store.sqlite_file import SqliteFile

ROOT = Path(__file__).resolve().parents[2]
COMMAND = (sys.executable, "-m", "shared.devkit", "soak")


def soak(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(  # noqa: S603  the arguments are this file's own
        [*COMMAND, *arguments],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def left_by(pid: int) -> list[str]:
    """The command lines of the processes that a process has started and left."""
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)  # noqa: S607
    return [line for line in listed.stdout.splitlines() if f"--parent {pid}" in line]


def test_a_short_soak_shows_every_required_figure() -> None:
    with soak("--minutes", "0.2") as process:
        shown, complaints = process.communicate(timeout=110)
    assert (process.returncode, complaints) == (0, ""), shown
    assert re.search(r"kills in the window +[1-9]", shown)
    assert "Every required figure is met." in shown
    assert left_by(process.pid) == []


def test_a_soak_without_a_kill_misses_its_figure() -> None:
    with soak("--minutes", "0.01", "--instances", "1") as process:
        shown, _ = process.communicate(timeout=110)
    assert process.returncode == 1
    assert "MISSED: Only 0.0 kills a minute hit the window, not 2." in shown
    assert "1 required figures are missed." in shown


def test_ctrl_c_ends_a_soak_and_all_that_it_started() -> None:
    with soak("--minutes", "5", "--instances", "2") as process:
        assert process.stdout
        while "connections" not in process.stdout.readline():
            continue
        process.send_signal(signal.SIGINT)
        _, complaints = process.communicate(timeout=60)
    assert (process.returncode, complaints) == (1, "Interrupted: nothing is shown.\n")
    assert left_by(process.pid) == []


@pytest.mark.parametrize("option", ["--minutes", "--instances"])
@pytest.mark.parametrize("value", ["0", "-1", "x", "inf"])
def test_a_number_that_is_none_is_refused(option: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["soak", option, value], {})
    assert option in capsys.readouterr().err


def test_nobody_else_writes_while_the_store_is_locked_and_the_time_is_noted(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    SqliteFile(path, lambda: 0)
    store = StoreFile(path)
    with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as other:
        with store.locked(), pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
        other.execute("BEGIN IMMEDIATE")
    [lock] = store.locks
    assert lock.since <= lock.until
