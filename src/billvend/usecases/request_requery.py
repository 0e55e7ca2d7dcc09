"""Request a requery: an operator, a customer or a webhook asks for an earlier requery of a payment."""

from billvend.domain.decisions import operator
from billvend.domain.decisions.commands import RequestRequery
from billvend.domain.payment.state import Payment
from billvend.ports.queries import Search
from billvend.ports.queue import Hint
from billvend.usecases.account_status import current_policy
from billvend.usecases.dependencies import Dependencies, execute_command
from billvend.usecases.settle import enqueue_followup_hint

CUSTOMER = "customer"
"""The source of a request by a customer who waits."""
MAX_PAYMENTS_PER_REFERENCE = 10


def request_requery(deps: Dependencies, payment: Payment, source: str, reference: str | None = None) -> Hint:
    """Make the next requery of a payment due earlier; see `RequestRequery`. Raises `Unavailable`."""
    user_id, transaction_id = payment.user_id, payment.transaction_id
    command = RequestRequery(
        user_id,
        deps.clock.new_id(),
        transaction_id,
        deps.clock.now(),
        current_policy(deps),
        source,
        reference,
    )
    hint = Hint(user_id, transaction_id)
    if source == CUSTOMER and operator.requested_attempt(payment, command) is None:
        return hint  # a customer who polls costs no write
    enqueue_followup_hint(deps, hint, execute_command(deps, command).result)
    return hint


def request_requery_by_reference(deps: Dependencies, reference: str, source: str) -> list[Hint]:
    """Request a requery of the payments that sent this reference. Empty if none did. Raises `Unavailable`."""
    transactions = deps.queries.search(
        Search(kind="payment", reference=reference, limit=MAX_PAYMENTS_PER_REFERENCE)
    )
    return [
        request_requery(deps, payment, source, reference)
        for payment in transactions
        if isinstance(payment, Payment)
    ]
