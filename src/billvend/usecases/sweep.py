"""Sweep: find due payments that the queue lost, and queue hints for them again."""

from collections import defaultdict
from dataclasses import dataclass

from billvend.domain.errors import BillvendError
from billvend.ports.clock import Clock
from billvend.ports.journal import DuePayment, Journal
from billvend.ports.queue import Hint, Queue, QueueName
from billvend.ports.telemetry import Metrics, Swept
from billvend.usecases.ledger import queue_for

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


@dataclass(frozen=True, slots=True)
class Sweeps:
    """Finds due payments."""

    journal: Journal
    queue: Queue
    clock: Clock
    metrics: Metrics
    quiet_seconds: float
    """A sweep queues no second hint for a payment within this time."""

    def sweep(self) -> SweepResult:
        """Queue hints for up to 1,000 due payments that had no hint recently. Raises `Unavailable`."""
        due = self.journal.take_due_payments(self.clock.now(), MAX_PAYMENTS_PER_SWEEP, self.quiet_seconds)
        by_queue: dict[QueueName, list[DuePayment]] = defaultdict(list)
        for payment in due:
            by_queue[queue_for(payment.status)].append(payment)
        not_enqueued: list[DuePayment] = []
        enqueued = 0
        depth = self._queue_depth() if due else {}
        for queue, payments in by_queue.items():
            if depth.get(queue, 0) >= MAX_QUEUE_DEPTH:
                continue  # the workers are behind, and have enough hints
            accepted = self.queue.enqueue(queue, [_hint(payment) for payment in payments])
            enqueued += accepted
            not_enqueued += payments[accepted:]
        if not_enqueued:
            self.journal.release_due(not_enqueued)
        self.metrics.observe(Swept(len(due), enqueued))
        return SweepResult(len(due), enqueued, tuple(map(_hint, not_enqueued)))

    def _queue_depth(self) -> dict[QueueName, int]:
        try:
            return self.queue.depth()
        except BillvendError:
            return {}


def _hint(payment: DuePayment) -> Hint:
    return Hint(payment.user_id, payment.transaction_id)
