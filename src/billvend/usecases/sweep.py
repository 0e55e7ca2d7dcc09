"""Sweep: find due work that the queue lost, and hint at it again."""

from collections import defaultdict
from dataclasses import dataclass

from billvend.domain.errors import BillvendError
from billvend.ports.journal import Due
from billvend.ports.queue import Hint, QueueName
from billvend.usecases.parts import Parts
from billvend.usecases.settle import queue_for

MOST_A_PASS = 1_000
MOST_WAITING = 10_000
"""With so many hints in a queue, no more are added: where nobody takes them, it must not grow without end."""


@dataclass(frozen=True, slots=True)
class Swept:
    """What one pass found."""

    due: int
    enqueued: int
    """Less than `due` when the queue was away, or holds so many that nobody took that it gets no more."""
    left: tuple[Hint, ...] = ()
    """What the queue did not take: a worker does it itself, and the next pass points at it again."""


def sweep(parts: Parts) -> Swept:
    """Point workers at up to 1,000 due payments that were not pointed out lately. Raises `Unavailable`."""
    due = parts.journal.take_due(parts.clock.now(), MOST_A_PASS, parts.sweep_quiet_seconds)
    by_queue: dict[QueueName, list[Due]] = defaultdict(list)
    for found in due:
        by_queue[queue_for(found.status)].append(found)
    left: list[Due] = []
    enqueued = 0
    depth = _depth(parts) if due else {}
    for queue, waiting in by_queue.items():
        if depth.get(queue, 0) >= MOST_WAITING:
            continue  # the workers lag behind, and have been told enough
        taken = parts.queue.enqueue(queue, [Hint(found.user_id, found.transaction_id) for found in waiting])
        enqueued += taken
        left += waiting[taken:]
    if left:
        parts.journal.put_back(left)
    parts.measures.swept(len(due), enqueued)
    hints = tuple(Hint(found.user_id, found.transaction_id) for found in left)
    return Swept(len(due), enqueued, hints)


def _depth(parts: Parts) -> dict[QueueName, int]:
    try:
        return parts.queue.depth()
    except BillvendError:
        return {}
