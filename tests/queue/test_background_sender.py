"""The background sender keeps its promise with any transport: its destination here is a lock, not a server."""

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing

import pytest

from billvend.adapters.queue.background_sender import (
    MAX_WAITING_HINTS,
    RETRY_SECONDS,
    TIMEOUT_SECONDS,
    BackgroundSender,
)
from billvend.adapters.queue.failure_log import FailureLog
from billvend.ports.queue import Hint, QueueName
from tests.queue.consumer_harness import TEST_TIMEOUT_SECONDS, FakeMonotonicClock, make_hints

PAYMENTS, REVERSALS, NOTIFICATIONS = QueueName
MAX_WAIT_SECONDS = 1.0
"""200 ms, and some time for a busy machine."""
HINTS = make_hints(2)


class Destination:
    """Takes hints, unless it is blocked (then it hangs) or broken (then it raises)."""

    def __init__(self) -> None:
        self.batches: list[tuple[QueueName, list[Hint]]] = []
        self.accept_limit: int | None = None
        self.broken = False
        self.reached = threading.Semaphore(0)
        self._open = threading.Event()
        self._open.set()

    def put(self, queue: QueueName, hints: Sequence[Hint]) -> int:
        self.reached.release()
        assert self._open.wait(TEST_TIMEOUT_SECONDS)
        if self.broken:
            raise OSError("broken")
        self.batches.append((queue, list(hints)))
        return len(hints) if self.accept_limit is None else self.accept_limit

    def hang(self) -> None:
        self._open.clear()

    def resume(self) -> None:
        self._open.set()

    def wait_until_reached(self) -> None:
        assert self.reached.acquire(timeout=TEST_TIMEOUT_SECONDS)


@pytest.fixture
def destination() -> Destination:
    return Destination()


@pytest.fixture
def clock() -> FakeMonotonicClock:
    return FakeMonotonicClock()


@pytest.fixture
def sender(
    request: pytest.FixtureRequest, destination: Destination, clock: FakeMonotonicClock
) -> Iterator[BackgroundSender]:
    """It waits for 200 ms as in operation, or with `patient` for so long that it does not matter."""
    timeout_seconds = getattr(request, "param", TIMEOUT_SECONDS)
    log = FailureLog("Sending hints to a test")
    with closing(
        BackgroundSender(destination.put, log, clock=clock, timeout_seconds=timeout_seconds)
    ) as sender:
        yield sender
        destination.resume()


patient = pytest.mark.parametrize("sender", [TEST_TIMEOUT_SECONDS], indirect=True, ids=["patient"])


def send(sender: BackgroundSender, queue: QueueName = PAYMENTS, hints: Sequence[Hint] = HINTS) -> int:
    return sender.send(queue, hints, wait=True)


def send_nowait(sender: BackgroundSender, queue: QueueName = PAYMENTS, hints: Sequence[Hint] = HINTS) -> None:
    assert sender.send(queue, hints, wait=False) == 0


def seconds_taken(sender: BackgroundSender, times: int = 1) -> float:
    """How long it takes to send hints without success, so many times."""
    start = time.monotonic()
    assert [send(sender) for _ in range(times)] == [0] * times
    return time.monotonic() - start


@patient
def test_hints_arrive_in_order_and_are_counted(sender: BackgroundSender, destination: Destination) -> None:
    assert send(sender) == 2
    assert send(sender, REVERSALS, HINTS[:1]) == 1
    assert destination.batches == [(PAYMENTS, HINTS), (REVERSALS, HINTS[:1])]
    destination.accept_limit = 1
    assert send(sender) == 1


@patient
def test_hints_that_arrive_during_a_send_are_sent_together(
    sender: BackgroundSender, destination: Destination
) -> None:
    for _ in range(3):
        destination.hang()
        send_nowait(sender)
        destination.wait_until_reached()
        for hint in make_hints(50):
            send_nowait(sender, PAYMENTS, [hint])
            send_nowait(sender, REVERSALS, [hint])
        destination.resume()
        assert send(sender, NOTIFICATIONS) == 2  # all others are sent by now
        expected = [(PAYMENTS, HINTS), (PAYMENTS, make_hints(50)), (REVERSALS, make_hints(50))]
        assert destination.batches == [*expected, (NOTIFICATIONS, HINTS)]
        destination.batches.clear()
        destination.reached = threading.Semaphore(0)


def test_hung_destination_blocks_no_caller(sender: BackgroundSender, destination: Destination) -> None:
    destination.hang()
    took: list[float] = []
    callers = [threading.Thread(target=lambda: took.append(seconds_taken(sender))) for _ in range(20)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(TEST_TIMEOUT_SECONDS)
    assert len(took) == 20
    assert max(took) < MAX_WAIT_SECONDS
    assert seconds_taken(sender, times=1000) < MAX_WAIT_SECONDS


@patient
def test_hung_destination_does_not_fill_the_memory(
    sender: BackgroundSender, destination: Destination
) -> None:
    destination.hang()
    send_nowait(sender)
    destination.wait_until_reached()
    start = time.monotonic()
    for _ in range(MAX_WAITING_HINTS // 1000 + 5):
        send_nowait(sender, REVERSALS, make_hints(1000))
    assert time.monotonic() - start < MAX_WAIT_SECONDS
    destination.resume()
    sender.close()
    assert [len(hints) for _, hints in destination.batches] == [2, MAX_WAITING_HINTS]


def test_timed_out_hints_are_dropped(
    sender: BackgroundSender, destination: Destination, clock: FakeMonotonicClock
) -> None:
    destination.hang()
    send_nowait(sender, hints=HINTS[:1])
    destination.wait_until_reached()
    assert send(sender, REVERSALS) == 0
    destination.resume()
    while not send(sender):
        clock.advance(RETRY_SECONDS)
    assert {queue for queue, _ in destination.batches} == {PAYMENTS}


@patient
def test_sender_pauses_after_failure(
    sender: BackgroundSender, destination: Destination, clock: FakeMonotonicClock
) -> None:
    destination.broken = True
    assert send(sender) == 0
    destination.broken = False
    assert send(sender) == 0
    clock.advance(RETRY_SECONDS - 0.01)
    assert send(sender) == 0
    clock.advance(0.01)
    assert send(sender) == 2


@patient
def test_one_failure_fails_all_waiting_hints(sender: BackgroundSender, destination: Destination) -> None:
    destination.hang()
    destination.broken = True
    for queue in QueueName:
        send_nowait(sender, queue)
    destination.wait_until_reached()
    destination.resume()
    sender.close()
    assert not destination.reached.acquire(blocking=False)


@patient
def test_an_outage_is_logged_once(
    sender: BackgroundSender,
    destination: Destination,
    clock: FakeMonotonicClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "billvend.queue")
    for is_broken in (True, False):
        destination.broken = is_broken
        for _ in range(10):
            send(sender)
            clock.advance(RETRY_SECONDS)
    assert [(record.levelname, record.getMessage().partition(".")[0]) for record in caplog.records] == [
        ("WARNING", "Sending hints to a test fails: broken"),
        ("INFO", "Sending hints to a test works again"),
    ]


@patient
def test_closed_sender_sends_what_waits_and_accepts_nothing(
    sender: BackgroundSender, destination: Destination
) -> None:
    destination.hang()
    for queue in QueueName:
        send_nowait(sender, queue)
    destination.wait_until_reached()
    thread = sender._thread
    assert thread is not None
    threading.Timer(0.05, destination.resume).start()
    sender.close()
    assert not thread.is_alive()
    assert send(sender) == 0
    assert destination.batches == [(queue, HINTS) for queue in QueueName]


def test_close_does_not_wait_for_hung_destination(sender: BackgroundSender, destination: Destination) -> None:
    destination.hang()
    send(sender)
    start = time.monotonic()
    sender.close()
    assert time.monotonic() - start < MAX_WAIT_SECONDS
