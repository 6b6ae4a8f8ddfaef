"""What Azure is given: the files of the package, and how the platform's own host is told to behave."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pathspec import GitIgnoreSpec

from shared.settings import WAITS_MAX_S, load

ROOT = Path(__file__).resolve().parents[2]
HOST = json.loads((ROOT / "host.json").read_text())
EXAMPLE = json.loads((ROOT / "local.settings.example.json").read_text())["Values"]


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The app's folder as it is deployed."""
    ignored = GitIgnoreSpec.from_lines((ROOT / ".funcignore").read_text().splitlines())
    folder = tmp_path_factory.mktemp("package")

    def unwanted(directory: str, names: list[str]) -> set[str]:
        place = Path(directory).relative_to(ROOT)
        return {name for name in names if ignored.match_file(place / name)}

    shutil.copytree(ROOT, folder, ignore=unwanted, dirs_exist_ok=True)
    return folder


def test_the_package_holds_the_app_and_nothing_else(package: Path) -> None:
    names = {path.name for path in package.iterdir()}
    assert names == {"function_app.py", "functions", "host.json", "requirements.txt", "shared"}
    assert not (package / "shared" / "devkit").exists()


def test_the_app_indexes_without_what_is_left_out(package: Path, tmp_path: Path) -> None:
    environment = EXAMPLE | {"STORE_PATH": str(tmp_path / "store"), "KEYS_PATH": str(tmp_path / "keys")}
    done = subprocess.run(
        [sys.executable, "-c", "import function_app; print(len(function_app.app.get_functions()))"],
        cwd=package,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout.splitlines()[-1]) > 10


def test_the_host_writes_no_request_addresses_and_tracks_no_calls() -> None:
    levels = HOST["logging"]["logLevel"]
    assert levels["Microsoft.AspNetCore.Hosting.Diagnostics"] == "None"
    assert levels["Host.Results"] == "None"
    assert levels["default"] == levels["Host"] == "Warning"
    insights = HOST["logging"]["applicationInsights"]
    assert insights["enableDependencyTracking"] is False
    assert insights["enableLiveMetrics"] is False
    assert insights["httpAutoCollectionOptions"]["enableHttpTriggerExtendedInfoCollection"] is False


def test_the_host_adds_neither_prefix_nor_header() -> None:
    http = HOST["extensions"]["http"]
    assert http["routePrefix"] == ""
    assert not {"customHeaders", "hsts"} & http.keys()


def test_a_call_may_take_as_long_as_its_waits_and_the_platform_allow() -> None:
    hours, minutes, seconds = (int(part) for part in HOST["functionTimeout"].split(":"))
    assert WAITS_MAX_S < hours * 3600 + minutes * 60 + seconds <= 230


def test_the_host_hands_out_as_many_requests_as_there_are_threads() -> None:
    assert HOST["extensions"]["http"]["maxConcurrentRequests"] == int(EXAMPLE["PYTHON_THREADPOOL_THREAD_COUNT"])


def test_the_example_settings_pass_the_app_s_own_check() -> None:
    assert load(EXAMPLE).development


def test_the_example_settings_hold_every_schedule() -> None:
    sources = [path.read_text() for path in (ROOT / "functions").glob("*.py")]
    named = {name for source in sources for name in re.findall(r'schedule="%(\w+)%"', source)}
    assert named
    assert named <= EXAMPLE.keys()
