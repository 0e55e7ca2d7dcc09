"""The queue port on Huey.

Huey is imported when the first hint is sent or read: that takes 0.1 seconds, and most commands only read the database.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from billvend.adapters.queue.background_sender import TIMEOUT_SECONDS, BackgroundSender
from billvend.adapters.queue.failure_log import FailureLog
from billvend.adapters.queue.hint_codec import encode
from billvend.domain.errors import Unavailable
from billvend.ports.queue import Hint, QueueName

if TYPE_CHECKING:
    from billvend.adapters.queue.storages import HintStorage

READ_TIMEOUT_SECONDS = 2.0
"""How long a worker waits for a storage that does not answer."""
DEPTH_TIMEOUT_SECONDS = 1.0
"""How long `depth` waits. No customer waits for it."""

logger = logging.getLogger("billvend.queue")


class HueyQueue:
    """Hints through a Huey storage. Implements `billvend.ports.queue.Queue`."""

    def __init__(
        self,
        place: str | Path | None,
        *,
        clock: Callable[[], float] = time.monotonic,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        """`place` is the URL of a Redis server, the path of an SQLite file, or None for the memory of this process.

        The server may be started later, and the file is created when first needed, but its folder must exist. The
        memory drops hints that this process does not consume. `timeout_seconds` is how long `enqueue` waits, and `clock`
        gives seconds. Raises `ConfigurationError` for an invalid URL.
        """
        self.backend = "memory" if place is None else "SQLite" if isinstance(place, Path) else "Redis"
        self._place = place
        self._timeout_seconds = timeout_seconds
        self._storages: dict[QueueName, HintStorage] = {}
        self._lock = threading.Lock()
        self._consumed: Counter[QueueName] = Counter()
        self._sender = BackgroundSender(
            self._put,
            FailureLog(f"Sending hints to {self.backend}"),
            clock=clock,
            timeout_seconds=timeout_seconds,
        )
        if isinstance(place, str):
            self._storage(QueueName.PAYMENTS)  # checks the URL

    def enqueue(self, queue: QueueName, hints: Sequence[Hint], *, wait: bool = True) -> int:
        """See `Queue.enqueue`."""
        try:
            if wait:
                self._storage(queue)  # the import of Huey is not a part of the 200 ms
            return self._sender.send(queue, hints, wait=wait)
        except Exception:  # the commit is valid without a hint, and so is the caller's answer
            logger.exception("Hints could not be sent to %s. Nothing is lost: a sweep finds the work.", queue)
            return 0

    def depth(self) -> dict[QueueName, int]:
        """See `Queue.depth`."""
        sizes: Future[dict[QueueName, int]] = Future()

        def measure() -> None:
            try:
                sizes.set_result({queue: self._storage(queue).queue_size() for queue in QueueName})
            except Exception as error:  # noqa: BLE001 - each driver has its own
                sizes.set_exception(error)

        # A daemon: a server that does not answer cannot keep the process alive.
        threading.Thread(target=measure, name="billvend-queue-depth", daemon=True).start()
        try:
            return sizes.result(timeout=DEPTH_TIMEOUT_SECONDS)
        except Exception as error:
            raise Unavailable(
                f"The queue on {self.backend} does not answer.",
                "Payments are safe: the database keeps them, and a sweep finds them.",
                detail=str(error) or "too slow",
            ) from error

    def consume(
        self, handlers: Mapping[QueueName, Callable[[Hint], None]], *, threads: int, stop: threading.Event
    ) -> None:
        """See `Queue.consume`."""
        from billvend.adapters.queue.consumer import HintConsumer, HintHuey, run_consumers

        with ExitStack() as cleanup:
            consumers = []
            for queue, handler in handlers.items():
                if self._place is None:
                    storage = self._storage(queue)
                else:
                    storage = self._open_storage(queue, READ_TIMEOUT_SECONDS)
                    cleanup.callback(storage.close)
                huey = HintHuey(queue, storage, handler, stop)
                consumers.append(HintConsumer(huey, threads=threads if queue == QueueName.PAYMENTS else 1))
            self._consumed.update(handlers.keys())
            cleanup.callback(self._consumed.subtract, handlers.keys())
            run_consumers(consumers, stop)

    def close(self) -> None:
        """See `Queue.close`."""
        self._sender.close()
        for storage in list(self._storages.values()):
            storage.close()

    def _put(self, queue: QueueName, hints: Sequence[Hint]) -> int:
        if self._place is None and not self._consumed[queue]:
            return 0
        stored_count: int = self._storage(queue).put([encode(hint) for hint in hints])
        return stored_count

    def _storage(self, queue: QueueName) -> "HintStorage":
        with self._lock:
            if queue not in self._storages:
                self._storages[queue] = self._open_storage(queue, self._timeout_seconds)
            return self._storages[queue]

    def _open_storage(self, queue: QueueName, timeout_seconds: float) -> "HintStorage":
        from billvend.adapters.queue.storages import open_storage

        return open_storage(self._place, f"billvend_{queue}", timeout_seconds)
