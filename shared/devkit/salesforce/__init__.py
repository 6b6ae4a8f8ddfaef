"""A Salesforce on loopback that is as strict as the wire contract."""

from shared.devkit.salesforce.person import consent
from shared.devkit.salesforce.server import SalesforceServer

__all__ = ["SalesforceServer", "consent"]
