"""Sweep: find due work that the queue lost, and hint at it again."""

from collections import defaultdict
from dataclasses import dataclass

from billvend.ports.journal import Due
from billvend.ports.queue import Hint, QueueName
from billvend.usecases.parts import Parts
from billvend.usecases.settle import queue_for

MOST_A_PASS = 1_000


@dataclass(frozen=True, slots=True)
class Swept:
    """What one pass found."""

    due: int
    enqueued: int
    """Less than `due` when the queue was away."""
    left: tuple[Hint, ...] = ()
    """What the queue did not take: a worker does it itself, and the next pass points at it again."""


def sweep(parts: Parts) -> Swept:
    """Point workers at up to 1,000 due payments that were not pointed out lately. Raises `Unavailable`."""
    due = parts.journal.take_due(parts.clock.now(), MOST_A_PASS, parts.sweep_quiet_seconds)
    by_queue: dict[QueueName, list[Due]] = defaultdict(list)
    for found in due:
        by_queue[queue_for(found.status)].append(found)
    left: list[Due] = []
    for queue, waiting in by_queue.items():
        taken = parts.queue.enqueue(queue, [Hint(found.user_id, found.transaction_id) for found in waiting])
        left += waiting[taken:]
    if left:
        parts.journal.put_back(left)
    hints = tuple(Hint(found.user_id, found.transaction_id) for found in left)
    return Swept(len(due), len(due) - len(left), hints)
