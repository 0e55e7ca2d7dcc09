"""The courier keeps its promise whatever it is given to carry to: the wait here is a lock, not a server."""

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing

import pytest

from billvend.adapters.queue.courier import LETTER_MESSAGES, REST_SECONDS, Courier
from billvend.adapters.queue.courier import PATIENCE_SECONDS as COURIER_PATIENCE_SECONDS
from billvend.adapters.queue.outage import Outage
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
def courier(destination: Destination, clock: Clock) -> Iterator[Courier]:
    with closing(courier_to(destination, clock)) as courier:
        yield courier
        destination.open()


@pytest.fixture
def patient_courier(destination: Destination, clock: Clock) -> Iterator[Courier]:
    """Of no interest here is how long it waits."""
    with closing(courier_to(destination, clock, patience_seconds=PATIENCE_SECONDS)) as courier:
        yield courier
        destination.open()


def courier_to(
    destination: Destination, clock: Clock, patience_seconds: float = COURIER_PATIENCE_SECONDS
) -> Courier:
    outage = Outage("Handing hints to a test")
    return Courier(destination.put, outage, clock=clock, patience_seconds=patience_seconds)


def seconds_taken(courier: Courier, times: int = 1) -> float:
    """How long it takes to hand over, in vain, so many times."""
    start = time.monotonic()
    assert [courier.hand_over(PAYMENTS, MESSAGES) for _ in range(times)] == [0] * times
    return time.monotonic() - start


def hand_over_somehow(courier: Courier) -> None:
    """Hand over, repeating it for a while: the courier may still be busy with what nobody waits for any more."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not courier.hand_over(PAYMENTS, MESSAGES):
        assert time.monotonic() < deadline


def let_pile_up(callers: list[threading.Thread], courier: Courier, destination: Destination) -> None:
    """Start them, so that the courier hangs with what the first one has, and all the others wait."""
    callers[0].start()
    assert destination.reached.acquire(timeout=PATIENCE_SECONDS)
    for caller in callers[1:]:
        caller.start()
    while courier._letters.qsize() < len(callers) - 1:
        assert all(caller.is_alive() for caller in callers), "they lost patience too soon"


def test_messages_arrive_in_order(patient_courier: Courier, destination: Destination) -> None:
    assert patient_courier.hand_over(PAYMENTS, MESSAGES) == 2
    assert patient_courier.hand_over(REVERSALS, [b"three"]) == 1
    assert destination.rounds == [(PAYMENTS, MESSAGES), (REVERSALS, [b"three"])]


def test_only_what_was_taken_is_counted(patient_courier: Courier, destination: Destination) -> None:
    destination.room = 1
    assert patient_courier.hand_over(PAYMENTS, MESSAGES) == 1
    assert patient_courier.hand_over(PAYMENTS, [b"x"] * (LETTER_MESSAGES + 1)) == 1


def test_many_messages_travel_in_parts(patient_courier: Courier, destination: Destination) -> None:
    assert patient_courier.hand_over(PAYMENTS, [b"x"] * (2 * LETTER_MESSAGES + 1)) == 2 * LETTER_MESSAGES + 1
    assert [len(messages) for _, messages in destination.rounds] == [LETTER_MESSAGES, LETTER_MESSAGES, 1]


def test_nobody_waits_for_a_destination_that_hangs(courier: Courier, destination: Destination) -> None:
    destination.shut()
    assert seconds_taken(courier) < SOON_SECONDS
    assert seconds_taken(courier, times=1000) < SOON_SECONDS


def test_callers_at_the_same_time_wait_side_by_side(courier: Courier, destination: Destination) -> None:
    destination.shut()
    took: list[float] = []
    callers = [threading.Thread(target=lambda: took.append(seconds_taken(courier))) for _ in range(20)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(PATIENCE_SECONDS)
    assert len(took) == 20
    assert max(took) < SOON_SECONDS


def test_what_piles_up_travels_together(patient_courier: Courier, destination: Destination) -> None:
    destination.shut()
    arrived: list[int] = []
    callers = [
        threading.Thread(
            target=lambda queue=queue: arrived.append(patient_courier.hand_over(queue, MESSAGES))
        )
        for queue in [PAYMENTS, *[REVERSALS] * 10]
    ]
    let_pile_up(callers, patient_courier, destination)
    destination.open()
    for caller in callers:
        caller.join(PATIENCE_SECONDS)
    assert arrived == [2] * 11
    assert destination.rounds == [(PAYMENTS, MESSAGES), (REVERSALS, MESSAGES * 10)]


def test_what_is_told_meanwhile_is_one_letter_whole_and_in_order(
    patient_courier: Courier, destination: Destination
) -> None:
    destination.shut()
    patient_courier.send(PAYMENTS, [b"first"])
    assert destination.reached.acquire(timeout=PATIENCE_SECONDS)
    told = [b"%d" % number for number in range(2 * LETTER_MESSAGES)]
    for message in told:
        patient_courier.send(PAYMENTS, [message])
        patient_courier.send(REVERSALS, [message])
    assert patient_courier._letters.qsize() == 4  # two full ones for each queue, not one a message
    destination.open()
    assert patient_courier.hand_over(NOTIFICATIONS, [b"last"]) == 1  # all else is there by now
    for queue, expected in ((PAYMENTS, [b"first", *told]), (REVERSALS, told)):
        assert [
            message for where, round_ in destination.rounds for message in round_ if where == queue
        ] == expected


def test_what_is_told_while_a_letter_travels_is_not_lost(
    patient_courier: Courier, destination: Destination
) -> None:
    for number in range(3):
        destination.shut()
        patient_courier.send(PAYMENTS, [b"a%d" % number])
        assert destination.reached.acquire(timeout=PATIENCE_SECONDS)
        patient_courier.send(PAYMENTS, [b"b%d" % number])  # the first has left: this one goes by the next
        destination.open()
        assert destination.reached.acquire(timeout=PATIENCE_SECONDS)
    assert patient_courier.hand_over(PAYMENTS, [b"end"]) == 1
    assert [round_ for _, round_ in destination.rounds] == [
        [b"a0"], [b"b0"], [b"a1"], [b"b1"], [b"a2"], [b"b2"], [b"end"],
    ]  # fmt: skip


def test_what_nobody_waits_for_is_not_sent_later(courier: Courier, destination: Destination) -> None:
    destination.shut()
    first = threading.Thread(target=courier.hand_over, args=(PAYMENTS, [b"on its way"]))
    first.start()
    assert destination.reached.acquire(timeout=PATIENCE_SECONDS)
    assert courier.hand_over(REVERSALS, [b"given up"]) == 0
    destination.open()
    first.join(PATIENCE_SECONDS)
    hand_over_somehow(courier)
    assert [messages for _, messages in destination.rounds] == [[b"on its way"], MESSAGES]


def test_after_a_failure_it_rests(patient_courier: Courier, destination: Destination, clock: Clock) -> None:
    destination.broken = True
    assert patient_courier.hand_over(PAYMENTS, MESSAGES) == 0
    destination.broken = False
    assert patient_courier.hand_over(PAYMENTS, MESSAGES) == 0
    clock.advance(REST_SECONDS - 0.01)
    assert patient_courier.hand_over(PAYMENTS, MESSAGES) == 0
    clock.advance(0.01)
    assert patient_courier.hand_over(PAYMENTS, MESSAGES) == 2


def test_one_failure_is_enough_for_all_who_travel_together(
    courier: Courier, destination: Destination
) -> None:
    destination.shut()
    destination.broken = True
    callers = [
        threading.Thread(target=courier.hand_over, args=(queue, MESSAGES))
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
    patient_courier: Courier, destination: Destination, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "billvend.queue")
    destination.broken = True
    for _ in range(10):
        patient_courier.hand_over(PAYMENTS, MESSAGES)
        clock.advance(REST_SECONDS)
    destination.broken = False
    for _ in range(10):
        patient_courier.hand_over(PAYMENTS, MESSAGES)
    assert [(record.levelname, record.getMessage().partition(".")[0]) for record in caplog.records] == [
        ("WARNING", "Handing hints to a test fails: broken"),
        ("INFO", "Handing hints to a test works again"),
    ]


def test_closed_it_takes_nothing_and_its_thread_ends(
    patient_courier: Courier, destination: Destination
) -> None:
    patient_courier.hand_over(PAYMENTS, MESSAGES)
    thread = patient_courier._thread
    assert thread is not None
    patient_courier.close()
    assert not thread.is_alive()
    assert patient_courier.hand_over(PAYMENTS, MESSAGES) == 0
    assert len(destination.rounds) == 1


def test_closed_while_it_is_busy_its_thread_ends_too(courier: Courier, destination: Destination) -> None:
    destination.shut()
    callers = [threading.Thread(target=courier.hand_over, args=(queue, MESSAGES)) for queue in QueueName]
    let_pile_up(callers, courier, destination)
    thread = courier._thread
    assert thread is not None
    courier.close()
    destination.open()
    thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive()
    for caller in callers:
        caller.join(PATIENCE_SECONDS)


def test_closing_does_not_wait_for_a_destination_that_hangs(
    courier: Courier, destination: Destination
) -> None:
    destination.shut()
    courier.hand_over(PAYMENTS, MESSAGES)
    start = time.monotonic()
    courier.close()
    assert time.monotonic() - start < SOON_SECONDS
