"""The soak's accounts: each lost connection against the one refresh whose answer did not get into the store."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import groupby, pairwise

from shared.devkit.salesforce.ledger import Family, Rotation
from shared.devkit.soak_instances import Kill
from shared.devkit.soak_store import Lock, Write
from shared.model.connections import ConnectionState

_STALL_MS = 1_000
"""How much later than at once something may happen on a busy machine."""


class Cause(StrEnum):
    """What kept an answer from the store."""

    WIRE = "wire"
    KILLED = "killed"
    STORE = "store"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was done to instances and store, and the app's own times in milliseconds."""

    kills: Sequence[Kill]
    locks: Sequence[Lock]
    deadline_ms: int
    lease_ms: int

    def cause(self, rotation: Rotation) -> Cause | None:
        """What kept this rotation's answer from the store; None when nothing explains it."""
        on_the_wire, killed = self._lost_on_the_wire(rotation), self.kill(rotation)
        if on_the_wire and (killed is None or on_the_wire <= killed.at):
            return Cause.WIRE
        if killed:
            return Cause.KILLED
        if any(self._refused(rotation, lock) for lock in self.locks):
            return Cause.STORE
        return Cause.WIRE if rotation.whole and self._is_late(rotation) else None

    def kill(self, rotation: Rotation) -> Kill | None:
        """The kill of the process that asked, before it had to be done with the answer."""
        ends_at = rotation.asked_at + self.lease_ms + _STALL_MS
        return next(
            (k for k in self.kills if k.place == rotation.secret and rotation.asked_at <= k.at <= ends_at), None
        )

    def _lost_on_the_wire(self, rotation: Rotation) -> int | None:
        """When the answer was dropped, or the client did not wait for it any longer."""
        if rotation.withheld:
            return rotation.told_at
        return rotation.asked_at + self.deadline_ms if not rotation.whole and self._is_late(rotation) else None

    def _is_late(self, rotation: Rotation) -> bool:
        # The client's time began before the call arrived, so it ends earlier than ours.
        return rotation.told_at - rotation.asked_at >= self.deadline_ms * 3 // 4

    def _refused(self, rotation: Rotation, lock: Lock) -> bool:
        """Whether a lock lasted from the answer to the end of the lease."""
        lease_end = rotation.asked_at + self.lease_ms
        return lock.since <= rotation.told_at + _STALL_MS and lock.until >= lease_end - _STALL_MS // 2


@dataclass(frozen=True, slots=True)
class Consent:
    """What the store's journal says of one consent: its writes in order, and of the claims and commits in them."""

    connection: str
    generation: int
    connected_at: int
    writes: Sequence[Write]
    told: bool

    @property
    def lost(self) -> bool:
        """Whether the connection had to be made anew: says the store, or was told where the store took no write."""
        return self.told or any(write.state == ConnectionState.NEEDS_RECONNECT for write in self.writes)

    def commits(self) -> list[int]:
        """The places of the writes that stored a fresh grant."""
        return [place for place, (before, now) in enumerate(pairwise(self.writes), 1) if now.version > before.version]

    def not_in_time(self, rotations: Sequence[Rotation]) -> list[Rotation]:
        """The rotations that were never stored, or not before somebody else claimed the grant."""
        commits = self.commits()
        late = [each for each, place in zip(rotations, commits, strict=False) if self._taken_over(each, place)]
        return late + list(rotations[len(commits) :])

    def _taken_over(self, rotation: Rotation, place: int) -> bool:
        earlier = pairwise(self.writes[:place])
        return any(now.claim not in (None, was.claim) and now.at > rotation.rotated_at for was, now in earlier)


@dataclass(slots=True)
class Account:
    """The sum: how many connections were lost by what cause, how many rotations a new consent overtook, the rest."""

    causes: Counter[Cause] = field(default_factory=Counter)
    lost: int = 0
    overtaken: int = 0
    repeated: int = 0
    unexplained: list[str] = field(default_factory=list)
    window: set[Kill] = field(default_factory=set)

    def add(self, consent: Consent, family: Family, evidence: Evidence, *, renewed: bool) -> None:
        """Put a consent's store and Salesforce sides together; `renewed` when the user connected once more later."""
        missing = consent.not_in_time(family.rotations)
        name = f"{family.user}, consent {consent.generation}"
        self.lost += consent.lost
        self.repeated += sum(1 for replay in family.replays if family.rotations[replay.rotation] not in missing)
        if len(consent.commits()) > len(family.rotations):
            self.unexplained.append(f"{name}: the store holds a grant that Salesforce never gave")
        if consent.lost and not missing:
            self.unexplained.append(f"{name}: lost, although every rotation was stored in time ({family.ended})")
        for rotation in missing:
            self._missing(rotation, evidence, name, lost=consent.lost, renewed=renewed)

    def _missing(self, rotation: Rotation, evidence: Evidence, name: str, *, lost: bool, renewed: bool) -> None:
        cause = evidence.cause(rotation)
        kill = evidence.kill(rotation)
        if not lost and renewed:
            self.overtaken += 1
        elif not lost:
            self.unexplained.append(f"{name}: a rotation is not in the store, and the connection lives on")
        elif cause is None:
            self.unexplained.append(f"{name}: lost, and nobody kept the answer from the store ({rotation})")
        else:
            self.causes[cause] += 1
            self.window |= {kill} if cause is Cause.KILLED and kill else set()


@dataclass(frozen=True, slots=True)
class Books:
    """What Salesforce knows of a connection, and when its user was told that it is lost (epoch ms)."""

    families: Sequence[Family]
    told: Sequence[int] = ()


def account(books: Mapping[str, Books], writes: Iterable[Write], evidence: Evidence) -> Account:
    """Settle the accounts. `books` are by connection, `writes` the store's journal in order."""
    total = Account()
    by_connection: dict[str, list[Write]] = defaultdict(list)
    for write in writes:
        by_connection[write.connection].append(write)
    for connection, own in books.items():
        consents = _consents(by_connection[connection], own.told)
        left = list(own.families)
        for number, consent in enumerate(consents, 1):
            family = _family_of(consent, left)
            if family is None:
                total.unexplained.append(f"{connection}: a consent that Salesforce does not know")
                continue
            left.remove(family)
            total.add(consent, family, evidence, renewed=number < len(consents))
        total.unexplained += [f"{each.user}: a grant was used that the store never held" for each in left if each.asked]
    return total


def _consents(writes: Sequence[Write], told: Sequence[int]) -> list[Consent]:
    grouped = groupby(writes, lambda write: (write.connection, write.generation, write.connected_at))
    parts = [(key, tuple(group)) for key, group in grouped]
    ends = [key[2] for key, _ in parts[1:]] + [math.inf]
    return [
        Consent(*key, group, any(key[2] <= at < end for at in told))
        for (key, group), end in zip(parts, ends, strict=False)
    ]


def _family_of(consent: Consent, families: Sequence[Family]) -> Family | None:
    """The newest approval that was there when the consent was stored: one login of a user follows the other."""
    earlier = [family for family in families if family.approved_at <= consent.connected_at]
    return max(earlier, key=lambda family: family.approved_at, default=None)
