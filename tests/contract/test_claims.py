"""What a claim is by its row alone: which other rules of a refresh build on it, whatever the store."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from shared.model.connections import Connection, Reason
from tests.contract.store_fixtures import CONNECTIONS, NOW, hex_of


@given(CONNECTIONS, st.integers(1, 600_000), st.sampled_from([-1, 0]) | st.integers(-1_000_000, 1_000_000))
def test_a_claim_lives_as_long_as_its_lease_and_the_second_that_a_store_may_be_off(
    row: Connection, lease_ms: int, late_ms: int
) -> None:
    end = NOW + lease_ms + 1_000
    read = replace(row, saved_at=NOW, read_at=end + late_ms)
    assert read.is_claimed(lease_ms) is (row.claim is not None and late_ms < 0)


@given(CONNECTIONS)
def test_a_claim_leaves_all_that_is_sealed_or_bound_as_it_is(row: Connection) -> None:
    claimed = row.claimed(hex_of(1))
    assert claimed.claim == hex_of(1)
    assert replace(claimed, claim=row.claim, reason=row.reason, doubts=row.doubts) == row
    assert claimed.link == row.link
    assert not claimed.has_moved_since(row)


@given(CONNECTIONS)
def test_a_claim_that_nobody_gave_back_leaves_its_doubt(row: Connection) -> None:
    claimed = row.claimed(hex_of(1))
    assert claimed.reason is (Reason.OUTCOME_UNKNOWN if row.claim else row.reason)
    assert claimed.doubts == row.doubts + (row.claim is not None)
    assert row.released().claim is None
    assert replace(row.released(), claim=row.claim) == row
