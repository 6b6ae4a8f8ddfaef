"""`python -m shared.devkit run|token|demo|soak`: serve the app, mint a token, show the journey, wear grants out."""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, MappingProxyType

from shared.devkit import demo, soak
from shared.devkit.host import Host, HostFailed
from shared.devkit.minting import mint_entra, mint_google
from shared.devkit.tls import LOOPBACK, free_port
from shared.devkit.workbench import PORT, Workbench, WorkbenchFailed, write_private

ROOT = Path(__file__).resolve().parents[2]
DEV = ROOT / ".dev"
_BROKEN = 2
_PORT_MAX = 65_535


def run(_: argparse.Namespace, environment: Mapping[str, str]) -> int:
    """Serve the app until Ctrl-C or SIGTERM. Raises WorkbenchFailed or HostFailed when it cannot be served."""
    _interruptible()
    try:
        return _serve(environment)
    except KeyboardInterrupt:
        return 0


def token(asked: argparse.Namespace, environment: Mapping[str, str]) -> int:
    """Print a bearer token. Raises WorkbenchFailed when there is no usable file of `make run`."""
    if asked.google and asked.operator:
        raise WorkbenchFailed("An operator's token is Entra's: leave out --google.")
    path = _devkit_file(environment)
    try:
        record = json.loads(path.read_bytes())
        if asked.google:
            print(mint_google(record["google"], tenant=asked.tenant, user=asked.user, admin=asked.admin))
        else:
            who = {"admin": asked.admin, "operator": asked.operator}
            print(mint_entra(record["entra"], tenant=asked.tenant, user=asked.user, **who))
    except FileNotFoundError:
        raise WorkbenchFailed(f"There is no {_shown(path)} yet: start `make run` first.") from None
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        raise WorkbenchFailed(f"{_shown(path)} is not what `make run` writes: start `make run` again.") from None
    return 0


def show(asked: argparse.Namespace, _: Mapping[str, str]) -> int:
    """Show the whole journey with a message of the caller's or one of ours."""
    return demo.main(asked.eml)


def wear(asked: argparse.Namespace, _: Mapping[str, str]) -> int:
    """Refresh grants under faults and count what is lost. Raises WorkbenchFailed or HostFailed."""
    _interruptible()
    return soak.main(asked.minutes, asked.instances)


Command = Callable[[argparse.Namespace, Mapping[str, str]], int]
COMMANDS: Mapping[str, Command] = MappingProxyType({"run": run, "token": token, "demo": show, "soak": wear})


def main(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> int:
    """Carry out one command; 2 and one sentence on standard error when it cannot be done."""
    asked = _parser().parse_args(arguments)
    try:
        return COMMANDS[asked.command](asked, environment)
    except (WorkbenchFailed, HostFailed, OSError) as failed:
        print(failed, file=sys.stderr)
        return _BROKEN


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m shared.devkit", allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("run", help="serve the app until Ctrl-C; settings come from the environment")
    showing = commands.add_parser("demo", help="show the whole journey")
    showing.add_argument("--eml", type=Path, help="an RFC 5322 message of your own")
    soaking = commands.add_parser("soak", help="refresh grants under faults, kills and lost writes, and count losses")
    soaking.add_argument("--minutes", type=_positive(float), default=10.0, help="how long there are faults")
    soaking.add_argument("--instances", type=_positive(int), default=4, help="processes over the one store")
    minting = commands.add_parser("token", help="print a bearer token of the served app's issuers")
    minting.add_argument("--tenant", help="a GUID or any word; with --google a domain or any word")
    minting.add_argument("--user", help="a GUID or any word; with --google also a number")
    minting.add_argument("--google", action="store_true", help="a Google ID token; without it an Entra access token")
    kind = minting.add_mutually_exclusive_group()
    kind.add_argument("--admin", action="store_true", help="with an admin's roles and a fresh sign-in")
    kind.add_argument("--operator", action="store_true", help="for an operator")
    return parser


def _positive(kind: Callable[[str], float]) -> Callable[[str], float]:
    def read(text: str) -> float:
        number = kind(text)
        if not 0 < number < float("inf"):
            raise ValueError(text)
        return number

    return read


def _serve(environment: Mapping[str, str]) -> int:
    port, file = _free_port(environment.get("PORT", "")), _devkit_file(environment)
    print("Starting issuers, Salesforce and the app ...", flush=True)
    with Workbench(DEV, given=environment, port=port) as bench, _in_place_of(file):
        issuers = environment.get("ISSUERS", "").strip()
        if not issuers:
            issuers = str(DEV / "issuers.json")
            write_private(DEV / "issuers.json", bench.issuers_record())
        with Host(ROOT, bench.environment, port=port, schedules=True, own_group=False) as host:
            bench.enrol_defaults()
            write_private(file.with_name("instance.env"), bench.shared_settings(issuers))
            write_private(file, bench.devkit_record())
            _greet(bench, file)
            os.waitpid(host.pid, 0)
    raise HostFailed("The app ended by itself.")


@contextmanager
def _in_place_of(file: Path) -> Iterator[None]:
    """Remove an earlier instance's file, so that whoever waits for ours does not find that one.

    It comes back when ours does not start: the other instance may still be serving.
    """
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        earlier = file.read_text(encoding="utf-8") if file.exists() else ""
        file.unlink(missing_ok=True)
    except OSError:
        raise WorkbenchFailed("DEVKIT_FILE cannot be written.") from None
    try:
        yield
    finally:
        if earlier and not file.exists():
            write_private(file, earlier)


def _interruptible() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)


def _interrupt(number: int, _: FrameType | None) -> None:
    """End once: make and a terminal both pass a signal on, and the second must not cut the tidying short."""
    for other in (signal.SIGINT, signal.SIGTERM):
        signal.signal(other, signal.SIG_IGN)
    raise KeyboardInterrupt(number)


def _free_port(text: str) -> int:
    try:
        port = int(text.strip() or PORT)
    except ValueError:
        port = -1
    if not 0 <= port <= _PORT_MAX:
        raise WorkbenchFailed(f"PORT cannot be read: it is a whole number from 0 to {_PORT_MAX}.")
    if not port:
        return free_port()
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            raise WorkbenchFailed(f"Port {port} is taken: give another one with PORT.") from None
        return port


def _devkit_file(environment: Mapping[str, str]) -> Path:
    return Path(environment.get("DEVKIT_FILE", "").strip() or DEV / "devkit.json").absolute()


def _shown(path: Path) -> Path:
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


def _greet(bench: Workbench, file: Path) -> None:
    settings = bench.environment
    chosen = "" if file == DEV / "devkit.json" else f"DEVKIT_FILE={file} "
    print(
        f"""
FlowRunner serves at {bench.base_url} until Ctrl-C.

  Entra keys   {settings["ENTRA_JWKS_URL"]}
  Google keys  {settings["GOOGLE_JWKS_URL"]}
  Salesforce   {settings["SALESFORCE_LOGIN_ORIGIN"]} (orgs: {settings.get("SF_EXTRA_ORIGINS", "none")})
  Store        {settings["STORE_PATH"]}
  Keyring      {settings["KEYS_PATH"]}
  For clients  {file}

Now, in another terminal:

  TOKEN=$({chosen}.venv/bin/python -m shared.devkit token)
  curl -s -H "Authorization: Bearer $TOKEN" {bench.base_url}/v1/me
""",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
