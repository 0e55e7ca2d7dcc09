"""Sends messages to the queue and never waits longer than promised.

Timeouts of sockets and locks can't keep that promise: resolving a name, trying each of its addresses, syncing a disk
and waiting for a connection come on top. So one thread waits for all callers. A caller passes its messages to the
thread and waits for 200 ms at most. Messages that arrive meanwhile are sent together.
"""

import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from billvend.adapters.queue.failure_log import FailureLog
from billvend.ports.queue import QueueName

TIMEOUT_SECONDS = 0.2
"""How long a caller waits in all, by default."""
RETRY_SECONDS = 1.0
"""How long nothing is tried after a failure: a hundred calls in a row must not wait a hundred times."""
MAX_BATCH_MESSAGES = 1000
"""More messages than this are sent in several batches, so that each batch counts as soon as it has arrived."""
MAX_QUEUED_BATCHES = 10_000
"""When so many wait, the thread is stuck. More are dropped, so that they do not fill the memory."""
MAX_ROUND_BATCHES = 64
"""How many batches are sent together at most."""


@dataclass(frozen=True, slots=True, eq=False)
class _Batch:
    queue: QueueName
    messages: list[bytes]
    sent_count: Future[int] = field(default_factory=Future)


class BackgroundSender:
    """One thread, started when first needed, that sends messages."""

    def __init__(
        self,
        put: Callable[[QueueName, Sequence[bytes]], int],
        failure_log: FailureLog,
        *,
        clock: Callable[[], float] = time.monotonic,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        """`put` may block and raise. It returns how many of the messages were stored, always the first ones.

        `clock` gives seconds. It decides when to try again after a failure.
        """
        self._put = put
        self._failure_log = failure_log
        self._clock = clock
        self._timeout_seconds = timeout_seconds
        self._lock = threading.Lock()
        self._batches: queue.SimpleQueue[_Batch | None] = queue.SimpleQueue()
        self._open_batches: dict[
            QueueName, _Batch
        ] = {}  # no caller waits for these, and more messages may join
        self._thread: threading.Thread | None = None
        self._is_stuck = False  # a caller timed out in the present round
        self._retry_at_seconds = float("-inf")
        self._is_closed = False

    def send(self, queue_name: QueueName, messages: Sequence[bytes]) -> int:
        """Send messages. Returns within `timeout_seconds` how many have surely arrived, always the first ones."""
        deadline = time.monotonic() + self._timeout_seconds
        sent_count = 0
        for start in range(0, len(messages), MAX_BATCH_MESSAGES):
            batch = _Batch(queue_name, list(messages[start : start + MAX_BATCH_MESSAGES]))
            accepted_count = self._send_batch(batch, deadline)
            sent_count += accepted_count
            if accepted_count < len(batch.messages):
                break
        return sent_count

    def send_nowait(self, queue_name: QueueName, messages: Sequence[bytes]) -> None:
        """Queue messages for sending. Messages that cannot be sent are dropped: a sweep finds the work."""
        with self._lock:
            if not self._is_available():
                return
            batch = self._open_batches.get(queue_name)
            if batch is not None and len(batch.messages) < MAX_BATCH_MESSAGES:
                batch.messages.extend(messages)  # the thread is awake for this batch already
            elif self._batches.qsize() < MAX_QUEUED_BATCHES:
                self._open_batches[queue_name] = batch = _Batch(queue_name, list(messages))
                self._batches.put(batch)

    def close(self) -> None:
        """End the thread, if it is not stuck. Nothing is sent after that."""
        with self._lock:
            self._is_closed = True
            thread, self._thread = self._thread, None
        self._batches.put(None)
        if thread is not None:
            thread.join(self._timeout_seconds)

    def _send_batch(self, batch: _Batch, deadline: float) -> int:
        with self._lock:
            if not self._is_available():
                return 0
            self._batches.put(batch)
        try:
            return batch.sent_count.result(timeout=max(0.0, deadline - time.monotonic()))
        except TimeoutError:
            return self._time_out(batch)

    def _is_available(self) -> bool:
        if self._is_closed:
            return False
        if (
            self._thread is None or not self._thread.is_alive()
        ):  # the first call in this process, or after a fork
            self._thread = threading.Thread(target=self._run, name="billvend-sender", daemon=True)
            self._thread.start()
            self._is_stuck = False
        return not self._is_stuck and self._clock() >= self._retry_at_seconds

    def _time_out(self, batch: _Batch) -> int:
        with self._lock:
            if not batch.sent_count.cancel() and batch.sent_count.done():
                return batch.sent_count.result()  # it arrived just now
            self._is_stuck = True
        self._failure_log.record_failure(f"no answer within {self._timeout_seconds} s")
        return 0

    def _run(self) -> None:
        while batches := self._next_round():
            with self._lock:
                self._open_batches.clear()  # messages that arrive from now on go into the next round
            active = [batch for batch in batches if batch.sent_count.set_running_or_notify_cancel()]
            for queue_name in QueueName:
                self._put_batches(queue_name, [batch for batch in active if batch.queue == queue_name])
            with self._lock:
                self._is_stuck = False

    def _next_round(self) -> list[_Batch]:
        """The batches that wait. Blocks until there is one. Empty when the sender is to end."""
        batches: list[_Batch] = []
        while len(batches) < MAX_ROUND_BATCHES and not (batches and self._batches.empty()):
            batch = self._batches.get()
            if batch is None:
                if batches:
                    self._batches.put(None)  # these first, then the end
                break
            batches.append(batch)
        return batches

    def _put_batches(self, queue_name: QueueName, batches: Sequence[_Batch]) -> None:
        messages = [message for batch in batches for message in batch.messages]
        accepted_count = self._try_put(queue_name, messages) if messages else 0
        with self._lock:  # so that no caller times out while its batch gets its result
            for batch in batches:
                sent_count = min(accepted_count, len(batch.messages))
                batch.sent_count.set_result(sent_count)
                accepted_count -= sent_count

    def _try_put(self, queue_name: QueueName, messages: Sequence[bytes]) -> int:
        if self._clock() < self._retry_at_seconds:  # another queue has just failed, in the same round
            return 0
        try:
            accepted_count = self._put(queue_name, messages)
        except Exception as error:  # noqa: BLE001 - each driver has its own
            self._retry_at_seconds = self._clock() + RETRY_SECONDS
            self._failure_log.record_failure(error)
            return 0
        self._failure_log.record_success()
        return accepted_count
