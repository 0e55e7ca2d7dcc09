"""Huey's consumer, for hints.

We use Huey's storages, and its consumer with the workers that read them. A hint takes the place of Huey's task: a task
can name a time, retries and follow-up tasks, and to execute it reads and writes the storage twice more, for revocations.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from huey import Huey
from huey.consumer import Consumer

from billvend.adapters.queue.failure_log import FailureLog
from billvend.adapters.queue.hint_codec import MalformedHint, decode
from billvend.adapters.queue.storages import HintStorage
from billvend.ports.queue import Hint

INITIAL_POLL_SECONDS = 0.05
"""How long a worker waits at first before it reads an empty storage that can't block again."""
MAX_POLL_SECONDS = 0.5
"""How long it waits at most, after the storage has been empty for a while."""
RETRY_SECONDS = 0.5
"""How long a worker waits when its storage is unavailable."""
STOP_POLL_SECONDS = 0.1
"""How often `stop` is read, and dead workers are replaced."""

logger = logging.getLogger("billvend.queue")


class HintHuey(Huey):  # type: ignore[misc]
    """One queue, its handler and its stop event. No method raises an `Exception`."""

    def __init__(
        self, name: str, storage: HintStorage, handler: Callable[[Hint], None], stop: threading.Event
    ) -> None:
        # An `object` serializes nothing. Huey's own serializer is pickle.
        super().__init__(name, results=False, serializer=object(), storage_class=lambda _name: storage)
        self._handler = handler
        self._stop = stop
        self._failure_log = FailureLog(f"Reading hints from the queue {name}")

    def dequeue(self) -> bytes | None:
        """The next message, or None. Also None, after a pause, while the storage is unavailable."""
        try:
            message: bytes | None = self.storage.dequeue()
        except Exception as error:  # noqa: BLE001 - each driver has its own
            self._failure_log.record_failure(error)
            self._stop.wait(RETRY_SECONDS)
            return None
        self._failure_log.record_success()
        return message

    def execute(self, message: bytes, _timestamp: Any = None) -> None:
        """Handle one message. A message that a blocked read got after `stop` is put back."""
        try:
            hint = decode(message)
        except MalformedHint as error:
            logger.warning("A message on the queue %s was dropped: %s.", self.name, error)
            return
        try:
            if self._stop.is_set():
                self.storage.put([message])
            else:
                self._handler(hint)
        except Exception:
            logger.exception(
                "Handling a hint from the queue %s failed: transaction %s of user %s. A sweep finds it.",
                self.name,
                hint.transaction_id,
                hint.user_id,
            )

    def read_schedule(self, _timestamp: Any = None) -> list[object]:
        """Nothing, without reading the storage: billvend schedules by sweeps."""
        return []


class HintConsumer(Consumer):  # type: ignore[misc]
    """The workers of one queue."""

    def __init__(self, huey: HintHuey, *, threads: int) -> None:
        super().__init__(
            huey,
            workers=threads,
            periodic=False,
            initial_delay=INITIAL_POLL_SECONDS,
            max_delay=MAX_POLL_SECONDS,
        )

    def _set_signal_handlers(self) -> None:
        """Set none: signals belong to the process, not to one of three consumers. Huey's SIGTERM would interrupt the work."""


def run_consumers(consumers: Sequence[HintConsumer], stop: threading.Event) -> None:
    """Run consumers until `stop` is set, or until Ctrl-C. Then let the running handlers finish."""
    huey_logger = logging.getLogger("huey")
    if huey_logger.level == logging.NOTSET:  # hide what it logs at INFO, such as the workers that it starts
        huey_logger.setLevel(logging.WARNING)
    try:
        for consumer in consumers:
            consumer.start()
        # Not stop.wait(): a handler of a signal runs on this thread, and could not set `stop` while it waits for it.
        while not stop.is_set():
            time.sleep(STOP_POLL_SECONDS)
            for consumer in consumers:
                consumer.check_worker_health()
    finally:
        if not stop.is_set():
            stop.set()
        for consumer in consumers:
            consumer.stop()
        for _, worker in [pair for consumer in consumers for pair in consumer.worker_threads]:
            if worker.is_alive():  # Ctrl-C may have come before it was started
                worker.join()
