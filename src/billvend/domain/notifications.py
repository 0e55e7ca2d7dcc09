"""What the outside is told, and in which words: some events become announcements, the others are nobody's business.

A notification says what its event says and what never changes of the payment, nothing that may be different a moment
later: whenever it is made, and however often, it is the same to the byte. That a payment was accepted is not announced,
for whoever asked was answered.
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
    """What is announced."""

    WALLET_FUNDED = "wallet.funded"
    PAYMENT_COMPLETED = "payment.completed"
    PAYMENT_REVERSED = "payment.reversed"
    PAYMENT_IN_REVIEW = "payment.in_review"
    PAYMENT_INCIDENT = "payment.incident"


CUSTOMER_FACING = frozenset(
    {NotificationKind.WALLET_FUNDED, NotificationKind.PAYMENT_COMPLETED, NotificationKind.PAYMENT_REVERSED}
)
"""What a customer wants to know. The others are for whoever runs the shop."""


class Channel(StrEnum):
    """A way to the outside."""

    WEBHOOK = "webhook"
    """To the shop's own systems: everything."""
    MAIL = "mail"
    """To the customer."""
    CONSOLE = "console"
    """A line in the log, where no mail is set up: what the customer would have been told."""

    def accepts(self, kind: NotificationKind) -> bool:
        """Whether announcements of this kind go this way."""
        return self is Channel.WEBHOOK or kind in CUSTOMER_FACING


@dataclass(frozen=True, slots=True)
class Notification:
    """Something to be told."""

    kind: NotificationKind
    transaction_id: str
    data: str
    """What there is to say, as one JSON object in ASCII, its names those of the HTTP API."""


Document = dict[str, object]


def notification_for(stored: StoredEvent, payment: Payment | None) -> Notification | None:
    """What is told of an event; None for nothing. `payment` is the event's own, at this event or later."""
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
    """The name of what is told of an event on one channel, for ever.

    It is made of the event's hash: books restored from a backup, in which another event stands at the same place, tell
    of that one under another name.
    """
    return "msg_" + hashlib.sha256(f"{stored.hash} {channel}".encode()).hexdigest()[:32]


def webhook_body(kind: str, at: datetime, data: str) -> bytes:
    """The body of a webhook, by Standard Webhooks: type, time of the event, data."""
    return f'{{"type":"{kind}","timestamp":"{format_timestamp(at)}","data":{data}}}'.encode("ascii")


def _build(kind: NotificationKind, transaction_id: str, document: Document) -> Notification:
    return Notification(kind, transaction_id, json.dumps(_sanitize(document), separators=(",", ":")))


def _funding(stored: StoredEvent, event: WalletFunded) -> Document:
    """Without the balance: announcements come in any order, and an old balance would pass for the present one."""
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
    """What is known of a payment since it was accepted."""
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
    """The value as every reader of JSON takes it: a provider's NUL or half of a sign is shown as a question mark."""
    if isinstance(value, str):
        return value.replace("\0", "?").encode(errors="replace").decode()
    if isinstance(value, Mapping):
        return {_sanitize(name): _sanitize(item) for name, item in value.items()}
    return value
