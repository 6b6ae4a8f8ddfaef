"""`make demo`: the product's whole journey on loopback, from a message file to what is left of it, as a transcript."""

from __future__ import annotations

import io
import sqlite3
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import requests

from shared.devkit.host import Host, HostFailed
from shared.devkit.journey import AddIn, DemoFailed, Stage, journey
from shared.devkit.message import read_message
from shared.devkit.tls import free_port
from shared.devkit.transcript import Transcript, secret
from shared.devkit.workbench import Workbench, WorkbenchFailed

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = Path(__file__).parent / "sample.eml"
_SHOWN_MAILBOXES = 3


def main(eml: Path | None) -> int:
    """Show the journey with that message file, or with the one beside this module.

    Returns 0, or 1 after one sentence on standard error that says what failed. Everything is made in a folder
    that is gone at the end, on ports that are free.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a subject may hold what this terminal cannot show
    say = Transcript(sys.stdout)
    try:
        _show(say, eml or SAMPLE)
    except (DemoFailed, HostFailed, WorkbenchFailed) as failed:
        return _ended(say, str(failed))
    except requests.RequestException:
        return _ended(say, "The app or Salesforce did not answer.")
    except sqlite3.Error:
        return _ended(say, "The store's file cannot be read.")
    except OSError as failed:
        return _ended(say, f"{failed.filename or 'This machine'}: {failed.strerror or 'no access'}.")
    except KeyboardInterrupt:
        return _ended(say, "It was interrupted.")
    return 0


def _show(say: Transcript, eml: Path) -> None:
    say.title("FlowRunner: from a message in a mailbox to a Flow in Salesforce, and what is left of it")
    with say.doing(f"Read the message as an add-in sees it: {eml.name}"):
        message = read_message(eml)
        for name, value in message.items():
            say.say(name, _plain(value))
    with tempfile.TemporaryDirectory(prefix="flowrunner-demo-") as folder, ExitStack() as parts:
        journey(_opened(say, Path(folder), parts), message)


def _opened(say: Transcript, folder: Path, parts: ExitStack) -> Stage:
    with say.doing("Start the issuers, Salesforce and the app, each on a port of its own"):
        port = free_port()
        bench = parts.enter_context(Workbench(folder, port=port))
        host = parts.enter_context(Host(ROOT, bench.environment, port=port, output=folder / "app.log"))
        http = parts.enter_context(requests.Session())
        http.trust_env = False
        bench.enrol_defaults()
        if bench.salesforce is None:
            raise DemoFailed("Salesforce was not started.")
        say.say("app", f"{host.base_url}, {len(host.functions)} functions")
        say.say("Entra's keys", bench.environment["ENTRA_JWKS_URL"])
        say.say("Salesforce", f"{bench.salesforce.base_url}, its org {bench.salesforce.instance_url}")
        say.say("enrolled", "one Entra tenant and one Google domain, by an operator")
    with say.doing("Sign in: the add-in gets the user's access token, as Entra would issue it"):
        token = bench.token()
        say.say("token", secret(token))
    return Stage(say, AddIn(host.base_url, http, token), bench.salesforce, folder)


def _ended(say: Transcript, sentence: str) -> int:
    print(f"Step {say.step} failed: {sentence}", file=sys.stderr)
    return 1


def _plain(value: object) -> str:
    if isinstance(value, list):
        count = f"{len(value):,} mailboxes: " if len(value) > _SHOWN_MAILBOXES else ""
        return count + ", ".join(_plain(each) for each in value) or "nobody"
    if isinstance(value, Mapping):
        return f"{value['name']} <{value['address']}>" if value["name"] else str(value["address"])
    return "none" if value is None else str(value)
