"""The queue port on Huey, for any storage. The factories are in `redis_queue`, `sqlite_queue` and `memory_queue`."""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import AbstractContextManager, ExitStack

from billvend.adapters.queue.background_sender import TIMEOUT_SECONDS, BackgroundSender
from billvend.adapters.queue.consumer import HintConsumer, HintHuey
from billvend.adapters.queue.daemon_call import start_daemon_call
from billvend.adapters.queue.failure_log import FailureLog
from billvend.adapters.queue.hint_codec import encode
from billvend.adapters.queue.huey_storage import HintStorage
from billvend.domain.errors import Unavailable
from billvend.ports.queue import Hint, QueueName

DEPTH_TIMEOUT_SECONDS = 1.0
"""How long `depth` waits. No customer waits for it."""
HEALTH_CHECK_INTERVAL_SECONDS = 10.0
"""How often dead workers are replaced."""
MAX_SIGNAL_DELAY_SECONDS = 0.5
"""How late a signal handler may run."""

logger = logging.getLogger("billvend.queue")


class HueyQueue:
    """Hints through one kind of Huey storage. Implements `billvend.ports.queue.Queue`."""

    def __init__(
        self,
        backend: str,
        *,
        send_storages: Mapping[QueueName, HintStorage],
        open_storage: Callable[[QueueName], AbstractContextManager[HintStorage]],
        clock: Callable[[], float] = time.monotonic,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        """`send_storages` have short timeouts. `open_storage` opens one with a longer timeout, for the workers.

        Neither may connect to its server or open its file before it is used. `clock` gives seconds. `timeout_seconds`
        is how long `enqueue` waits.
        """
        self._backend = backend
        self._send_storages = send_storages
        self._open_storage = open_storage
        self._sender = BackgroundSender(
            lambda queue, messages: send_storages[queue].put(messages),
            FailureLog(f"Sending hints to {backend}"),
            clock=clock,
            timeout_seconds=timeout_seconds,
        )

    @property
    def backend(self) -> str:
        """`Redis`, `SQLite` or `memory`."""
        return self._backend

    def enqueue(self, queue: QueueName, hints: Sequence[Hint]) -> int:
        """See `Queue.enqueue`."""
        try:
            return self._sender.send(queue, [encode(hint) for hint in hints])
        except Exception:  # the commit is valid without a hint, and so is the caller's answer
            logger.exception(
                "Hints could not be enqueued on %s. Nothing is lost: a sweep finds the work.", queue
            )
            return 0

    def enqueue_nowait(self, queue: QueueName, hints: Sequence[Hint]) -> None:
        """See `Queue.enqueue_nowait`."""
        try:
            self._sender.send_nowait(queue, [encode(hint) for hint in hints])
        except Exception:  # see above
            logger.exception("Hints could not be sent to %s. Nothing is lost: a sweep finds the work.", queue)

    def depth(self) -> dict[QueueName, int]:
        """See `Queue.depth`."""
        sizes = start_daemon_call(self._queue_sizes, name="billvend-queue-depth")
        try:
            return sizes.result(timeout=DEPTH_TIMEOUT_SECONDS)
        except Exception as error:
            raise Unavailable(
                f"The queue on {self._backend} does not answer. Payments are safe: the database keeps them, and a "
                "sweep finds them.",
                detail=str(error) or "too slow",
            ) from error

    def consume(
        self, handlers: Mapping[QueueName, Callable[[Hint], None]], *, threads: int, stop: threading.Event
    ) -> None:
        """See `Queue.consume`."""
        # Not on this thread: a signal handler runs on it, and one that sets `stop` while this thread holds the lock
        # inside of `stop.wait()` would wait for that lock for ever.
        supervision: Future[None] = Future()
        try:
            start_daemon_call(
                lambda: self._supervise(handlers, threads, stop),
                name="billvend-consumers",
                outcome=supervision,
            )
            _wait_until_done(supervision)
        except BaseException:
            stop.set()
            if not supervision.cancel():
                _wait_until_done(supervision)
            raise
        supervision.result()

    def close(self) -> None:
        """See `Queue.close`."""
        self._sender.close()
        for storage in self._send_storages.values():
            storage.close()

    def _queue_sizes(self) -> dict[QueueName, int]:
        return {queue: storage.queue_size() for queue, storage in self._send_storages.items()}

    def _supervise(
        self, handlers: Mapping[QueueName, Callable[[Hint], None]], threads: int, stop: threading.Event
    ) -> None:
        _silence_huey()
        with ExitStack() as cleanup:
            consumers = []
            for queue, handler in handlers.items():
                storage = cleanup.enter_context(self._open_storage(queue))
                huey = HintHuey(queue, storage, handler, stop)
                consumers.append(HintConsumer(huey, threads=threads if queue == QueueName.PAYMENTS else 1))
            try:
                for consumer in consumers:
                    consumer.start()
                while not stop.wait(HEALTH_CHECK_INTERVAL_SECONDS):
                    for consumer in consumers:
                        consumer.check_worker_health()
            finally:
                for consumer in consumers:
                    consumer.stop(graceful=True)


def _wait_until_done(supervision: Future[None]) -> None:
    # The handler of a signal that comes just before the interpreter begins to wait runs only after the wait. So the
    # wait must not be endless, or that SIGTERM would have no effect.
    while not supervision.done():
        wait([supervision], timeout=MAX_SIGNAL_DELAY_SECONDS)


def _silence_huey() -> None:
    """Hide what Huey logs at INFO, such as the workers that it starts. A level that was set before is kept."""
    huey_logger = logging.getLogger("huey")
    if huey_logger.level == logging.NOTSET:
        huey_logger.setLevel(logging.WARNING)
