"""The queue port: hints that wake a worker for a transaction before the next sweep finds it.

The database row is the truth. A hint may be lost, come twice, come late, or come after the work is done. A worker that
receives one claims the work in the database before it acts. So hints need not be durable, need no acknowledgement,
and no answer to a caller depends on them.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class QueueName(StrEnum):
    """The three queues. Each has its own workers, so that a stuck queue does not delay the others."""

    PAYMENTS = "payments"
    REVERSALS = "reversals"
    NOTIFICATIONS = "notifications"


@dataclass(frozen=True, slots=True)
class Hint:
    """The transaction to work on. It has ids only: everything else is in the database."""

    user_id: str
    transaction_id: str


class Queue(Protocol):
    """Carries hints between processes. Used from any thread."""

    backend: str
    """What carries the hints, for `health`: `Redis` (or what speaks its protocol), `SQLite` or `memory`."""

    def enqueue(self, queue: QueueName, hints: Sequence[Hint], *, wait: bool = True) -> int:
        """Queue hints, after the commit of the work that they point at. Never raises.

        With `wait`, it returns within 200 ms how many were surely queued, always the first ones. Without it, it returns
        0 at once. The others may or may not be queued: a sweep finds the work of those that are not.
        """
        ...

    def depth(self) -> dict[QueueName, int]:
        """The number of waiting hints, by queue. Returns within a second, or raises `Unavailable`."""
        ...

    def consume(
        self, handlers: Mapping[QueueName, Callable[[Hint], None]], *, threads: int, stop: threading.Event
    ) -> None:
        """Call the handlers with each hint until `stop` is set. Then finish the running handlers, and return.

        `threads` threads handle payments. The other queues have one thread each. An exception in a handler is logged.
        While the backend is unavailable, this retries. It may run on the main thread, beside signal handlers that set
        `stop`. An exception that interrupts it there (Ctrl-C) makes it set `stop`, finish the running handlers, and
        raise the exception again.
        """
        ...

    def close(self) -> None:
        """Send the hints that wait, for as long as `enqueue` would, and close connections. Later hints are dropped."""
        ...
