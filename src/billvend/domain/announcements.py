"""What the outside is told, and in which words: some events become announcements, the others are nobody's business.

An announcement says what its event says and what never changes of the payment, nothing that may be different a moment
later: whenever it is made, and however often, it is the same to the byte. That a payment was accepted is not announced,
for whoever asked was answered.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from billvend.domain.codec import instant
from billvend.domain.events import (
    IncidentRaised,
    PaymentCompleted,
    PaymentReversed,
    Recorded,
    ReviewAsked,
    WalletFunded,
)
from billvend.domain.money import Money
from billvend.domain.payment import Payment
from billvend.domain.words import Status


class Kind(StrEnum):
    """What is announced."""

    WALLET_FUNDED = "wallet.funded"
    PAYMENT_COMPLETED = "payment.completed"
    PAYMENT_REVERSED = "payment.reversed"
    PAYMENT_IN_REVIEW = "payment.in_review"
    PAYMENT_INCIDENT = "payment.incident"


OF_CUSTOMERS = frozenset({Kind.WALLET_FUNDED, Kind.PAYMENT_COMPLETED, Kind.PAYMENT_REVERSED})
"""What a customer wants to know. The others are for whoever runs the shop."""


class Channel(StrEnum):
    """A way to the outside."""

    WEBHOOK = "webhook"
    """To the shop's own systems: everything."""
    MAIL = "mail"
    """To the customer."""
    CONSOLE = "console"
    """A line in the log, where no mail is set up: what the customer would have been told."""

    def takes(self, kind: Kind) -> bool:
        """Whether announcements of this kind go this way."""
        return self is Channel.WEBHOOK or kind in OF_CUSTOMERS


@dataclass(frozen=True, slots=True)
class Announcement:
    """Something to be told."""

    kind: Kind
    transaction_id: str
    data: str
    """What there is to say, as one JSON object in ASCII, its names those of the HTTP API."""


Document = dict[str, object]


def announce(recorded: Recorded, payment: Payment | None) -> Announcement | None:
    """What is told of an event; None for nothing. `payment` is the event's own, at this event or later."""
    event, stream = recorded.event, recorded.key.stream
    if isinstance(event, WalletFunded):
        return _made(Kind.WALLET_FUNDED, event.transaction_id, _funding(recorded, event))
    if payment is None:
        return None
    match event:
        case PaymentCompleted():
            sold: Document = {
                "token": event.token,
                "units": event.units,
                "receipt": dict(event.receipt),
                "completedAt": instant(recorded.at),
            }
            return _made(Kind.PAYMENT_COMPLETED, stream, _payment(payment, Status.COMPLETED) | sold)
        case PaymentReversed():
            reversal = {"proof": event.proof.value, "reason": event.reason, "at": instant(recorded.at)}
            told = _payment(payment, Status.REVERSED) | {"reversal": reversal}
            return _made(Kind.PAYMENT_REVERSED, stream, told)
        case ReviewAsked():
            told = _payment(payment, Status.IN_REVIEW) | {"reason": event.reason}
            return _made(Kind.PAYMENT_IN_REVIEW, stream, told)
        case IncidentRaised():
            incident = {
                "kind": event.kind.value,
                "attempt": event.attempt,
                "provider": event.provider,
                "amount": str(Money(event.amount_minor, payment.amount.currency)),
                "detail": event.detail,
            }
            told = _payment(payment, payment.status) | {"incident": incident}
            return _made(Kind.PAYMENT_INCIDENT, stream, told)
        case _:
            return None


def message_id(recorded: Recorded, channel: Channel) -> str:
    """The name of what is told of an event on one channel, for ever.

    It is made of the event's hash: books restored from a backup, in which another event stands at the same place, tell
    of that one under another name.
    """
    return "msg_" + hashlib.sha256(f"{recorded.hash} {channel}".encode()).hexdigest()[:32]


def body_of(kind: str, at: datetime, data: str) -> bytes:
    """The body of a webhook, by Standard Webhooks: type, time of the event, data."""
    return f'{{"type":"{kind}","timestamp":"{instant(at)}","data":{data}}}'.encode("ascii")


def _made(kind: Kind, transaction_id: str, document: Document) -> Announcement:
    return Announcement(kind, transaction_id, json.dumps(_readable(document), separators=(",", ":")))


def _funding(recorded: Recorded, event: WalletFunded) -> Document:
    """Without the balance: announcements come in any order, and an old balance would pass for the present one."""
    currency = recorded.key.stream.partition(":")[2]
    return {
        "transactionId": event.transaction_id,
        "type": "funding",
        "status": Status.COMPLETED.value,
        "userId": recorded.key.user_id,
        "amount": str(Money(event.amount_minor, currency)),
        "currency": currency,
        "source": event.source,
        "reference": event.reference,
        "createdAt": instant(recorded.at),
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
        "vendType": payment.vend_type.value,
        "createdAt": instant(payment.accepted_at),
    }


def _readable(value: object) -> object:
    """The value as every reader of JSON takes it: a provider's NUL or half of a sign is shown as a question mark."""
    if isinstance(value, str):
        return value.replace("\0", "?").encode(errors="replace").decode()
    if isinstance(value, Mapping):
        return {_readable(name): _readable(item) for name, item in value.items()}
    return value
