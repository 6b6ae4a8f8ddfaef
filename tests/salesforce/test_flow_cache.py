"""What was listed and described is kept for minutes, by key, and no longer."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from shared.model.flows import Flow, FlowSummary, flow_name
from shared.salesforce.flow_cache import FLOWS_MAX, LISTS_MAX, RecentFlows

ADA, BEN = ("tenant", "connection-a", "1"), ("tenant", "connection-b", "1")
SUMMARY = FlowSummary(flow_name("Create_Case"), "Create a Case")
FLOW = Flow(flow_name("Create_Case"), "Create a Case", None, (), ())


@dataclass
class Watch:
    """A clock in epoch milliseconds that stands still until it is moved."""

    now: int = 1_766_000_000_000

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def cache(watch: Watch) -> RecentFlows:
    return RecentFlows(300, watch)


def test_what_was_kept_is_found_until_its_time_is_over(cache: RecentFlows, watch: Watch) -> None:
    cache.keep_flows(ADA, [SUMMARY])
    cache.keep_flow(ADA, FLOW)
    watch.now += 299_999
    assert (cache.flows(ADA), cache.flow(ADA)) == ((SUMMARY,), FLOW)
    watch.now += 1
    assert (cache.flows(ADA), cache.flow(ADA)) == (None, None)


def test_one_key_never_finds_what_another_keeps(cache: RecentFlows) -> None:
    cache.keep_flows(ADA, [SUMMARY])
    cache.keep_flow(ADA, FLOW)
    assert (cache.flows(BEN), cache.flow(BEN)) == (None, None)


def test_an_empty_list_is_kept_as_one(cache: RecentFlows) -> None:
    cache.keep_flows(ADA, [])
    assert cache.flows(ADA) == ()


def test_keeping_again_starts_the_time_again(cache: RecentFlows, watch: Watch) -> None:
    cache.keep_flows(ADA, [SUMMARY])
    watch.now += 200_000
    cache.keep_flows(ADA, [])
    watch.now += 200_000
    assert cache.flows(ADA) == ()


def test_a_kept_list_does_not_change_with_the_one_that_was_given(cache: RecentFlows) -> None:
    given = [SUMMARY]
    cache.keep_flows(ADA, given)
    given.clear()
    assert cache.flows(ADA) == (SUMMARY,)


def test_the_oldest_make_room() -> None:
    cache = RecentFlows(300, Watch())
    for number in range(max(LISTS_MAX, FLOWS_MAX) + 1):
        cache.keep_flows((str(number),), [SUMMARY])
        cache.keep_flow((str(number),), FLOW)
    kept_lists = sum(cache.flows((str(number),)) is not None for number in range(FLOWS_MAX + 1))
    kept_flows = sum(cache.flow((str(number),)) is not None for number in range(FLOWS_MAX + 1))
    assert (kept_lists, kept_flows) == (LISTS_MAX, FLOWS_MAX)
    assert (cache.flow(("0",)), cache.flow((str(FLOWS_MAX),))) == (None, FLOW)


def test_many_threads_keep_and_find(cache: RecentFlows) -> None:
    def work(number: int) -> bool:
        key = (str(number % 7),)
        for _ in range(200):
            cache.keep_flows(key, [SUMMARY])
            cache.flows((str(number % 5),))
        return cache.flows(key) == (SUMMARY,)

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(work, range(16)))
