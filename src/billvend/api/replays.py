"""The response to a repeated request: the same as the first time."""

from datetime import datetime, timedelta
from typing import Final

from billvend.domain.enums import Status
from billvend.domain.payment.state import Payment
from billvend.presentation import JsonObject, customer_message

REPLAY_RETENTION: Final = timedelta(days=30)
"""How long a repeat gets the first response. After that it gets the payment's present state."""

ACCEPTED_MESSAGE = "Your payment is accepted and about to be sent. Your money is held."


def replay_headers(replayed: bool) -> dict[str, str]:
    """The header that marks a repeated response."""
    return {"Idempotency-Replayed": "true"} if replayed else {}


def accepted_payment_json(payment: Payment, now: datetime) -> JsonObject:
    """A payment as it was accepted. The same for every repeat within `REPLAY_RETENTION`, whatever its status is now."""
    is_fresh = now - payment.accepted_at < REPLAY_RETENTION
    return {
        "transactionId": payment.transaction_id,
        "status": (Status.PENDING if is_fresh else payment.status).value,
        "userId": payment.user_id,
        "amount": str(payment.amount),
        "currency": payment.amount.currency,
        "meterNumber": payment.meter,
        "provider": payment.biller,
        "biller": payment.biller,
        "message": ACCEPTED_MESSAGE if is_fresh else customer_message(payment),
    }
