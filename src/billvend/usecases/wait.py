"""Wait: settle a payment in the foreground, with the same claims as any worker."""

from collections.abc import Callable

from billvend.domain.errors import TransactionNotFound, ValidationFailed
from billvend.domain.ids import parse_transaction_id
from billvend.domain.payment.state import Payment
from billvend.domain.policy.rules import next_step
from billvend.domain.safe_text import safe_repr
from billvend.ports.queue import Hint
from billvend.usecases.account_status import current_policy, refresh_account_status
from billvend.usecases.dependencies import Dependencies
from billvend.usecases.settle import settle

MAX_POLL_SECONDS = 0.5
"""The longest time after which a change by another worker is seen."""
MIN_POLL_SECONDS = 0.02


def wait(
    deps: Dependencies,
    payment: Payment | str,
    timeout_seconds: float,
    *,
    on_poll: Callable[[Payment], None] = lambda _payment: None,
) -> Payment:
    """The payment when it has ended, or in its current state after the timeout.

    Calls `on_poll` with the payment each time it was read. A call to a provider is finished even if it takes longer than
    the timeout. Raises `TransactionNotFound`, `ValidationFailed`, `Unavailable`, `OutcomeUnknown`.
    """
    raw_timeout: object = timeout_seconds  # a caller may pass any type; NaN is not >= 0
    if not isinstance(raw_timeout, int | float) or not raw_timeout >= 0:
        raise ValidationFailed(
            f"The timeout {safe_repr(timeout_seconds)} is not accepted: it must be seconds, 0 or more.",
            fields={"timeout": "must be seconds, 0 or more"},
        )
    deadline = deps.clock.elapsed_seconds() + timeout_seconds
    current = payment if isinstance(payment, Payment) else _find(deps, parse_transaction_id(payment))
    while True:
        on_poll(current)
        if current.has_ended:
            return current
        remaining_seconds = deadline - deps.clock.elapsed_seconds()
        if remaining_seconds <= 0:
            return current
        due_in_seconds = _due_in_seconds(deps, current)
        if due_in_seconds <= 0:
            settle(deps, Hint(current.user_id, current.transaction_id))
        else:
            if current_policy(deps).suspended:
                refresh_account_status(deps)  # perhaps no worker runs that could resume the account
            pause_seconds = min(due_in_seconds, remaining_seconds, MAX_POLL_SECONDS)
            deps.clock.sleep(max(pause_seconds, MIN_POLL_SECONDS))
        current = deps.queries.payments([current.stream_key])[current.stream_key]


def _find(deps: Dependencies, transaction_id: str) -> Payment:
    payment = deps.queries.transaction(transaction_id)
    if not isinstance(payment, Payment):
        raise TransactionNotFound(f"There is no payment {safe_repr(transaction_id)}.")
    return payment


def _due_in_seconds(deps: Dependencies, payment: Payment) -> float:
    now = deps.clock.now()
    at = next_step(payment, current_policy(deps), now).at
    return (at - now).total_seconds() if at else MAX_POLL_SECONDS
