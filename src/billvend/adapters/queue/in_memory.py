"""Hints inside of one process, for as long as it consumes them itself."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import monotonic

from huey.storage import MemoryStorage

from billvend.adapters.queue.courier import PATIENCE_SECONDS
from billvend.adapters.queue.huey_queue import HueyQueue
from billvend.adapters.queue.storages import HintStorage, storage_name
from billvend.ports.queue import QueueName

BLOCK_SECONDS = 0.25
"""How long an idle worker waits for a hint before it looks whether it is to stop."""
WAITING_MAX = 100_000
"""Hints beyond this many are left to the sweeper, before they fill the memory."""


class _MemoryHints(MemoryStorage):  # type: ignore[misc]
    """Keeps hints only while somebody reads: a process that only writes would collect them for ever."""

    blocking = True

    def __init__(self, queue: QueueName) -> None:
        super().__init__(storage_name(queue))
        self._readers = 0
        self._arrival = threading.Condition(self._lock)

    def put(self, messages: Sequence[bytes]) -> int:
        with self._arrival:
            room = WAITING_MAX - self.queue_size() if self._readers else 0
            taken = messages[:room]
            for message in taken:
                self.enqueue(message)
            self._arrival.notify(len(taken))
        return len(taken)

    def dequeue(self) -> object | None:
        with self._arrival:
            self._arrival.wait_for(self.queue_size, timeout=BLOCK_SECONDS)
            message: object | None = super().dequeue()
        return message

    @contextmanager
    def reading(self) -> Iterator[HintStorage]:
        with self._arrival:
            self._readers += 1
        try:
            yield self
        finally:
            with self._arrival:
                self._readers -= 1
                if not self._readers:
                    self.flush_queue()


def memory_queue(
    *, clock: Callable[[], float] = monotonic, patience_seconds: float = PATIENCE_SECONDS
) -> HueyQueue:
    """Hints for this process alone. While it does not consume a queue, hints for that queue are not handed over."""
    storages = {queue: _MemoryHints(queue) for queue in QueueName}
    return HueyQueue(
        "memory",
        sending=storages,
        receiving=lambda queue: storages[queue].reading(),
        clock=clock,
        patience_seconds=patience_seconds,
    )
