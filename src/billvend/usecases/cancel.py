"""Cancel: release a payment's money before anything was sent."""

from billvend.domain.decisions.commands import Cancel
from billvend.domain.errors import TransactionNotFound
from billvend.domain.ids import parse_transaction_id
from billvend.domain.payment.state import Payment
from billvend.domain.safe_text import safe_repr
from billvend.usecases.activity_log import log_payment
from billvend.usecases.dependencies import Dependencies, execute_command
from billvend.usecases.notifications import enqueue_payment_notification_hint


def cancel(deps: Dependencies, transaction_id: str) -> Payment:
    """Reverse a payment that was never sent, with the proof `not_sent`.

    Raises `TransactionNotFound`; `AlreadySent` if a request may have reached the provider; `Unavailable`.
    """
    payment = deps.queries.transaction(parse_transaction_id(transaction_id))
    if not isinstance(payment, Payment):
        raise TransactionNotFound(f"There is no payment {safe_repr(transaction_id)}.")
    command = Cancel(payment.user_id, deps.clock.new_id(), payment.transaction_id, deps.clock.now())
    cancelled = execute_command(deps, command).payment or payment
    log_payment(deps, cancelled, command.at)
    enqueue_payment_notification_hint(deps, cancelled, command.at)
    return cancelled
