"""Sends hints to the queue, so that no caller waits longer than promised.

Timeouts of sockets and locks can't keep that promise: resolving a name, trying each of its addresses, syncing a disk
and waiting for a connection come on top. So one thread waits for all callers. Hints that arrive meanwhile are sent
together.
"""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from billvend.adapters.queue.failure_log import FailureLog
from billvend.ports.queue import Hint, QueueName

TIMEOUT_SECONDS = 0.2
"""How long a caller waits in all, by default."""
RETRY_SECONDS = 1.0
"""How long nothing is tried after a failure: a hundred calls in a row must not wait a hundred times."""
MAX_WAITING_HINTS = 10_000
"""When so many wait, the thread is stuck. More are dropped, so that they do not fill the memory."""


@dataclass(frozen=True, slots=True, eq=False)
class _Batch:
    queue: QueueName
    hints: Sequence[Hint]
    sent_count: Future[int] = field(default_factory=Future)


class BackgroundSender:
    """One thread, started when first needed, that sends hints."""

    def __init__(
        self,
        put: Callable[[QueueName, Sequence[Hint]], int],
        failure_log: FailureLog,
        *,
        clock: Callable[[], float] = time.monotonic,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        """`put` may block and raise. It returns how many of the hints were stored, always the first ones.

        `clock` gives seconds. It decides when to try again after a failure.
        """
        self._put = put
        self._failure_log = failure_log
        self._clock = clock
        self._timeout_seconds = timeout_seconds
        self._change = threading.Condition()
        self._waiting: list[_Batch] = []
        self._waiting_count = 0
        self._thread: threading.Thread | None = None
        self._retry_at_seconds = float("-inf")
        self._is_closed = False

    def send(self, queue: QueueName, hints: Sequence[Hint], *, wait: bool) -> int:
        """Send hints. Those that cannot be sent are dropped: a sweep finds the work.

        With `wait`, it returns within `timeout_seconds` how many have surely arrived, always the first ones; without it,
        0 at once.
        """
        with self._change:
            batch = _Batch(queue, hints[: MAX_WAITING_HINTS - self._waiting_count])
            if self._is_closed or self._is_pausing or not batch.hints:
                return 0
            self._waiting.append(batch)
            self._waiting_count += len(batch.hints)
            if self._thread is None or not self._thread.is_alive():  # the first call, or a fork
                self._thread = threading.Thread(target=self._run, name="billvend-sender", daemon=True)
                self._thread.start()
            self._change.notify()
        if not wait:
            return 0
        try:
            return batch.sent_count.result(self._timeout_seconds)
        except TimeoutError:
            batch.sent_count.cancel()
            self._fail(f"no answer within {self._timeout_seconds} s")
            return 0

    def close(self) -> None:
        """Send what waits, and end the thread, if it is not stuck. Nothing is sent after that."""
        with self._change:
            self._is_closed = True
            self._change.notify()
        if self._thread is not None:
            self._thread.join(self._timeout_seconds)

    @property
    def _is_pausing(self) -> bool:
        return self._clock() < self._retry_at_seconds

    def _run(self) -> None:
        while batches := self._take_waiting():
            for queue in QueueName:
                self._send_batches(queue, [batch for batch in batches if batch.queue == queue])

    def _take_waiting(self) -> list[_Batch]:
        """All batches that wait. Blocks until there is one. Empty when the sender is to end."""
        with self._change:
            self._change.wait_for(lambda: self._waiting or self._is_closed)
            batches, self._waiting, self._waiting_count = self._waiting, [], 0
            return batches

    def _send_batches(self, queue: QueueName, batches: Sequence[_Batch]) -> None:
        awaited = [batch for batch in batches if batch.sent_count.set_running_or_notify_cancel()]
        hints = [hint for batch in awaited for hint in batch.hints]
        sent_count = self._try_put(queue, hints) if hints else 0
        for batch in awaited:
            batch.sent_count.set_result(min(sent_count, len(batch.hints)))
            sent_count -= batch.sent_count.result()

    def _try_put(self, queue: QueueName, hints: Sequence[Hint]) -> int:
        if self._is_pausing:  # another queue has just failed, in the same round
            return 0
        try:
            sent_count = self._put(queue, hints)
        except Exception as error:  # noqa: BLE001 - each driver has its own
            self._fail(error)
            return 0
        self._retry_at_seconds = float("-inf")
        self._failure_log.record_success()
        return sent_count

    def _fail(self, reason: object) -> None:
        self._retry_at_seconds = self._clock() + RETRY_SECONDS
        self._failure_log.record_failure(reason)
