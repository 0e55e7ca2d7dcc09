"""Wait: see a payment through in the foreground, claiming and working it as any worker would."""

from collections.abc import Callable

from billvend.domain.errors import TransactionNotFound, ValidationFailed
from billvend.domain.names import parse_transaction_id
from billvend.domain.payment import Payment
from billvend.domain.quote import quoted
from billvend.domain.reversal import due_at, next_step
from billvend.ports.queue import Hint
from billvend.usecases.breaker import look_after, policy_now
from billvend.usecases.parts import Parts
from billvend.usecases.settle import settle

LONGEST_NAP_SECONDS = 0.5
"""How long another worker's news can stay unseen."""
SHORTEST_NAP_SECONDS = 0.02


def wait(
    parts: Parts,
    transaction_id: str,
    timeout_seconds: float,
    *,
    watch: Callable[[Payment], None] = lambda _payment: None,
) -> Payment:
    """The payment at its end, or as it is when time is up.

    `watch` is called with the payment whenever it was looked at. A call that was begun is finished even if that takes
    longer than the timeout. Raises `TransactionNotFound`, `Unavailable`, `OutcomeUnknown`.
    """
    transaction_id = parse_transaction_id(transaction_id)
    given: object = timeout_seconds  # whatever a door passed on; NaN is not >= 0
    if not isinstance(given, int | float) or not given >= 0:
        raise ValidationFailed(
            f"The timeout {quoted(timeout_seconds)} is not accepted: it must be seconds, 0 or more.",
            fields={"timeout": "must be seconds, 0 or more"},
        )
    deadline = parts.clock.elapsed_seconds() + timeout_seconds
    user_id: str | None = None
    while True:
        found = parts.books.transaction(transaction_id, user_id)
        if not isinstance(found, Payment):
            raise TransactionNotFound(f"There is no payment {quoted(transaction_id)}.")
        user_id = found.user_id
        watch(found)
        if found.has_ended:
            return found
        left_seconds = deadline - parts.clock.elapsed_seconds()
        if left_seconds <= 0:
            return found
        due_in_seconds = _due_in_seconds(parts, found)
        if due_in_seconds <= 0:
            settle(parts, Hint(found.user_id, found.transaction_id))
        else:
            if policy_now(parts).closed:
                look_after(parts)  # no worker may be there to see that a provider sells again
            nap = min(due_in_seconds, left_seconds, LONGEST_NAP_SECONDS)
            parts.clock.pause(max(nap, SHORTEST_NAP_SECONDS))


def _due_in_seconds(parts: Parts, payment: Payment) -> float:
    now = parts.clock.now()
    at = due_at(next_step(payment, policy_now(parts), now), now)
    return (at - now).total_seconds() if at else LONGEST_NAP_SECONDS
