"""Sweep: find due payments that the queue lost, and queue hints for them again."""

from collections import defaultdict
from dataclasses import dataclass

from billvend.domain.errors import BillvendError
from billvend.ports.journal import DuePayment
from billvend.ports.queue import Hint, QueueName
from billvend.usecases.dependencies import Dependencies
from billvend.usecases.settle import queue_for

MAX_PAYMENTS_PER_SWEEP = 1_000
MAX_QUEUE_DEPTH = 10_000
"""A queue with this many hints gets no more. Without workers it must not grow without limit."""


@dataclass(frozen=True, slots=True)
class SweepResult:
    """The result of one sweep."""

    due: int
    enqueued: int
    """Less than `due` if the queue was unavailable or has too many hints already."""
    not_enqueued: tuple[Hint, ...] = ()
    """Hints that the queue did not accept. A worker settles these payments itself, and the next sweep finds them again."""


def sweep(deps: Dependencies) -> SweepResult:
    """Queue hints for up to 1,000 due payments that had no hint recently. Raises `Unavailable`."""
    due = deps.journal.take_due_payments(deps.clock.now(), MAX_PAYMENTS_PER_SWEEP, deps.sweep_quiet_seconds)
    by_queue: dict[QueueName, list[DuePayment]] = defaultdict(list)
    for payment in due:
        by_queue[queue_for(payment.status)].append(payment)
    not_enqueued: list[DuePayment] = []
    enqueued = 0
    depth = _queue_depth(deps) if due else {}
    for queue, payments in by_queue.items():
        if depth.get(queue, 0) >= MAX_QUEUE_DEPTH:
            continue  # the workers are behind, and have enough hints
        accepted = deps.queue.enqueue(
            queue, [Hint(payment.user_id, payment.transaction_id) for payment in payments]
        )
        enqueued += accepted
        not_enqueued += payments[accepted:]
    if not_enqueued:
        deps.journal.release_due(not_enqueued)
    deps.metrics.swept(len(due), enqueued)
    hints = tuple(Hint(payment.user_id, payment.transaction_id) for payment in not_enqueued)
    return SweepResult(len(due), enqueued, hints)


def _queue_depth(deps: Dependencies) -> dict[QueueName, int]:
    try:
        return deps.queue.depth()
    except BillvendError:
        return {}
