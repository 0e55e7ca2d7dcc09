"""Which events customers and webhooks are notified of, and the content of each notification.

A notification contains only facts of its event and facts of the payment that never change. So it is the same to the
byte whenever, and however often, it is made. There is none for an accepted payment: the caller got the answer.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from billvend.domain.enums import Status
from billvend.domain.journal.codec import format_timestamp
from billvend.domain.journal.events import (
    IncidentRaised,
    PaymentCompleted,
    PaymentReversed,
    ReviewRequested,
    StoredEvent,
    WalletFunded,
)
from billvend.domain.money import Money
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


Document = dict[str, object]


NOTIFIED_EVENTS = (WalletFunded, PaymentCompleted, PaymentReversed, ReviewRequested, IncidentRaised)
"""The events that have a notification."""


def notification_for(stored: StoredEvent, payment: Payment | None) -> Notification | None:
    """The notification of an event; None if it has none. `payment` is the event's own, at this event or later."""
    event, stream = stored.event, stored.key.stream
    if isinstance(event, WalletFunded):
        return _build(NotificationKind.WALLET_FUNDED, event.transaction_id, _funding(stored, event))
    if payment is None:
        return None
    match event:
        case PaymentCompleted():
            sale: Document = {
                "token": event.token,
                "units": event.units,
                "receipt": dict(event.receipt),
                "completedAt": format_timestamp(stored.at),
            }
            return _build(
                NotificationKind.PAYMENT_COMPLETED, stream, _payment(payment, Status.COMPLETED) | sale
            )
        case PaymentReversed():
            reversal = {"proof": event.proof.value, "reason": event.reason, "at": format_timestamp(stored.at)}
            document = _payment(payment, Status.REVERSED) | {"reversal": reversal}
            return _build(NotificationKind.PAYMENT_REVERSED, stream, document)
        case ReviewRequested():
            document = _payment(payment, Status.IN_REVIEW) | {"reason": event.reason}
            return _build(NotificationKind.PAYMENT_IN_REVIEW, stream, document)
        case IncidentRaised():
            incident = {
                "kind": event.kind.value,
                "attempt": event.attempt,
                "aggregator": event.provider,
                "amount": str(Money(event.amount_minor, payment.amount.currency)),
                "detail": event.detail,
            }
            document = _payment(payment, payment.status) | {"incident": incident}
            return _build(NotificationKind.PAYMENT_INCIDENT, stream, document)
        case _:
            return None


def message_id(stored: StoredEvent, channel: Channel) -> str:
    """The permanent id of the notification of an event on one channel.

    It is derived from the event's hash. A restored backup with a different event at the same position gives a different
    id.
    """
    return "msg_" + hashlib.sha256(f"{stored.hash} {channel}".encode()).hexdigest()[:32]


def webhook_body(kind: str, at: datetime, data: str) -> bytes:
    """The body of a webhook, as Standard Webhooks defines it: type, time of the event, data."""
    return f'{{"type":"{kind}","timestamp":"{format_timestamp(at)}","data":{data}}}'.encode("ascii")


def _build(kind: NotificationKind, transaction_id: str, document: Document) -> Notification:
    return Notification(kind, transaction_id, json.dumps(_sanitize(document), separators=(",", ":")))


def _funding(stored: StoredEvent, event: WalletFunded) -> Document:
    """Without the balance: notifications arrive in any order, and an old balance would look like the current one."""
    currency = stored.key.stream.partition(":")[2]
    return {
        "transactionId": event.transaction_id,
        "type": "funding",
        "status": Status.COMPLETED.value,
        "userId": stored.key.user_id,
        "amount": str(Money(event.amount_minor, currency)),
        "currency": currency,
        "source": event.source,
        "reference": event.reference,
        "createdAt": format_timestamp(stored.at),
    }


def _payment(payment: Payment, status: Status) -> Document:
    """The facts of a payment that are known since it was accepted."""
    return {
        "transactionId": payment.transaction_id,
        "type": "payment",
        "status": status.value,
        "userId": payment.user_id,
        "amount": str(payment.amount),
        "currency": payment.amount.currency,
        "meterNumber": payment.meter,
        "provider": payment.biller,
        "biller": payment.biller,
        "vendType": payment.vend_type.value,
        "createdAt": format_timestamp(payment.accepted_at),
    }


def _sanitize(value: object) -> object:
    """The value as every JSON parser accepts it: a provider's NUL or lone surrogate becomes a question mark."""
    if isinstance(value, str):
        return value.replace("\0", "?").encode(errors="replace").decode()
    if isinstance(value, Mapping):
        return {_sanitize(name): _sanitize(item) for name, item in value.items()}
    return value
