"""The soak's verdict: every required figure can be missed, and says so."""

from collections import Counter
from dataclasses import replace

import pytest

from shared.devkit.soak_accounts import Account, Cause
from shared.devkit.soak_faults import ALLOWANCE, FAULTS, RHYTHMS, Dealer, Trouble
from shared.devkit.soak_instances import Kill
from shared.devkit.soak_verdict import Figures

ACCOUNT = Account(
    causes=Counter({Cause.KILLED: 2, Cause.WIRE: 1}),
    lost=3,
    window={Kill(0, 1), Kill(1, 2)},
)
GOOD = Figures(
    minutes=1.0,
    expiries=100,
    token_calls=105,
    account=ACCOUNT,
    relogins=4,
    run_twice=0,
    approvals_ended=0,
    runs=300,
    unexpected={},
    faults={"slow": 3},
)


def test_good_figures_miss_nothing() -> None:
    assert GOOD.missed() == []


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"expiries": 0, "token_calls": 0}, "No session expired."),
        ({"token_calls": 106}, "1.060 token calls for each expiry, more than 1.05."),
        ({"minutes": 1.5}, "Only 1.3 kills a minute hit the window, not 2."),
        ({"run_twice": 1}, "1 runs were executed twice."),
        ({"approvals_ended": 1}, "1 approvals were ended by the limit of five."),
        ({"unexpected": {"500 internal": 2}}, "Unexpected: 500 internal 2."),
        (
            {"account": replace(ACCOUNT, causes=Counter({Cause.WIRE: 2}))},
            "3 connections were lost, but 2 answers kept from the store.",
        ),
        ({"account": replace(ACCOUNT, unexplained=["ada: lost"])}, "Unexplained: ada: lost."),
        ({"account": replace(ACCOUNT, repeated=1)}, "1 tokens were presented after their rotation was stored."),
    ],
)
def test_a_missed_figure_has_a_sentence(change: dict[str, object], sentence: str) -> None:
    assert replace(GOOD, **change).missed() == [sentence]  # type: ignore[arg-type]  # each of its field's own type


def test_the_table_shows_each_figure_with_what_is_required() -> None:
    shown = GOOD.table()
    for line in ("expiries 100", "per expiry 1.050 <= 1.05", "lost 3 = 3 answers", "killed 2", "faults: slow 3"):
        assert line in " ".join(shown.split())


def test_faults_that_cost_token_calls_are_dealt_within_the_allowance() -> None:
    dealer = Dealer(clock=lambda: 0.0)
    for _ in range(2_000):
        dealer.fault()
    spent = sum(fault.cost * dealer.dealt[fault.name] for fault in FAULTS)
    assert dealer.expiries == 2_000
    assert 0 < spent <= ALLOWANCE * dealer.expiries
    assert all(dealer.dealt[fault.name] for fault in FAULTS)


def test_trouble_comes_when_it_is_due_and_one_at_a_time() -> None:
    now = [0.0]
    dealer = Dealer(clock=lambda: now[0])
    with dealer.trouble() as none:
        assert none is None
    now[0] = RHYTHMS[Trouble.KILL].first_s
    with dealer.trouble() as first, dealer.trouble() as second:
        assert (first, second) == (Trouble.KILL, None)
    now[0] = RHYTHMS[Trouble.SHORT_LOCK].first_s
    for expected in (Trouble.SHORT_LOCK, None):  # what is due next has to wait until the first one is over
        with dealer.trouble() as next_one:
            assert next_one is expected
    assert dealer.expiries == 2
