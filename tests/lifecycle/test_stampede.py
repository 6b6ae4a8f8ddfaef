"""Scenario 1: whoever meets the same expired session, wherever, gets an answer, and Salesforce gets one refresh."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest

from tests.lifecycle.instances_fixtures import FLOOR_S, Instance, Member, endpoints
from tests.security.journey_fixtures import WAIT_S

EXPIRIES, REQUESTS = 200, 8


@pytest.fixture
def lines(instances: list[Instance]) -> Iterator[list[HTTPConnection]]:
    """Eight kept-alive connections to each instance."""
    with ExitStack() as stack:
        hosts = [urlsplit(instance.host.base_url).netloc for instance in instances * REQUESTS]
        yield [stack.enter_context(closing(HTTPConnection(host, timeout=WAIT_S))) for host in hosts]


def test_of_32_requests_at_4_processes_one_refreshes_and_all_succeed_200_times(
    ada: Member, lines: list[HTTPConnection]
) -> None:
    """Scenario 1. In half of the rounds Salesforce does not guard against two refreshes at once, as in a sandbox.

    The refresh is held until all have asked with the old session, so that nobody comes too late to need it.
    """
    salesforce, bearer = ada.world.salesforce, {"Authorization": f"Bearer {ada.panes[0].token}"}

    def ask(line: HTTPConnection) -> int:
        line.request("GET", f"/v1/connections/{ada.connection}/flows/Daily_Digest", headers=bearer)
        with line.getresponse() as answer:
            answer.read()
            return answer.status

    with ada.world.overheard() as calls, ThreadPoolExecutor(len(lines)) as threads:
        for number in range(EXPIRIES):
            salesforce.steering.switch({"overlap_guard": number % 2 == 0})
            ada.world.later(FLOOR_S + 1)
            salesforce.grants.expire_sessions(ada.person)
            met = salesforce.recorder.counters().get("describe", 0) + len(lines)
            ada.plan("token", hold=f"round-{number}")
            answers = [threads.submit(ask, line) for line in lines]
            assert salesforce.recorder.wait_for("describe", met, WAIT_S)
            salesforce.steering.release(f"round-{number}")
            assert [answer.result(WAIT_S) for answer in answers] == [200] * len(lines)
            assert (ada.family.asked, ada.row["version"]) == (number + 1, number + 2)
    everybody = EXPIRIES * len(lines)
    assert Counter(endpoints(calls)) == {
        ("describe", 401): everybody,
        ("token", 200): EXPIRIES,
        ("describe", 200): everybody,
    }
    assert (ada.family.replays, ada.family.contentions, ada.family.ended) == ([], 0, "")
    assert ada.approvals == 1
