"""Hints inside of one process, as long as it consumes them itself."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import monotonic

from huey.storage import MemoryStorage

from billvend.adapters.queue.background_sender import TIMEOUT_SECONDS
from billvend.adapters.queue.huey_queue import HueyQueue
from billvend.adapters.queue.huey_storage import HintStorage, storage_name
from billvend.ports.queue import QueueName

BLOCK_SECONDS = 0.25
"""How long an idle worker waits for a hint before it checks whether it should stop."""
MAX_WAITING_HINTS = 100_000
"""More hints than this are dropped, so that they do not fill the memory: a sweep finds the work."""


class _MemoryHintStorage(MemoryStorage):  # type: ignore[misc]
    """Keeps hints only while there is a reader: a process that only writes would collect them for ever."""

    blocking = True

    def __init__(self, queue: QueueName) -> None:
        super().__init__(storage_name(queue))
        self._readers = 0
        self._arrival = threading.Condition(self._lock)

    def put(self, messages: Sequence[bytes]) -> int:
        with self._arrival:
            free_slots = MAX_WAITING_HINTS - self.queue_size() if self._readers else 0
            accepted = messages[:free_slots]
            for message in accepted:
                self.enqueue(message)
            self._arrival.notify(len(accepted))
        return len(accepted)

    def dequeue(self) -> object | None:
        with self._arrival:
            self._arrival.wait_for(self.queue_size, timeout=BLOCK_SECONDS)
            message: object | None = super().dequeue()
        return message

    @contextmanager
    def register_reader(self) -> Iterator[HintStorage]:
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
    *, clock: Callable[[], float] = monotonic, timeout_seconds: float = TIMEOUT_SECONDS
) -> HueyQueue:
    """Hints for this process alone. Hints for a queue that it does not consume are dropped."""
    storages = {queue: _MemoryHintStorage(queue) for queue in QueueName}
    return HueyQueue(
        "memory",
        send_storages=storages,
        open_storage=lambda queue: storages[queue].register_reader(),
        clock=clock,
        timeout_seconds=timeout_seconds,
    )
