"""Sweep: find due work that the queue lost, and hint at it again."""

from collections import defaultdict
from dataclasses import dataclass

from billvend.domain.errors import BillvendError
from billvend.ports.journal import DuePayment
from billvend.ports.queue import Hint, QueueName
from billvend.usecases.dependencies import Dependencies
from billvend.usecases.settle import queue_for

MAX_PAYMENTS_PER_SWEEP = 1_000
MAX_QUEUE_DEPTH = 10_000
"""With so many hints in a queue, no more are added: where nobody takes them, it must not grow without end."""


@dataclass(frozen=True, slots=True)
class SweepResult:
    """What one pass found."""

    due: int
    enqueued: int
    """Less than `due` when the queue was away, or holds so many that nobody took that it gets no more."""
    not_enqueued: tuple[Hint, ...] = ()
    """What the queue did not take: a worker does it itself, and the next pass points at it again."""


def sweep(deps: Dependencies) -> SweepResult:
    """Point workers at up to 1,000 due payments that were not pointed out lately. Raises `Unavailable`."""
    due = deps.journal.take_due_payments(deps.clock.now(), MAX_PAYMENTS_PER_SWEEP, deps.sweep_quiet_seconds)
    by_queue: dict[QueueName, list[DuePayment]] = defaultdict(list)
    for payment in due:
        by_queue[queue_for(payment.status)].append(payment)
    not_enqueued: list[DuePayment] = []
    enqueued = 0
    depth = _queue_depth(deps) if due else {}
    for queue, payments in by_queue.items():
        if depth.get(queue, 0) >= MAX_QUEUE_DEPTH:
            continue  # the workers lag behind, and have been told enough
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
