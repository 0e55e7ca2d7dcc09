"""Huey's consumer, reduced to hints.

We use Huey's storages, the workers that read them and the consumer that supervises the workers. We don't use its tasks.
A Huey message can name a task, a time, retries and follow-up tasks, and executing it reads and writes the storage twice
more, for revocations. A hint is two ids and nothing else.
"""

import logging
import threading
from collections.abc import Callable
from typing import Any

from huey import Huey
from huey.consumer import Consumer, Scheduler, ThreadEnvironment

from billvend.adapters.queue.failure_log import FailureLog
from billvend.adapters.queue.hint_codec import MalformedHint, decode
from billvend.adapters.queue.huey_storage import HintStorage
from billvend.ports.queue import Hint

INITIAL_POLL_SECONDS = 0.05
"""How long a worker waits at first before it reads an empty storage that can't block again."""
MAX_POLL_SECONDS = 0.5
"""How long it waits at most, after the storage has been empty for a while."""
RETRY_SECONDS = 0.5
"""How long a worker waits when its storage is unavailable."""

logger = logging.getLogger("billvend.queue")


class _RejectingSerializer:
    """Takes the place of Huey's serializer, whose default is pickle, and rejects everything."""

    def serialize(self, _data: object) -> bytes:
        raise NotImplementedError("billvend sends no Huey tasks")

    def deserialize(self, _data: bytes) -> object:
        raise NotImplementedError("billvend reads no Huey tasks")


class HintHuey(Huey):  # type: ignore[misc]
    """One queue, its handler and its stop event. No method raises an `Exception`: it would end a worker."""

    def __init__(
        self, name: str, storage: HintStorage, handler: Callable[[Hint], None], stop: threading.Event
    ) -> None:
        super().__init__(
            name, results=False, serializer=_RejectingSerializer(), storage_class=lambda _name: storage
        )
        self.stop = stop
        self._hint_storage = storage
        self._handler = handler
        self._failure_log = FailureLog(f"Reading hints from the queue {name}")

    def dequeue(self) -> object | None:
        """The next message, as it was stored, or None. Also None, after a pause, while the storage is unavailable."""
        try:
            message = self._hint_storage.dequeue()
        except Exception as error:  # noqa: BLE001 - each driver has its own
            self._failure_log.record_failure(error)
            self.stop.wait(RETRY_SECONDS)
            return None
        self._failure_log.record_success()
        return message

    def execute(self, message: object, timestamp: Any = None) -> None:
        """Handle one message. `timestamp` is for Huey's scheduled tasks and is not used."""
        try:
            hint = decode(message)
        except MalformedHint as error:
            logger.warning("A message on the queue %s was dropped: %s.", self.name, error)
            return
        if self.stop.is_set():
            self._return_message(message)
        else:
            self._handle(hint)

    def _handle(self, hint: Hint) -> None:
        try:
            self._handler(hint)
        except Exception:
            logger.exception(
                "Handling a hint from the queue %s failed: transaction %s of user %s. A sweep finds it.",
                self.name,
                hint.transaction_id,
                hint.user_id,
            )

    def _return_message(self, message: Any) -> None:
        # A worker that waits in a blocking read still gets messages that arrive after `stop`.
        try:
            self._hint_storage.put([message])
        except Exception as error:  # noqa: BLE001 - each driver has its own
            logger.warning(
                "A hint could not be put back on the queue %s: %s. A sweep finds the work.", self.name, error
            )


class _NoScheduler(Scheduler):  # type: ignore[misc]
    """A scheduler that does nothing. Huey's own writes to each storage once a second, and billvend schedules by sweeps."""

    def loop(self, now: Any = None) -> None:
        self.stop_flag.wait()


class _StoppableThreads(ThreadEnvironment):  # type: ignore[misc]
    """Threads that stop when the caller sets the event."""

    def __init__(self, stop: threading.Event) -> None:
        super().__init__()
        self._stop = stop

    def get_stop_flag(self) -> threading.Event:
        return self._stop


class HintConsumer(Consumer):  # type: ignore[misc]
    """The workers of one queue."""

    scheduler_class = _NoScheduler

    def __init__(self, huey: HintHuey, *, threads: int) -> None:
        super().__init__(
            huey,
            workers=threads,
            periodic=False,
            initial_delay=INITIAL_POLL_SECONDS,
            max_delay=MAX_POLL_SECONDS,
        )

    def get_environment(self, worker_type: str) -> _StoppableThreads:
        """Threads, whatever kind of worker is asked for."""
        return _StoppableThreads(self.huey.stop)

    def _set_signal_handlers(self) -> None:
        """Set none: signals belong to the process, not to one of three consumers. Huey's SIGTERM would interrupt the work."""
