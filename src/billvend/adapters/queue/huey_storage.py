"""What the adapter needs of a storage of Huey's, however it is made."""

from collections.abc import Sequence
from typing import Protocol

from billvend.ports.queue import QueueName


class HintStorage(Protocol):
    """One queue of raw messages. Safe to use from several threads; any method may raise what its driver raises."""

    blocking: bool
    """Whether `dequeue` waits for a message; if not, Huey's workers wait between their attempts."""

    def put(self, messages: Sequence[bytes]) -> int:
        """Store messages in one go. Returns how many were taken, the first ones."""
        ...

    def dequeue(self) -> object | None:
        """Remove a message and return it, or None after waiting a little or not at all."""
        ...

    def queue_size(self) -> int:
        """How many messages wait."""
        ...

    def close(self) -> object:
        """Let go of connections."""
        ...


def storage_name(queue: QueueName) -> str:
    """The name of a queue inside of its storage; what the storage makes of it (a key, a column) is Huey's affair."""
    return f"billvend_{queue}"
