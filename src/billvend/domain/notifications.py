"""The kinds of notifications, their channels, and their ids.

`billvend.presentation.notifications` has the content of each kind.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from billvend.domain.journal.codec import format_timestamp
from billvend.domain.journal.events import (
    IncidentRaised,
    PaymentCompleted,
    PaymentReversed,
    ReviewRequested,
    StoredEvent,
    WalletFunded,
)
from billvend.domain.payment.state import Payment


class NotificationKind(StrEnum):
    """What a notification is about."""

    WALLET_FUNDED = "wallet.funded"
    PAYMENT_COMPLETED = "payment.completed"
    PAYMENT_REVERSED = "payment.reversed"
    PAYMENT_IN_REVIEW = "payment.in_review"
    PAYMENT_INCIDENT = "payment.incident"


CUSTOMER_FACING = frozenset(
    {NotificationKind.WALLET_FUNDED, NotificationKind.PAYMENT_COMPLETED, NotificationKind.PAYMENT_REVERSED}
)
"""The kinds that a customer receives. The others are for the operator of the shop."""


class Channel(StrEnum):
    """How a notification is delivered."""

    WEBHOOK = "webhook"
    """To the shop's own systems: every kind."""
    MAIL = "mail"
    """To the customer."""
    CONSOLE = "console"
    """A line in the log if no mail is configured: what the customer would have received."""

    def accepts(self, kind: NotificationKind) -> bool:
        """Whether notifications of this kind use this channel."""
        return self is Channel.WEBHOOK or kind in CUSTOMER_FACING


@dataclass(frozen=True, slots=True)
class Notification:
    """A notification that is to be delivered."""

    kind: NotificationKind
    transaction_id: str
    data: str
    """Its content: one JSON object in ASCII, with the field names of the HTTP API."""


NOTIFIED_EVENTS = (WalletFunded, PaymentCompleted, PaymentReversed, ReviewRequested, IncidentRaised)
"""The events that have a notification."""

NotificationRenderer = Callable[[StoredEvent, Payment | None], Notification | None]
"""Makes the notification of an event; None if it has none. The payment is the event's own, at this event or later."""


def message_id(stored: StoredEvent, channel: Channel) -> str:
    """The permanent id of the notification of an event on one channel.

    It is derived from the event's hash. A restored backup with a different event at the same position gives a different
    id.
    """
    return "msg_" + hashlib.sha256(f"{stored.hash} {channel}".encode()).hexdigest()[:32]


def webhook_body(kind: str, at: datetime, data: str) -> bytes:
    """The body of a webhook, as Standard Webhooks defines it: type, time of the event, data."""
    return f'{{"type":"{kind}","timestamp":"{format_timestamp(at, "milliseconds")}","data":{data}}}'.encode(
        "ascii"
    )
