"""What a soak has to show: its figures as a table, and a sentence for each that is missed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shared.devkit.soak_accounts import Account, Cause

CALLS_PER_EXPIRY = 1.05
KILLS_PER_MINUTE = 2.0


@dataclass(frozen=True, slots=True)
class Figures:
    """What was counted in `minutes` of faults. `unexpected` holds answers and things that should not have been."""

    minutes: float
    expiries: int
    token_calls: int
    account: Account
    relogins: int
    run_twice: int
    approvals_ended: int
    runs: int
    unexpected: Mapping[str, int]
    faults: Mapping[str, int]

    @property
    def calls_per_expiry(self) -> float:
        """Token calls that reached Salesforce for each session that expired."""
        return self.token_calls / max(1, self.expiries)

    @property
    def kills_per_minute(self) -> float:
        """Kills that came between an answer and its write."""
        return len(self.account.window) / self.minutes

    def missed(self) -> list[str]:
        """A sentence for each required figure that is missed."""
        found, causes = self.account, self.account.causes.total()
        checks: Sequence[tuple[object, str]] = (
            (self.expiries, "No session expired."),
            (found.lost == causes, f"{found.lost} connections were lost, but {causes} answers kept from the store."),
            (not found.unexplained, f"Unexplained: {'; '.join(found.unexplained)}."),
            (
                self.kills_per_minute >= KILLS_PER_MINUTE,
                f"Only {self.kills_per_minute:.1f} kills a minute hit the window, not {KILLS_PER_MINUTE:g}.",
            ),
            (
                self.calls_per_expiry <= CALLS_PER_EXPIRY,
                f"{self.calls_per_expiry:.3f} token calls for each expiry, more than {CALLS_PER_EXPIRY}.",
            ),
            (not found.repeated, f"{found.repeated} tokens were presented after their rotation was stored."),
            (not self.approvals_ended, f"{self.approvals_ended} approvals were ended by the limit of five."),
            (not self.run_twice, f"{self.run_twice} runs were executed twice."),
            (not self.unexpected, f"Unexpected: {_listed(self.unexpected)}."),
        )
        return [sentence for holds, sentence in checks if not holds]

    def table(self) -> str:
        """The figures, one a line, with what is required of them."""
        found, causes = self.account, self.account.causes
        rows = (
            ("expiries", f"{self.expiries}", ""),
            ("token calls per expiry", f"{self.calls_per_expiry:.3f}", f"<= {CALLS_PER_EXPIRY}"),
            ("connections lost", f"{found.lost}", f"= {causes.total()} answers that never reached the commit"),
            ("  dropped or late on the wire", f"{causes[Cause.WIRE]}", ""),
            ("  holder killed", f"{causes[Cause.KILLED]}", ""),
            ("  store refused until the lease's end", f"{causes[Cause.STORE]}", ""),
            ("  unexplained", f"{len(found.unexplained)}", "0"),
            ("tokens presented after a known rotation", f"{found.repeated}", "0"),
            (
                "kills in the window",
                f"{len(found.window)}",
                f"{self.kills_per_minute:.1f} a minute, >= {KILLS_PER_MINUTE:g}",
            ),
            ("approvals ended by the limit of five", f"{self.approvals_ended}", "0"),
            ("re-logins during a refresh", f"{self.relogins}", f"{found.overtaken} late answers overtaken"),
            ("Flow runs", f"{self.runs}", ""),
            ("Flow runs executed twice", f"{self.run_twice}", "0"),
            ("unexpected answers", f"{sum(self.unexpected.values())}", "0"),
        )
        lines = [f"  {name:<42}{figure:>8}   {required}".rstrip() for name, figure, required in rows]
        return "\n".join([*lines, "", f"  faults: {_listed(self.faults)}"])


def _listed(counted: Mapping[str, int]) -> str:
    return ", ".join(f"{what} {number}" for what, number in sorted(counted.items())) or "none"
