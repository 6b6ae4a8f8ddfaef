"""The bodies that clients send."""

from collections.abc import Mapping

from pydantic import Field, JsonValue

from shared.model.body import Body
from shared.model.connections import Environment
from shared.model.email import EmailContext
from shared.model.identity import Provider


class BeginConnection(Body):
    """What a user asks for when they start to connect an org."""

    environment: Environment
    my_domain: str | None = Field(default=None, max_length=200)
    channel: str = Field(max_length=64)


class CompleteConnection(Body):
    """The value that came back to the pane that began."""

    completion: str = Field(min_length=20, max_length=100, repr=False)


class RunFlowBody(Body):
    """What a run may carry: the open message's metadata, and what the user typed, by input name."""

    email: EmailContext = EmailContext()
    inputs: Mapping[str, JsonValue] = Field(default_factory=dict, max_length=200, repr=False)


class EnrolTenant(Body):
    """Which tenant an operator enrols."""

    provider: Provider
    id: str = Field(min_length=1, max_length=253, repr=False)
