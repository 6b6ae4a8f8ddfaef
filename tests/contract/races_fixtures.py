"""Races between real threads and real processes: everybody waits at a gate, nobody sleeps."""

import multiprocessing
import threading
from collections.abc import Callable, Sequence
from itertools import count
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Protocol, TypeVar

from shared.errors import Conflict
from shared.model.sealed import Place, Sealed
from shared.ports import Keyring, Store
from tests.contract.keyring_fixtures import KEYRINGS
from tests.contract.store_fixtures import NOW, REF, SetClock, a_connection, a_run, hex_of, open_store

Result = TypeVar("Result")
Row = TypeVar("Row")
Opened = Callable[[], Store]
WAIT_S = 60


class Gate(Protocol):
    """Opens when all have come."""

    def wait(self, timeout: float | None = None) -> int: ...


def race_processes(work: Callable[..., Result], arguments: Sequence[tuple[object, ...]]) -> list[Result]:
    """What `work(gate, *arguments)` gave in as many new processes."""
    context = multiprocessing.get_context("spawn")
    gate = context.Barrier(len(arguments))
    pipes = [context.Pipe(duplex=False) for _ in arguments]
    processes = [
        context.Process(target=_report, args=(sender, work, gate, *own))
        for (_, sender), own in zip(pipes, arguments, strict=True)
    ]
    for process in processes:
        process.start()
    for _, sender in pipes:
        sender.close()  # so that a process that dies ends its own pipe
    results = [receiver.recv() for receiver, _ in pipes]
    for process in processes:
        process.join(WAIT_S)
    assert [process.exitcode for process in processes] == [0] * len(processes)
    return results


def _report(sender: Pipe, work: Callable[..., object], gate: Gate, *own: object) -> None:
    sender.send(work(gate, *own))


def race_threads(work: Callable[..., Result], arguments: Sequence[tuple[object, ...]]) -> list[Result]:
    """What `work(gate, *arguments)` gave in as many threads."""
    gate = threading.Barrier(len(arguments))
    results: dict[int, Result] = {}

    def report(racer: int) -> None:
        results[racer] = work(gate, *arguments[racer])

    threads = [threading.Thread(target=report, args=(racer,), daemon=True) for racer in range(len(arguments))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    return [results[racer] for racer in range(len(arguments))]


def store_there(backend: str, folder: str) -> Store:
    """The store of that folder, as another process opens it."""
    return open_store(backend, Path(folder), SetClock())


def keyring_there(backend: str, folder: str) -> Keyring:
    """The keyring of that folder, as another process opens it."""
    return KEYRINGS[backend](Path(folder)).open(SetClock())


def _wins(write: Callable[[Row], object], row: Row) -> bool:
    try:
        write(row)
    except Conflict:
        return False
    return True


def claiming(gate: Gate, opened: Opened, racer: int, rounds: int) -> list[bool]:
    """In each round everybody reads one connection, then tries to claim it: which rounds this one won."""
    rows, won = opened().tenant(REF), []
    for number in range(rounds):
        gate.wait(WAIT_S)
        _, row = rows.tenant_and_connection(a_connection().id)
        assert row is not None
        gate.wait(WAIT_S)
        won.append(_wins(rows.save_connection, row.claimed(hex_of(number * 100 + racer))))
    return won


def creating(gate: Gate, opened: Opened, racer: int, rounds: int) -> list[bool]:
    """In each round everybody tries to create one run: which rounds this one won."""
    rows, won = opened().tenant(REF), []
    for number in range(rounds):
        gate.wait(WAIT_S)
        won.append(_wins(rows.save_run, a_run(number, started_at=NOW + racer)))
    return won


def forgetting(gate: Gate, opened: Opened, racer: int, rounds: int) -> list[bool]:
    """In each round the first forgets a connection that all others replace: which rounds this one won."""
    rows, won = opened().tenant(REF), []
    for number in range(rounds):
        _, row = rows.tenant_and_connection(a_connection(number).id)
        assert row is not None
        gate.wait(WAIT_S)
        won.append(_wins(rows.save_connection if racer else rows.forget_connection, row))
    return won


def arriving(gate: Gate, opened: Opened, racer: int, rounds: int) -> list[bool]:
    """Everybody is the first to open the store, and saves runs of their own."""
    gate.wait(WAIT_S)
    rows = opened().tenant(REF)
    return [_wins(rows.save_run, a_run(racer * rounds + number)) for number in range(rounds)]


def minting(gate: Gate, opened: Callable[[], Keyring], place: Place) -> tuple[str, Sealed]:
    """Everybody is the first to open the keyring and to mint: a digest, and something sealed."""
    gate.wait(WAIT_S)
    keyring = opened()
    gate.wait(WAIT_S)
    keyring.mint(REF, 1)
    return keyring.digest("label", "part"), keyring.sealer(REF, 1).seal(place, b"secret")


def writing(told: Pipe, opened: Opened) -> None:
    """Save runs without end, and tell of each that was saved."""
    rows = opened().tenant(REF)
    for number in count():
        rows.save_run(a_run(number))
        told.send(number)
