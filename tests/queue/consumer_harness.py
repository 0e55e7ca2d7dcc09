"""Consuming a queue in a test: on a thread, with inboxes as handlers."""

import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from billvend.ports.queue import Hint, Queue, QueueName

TEST_TIMEOUT_SECONDS = 20.0
"""Long enough for a busy machine; nothing waits so long but a test that fails."""


class Inbox:
    """A handler that keeps what it is given."""

    def __init__(self) -> None:
        self._hints: queue.SimpleQueue[Hint] = queue.SimpleQueue()

    def __call__(self, hint: Hint) -> None:
        self._hints.put(hint)

    def next(self) -> Hint:
        """The next hint, as soon as it is there."""
        return self._hints.get(timeout=TEST_TIMEOUT_SECONDS)

    def take(self, count: int) -> list[Hint]:
        return [self.next() for _ in range(count)]

    @property
    def is_empty(self) -> bool:
        return self._hints.empty()


class BlockingHandler:
    """A handler that says which hint it holds, and holds it until the gate is opened."""

    def __init__(self) -> None:
        self.started = Inbox()
        self.finished = Inbox()
        self._open = threading.Event()

    def __call__(self, hint: Hint) -> None:
        self.started(hint)
        assert self._open.wait(TEST_TIMEOUT_SECONDS)
        self.finished(hint)

    def release(self) -> None:
        self._open.set()


class RunningConsumer:
    """A thread that consumes."""

    def __init__(
        self, source: Queue, handlers: Mapping[QueueName, Callable[[Hint], None]], threads: int
    ) -> None:
        self.stop = threading.Event()
        self._thread = threading.Thread(
            target=lambda: source.consume(handlers, threads=threads, stop=self.stop), name="consumer"
        )
        self._thread.start()

    @property
    def is_running(self) -> bool:
        return self._thread.is_alive()

    def stop_and_wait(self) -> None:
        """Ask it to stop, and wait until it has."""
        self.stop.set()
        self._thread.join(TEST_TIMEOUT_SECONDS)
        assert not self.is_running


@contextmanager
def running_consumer(
    source: Queue, handlers: Mapping[QueueName, Callable[[Hint], None]], *, threads: int = 2
) -> Iterator[RunningConsumer]:
    """Consume on a thread, until the block ends at the latest."""
    consumer = RunningConsumer(source, handlers, threads)
    try:
        yield consumer
    finally:
        consumer.stop_and_wait()


def enqueue_all(target: Queue, name: QueueName, hints: Sequence[Hint]) -> None:
    """Enqueue, repeating what wasn't taken: a consumer in memory needs a moment until it takes anything."""
    deadline = time.monotonic() + TEST_TIMEOUT_SECONDS
    left = list(hints)
    while left:
        assert time.monotonic() < deadline, f"{len(left)} hints were never taken"
        del left[: target.enqueue(name, left)]


def make_hints(count: int) -> list[Hint]:
    return [
        Hint(user_id=f"user-{number % 7}", transaction_id=f"transaction-{number}") for number in range(count)
    ]


class FakeMonotonicClock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds
