"""Microsoft's engine (azure_functions_runtime 1.3.0) in this process: index an app once, then call its functions.

The engine keeps global state, so one process serves one app. What it is told travels in plain classes
(azure-facts.md section 1): no protobuf, no gRPC.
"""

from __future__ import annotations

import asyncio
import builtins
import json
import logging
import os
import sys
import threading
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Protocol, cast

from azure.functions.decorators.core import BindingDirection, DataType
from azure_functions_runtime import functions_metadata_request, start_threadpool_executor, worker_init_request
from azure_functions_runtime.bindings.datumdef import Datum
from azure_functions_runtime.handle_event import _functions as _registry
from azure_functions_runtime.native_invocation import run_invocation_sync

from shared.devkit.host_datums import Value, http_datum, response_of
from shared.devkit.host_messages import Head, Response
from shared.devkit.routing import ANY_METHOD, IndexedFunction, Match

_APP_FILE = "function_app.py"
_DEFAULT_PREFIX = "api"
_TRIGGERS = frozenset({"httpTrigger", "timerTrigger"})


class NotIndexed(Exception):
    """The app cannot be served; the text is its own sentence where it has one."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A function that raised: the exception's type, and nothing of its text."""

    kind: str


class _Metadata(Protocol):
    name: str
    function_id: str
    raw_bindings: Sequence[str]


class _StatusResult(SimpleNamespace):
    Failure = 0
    Success = 1


class _BindingInfo(SimpleNamespace):
    out = BindingDirection.OUT.value
    inout = BindingDirection.INOUT.value
    undefined = DataType.UNDEFINED.value


_MESSAGES = SimpleNamespace(
    StatusResult=_StatusResult,
    BindingInfo=_BindingInfo,
    **dict.fromkeys(
        (
            "WorkerInitResponse",
            "WorkerMetadata",
            "FunctionMetadataResponse",
            "RpcException",
            "RpcFunctionMetadata",
            "RpcRetryOptions",
        ),
        SimpleNamespace,
    ),
)


class _EngineLog(logging.Handler):
    """The engine's own logger: a failed call leaves its exception's type for the caller, warnings are shown.

    The engine logs the text and traceback of every exception that a function raises; neither may be seen.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._here = threading.local()

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[0]:
            self._here.kind = record.exc_info[0].__name__
        elif record.levelno == logging.WARNING:
            sys.stderr.write(f"{record.getMessage()}\n")

    def taken(self) -> str:
        """The type of the exception that this thread's call raised."""
        return str(vars(self._here).pop("kind", "Exception"))


@dataclass(frozen=True, slots=True)
class _Handle:
    """What the engine needs to call a function: its id and the trigger's parameter."""

    function_id: str
    parameter: str


class Engine:
    """An indexed app. `functions` in the app's own order; calls may come from any thread."""

    def __init__(self, app: Path) -> None:
        """Index the app in a folder. Raises NotIndexed."""
        if not (app / _APP_FILE).is_file():
            raise NotIndexed(f"There is no {_APP_FILE} in the app's folder.")
        self._log = _quieted()
        prefix = _route_prefix(app)
        _make_room(app)
        start_threadpool_executor()
        self._handles: dict[str, _Handle] = {}
        self.functions = tuple(self._adopt(metadata, prefix) for metadata in _indexed(app))
        if not self.functions:
            raise NotIndexed("The app declares no function.")

    def answer(self, match: Match, head: Head, body: bytes) -> Response | Failure:
        """Call an HTTP function and return what it answers."""
        returned = self._call(match.function.name, http_datum(match, head, body))
        return returned if isinstance(returned, Failure) else response_of(returned)

    def run(self, timer: str, occurrence: Mapping[str, object]) -> Failure | None:
        """Call a timer function with what the platform says of an occurrence; None when it ended well."""
        returned = self._call(timer, Datum(json.dumps(occurrence), "json"))
        return returned if isinstance(returned, Failure) else None

    def _call(self, name: str, datum: object) -> Value | Failure:
        handle = self._handles[name]
        inputs = [(handle.parameter, datum)]
        try:
            _, ended_well, returned, *_ = run_invocation_sync(str(uuid.uuid4()), handle.function_id, inputs, {})
        except SystemExit:
            return Failure("SystemExit")  # the engine keeps back what is an Exception, and only that
        return cast(Value, returned) if ended_well else Failure(self._log.taken())

    def _adopt(self, metadata: _Metadata, prefix: str) -> IndexedFunction:
        name = metadata.name
        bindings = [json.loads(text) for text in metadata.raw_bindings]
        trigger = next((b for b in bindings if b["type"] in _TRIGGERS), None)
        if trigger is None:
            raise NotIndexed(f"{name} has neither an HTTP nor a timer trigger.")
        if any(name.lower() == other.lower() for other in self._handles):
            raise NotIndexed(f"Two functions are named {name}.")
        if _registry.get_function(metadata.function_id).is_async:
            raise NotIndexed(f"{name} is async; every function must be synchronous.")
        self._handles[name] = _Handle(metadata.function_id, trigger["name"])
        if trigger["type"] == "timerTrigger":
            return IndexedFunction(name, schedule=trigger["schedule"])
        return _http_function(name, trigger, prefix)


def _http_function(name: str, trigger: Mapping[str, object], prefix: str) -> IndexedFunction:
    level = str(trigger.get("authLevel", "FUNCTION")).upper()
    if level != "ANONYMOUS":
        raise NotIndexed(f"{name} has the auth level {level}; every function must be ANONYMOUS.")
    methods = tuple(str(method).upper() for method in cast(Iterable[object], trigger.get("methods") or ANY_METHOD))
    route = "/".join(part for part in (prefix, str(trigger.get("route") or name).strip("/")) if part)
    return IndexedFunction(name, route, methods, level)


def _quieted() -> _EngineLog:
    handler = _EngineLog()
    logger = logging.getLogger("azure.functions")
    logger.setLevel(logging.WARNING)
    logger.addHandler(handler)
    logger.propagate = False
    return handler


def _route_prefix(app: Path) -> str:
    try:
        settings = json.loads((app / "host.json").read_text())
        prefix = settings.get("extensions", {}).get("http", {}).get("routePrefix", _DEFAULT_PREFIX)
    except FileNotFoundError:
        return _DEFAULT_PREFIX
    except (ValueError, AttributeError):
        raise NotIndexed("host.json cannot be read.") from None
    return str(prefix).strip("/")


def _make_room(app: Path) -> None:
    """Be where the platform's worker is: in the app's folder, which stands first on sys.path.

    It takes the place of this package's own folder, and `shared` is left to the app.
    """
    os.chdir(app)
    sys.path[0] = str(app)
    for name in [name for name in sys.modules if name == "shared" or name.startswith("shared.")]:
        del sys.modules[name]


def _indexed(app: Path) -> Sequence[_Metadata]:
    properties = {"host": "127.0.0.1", "protos": _MESSAGES}
    init = SimpleNamespace(capabilities={}, function_app_directory=str(app))
    request = SimpleNamespace(request=SimpleNamespace(worker_init_request=init), properties=properties)
    try:
        result = asyncio.run(worker_init_request(request)).result
    except SystemExit as ended:
        raise NotIndexed(ended.code if isinstance(ended.code, str) else f"{_APP_FILE} ended the process.") from None
    if result.status != _StatusResult.Success:
        raise NotIndexed(_sentence(result.exception.message))
    listed = asyncio.run(functions_metadata_request(request)).function_metadata_results
    return cast(Sequence[_Metadata], listed or ())


def _sentence(message: str) -> str:
    """The app's own words: the engine puts the exception's type before and advice for the cloud behind them."""
    own = message.split(". Cannot find module. Please check", 1)[0]
    kind, _, text = own.partition(": ")
    return text if text and not hasattr(builtins, kind) else own
