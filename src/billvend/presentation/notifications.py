"""The content of each notification, which the journal stores with the event.

It contains only facts of the event, and facts of the payment that never change. So it is the same to the byte whenever it
is made. There is none for an accepted payment: the caller got the response.
"""

import json
from collections.abc import Mapping
from typing import Any

from billvend.domain.enums import Status
from billvend.domain.journal.events import (
    IncidentRaised,
    PaymentCompleted,
    PaymentReversed,
    ReviewRequested,
    StoredEvent,
    WalletFunded,
)
from billvend.domain.ledger.wallet import Funding
from billvend.domain.money import Money
from billvend.domain.notifications import Notification, NotificationKind
from billvend.domain.payment.state import Payment
from billvend.presentation.models import Timestamp
from billvend.presentation.transaction_models import (
    IncidentResponse,
    ReversalResponse,
    TransactionResponse,
    funding_facts,
    payment_facts,
)


class NotificationData(TransactionResponse):
    """A transaction with the facts of one event, without what may change."""

    updated_at: Timestamp | None = None  # type: ignore[assignment]  # it changes
    completed_at: Timestamp | None = None
    reason: str | None = None
    incident: IncidentResponse | None = None


def notification_for(stored: StoredEvent, payment: Payment | None) -> Notification | None:
    """The notification of an event; None if it has none. `payment` is the event's own, at this event or later."""
    event, stream = stored.event, stored.key.stream
    if isinstance(event, WalletFunded):
        amount = Money(event.amount_minor, stream.partition(":")[2])
        funding = Funding(
            stored.key.user_id, event.transaction_id, amount, event.source, event.reference, stored.at
        )
        return _build(NotificationKind.WALLET_FUNDED, funding_facts(funding))
    if payment is None:
        return None
    facts: dict[str, Any]
    match event:
        case PaymentCompleted(token=token, units=units, receipt=receipt):
            kind = NotificationKind.PAYMENT_COMPLETED
            facts = {"status": Status.COMPLETED, "token": token, "units": units, "receipt": dict(receipt)}
            facts |= {"completed_at": stored.at}
        case PaymentReversed(proof=proof, reason=reason):
            kind = NotificationKind.PAYMENT_REVERSED
            reversal = ReversalResponse(proof=proof, reason=reason, at=stored.at)
            facts = {"status": Status.REVERSED, "reversal": reversal}
        case ReviewRequested(reason=reason):
            kind = NotificationKind.PAYMENT_IN_REVIEW
            facts = {"status": Status.IN_REVIEW, "reason": reason}
        case IncidentRaised():
            kind = NotificationKind.PAYMENT_INCIDENT
            facts = {"status": payment.status, "incident": IncidentResponse.of(event, payment)}
        case _:
            return None
    return _build(kind, payment_facts(payment) | facts)


def _build(kind: NotificationKind, facts: dict[str, Any]) -> Notification:
    data = NotificationData(**facts).to_json()
    return Notification(kind, facts["transaction_id"], json.dumps(_sanitize(data), separators=(",", ":")))


def _sanitize(value: object) -> object:
    """The value as every JSON parser accepts it: a provider's NUL or lone surrogate becomes a question mark."""
    if isinstance(value, str):
        return value.replace("\0", "?").encode(errors="replace").decode()
    if isinstance(value, Mapping):
        return {_sanitize(name): _sanitize(item) for name, item in value.items()}
    return value
