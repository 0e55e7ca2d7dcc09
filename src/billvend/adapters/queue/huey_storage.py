"""What the adapter needs of a Huey storage."""

from collections.abc import Sequence
from typing import Protocol

from billvend.ports.queue import QueueName


class HintStorage(Protocol):
    """One queue of raw messages. Safe to use from several threads. Any method may raise the errors of its driver."""

    blocking: bool
    """Whether `dequeue` waits for a message. If not, Huey's workers wait between their reads."""

    def put(self, messages: Sequence[bytes]) -> int:
        """Store messages at once. Returns how many were stored, always the first ones."""
        ...

    def dequeue(self) -> object | None:
        """Remove a message and return it, or None after waiting a little or not at all."""
        ...

    def queue_size(self) -> int:
        """How many messages wait."""
        ...

    def close(self) -> object:
        """Close the connections."""
        ...


def storage_name(queue: QueueName) -> str:
    """The name of a queue inside of its storage. Huey decides what the storage makes of it, such as a key or a column."""
    return f"billvend_{queue}"
