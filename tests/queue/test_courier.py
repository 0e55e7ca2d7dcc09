"""The sender keeps its promise whatever it is given to carry to: the wait here is a lock, not a server."""

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
from tests.queue.consuming import PATIENCE_SECONDS, Clock

PAYMENTS, REVERSALS, NOTIFICATIONS = QueueName
SOON_SECONDS = 1.0
"""200 ms, and the rest for a busy machine."""
MESSAGES = [b"one", b"two"]


class Destination:
    """Takes messages, unless it is shut (it hangs) or broken (it raises)."""

    def __init__(self) -> None:
        self.rounds: list[tuple[QueueName, list[bytes]]] = []
        self.room: int | None = None
        self.broken = False
        self.reached = threading.Semaphore(0)
        self._open = threading.Event()
        self._open.set()

    def put(self, queue: QueueName, messages: Sequence[bytes]) -> int:
        self.reached.release()
        assert self._open.wait(PATIENCE_SECONDS)
        if self.broken:
            raise OSError("broken")
        self.rounds.append((queue, list(messages)))
        return len(messages) if self.room is None else self.room

    def shut(self) -> None:
        self._open.clear()

    def open(self) -> None:
        self._open.set()


@pytest.fixture
def destination() -> Destination:
    return Destination()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sender(destination: Destination, clock: Clock) -> Iterator[BackgroundSender]:
    with closing(sender_to(destination, clock)) as sender:
        yield sender
        destination.open()


@pytest.fixture
def patient_sender(destination: Destination, clock: Clock) -> Iterator[BackgroundSender]:
    """Of no interest here is how long it waits."""
    with closing(sender_to(destination, clock, timeout_seconds=PATIENCE_SECONDS)) as sender:
        yield sender
        destination.open()


def sender_to(
    destination: Destination, clock: Clock, timeout_seconds: float = TIMEOUT_SECONDS
) -> BackgroundSender:
    outage = FailureLog("Handing hints to a test")
    return BackgroundSender(destination.put, outage, clock=clock, timeout_seconds=timeout_seconds)


def seconds_taken(sender: BackgroundSender, times: int = 1) -> float:
    """How long it takes to hand over, in vain, so many times."""
    start = time.monotonic()
    assert [sender.send(PAYMENTS, MESSAGES) for _ in range(times)] == [0] * times
    return time.monotonic() - start


def hand_over_somehow(sender: BackgroundSender) -> None:
    """Hand over, repeating it for a while: the sender may still be busy with what nobody waits for any more."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not sender.send(PAYMENTS, MESSAGES):
        assert time.monotonic() < deadline


def let_pile_up(callers: list[threading.Thread], sender: BackgroundSender, destination: Destination) -> None:
    """Start them, so that the sender hangs with what the first one has, and all the others wait."""
    callers[0].start()
    assert destination.reached.acquire(timeout=PATIENCE_SECONDS)
    for caller in callers[1:]:
        caller.start()
    while sender._batches.qsize() < len(callers) - 1:
        assert all(caller.is_alive() for caller in callers), "they lost patience too soon"


def test_messages_arrive_in_order(patient_sender: BackgroundSender, destination: Destination) -> None:
    assert patient_sender.send(PAYMENTS, MESSAGES) == 2
    assert patient_sender.send(REVERSALS, [b"three"]) == 1
    assert destination.rounds == [(PAYMENTS, MESSAGES), (REVERSALS, [b"three"])]


def test_only_what_was_taken_is_counted(patient_sender: BackgroundSender, destination: Destination) -> None:
    destination.room = 1
    assert patient_sender.send(PAYMENTS, MESSAGES) == 1
    assert patient_sender.send(PAYMENTS, [b"x"] * (MAX_BATCH_MESSAGES + 1)) == 1


def test_many_messages_travel_in_parts(patient_sender: BackgroundSender, destination: Destination) -> None:
    assert patient_sender.send(PAYMENTS, [b"x"] * (2 * MAX_BATCH_MESSAGES + 1)) == 2 * MAX_BATCH_MESSAGES + 1
    assert [len(messages) for _, messages in destination.rounds] == [
        MAX_BATCH_MESSAGES,
        MAX_BATCH_MESSAGES,
        1,
    ]


def test_nobody_waits_for_a_destination_that_hangs(
    sender: BackgroundSender, destination: Destination
) -> None:
    destination.shut()
    assert seconds_taken(sender) < SOON_SECONDS
    assert seconds_taken(sender, times=1000) < SOON_SECONDS


def test_callers_at_the_same_time_wait_side_by_side(
    sender: BackgroundSender, destination: Destination
) -> None:
    destination.shut()
    took: list[float] = []
    callers = [threading.Thread(target=lambda: took.append(seconds_taken(sender))) for _ in range(20)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(PATIENCE_SECONDS)
    assert len(took) == 20
    assert max(took) < SOON_SECONDS


def test_what_piles_up_travels_together(patient_sender: BackgroundSender, destination: Destination) -> None:
    destination.shut()
    arrived: list[int] = []
    callers = [
        threading.Thread(target=lambda queue=queue: arrived.append(patient_sender.send(queue, MESSAGES)))
        for queue in [PAYMENTS, *[REVERSALS] * 10]
    ]
    let_pile_up(callers, patient_sender, destination)
    destination.open()
    for caller in callers:
        caller.join(PATIENCE_SECONDS)
    assert arrived == [2] * 11
    assert destination.rounds == [(PAYMENTS, MESSAGES), (REVERSALS, MESSAGES * 10)]


def test_what_is_told_meanwhile_is_one_letter_whole_and_in_order(
    patient_sender: BackgroundSender, destination: Destination
) -> None:
    destination.shut()
    patient_sender.send_nowait(PAYMENTS, [b"first"])
    assert destination.reached.acquire(timeout=PATIENCE_SECONDS)
    told = [b"%d" % number for number in range(2 * MAX_BATCH_MESSAGES)]
    for message in told:
        patient_sender.send_nowait(PAYMENTS, [message])
        patient_sender.send_nowait(REVERSALS, [message])
    assert patient_sender._batches.qsize() == 4  # two full ones for each queue, not one a message
    destination.open()
    assert patient_sender.send(NOTIFICATIONS, [b"last"]) == 1  # all else is there by now
    for queue, expected in ((PAYMENTS, [b"first", *told]), (REVERSALS, told)):
        assert [
            message for where, round_ in destination.rounds for message in round_ if where == queue
        ] == expected


def test_what_is_told_while_a_letter_travels_is_not_lost(
    patient_sender: BackgroundSender, destination: Destination
) -> None:
    for number in range(3):
        destination.shut()
        patient_sender.send_nowait(PAYMENTS, [b"a%d" % number])
        assert destination.reached.acquire(timeout=PATIENCE_SECONDS)
        patient_sender.send_nowait(
            PAYMENTS, [b"b%d" % number]
        )  # the first has left: this one goes by the next
        destination.open()
        assert destination.reached.acquire(timeout=PATIENCE_SECONDS)
    assert patient_sender.send(PAYMENTS, [b"end"]) == 1
    assert [round_ for _, round_ in destination.rounds] == [
        [b"a0"], [b"b0"], [b"a1"], [b"b1"], [b"a2"], [b"b2"], [b"end"],
    ]  # fmt: skip


def test_what_nobody_waits_for_is_not_sent_later(sender: BackgroundSender, destination: Destination) -> None:
    destination.shut()
    first = threading.Thread(target=sender.send, args=(PAYMENTS, [b"on its way"]))
    first.start()
    assert destination.reached.acquire(timeout=PATIENCE_SECONDS)
    assert sender.send(REVERSALS, [b"given up"]) == 0
    destination.open()
    first.join(PATIENCE_SECONDS)
    hand_over_somehow(sender)
    assert [messages for _, messages in destination.rounds] == [[b"on its way"], MESSAGES]


def test_after_a_failure_it_rests(
    patient_sender: BackgroundSender, destination: Destination, clock: Clock
) -> None:
    destination.broken = True
    assert patient_sender.send(PAYMENTS, MESSAGES) == 0
    destination.broken = False
    assert patient_sender.send(PAYMENTS, MESSAGES) == 0
    clock.advance(RETRY_SECONDS - 0.01)
    assert patient_sender.send(PAYMENTS, MESSAGES) == 0
    clock.advance(0.01)
    assert patient_sender.send(PAYMENTS, MESSAGES) == 2


def test_one_failure_is_enough_for_all_who_travel_together(
    sender: BackgroundSender, destination: Destination
) -> None:
    destination.shut()
    destination.broken = True
    callers = [
        threading.Thread(target=sender.send, args=(queue, MESSAGES))
        for queue in [PAYMENTS, REVERSALS, NOTIFICATIONS]
    ]
    for caller in callers:
        caller.start()
    assert destination.reached.acquire(timeout=PATIENCE_SECONDS)
    destination.open()
    for caller in callers:
        caller.join(PATIENCE_SECONDS)
    assert not destination.reached.acquire(blocking=False)


def test_an_outage_is_logged_once(
    patient_sender: BackgroundSender, destination: Destination, clock: Clock, caplog: pytest.LogCaptureFixture
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
        ("WARNING", "Handing hints to a test fails: broken"),
        ("INFO", "Handing hints to a test works again"),
    ]


def test_closed_it_takes_nothing_and_its_thread_ends(
    patient_sender: BackgroundSender, destination: Destination
) -> None:
    patient_sender.send(PAYMENTS, MESSAGES)
    thread = patient_sender._thread
    assert thread is not None
    patient_sender.close()
    assert not thread.is_alive()
    assert patient_sender.send(PAYMENTS, MESSAGES) == 0
    assert len(destination.rounds) == 1


def test_closed_while_it_is_busy_its_thread_ends_too(
    sender: BackgroundSender, destination: Destination
) -> None:
    destination.shut()
    callers = [threading.Thread(target=sender.send, args=(queue, MESSAGES)) for queue in QueueName]
    let_pile_up(callers, sender, destination)
    thread = sender._thread
    assert thread is not None
    sender.close()
    destination.open()
    thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive()
    for caller in callers:
        caller.join(PATIENCE_SECONDS)


def test_closing_does_not_wait_for_a_destination_that_hangs(
    sender: BackgroundSender, destination: Destination
) -> None:
    destination.shut()
    sender.send(PAYMENTS, MESSAGES)
    start = time.monotonic()
    sender.close()
    assert time.monotonic() - start < SOON_SECONDS
