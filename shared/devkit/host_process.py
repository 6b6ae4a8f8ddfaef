"""The process that serves one app: engine, front, timers and control socket; ended by a signal or by its parent."""

from __future__ import annotations

import argparse
import json
import os
import signal
import socketserver
import sys
import threading
import time
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import NoReturn

from shared.devkit.engine import Engine, Failure, NotIndexed
from shared.devkit.host_front import LOOPBACK, Front
from shared.devkit.host_messages import BARE_500, Head, encode
from shared.devkit.routing import IndexedFunction, Router, RouteRefused
from shared.devkit.schedule import ScheduleRefused, Timer, resolve

_THREADS = "128"
_DRAIN_S = 5.0
_PARENT_CHECK_S = 0.25
_POLL_S = 0.05


class _Refused(Exception):
    """The app is not served; the text says why."""


class _App:
    """The engine behind the front and the timers. Raises _Refused."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        try:
            self._engine = Engine(folder)
            self.functions = tuple(_resolved(function, environment) for function in self._engine.functions)
            self._router = Router(self.functions)
        except (NotIndexed, RouteRefused, ScheduleRefused) as refused:
            raise _Refused(str(refused)) from None
        self.timers = {f.name: Timer(f.name, f.schedule, self._run) for f in self.functions if f.schedule is not None}

    def answer(self, head: Head, body: bytes) -> bytes | None:
        """The bytes of the app's answer; a bare 500 when its function raised; None when no route matches."""
        match = self._router.match(head.method, head.target.partition("?")[0])
        if match is None:
            return None
        try:
            answer = self._engine.answer(match, head, body)
            if not isinstance(answer, Failure):
                return encode(answer, head.method)
        except ValueError as unsendable:
            answer = Failure(type(unsendable).__name__)
        _report_failure(match.function.name, answer)
        return BARE_500

    def _run(self, timer: str, occurrence: Mapping[str, object]) -> bool:
        failure = self._engine.run(timer, occurrence)
        if failure is not None:
            _report_failure(timer, failure)
        return failure is None


class _ControlRequest(socketserver.StreamRequestHandler):
    server: _Control

    def handle(self) -> None:
        """Fire the timer that a line names; answer 1 or 0."""
        timer = self.server.timers.get(self.rfile.readline().decode().strip())
        with suppress(OSError):
            self.wfile.write(b"1" if timer is not None and timer.fire() else b"0")


class _Control(socketserver.ThreadingUnixStreamServer):
    """The control socket; one that an earlier process left behind is replaced."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, path: Path, timers: Mapping[str, Timer]) -> None:
        self.timers = timers
        path.unlink(missing_ok=True)
        super().__init__(str(path), _ControlRequest)

    def handle_error(self, *_: object) -> None:
        """Say nothing: what went wrong may carry an exception's text."""


def main(arguments: Sequence[str], environment: MutableMapping[str, str]) -> int:
    """Serve an app until told to stop, then end the process; 1 when it cannot be served, with the reason reported.

    `environment` is this process's own: the engine reads its thread count there, schedules their settings.
    """
    options = _options(arguments)
    environment.setdefault("PYTHON_THREADPOOL_THREAD_COUNT", _THREADS)
    serving, stopping = threading.Event(), threading.Event()
    _in_background(partial(_watch_parent, options, serving, stopping))
    try:
        app = _App(options.app, environment)
        front = _front(options.port, app)
    except _Refused as refused:
        _report(options.report, {"failed": str(refused)})
        return 1
    serving.set()
    return _serve(options, app, front, stopping)


def _serve(options: argparse.Namespace, app: _App, front: Front, stopping: threading.Event) -> NoReturn:
    """Serve until a signal comes or the parent is gone, then end the process."""
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signal_number, lambda *_: stopping.set())
    _in_background(partial(front.serve_forever, _POLL_S))
    if options.control is not None:
        _in_background(_Control(options.control, app.timers).serve_forever)
    for timer in app.timers.values() if options.schedules else ():
        _in_background(partial(timer.keep, stopping))
    _report(options.report, {"port": front.port, "functions": [asdict(function) for function in app.functions]})
    stopping.wait()
    _remove(options.control, orphaned=os.getppid() != options.parent)
    _end(front, app.timers)


def _watch_parent(options: argparse.Namespace, serving: threading.Event, stopping: threading.Event) -> None:
    """Stop when the parent is gone; at once when the app, which may never finish starting, is not served yet."""
    while os.getppid() == options.parent:
        time.sleep(_PARENT_CHECK_S)
    stopping.set()
    if not serving.is_set():
        _remove(options.control, orphaned=True)
        os._exit(1)


def _remove(control: Path | None, *, orphaned: bool) -> None:
    """Remove the control socket; its folder too when the parent, which made it, cannot do so any more."""
    if control is not None:
        control.unlink(missing_ok=True)
        if orphaned:
            with suppress(OSError):
                control.parent.rmdir()


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m shared.devkit.host")
    parser.add_argument("--app", type=_absolute, default=Path.cwd(), help="the folder of function_app.py")
    parser.add_argument("--port", type=int, default=7071, help="0 takes a free one")
    parser.add_argument("--schedules", action="store_true", help="let timers fire by themselves")
    parser.add_argument("--control", type=_absolute, help="a Unix socket to fire timers through")
    parser.add_argument("--report", type=int, help="a descriptor that is told how the start went")
    parser.add_argument("--parent", type=int, default=os.getppid(), help="the process with which this one ends")
    return parser.parse_args(arguments)


def _absolute(path: str) -> Path:
    return Path(path).resolve()


def _resolved(function: IndexedFunction, environment: Mapping[str, str]) -> IndexedFunction:
    if function.schedule is None:
        return function
    return replace(function, schedule=resolve(function.name, function.schedule, environment))


def _front(port: int, app: _App) -> Front:
    try:
        return Front(port, app.answer)
    except OSError:
        raise _Refused(f"Port {port} is taken.") from None


def _in_background(work: Callable[[], object]) -> None:
    threading.Thread(target=work, daemon=True).start()


def _report(descriptor: int | None, report: Mapping[str, object]) -> None:
    if descriptor is not None:
        with os.fdopen(descriptor, "w") as stream:
            stream.write(json.dumps(report) + "\n")
    else:
        serving = f"Serving on http://{LOOPBACK}:{report.get('port')}"
        sys.stderr.write(f"{report.get('failed', serving)}\n")


def _report_failure(name: str, failure: Failure) -> None:
    sys.stderr.write(f"{name} failed: {failure.kind}\n")


def _end(front: Front, timers: Mapping[str, Timer]) -> NoReturn:
    """Let what is under way end for a few seconds; what is not done then ends with the process.

    At once and not by returning: the interpreter would join the engine's threads, and one of them may be waiting.
    """
    deadline = time.monotonic() + _DRAIN_S
    front.drain(_DRAIN_S)
    for timer in timers.values():
        timer.settle(deadline - time.monotonic())
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
