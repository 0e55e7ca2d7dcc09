"""A queue that is opened when it is first used. Most commands only read, and need not wait for the import of Huey."""

import threading
from collections.abc import Callable, Mapping, Sequence

from billvend.ports.queue import Hint, Queue, QueueName


class LazyQueue:
    """Implements `billvend.ports.queue.Queue` by the queue that `open_queue` returns. It is called once and must not raise."""

    def __init__(self, open_queue: Callable[[], Queue]) -> None:
        self._open_queue = open_queue
        self._lock = threading.Lock()
        self._instance: Queue | None = None

    @property
    def _queue(self) -> Queue:
        with self._lock:
            if self._instance is None:
                self._instance = self._open_queue()
            return self._instance

    @property
    def backend(self) -> str:
        """See `Queue.backend`."""
        return self._queue.backend

    def enqueue(self, queue: QueueName, hints: Sequence[Hint]) -> int:
        """See `Queue.enqueue`."""
        return self._queue.enqueue(queue, hints)

    def enqueue_nowait(self, queue: QueueName, hints: Sequence[Hint]) -> None:
        """See `Queue.enqueue_nowait`."""
        self._queue.enqueue_nowait(queue, hints)

    def depth(self) -> dict[QueueName, int]:
        """See `Queue.depth`."""
        return self._queue.depth()

    def consume(
        self, handlers: Mapping[QueueName, Callable[[Hint], None]], *, threads: int, stop: threading.Event
    ) -> None:
        """See `Queue.consume`."""
        self._queue.consume(handlers, threads=threads, stop=stop)

    def close(self) -> None:
        """See `Queue.close`."""
        with self._lock:
            if self._instance is not None:
                self._instance.close()
