"""Activity log: logs and counts what happens to money. It contains ids and amounts, never tokens.

It uses the standard library's logging, with the facts in `context`. The CLI, the API or the worker decides where the
lines go and in which format.
"""

import logging
from datetime import datetime

from billvend.domain.enums import Status
from billvend.domain.money import Money
from billvend.domain.payment.state import Payment
from billvend.usecases.dependencies import Dependencies

logger = logging.getLogger("billvend.payments")

_END_MESSAGES = {Status.COMPLETED: "Bill payment completed", Status.REVERSED: "Bill payment reversed"}


def log_funding(deps: Dependencies, user_id: str, transaction_id: str, amount: Money, source: str) -> None:
    """Log and count a funding."""
    context = {"userId": user_id, "transactionId": transaction_id, "amount": str(amount), "source": source}
    logger.info("Wallet funded", extra={"context": context})
    deps.metrics.funded(source, amount)


def log_payment(deps: Dependencies, payment: Payment, at: datetime) -> None:
    """Log and count what the command at `at` changed in a payment. Does nothing if it changed nothing."""
    if payment.updated_at != at:
        return
    if payment.has_ended and payment.ended_at == at:
        _log(logging.INFO, _END_MESSAGES[payment.status], payment)
        deps.metrics.ended(payment)
    elif payment.has_ended and payment.incidents:
        _log(logging.ERROR, "Bill payment incident", payment, incident=payment.incidents[-1].kind.value)
    elif payment.accepted_at == at and payment.status is Status.PENDING:
        _log(logging.INFO, "Bill payment accepted", payment)
        deps.metrics.accepted(payment)
    elif payment.status is Status.IN_REVIEW:
        _log(logging.WARNING, "Bill payment in review", payment, reason=payment.review_reason or "")
    elif payment.in_doubt_since == at:
        _log(logging.INFO, "Bill payment in doubt", payment)
        deps.metrics.put_in_doubt(payment)
    else:
        _log(logging.DEBUG, f"Bill payment {payment.status}", payment)


def _log(level: int, message: str, payment: Payment, **details: str) -> None:
    if logger.isEnabledFor(level):
        context = {
            "userId": payment.user_id,
            "transactionId": payment.transaction_id,
            "amount": str(payment.amount),
            "provider": payment.biller,
            **({"proof": payment.proof.value} if payment.proof else {}),
            **details,
        }
        logger.log(level, message, extra={"context": context})
