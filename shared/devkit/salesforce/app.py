"""The external client app that asks for approvals (salesforce-contract.md section 2.2)."""

from __future__ import annotations

from dataclasses import dataclass, field

NAME = "FlowRunner"
SCOPES = frozenset({"lightning", "api", "web", "refresh_token", "offline_access"})
"""The scopes that the app may ask for."""


@dataclass(frozen=True, slots=True)
class App:
    """What an org knows of the app: its id, its secret, and its one registered callback."""

    client_id: str
    client_secret: str = field(repr=False)
    redirect_uri: str
