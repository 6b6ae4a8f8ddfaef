"""E-mail metadata: exactly sender, recipients, subject and thread, in memory only."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated

from pydantic import BeforeValidator, Field

from shared.model.body import Body

RECIPIENTS_MAX = 2_000


class Address(Body):
    """One mailbox as the add-in reads it. Both parts may be missing, as in real mail."""

    address: str = Field(default="", max_length=1_000)
    name: str = Field(default="", max_length=1_000)


def _spelled_out(given: object) -> object:
    return {"address": given} if isinstance(given, str) else given


Mailbox = Annotated[Address, BeforeValidator(_spelled_out)]
"""An address object, or just the address as text."""

Mailboxes = tuple[Mailbox, ...]


class EmailContext(Body):
    """What an add-in may tell of the open message. No body, no attachments, no dates: there is no field for them."""

    sender: Mailbox | None = Field(default=None, repr=False)
    to: Mailboxes = Field(default=(), max_length=RECIPIENTS_MAX, repr=False)
    cc: Mailboxes = Field(default=(), max_length=RECIPIENTS_MAX, repr=False)
    subject: str | None = Field(default=None, max_length=10_000, repr=False)
    thread_id: str | None = Field(default=None, max_length=2_000, repr=False)

    def value(self, source: str) -> str | tuple[str, ...] | None:
        """The value that a source of `SOURCES` stands for; None or () where the message has none."""
        sender = self.sender or Address()
        return {
            "email.senderEmail": sender.address or None,
            "email.senderName": sender.name or None,
            "email.recipientEmails": _addresses(self.to),
            "email.ccEmails": _addresses(self.cc),
            "email.recipients": _addresses((*self.to, *self.cc)),
            "email.subject": self.subject,
            "email.threadId": self.thread_id,
        }[source]


def _addresses(mailboxes: tuple[Address, ...]) -> tuple[str, ...]:
    return tuple(m.address for m in mailboxes if m.address)


SOURCES: Mapping[str, str] = MappingProxyType(
    {
        "senderemail": "email.senderEmail",
        "fromaddress": "email.senderEmail",
        "fromemail": "email.senderEmail",
        "sendername": "email.senderName",
        "fromname": "email.senderName",
        "recipientemails": "email.recipientEmails",
        "toaddresses": "email.recipientEmails",
        "ccemails": "email.ccEmails",
        "ccaddresses": "email.ccEmails",
        "recipients": "email.recipients",
        "subject": "email.subject",
        "threadid": "email.threadId",
        "conversationid": "email.threadId",
    }
)
"""Which input name, in lower case, is filled from which part of the message (users.md, section 2, point 5)."""

LISTS = frozenset({"email.recipientEmails", "email.ccEmails", "email.recipients"})
"""Sources that hold several addresses."""

COLLECTIONS_ONLY = frozenset({"email.recipients"})
"""Sources that fill a collection and no single text."""
