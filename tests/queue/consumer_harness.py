"""Consume a queue in a test: on a thread, with inboxes as handlers."""

import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from billvend.ports.queue import Hint, Queue, QueueName

TEST_TIMEOUT_SECONDS = 20.0
"""Long enough for a busy machine. Only a failing test waits so long."""


class Inbox:
    """A handler that stores the hints that it gets."""

    def __init__(self) -> None:
        self._hints: queue.SimpleQueue[Hint] = queue.SimpleQueue()

    def __call__(self, hint: Hint) -> None:
        self._hints.put(hint)

    def next(self) -> Hint:
        """The next hint, as soon as it arrives."""
        return self._hints.get(timeout=TEST_TIMEOUT_SECONDS)

    def take(self, count: int) -> list[Hint]:
        return [self.next() for _ in range(count)]

    @property
    def is_empty(self) -> bool:
        return self._hints.empty()


class BlockingHandler:
    """A handler that reports the hint that it got, and holds it until the test releases it."""

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
        """Stop it, and wait until it has stopped."""
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
    """Enqueue, and repeat what was not accepted: a memory consumer needs a moment until it accepts hints."""
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
    """A monotonic clock that the test moves, in seconds."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds
