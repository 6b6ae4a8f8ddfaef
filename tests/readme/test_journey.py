"""The README's journey as it is written there. It needs bash, curl and jq: `make readme`, not `make test`."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.devkit.host import Host
from shared.devkit.tls import free_port
from shared.devkit.workbench import Workbench

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(name="bench")
def _bench(tmp_path: Path) -> Iterator[Workbench]:
    port = free_port()
    with Workbench(tmp_path / "bench", port=port) as bench:
        yield bench


@pytest.fixture(name="host")
def _host(bench: Workbench, tmp_path: Path) -> Iterator[Host]:
    port = int(bench.base_url.rpartition(":")[2])
    with Host(ROOT, bench.environment, port=port, output=tmp_path / "host.log") as host:
        yield host


def test_the_journey_of_the_readme_goes_through_as_it_is_written(bench: Workbench, host: Host, tmp_path: Path) -> None:
    bench.enrol_defaults()
    (tmp_path / "devkit.json").write_text(json.dumps(bench.devkit_record()))
    written = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    script = "".join(written).replace("http://127.0.0.1:7071", host.base_url)
    walked = subprocess.run(  # noqa: S603
        ["bash", "-eu", "-o", "pipefail", "-c", script.replace(".venv/bin/python", sys.executable)],  # noqa: S607
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "DEVKIT_FILE": "devkit.json", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert walked.returncode == 0, walked.stderr
    first, second = re.findall(r'"outcome":"success","finished":true,"outputs":(\{[^}]*\}|null)', walked.stdout)
    assert "caseId" in first
    assert second == "null"
    assert walked.stdout.endswith("204\n")
