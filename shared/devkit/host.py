"""The development host: Microsoft's engine behind an HTTP and timer front on 127.0.0.1, one process per app."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Self

from shared.devkit.routing import IndexedFunction

__all__ = ["Host", "HostFailed", "IndexedFunction", "fire"]

LOOPBACK = "127.0.0.1"
_BASICS = ("PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR")
_ROOT = Path(__file__).resolve().parents[2]
_STOP_WAIT_S = 10.0


class HostFailed(Exception):
    """The app did not start; the text is the app's own sentence where it has one."""


class Host:
    """An app served by a process of its own; a context manager.

    `app` holds function_app.py; `environment` is all that the app finds in its environment besides PATH, HOME
    and the like, and PYTHON_THREADPOOL_THREAD_COUNT=128; `port` 0 takes a free one at each start; `output`
    receives what the process writes, appended; `schedules` lets timers fire by themselves. The process leads a
    group of its own, unless `own_group` is False: then it lives and dies with its parent's.
    """

    def __init__(
        self,
        app: Path,
        environment: Mapping[str, str],
        *,
        port: int = 0,
        output: Path | None = None,
        schedules: bool = False,
        own_group: bool = True,
    ) -> None:
        self.functions: Sequence[IndexedFunction] = ()
        self._app = app
        self._environment = environment
        self._port = port
        self._output = output
        self._schedules = schedules
        self._own_group = own_group
        self._serving_port = port
        self._folder = ""
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def base_url(self) -> str:
        """Where the app is served, without a trailing slash; known before the start when a port was given."""
        return f"http://{LOOPBACK}:{self._serving_port}"

    @property
    def pid(self) -> int:
        """The process that serves. Raises HostFailed when it was not started."""
        if self._process is None:
            raise HostFailed("The host was not started.")
        return self._process.pid

    @property
    def control(self) -> Path:
        """The Unix socket through which `fire` reaches this host while it serves."""
        return Path(self._folder) / "control"

    def start(self, timeout_s: float = 30.0) -> None:
        """Return when the app is served. Raises HostFailed, and leaves nothing running, when it is not."""
        self.stop()
        self._folder = tempfile.mkdtemp(prefix="host-")
        report, reporting = socket.socketpair()
        with report:
            with reporting:
                self._process = self._spawned(reporting.fileno())
            report.settimeout(timeout_s)
            try:
                self._read(report)
            except BaseException:
                self.kill()
                raise

    def stop(self) -> None:
        """Let requests under way end, then end the process and its own group; harmless when not started."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOP_WAIT_S)
        self.kill()

    def kill(self) -> None:
        """End the process and its own group at once, as a crash would; harmless when not started."""
        process, self._process = self._process, None
        if process is not None:
            with suppress(ProcessLookupError):
                (os.killpg if self._own_group else os.kill)(process.pid, signal.SIGKILL)
            process.wait()
            shutil.rmtree(self._folder, ignore_errors=True)

    def fire(self, timer: str) -> bool:
        """Run a timer now, after any run of it that is under way; True when it ended well.

        Raises ValueError for a name that is no timer of this app.
        """
        if not any(f.name == timer and f.schedule is not None for f in self.functions):
            raise ValueError(f"There is no timer named {timer}.")
        return fire(self.control, timer)

    def _spawned(self, report: int) -> subprocess.Popen[bytes]:
        options = ["--app", str(self._app.resolve()), "--port", str(self._port), "--control", str(self.control)]
        options += ["--report", str(report), "--parent", str(os.getpid())] + ["--schedules"] * self._schedules
        basics = {name: os.environ[name] for name in _BASICS if name in os.environ}
        with nullcontext() if self._output is None else self._output.open("ab") as output:
            return subprocess.Popen(
                [sys.executable, "-u", "-m", "shared.devkit.host", *options],
                cwd=_ROOT,
                env={**basics, **self._environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output and subprocess.STDOUT,
                pass_fds=(report,),
                start_new_session=self._own_group,
            )

    def _read(self, report: socket.socket) -> None:
        try:
            line = report.makefile("rb").readline()
        except TimeoutError:
            raise HostFailed(f"The app did not start within {report.gettimeout():g} seconds.") from None
        if not line:
            raise HostFailed("The app's process ended before it was served.")
        told = json.loads(line)
        if "failed" in told:
            raise HostFailed(told["failed"])
        self._serving_port = int(told["port"])
        self.functions = tuple(IndexedFunction(**{**f, "methods": tuple(f["methods"])}) for f in told["functions"])


def fire(control: Path, timer: str) -> bool:
    """Run a timer of the host behind a control socket and wait; False when it failed or the host is gone."""
    with socket.socket(socket.AF_UNIX) as connection, suppress(OSError):
        connection.connect(str(control))
        connection.sendall(f"{timer}\n".encode())
        return connection.recv(1) == b"1"
    return False


if __name__ == "__main__":
    from shared.devkit.host_process import main

    sys.exit(main(sys.argv[1:], os.environ))
