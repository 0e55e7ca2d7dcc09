"""The queue port on Huey, whatever the storage. The factories stand in `on_redis`, `on_sqlite` and `in_memory`."""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import AbstractContextManager, ExitStack

from billvend.adapters.queue.background import in_background
from billvend.adapters.queue.consumer import HintConsumer, HintHuey
from billvend.adapters.queue.courier import PATIENCE_SECONDS, Courier
from billvend.adapters.queue.outage import Outage
from billvend.adapters.queue.storages import HintStorage
from billvend.adapters.queue.wire import encode
from billvend.domain.errors import Unavailable
from billvend.ports.queue import Hint, QueueName

DEPTH_SECONDS = 1.0
"""How long `depth` waits; no customer waits for it."""
HEALTH_CHECK_SECONDS = 10.0
"""How often workers that died are replaced."""
SIGNAL_SECONDS = 0.5
"""How late a signal handler may run."""

logger = logging.getLogger("billvend.queue")


class HueyQueue:
    """Hints over one kind of Huey storage. Implements `billvend.ports.queue.Queue`."""

    def __init__(
        self,
        backend: str,
        *,
        sending: Mapping[QueueName, HintStorage],
        receiving: Callable[[QueueName], AbstractContextManager[HintStorage]],
        clock: Callable[[], float] = time.monotonic,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        """`sending` storages give up soon; `receiving` opens a patient one, so that neither waits for the other.

        Neither may touch its server or file before it is used. `clock` counts seconds; `patience_seconds` is how long
        `enqueue` waits.
        """
        self._backend = backend
        self._sending = sending
        self._receiving = receiving
        self._courier = Courier(
            lambda queue, messages: sending[queue].put(messages),
            Outage(f"Handing hints to {backend}"),
            clock=clock,
            patience_seconds=patience_seconds,
        )

    @property
    def backend(self) -> str:
        """`Redis`, `SQLite` or `memory`."""
        return self._backend

    def enqueue(self, queue: QueueName, hints: Sequence[Hint]) -> int:
        """See `Queue.enqueue`."""
        try:
            return self._courier.hand_over(queue, [encode(hint) for hint in hints])
        except Exception:  # what was committed stands, and the caller's answer with it
            logger.exception(
                "Hints could not be enqueued on %s. Nothing is lost: a sweep finds the work.", queue
            )
            return 0

    def tell(self, queue: QueueName, hints: Sequence[Hint]) -> None:
        """See `Queue.tell`."""
        try:
            self._courier.send(queue, [encode(hint) for hint in hints])
        except Exception:  # see above
            logger.exception("Hints could not be sent to %s. Nothing is lost: a sweep finds the work.", queue)

    def depth(self) -> dict[QueueName, int]:
        """See `Queue.depth`."""
        sizes = in_background(self._sizes, name="billvend-queue-depth")
        try:
            return sizes.result(timeout=DEPTH_SECONDS)
        except Exception as error:
            raise Unavailable(
                f"The queue on {self._backend} does not answer. Payments are safe: the database keeps them, and a "
                "sweep finds them.",
                why=str(error) or "too slow",
            ) from error

    def consume(
        self, handlers: Mapping[QueueName, Callable[[Hint], None]], *, threads: int, stop: threading.Event
    ) -> None:
        """See `Queue.consume`."""
        # Not on this thread: a signal handler that sets `stop` while this thread is inside of `stop.wait()` would
        # wait for a lock that it interrupted the holder of, for ever.
        supervision = in_background(
            lambda: self._supervise(handlers, threads, stop), name="billvend-consumers"
        )
        try:
            _await(supervision)
        except BaseException:
            stop.set()
            _await(supervision)
            raise
        supervision.result()

    def close(self) -> None:
        """See `Queue.close`."""
        self._courier.close()
        for storage in self._sending.values():
            storage.close()

    def _sizes(self) -> dict[QueueName, int]:
        return {queue: storage.queue_size() for queue, storage in self._sending.items()}

    def _supervise(
        self, handlers: Mapping[QueueName, Callable[[Hint], None]], threads: int, stop: threading.Event
    ) -> None:
        _silence_huey()
        with ExitStack() as cleanup:
            consumers = []
            for queue, handler in handlers.items():
                storage = cleanup.enter_context(self._receiving(queue))
                huey = HintHuey(queue, storage, handler, stop)
                consumers.append(HintConsumer(huey, threads=threads if queue == QueueName.PAYMENTS else 1))
            try:
                for consumer in consumers:
                    consumer.start()
                while not stop.wait(HEALTH_CHECK_SECONDS):
                    for consumer in consumers:
                        consumer.check_worker_health()
            finally:
                for consumer in consumers:
                    consumer.stop(graceful=True)


def _await(supervision: Future[None]) -> None:
    # A signal that comes just before the interpreter begins to wait is noted, but its handler runs only when the
    # wait is over: the wait must not be endless, or that SIGTERM would be.
    while not supervision.done():
        wait([supervision], timeout=SIGNAL_SECONDS)


def _silence_huey() -> None:
    """Huey logs what it starts and lists at INFO. Whoever has set a level for it keeps theirs."""
    huey_logger = logging.getLogger("huey")
    if huey_logger.level == logging.NOTSET:
        huey_logger.setLevel(logging.WARNING)
