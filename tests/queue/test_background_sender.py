"""The background sender keeps its promise with any transport: its destination here is a lock, not a server."""

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing

import pytest

from billvend.adapters.queue.background_sender import (
    MAX_BATCH_MESSAGES,
    RETRY_SECONDS,
    TIMEOUT_SECONDS,
    BackgroundSender,
)
from billvend.adapters.queue.failure_log import FailureLog
from billvend.ports.queue import QueueName
from tests.queue.consumer_harness import TEST_TIMEOUT_SECONDS, FakeMonotonicClock

PAYMENTS, REVERSALS, NOTIFICATIONS = QueueName
MAX_WAIT_SECONDS = 1.0
"""200 ms, and some time for a busy machine."""
MESSAGES = [b"one", b"two"]


class Destination:
    """Takes messages, unless it is blocked (then it hangs) or broken (then it raises)."""

    def __init__(self) -> None:
        self.batches: list[tuple[QueueName, list[bytes]]] = []
        self.accept_limit: int | None = None
        self.broken = False
        self.reached = threading.Semaphore(0)
        self._open = threading.Event()
        self._open.set()

    def put(self, queue: QueueName, messages: Sequence[bytes]) -> int:
        self.reached.release()
        assert self._open.wait(TEST_TIMEOUT_SECONDS)
        if self.broken:
            raise OSError("broken")
        self.batches.append((queue, list(messages)))
        return len(messages) if self.accept_limit is None else self.accept_limit

    def hang(self) -> None:
        self._open.clear()

    def resume(self) -> None:
        self._open.set()


@pytest.fixture
def destination() -> Destination:
    return Destination()


@pytest.fixture
def clock() -> FakeMonotonicClock:
    return FakeMonotonicClock()


@pytest.fixture
def sender(destination: Destination, clock: FakeMonotonicClock) -> Iterator[BackgroundSender]:
    with closing(sender_to(destination, clock)) as sender:
        yield sender
        destination.resume()


@pytest.fixture
def patient_sender(destination: Destination, clock: FakeMonotonicClock) -> Iterator[BackgroundSender]:
    """How long this takes does not matter here."""
    with closing(sender_to(destination, clock, timeout_seconds=TEST_TIMEOUT_SECONDS)) as sender:
        yield sender
        destination.resume()


def sender_to(
    destination: Destination, clock: FakeMonotonicClock, timeout_seconds: float = TIMEOUT_SECONDS
) -> BackgroundSender:
    outage = FailureLog("Sending hints to a test")
    return BackgroundSender(destination.put, outage, clock=clock, timeout_seconds=timeout_seconds)


def seconds_taken(sender: BackgroundSender, times: int = 1) -> float:
    """How long it takes to hand over messages without success, so many times."""
    start = time.monotonic()
    assert [sender.send(PAYMENTS, MESSAGES) for _ in range(times)] == [0] * times
    return time.monotonic() - start


def send_with_retries(sender: BackgroundSender) -> None:
    """Hand over repeatedly for a while: the sender may still be busy with messages whose callers gave up."""
    deadline = time.monotonic() + TEST_TIMEOUT_SECONDS
    while not sender.send(PAYMENTS, MESSAGES):
        assert time.monotonic() < deadline


def queue_up(callers: list[threading.Thread], sender: BackgroundSender, destination: Destination) -> None:
    """Start the calls, so that the sender hangs with the first one's messages and all others wait."""
    callers[0].start()
    assert destination.reached.acquire(timeout=TEST_TIMEOUT_SECONDS)
    for caller in callers[1:]:
        caller.start()
    while sender._batches.qsize() < len(callers) - 1:
        assert all(caller.is_alive() for caller in callers), "they lost patience too soon"


def test_messages_arrive_in_order(patient_sender: BackgroundSender, destination: Destination) -> None:
    assert patient_sender.send(PAYMENTS, MESSAGES) == 2
    assert patient_sender.send(REVERSALS, [b"three"]) == 1
    assert destination.batches == [(PAYMENTS, MESSAGES), (REVERSALS, [b"three"])]


def test_send_returns_the_number_accepted(patient_sender: BackgroundSender, destination: Destination) -> None:
    destination.accept_limit = 1
    assert patient_sender.send(PAYMENTS, MESSAGES) == 1
    assert patient_sender.send(PAYMENTS, [b"x"] * (MAX_BATCH_MESSAGES + 1)) == 1


def test_many_messages_are_sent_in_batches(
    patient_sender: BackgroundSender, destination: Destination
) -> None:
    assert patient_sender.send(PAYMENTS, [b"x"] * (2 * MAX_BATCH_MESSAGES + 1)) == 2 * MAX_BATCH_MESSAGES + 1
    assert [len(messages) for _, messages in destination.batches] == [
        MAX_BATCH_MESSAGES,
        MAX_BATCH_MESSAGES,
        1,
    ]


def test_hung_destination_does_not_block_caller(sender: BackgroundSender, destination: Destination) -> None:
    destination.hang()
    assert seconds_taken(sender) < MAX_WAIT_SECONDS
    assert seconds_taken(sender, times=1000) < MAX_WAIT_SECONDS


def test_concurrent_callers_wait_in_parallel(sender: BackgroundSender, destination: Destination) -> None:
    destination.hang()
    took: list[float] = []
    callers = [threading.Thread(target=lambda: took.append(seconds_taken(sender))) for _ in range(20)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(TEST_TIMEOUT_SECONDS)
    assert len(took) == 20
    assert max(took) < MAX_WAIT_SECONDS


def test_queued_messages_are_sent_together(
    patient_sender: BackgroundSender, destination: Destination
) -> None:
    destination.hang()
    arrived: list[int] = []
    callers = [
        threading.Thread(target=lambda queue=queue: arrived.append(patient_sender.send(queue, MESSAGES)))
        for queue in [PAYMENTS, *[REVERSALS] * 10]
    ]
    queue_up(callers, patient_sender, destination)
    destination.resume()
    for caller in callers:
        caller.join(TEST_TIMEOUT_SECONDS)
    assert arrived == [2] * 11
    assert destination.batches == [(PAYMENTS, MESSAGES), (REVERSALS, MESSAGES * 10)]


def test_messages_queued_during_send_are_batched_in_order(
    patient_sender: BackgroundSender, destination: Destination
) -> None:
    destination.hang()
    patient_sender.send_nowait(PAYMENTS, [b"first"])
    assert destination.reached.acquire(timeout=TEST_TIMEOUT_SECONDS)
    messages = [b"%d" % number for number in range(2 * MAX_BATCH_MESSAGES)]
    for message in messages:
        patient_sender.send_nowait(PAYMENTS, [message])
        patient_sender.send_nowait(REVERSALS, [message])
    assert patient_sender._batches.qsize() == 4  # two full batches for each queue, not one for each message
    destination.resume()
    assert patient_sender.send(NOTIFICATIONS, [b"last"]) == 1  # everything else is sent by now
    for queue, expected in ((PAYMENTS, [b"first", *messages]), (REVERSALS, messages)):
        assert [
            message for where, round_ in destination.batches for message in round_ if where == queue
        ] == expected


def test_messages_queued_during_send_are_not_lost(
    patient_sender: BackgroundSender, destination: Destination
) -> None:
    for number in range(3):
        destination.hang()
        patient_sender.send_nowait(PAYMENTS, [b"a%d" % number])
        assert destination.reached.acquire(timeout=TEST_TIMEOUT_SECONDS)
        patient_sender.send_nowait(
            PAYMENTS, [b"b%d" % number]
        )  # the first caller gave up: this message goes with the next
        destination.resume()
        assert destination.reached.acquire(timeout=TEST_TIMEOUT_SECONDS)
    assert patient_sender.send(PAYMENTS, [b"end"]) == 1
    assert [round_ for _, round_ in destination.batches] == [
        [b"a0"], [b"b0"], [b"a1"], [b"b1"], [b"a2"], [b"b2"], [b"end"],
    ]  # fmt: skip


def test_timed_out_messages_are_dropped(sender: BackgroundSender, destination: Destination) -> None:
    destination.hang()
    first = threading.Thread(target=sender.send, args=(PAYMENTS, [b"on its way"]))
    first.start()
    assert destination.reached.acquire(timeout=TEST_TIMEOUT_SECONDS)
    assert sender.send(REVERSALS, [b"given up"]) == 0
    destination.resume()
    first.join(TEST_TIMEOUT_SECONDS)
    send_with_retries(sender)
    assert [messages for _, messages in destination.batches] == [[b"on its way"], MESSAGES]


def test_sender_pauses_after_failure(
    patient_sender: BackgroundSender, destination: Destination, clock: FakeMonotonicClock
) -> None:
    destination.broken = True
    assert patient_sender.send(PAYMENTS, MESSAGES) == 0
    destination.broken = False
    assert patient_sender.send(PAYMENTS, MESSAGES) == 0
    clock.advance(RETRY_SECONDS - 0.01)
    assert patient_sender.send(PAYMENTS, MESSAGES) == 0
    clock.advance(0.01)
    assert patient_sender.send(PAYMENTS, MESSAGES) == 2


def test_one_failure_fails_all_queued_messages(sender: BackgroundSender, destination: Destination) -> None:
    destination.hang()
    destination.broken = True
    callers = [
        threading.Thread(target=sender.send, args=(queue, MESSAGES))
        for queue in [PAYMENTS, REVERSALS, NOTIFICATIONS]
    ]
    for caller in callers:
        caller.start()
    assert destination.reached.acquire(timeout=TEST_TIMEOUT_SECONDS)
    destination.resume()
    for caller in callers:
        caller.join(TEST_TIMEOUT_SECONDS)
    assert not destination.reached.acquire(blocking=False)


def test_an_outage_is_logged_once(
    patient_sender: BackgroundSender,
    destination: Destination,
    clock: FakeMonotonicClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "billvend.queue")
    destination.broken = True
    for _ in range(10):
        patient_sender.send(PAYMENTS, MESSAGES)
        clock.advance(RETRY_SECONDS)
    destination.broken = False
    for _ in range(10):
        patient_sender.send(PAYMENTS, MESSAGES)
    assert [(record.levelname, record.getMessage().partition(".")[0]) for record in caplog.records] == [
        ("WARNING", "Sending hints to a test fails: broken"),
        ("INFO", "Sending hints to a test works again"),
    ]


def test_closed_sender_accepts_nothing_and_its_thread_ends(
    patient_sender: BackgroundSender, destination: Destination
) -> None:
    patient_sender.send(PAYMENTS, MESSAGES)
    thread = patient_sender._thread
    assert thread is not None
    patient_sender.close()
    assert not thread.is_alive()
    assert patient_sender.send(PAYMENTS, MESSAGES) == 0
    assert len(destination.batches) == 1


def test_sender_closed_while_busy_ends_its_thread(sender: BackgroundSender, destination: Destination) -> None:
    destination.hang()
    callers = [threading.Thread(target=sender.send, args=(queue, MESSAGES)) for queue in QueueName]
    queue_up(callers, sender, destination)
    thread = sender._thread
    assert thread is not None
    sender.close()
    destination.resume()
    thread.join(TEST_TIMEOUT_SECONDS)
    assert not thread.is_alive()
    for caller in callers:
        caller.join(TEST_TIMEOUT_SECONDS)


def test_close_does_not_wait_for_hung_destination(sender: BackgroundSender, destination: Destination) -> None:
    destination.hang()
    sender.send(PAYMENTS, MESSAGES)
    start = time.monotonic()
    sender.close()
    assert time.monotonic() - start < MAX_WAIT_SECONDS
