"""The queue: a hint that somebody should look at a transaction now, rather than at the next sweep.

The database row is the truth. A hint may be lost, come twice, come late or come for work that is long done; whoever
receives one claims the work in the database before acting. So nothing here is durable, nothing is acknowledged, and
no caller's answer ever depends on it.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class QueueName(StrEnum):
    """The three queues. Each has workers of its own, so that one that is stuck holds up no other."""

    PAYMENTS = "payments"
    REVERSALS = "reversals"
    NOTIFICATIONS = "notifications"


@dataclass(frozen=True, slots=True)
class Hint:
    """Whose transaction to look at. Ids only: whatever else is to be known stands in the database."""

    user_id: str
    transaction_id: str


class Queue(Protocol):
    """Carries hints between processes. Used from any thread."""

    @property
    def backend(self) -> str:
        """What carries the hints, for `health`: `Redis` (or what speaks its protocol), `SQLite` or `memory`."""
        ...

    def enqueue(self, queue: QueueName, hints: Sequence[Hint]) -> int:
        """Hand hints over, after the commit that made them true. Never raises, and returns within 200 ms.

        Returns how many were surely handed over, always the first ones. The others may or may not have arrived: a
        sweep finds what didn't.
        """
        ...

    def enqueue_nowait(self, queue: QueueName, hints: Sequence[Hint]) -> None:
        """The same for whoever does not wait to hear how many arrived. Never raises, and returns at once.

        `close` waits for what is on its way, as long as `enqueue` would.
        """
        ...

    def depth(self) -> dict[QueueName, int]:
        """How many hints wait, by queue. Returns within a second, or raises `Unavailable`."""
        ...

    def consume(
        self, handlers: Mapping[QueueName, Callable[[Hint], None]], *, threads: int, stop: threading.Event
    ) -> None:
        """Call the handlers with what arrives until `stop` is set; then finish what is in hand, and return.

        Payments are handled by `threads` threads, the other queues by one thread each. What a handler raises is
        logged. While the backend is away this goes on trying. It may run on the main thread beside signal handlers
        that set `stop`; interrupted there by an exception (Ctrl-C), it sets `stop` itself, finishes what is in hand,
        and lets the exception pass.
        """
        ...

    def close(self) -> None:
        """Let go of connections and threads. Hints enqueued afterwards are not handed over."""
        ...
