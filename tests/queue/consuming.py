"""Consuming a queue in a test: on a thread, with inboxes as handlers."""

import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from billvend.ports.queue import Hint, Queue, QueueName

PATIENCE_SECONDS = 20.0
"""Long enough for a busy machine; nothing waits so long but a test that fails."""


class Inbox:
    """A handler that keeps what it is given."""

    def __init__(self) -> None:
        self._hints: queue.SimpleQueue[Hint] = queue.SimpleQueue()

    def __call__(self, hint: Hint) -> None:
        self._hints.put(hint)

    def next(self) -> Hint:
        """The next hint, as soon as it is there."""
        return self._hints.get(timeout=PATIENCE_SECONDS)

    def take(self, count: int) -> list[Hint]:
        return [self.next() for _ in range(count)]

    @property
    def is_empty(self) -> bool:
        return self._hints.empty()


class Gate:
    """A handler that says which hint it holds, and holds it until the gate is opened."""

    def __init__(self) -> None:
        self.held = Inbox()
        self.let_go = Inbox()
        self._open = threading.Event()

    def __call__(self, hint: Hint) -> None:
        self.held(hint)
        assert self._open.wait(PATIENCE_SECONDS)
        self.let_go(hint)

    def open(self) -> None:
        self._open.set()


class Consumption:
    """A thread that consumes."""

    def __init__(
        self, source: Queue, handlers: Mapping[QueueName, Callable[[Hint], None]], threads: int
    ) -> None:
        self.stop = threading.Event()
        self._thread = threading.Thread(
            target=lambda: source.consume(handlers, threads=threads, stop=self.stop), name="consumption"
        )
        self._thread.start()

    @property
    def goes_on(self) -> bool:
        return self._thread.is_alive()

    def end(self) -> None:
        """Ask it to stop, and wait until it has."""
        self.stop.set()
        self._thread.join(PATIENCE_SECONDS)
        assert not self.goes_on


@contextmanager
def consuming(
    source: Queue, handlers: Mapping[QueueName, Callable[[Hint], None]], *, threads: int = 2
) -> Iterator[Consumption]:
    """Consume on a thread, until the block ends at the latest."""
    consumption = Consumption(source, handlers, threads)
    try:
        yield consumption
    finally:
        consumption.end()


def hand_over(target: Queue, name: QueueName, hints: Sequence[Hint]) -> None:
    """Enqueue, repeating what wasn't taken: a consumer in memory needs a moment until it takes anything."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    left = list(hints)
    while left:
        assert time.monotonic() < deadline, f"{len(left)} hints were never taken"
        del left[: target.enqueue(name, left)]


def some_hints(count: int) -> list[Hint]:
    return [
        Hint(user_id=f"user-{number % 7}", transaction_id=f"transaction-{number}") for number in range(count)
    ]


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds
