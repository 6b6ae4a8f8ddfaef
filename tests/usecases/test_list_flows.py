"""Listing and describing Flows, and how long their answers are kept."""

import pytest

from shared.errors import (
    FlowForbidden,
    FlowNotFound,
    OrgLimit,
    SalesforceUnavailable,
    SalesforceUnusable,
)
from shared.model.identity import Principal
from tests.usecases.world_fixtures import FLOW_CACHE_S, SECOND, World

BEN = "ben@acme.example"
"""A Salesforce user who may not run Create_Case."""


@pytest.fixture
def connection(world: World, ada: Principal) -> str:
    return world.connect(ada).row.id


def names(world: World, caller: Principal, connection: str) -> set[str]:
    return {flow.name for _, flow in world.cases.list_flows(caller, connection)}


def test_a_user_sees_the_flows_that_they_may_run(world: World, ada: Principal, connection: str) -> None:
    seen = names(world, ada, connection)
    assert {"Create_Case", "FLR__Log_Mail"} <= seen
    assert not seen & {"Guided_Sale", "Old_Flow"}


def test_a_flow_has_one_name_of_ours_in_the_list_and_by_itself(world: World, ada: Principal, connection: str) -> None:
    listed = {str(flow.name): flow_id for flow_id, flow in world.cases.list_flows(ada, connection)}
    assert len(set(listed.values())) == len(listed)
    assert world.cases.describe_flow(ada, connection, "Create_Case").id == listed["Create_Case"]


@pytest.mark.parametrize("name", ["", "../limits", "Create_Case/x", "a b", "1st", "Créer", "x" * 200])
def test_a_name_that_no_flow_can_have_is_not_asked_for(
    world: World, ada: Principal, connection: str, name: str
) -> None:
    with pytest.raises(FlowNotFound):
        world.cases.describe_flow(ada, connection, name)
    assert world.calls() == []


@pytest.mark.parametrize("name", ["No_Such_Flow", "Guided_Sale", "Old_Flow"])
def test_a_flow_that_salesforce_does_not_show_is_not_found(
    world: World, ada: Principal, connection: str, name: str
) -> None:
    with pytest.raises(FlowNotFound):
        world.cases.describe_flow(ada, connection, name)


@pytest.mark.parametrize(
    ("weather", "refusal"),
    [
        ({"answer": "no-access"}, FlowForbidden),
        ({"answer": "daily-limit"}, OrgLimit),
        ({"answer": "html"}, SalesforceUnavailable),
        ({"answer": "html-200"}, SalesforceUnavailable),
        ({"answer": "empty-200"}, SalesforceUnusable),
        ({"drop": "before"}, SalesforceUnavailable),
    ],
)
def test_a_refusal_is_told_and_not_kept(
    world: World, ada: Principal, connection: str, weather: dict[str, str], refusal: type[Exception]
) -> None:
    world.plan("describe", **weather)
    with pytest.raises(refusal):
        world.cases.describe_flow(ada, connection, "Create_Case")
    assert world.cases.describe_flow(ada, connection, "Create_Case").flow.inputs


# What is kept


def test_lists_and_descriptions_are_asked_for_once_and_kept_for_minutes(
    world: World, ada: Principal, connection: str
) -> None:
    for _ in range(3):
        world.cases.list_flows(ada, connection)
        world.cases.describe_flow(ada, connection, "Create_Case")
        world.cases.describe_flow(ada, connection, "Daily_Digest")
    world.clock.move(FLOW_CACHE_S * SECOND - 1)
    world.cases.list_flows(ada, connection)
    world.cases.describe_flow(ada, connection, "Create_Case")
    assert world.asked() == {"list": 1, "describe": 2}
    world.clock.move(1)
    world.cases.list_flows(ada, connection)
    world.cases.describe_flow(ada, connection, "Create_Case")
    assert world.asked() == {"list": 2, "describe": 3}


def test_another_user_s_rights_never_show(world: World, ada: Principal, ben: Principal, connection: str) -> None:
    theirs = world.connect(ben, BEN).row.id
    assert "Create_Case" in names(world, ada, connection)
    assert world.cases.describe_flow(ada, connection, "Create_Case")
    assert "Create_Case" not in names(world, ben, theirs)
    with pytest.raises(FlowNotFound):
        world.cases.describe_flow(ben, theirs, "Create_Case")


def test_a_new_consent_as_somebody_else_shows_their_rights(world: World, ada: Principal, connection: str) -> None:
    assert "Create_Case" in names(world, ada, connection)
    assert world.cases.describe_flow(ada, connection, "Create_Case")
    assert world.connect(ada, BEN).row.id == connection
    assert "Create_Case" not in names(world, ada, connection)
    with pytest.raises(FlowNotFound):
        world.cases.describe_flow(ada, connection, "Create_Case")


def test_a_connection_that_was_ended_and_made_again_begins_anew(world: World, ada: Principal, connection: str) -> None:
    assert "Create_Case" in names(world, ada, connection)
    world.cases.end_connection(ada, connection)
    world.clock.move(SECOND)
    assert world.connect(ada, BEN).row.id == connection
    assert "Create_Case" not in names(world, ada, connection)


def test_a_refresh_leaves_what_is_kept(world: World, ada: Principal, connection: str) -> None:
    world.cases.list_flows(ada, connection)
    world.expire_sessions()
    world.cases.describe_flow(ada, connection, "Create_Case")
    world.cases.list_flows(ada, connection)
    assert world.row(ada).version == 2
    assert world.asked() == {"list": 1, "describe": 2, "token": 1}
