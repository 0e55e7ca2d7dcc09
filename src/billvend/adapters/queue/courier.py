"""Handing messages over without ever waiting longer than promised.

Timeouts on sockets and locks can't keep such a promise: resolving a name, trying each of its addresses, syncing a
disk and queueing for a connection all come on top. So one thread does the waiting for everybody. Whoever has messages
gives them to it and waits for 200 ms at most. What piles up in the meantime travels together.
"""

import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from billvend.adapters.queue.outage import Outage
from billvend.ports.queue import QueueName

PATIENCE_SECONDS = 0.2
"""How long a caller waits in all, unless it was told otherwise."""
REST_SECONDS = 1.0
"""After a failure nobody tries for so long: a hundred calls in a row must not wait a hundred times."""
LETTER_MESSAGES = 1000
"""More messages than this are handed over in parts, so that a part counts as soon as it has arrived."""
MOST_LETTERS = 10_000
"""Where so many wait, whatever takes them is stuck: nobody's memory is to be filled with more."""
ROUND_LETTERS = 64
"""So many letters travel together at most."""


@dataclass(frozen=True, slots=True, eq=False)
class _Letter:
    queue: QueueName
    messages: list[bytes]
    arrived: Future[int] = field(default_factory=Future)


class Courier:
    """One thread, started when first needed, that puts messages where they belong."""

    def __init__(
        self,
        put: Callable[[QueueName, Sequence[bytes]], int],
        outage: Outage,
        *,
        clock: Callable[[], float] = time.monotonic,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        """`put` may block and raise; it returns how many of the messages, the first ones, were taken.

        `clock` gives seconds; it decides when to try again after a failure.
        """
        self._put = put
        self._outage = outage
        self._clock = clock
        self._patience_seconds = patience_seconds
        self._lock = threading.Lock()
        self._letters: queue.SimpleQueue[_Letter | None] = queue.SimpleQueue()
        self._open: dict[
            QueueName, _Letter
        ] = {}  # letters in there that nobody waits for, and that take more
        self._thread: threading.Thread | None = None
        self._stuck = False  # somebody lost patience with the present round
        self._resting_until = float("-inf")
        self._closed = False

    def hand_over(self, queue_name: QueueName, messages: Sequence[bytes]) -> int:
        """Returns how many messages, the first ones, have surely arrived. Returns in `patience_seconds`."""
        deadline = time.monotonic() + self._patience_seconds
        arrived = 0
        for start in range(0, len(messages), LETTER_MESSAGES):
            letter = _Letter(queue_name, list(messages[start : start + LETTER_MESSAGES]))
            taken = self._send(letter, deadline)
            arrived += taken
            if taken < len(letter.messages):
                break
        return arrived

    def send(self, queue_name: QueueName, messages: Sequence[bytes]) -> None:
        """Have messages handed over soon; those that can't be are let go, and whoever is told of it is nobody."""
        with self._lock:
            if not self._is_willing():
                return
            letter = self._open.get(queue_name)
            if letter is not None and len(letter.messages) < LETTER_MESSAGES:
                letter.messages.extend(
                    messages
                )  # the thread was woken for this letter: it need not be once more
            elif self._letters.qsize() < MOST_LETTERS:
                self._open[queue_name] = letter = _Letter(queue_name, list(messages))
                self._letters.put(letter)

    def close(self) -> None:
        """End the thread, if it will listen; afterwards nothing is handed over."""
        with self._lock:
            self._closed = True
            thread, self._thread = self._thread, None
        self._letters.put(None)
        if thread is not None:
            thread.join(self._patience_seconds)

    def _send(self, letter: _Letter, deadline: float) -> int:
        with self._lock:
            if not self._is_willing():
                return 0
            self._letters.put(letter)
        try:
            return letter.arrived.result(timeout=max(0.0, deadline - time.monotonic()))
        except TimeoutError:
            return self._lose_patience(letter)

    def _is_willing(self) -> bool:
        if self._closed:
            return False
        if self._thread is None or not self._thread.is_alive():  # the first call, or the first after a fork
            self._thread = threading.Thread(target=self._carry, name="billvend-courier", daemon=True)
            self._thread.start()
            self._stuck = False
        return not self._stuck and self._clock() >= self._resting_until

    def _lose_patience(self, letter: _Letter) -> int:
        with self._lock:
            if not letter.arrived.cancel() and letter.arrived.done():
                return letter.arrived.result()  # it arrived just now
            self._stuck = True
        self._outage.begin(f"no answer within {self._patience_seconds} s")
        return 0

    def _carry(self) -> None:
        while letters := self._next_round():
            with self._lock:
                self._open.clear()  # what is told from now on goes into the next round
            wanted = [letter for letter in letters if letter.arrived.set_running_or_notify_cancel()]
            for queue_name in QueueName:
                self._deliver(queue_name, [letter for letter in wanted if letter.queue == queue_name])
            with self._lock:
                self._stuck = False

    def _next_round(self) -> list[_Letter]:
        """What waits; blocks while nothing does. Empty: the courier is to end."""
        letters: list[_Letter] = []
        while len(letters) < ROUND_LETTERS and not (letters and self._letters.empty()):
            letter = self._letters.get()
            if letter is None:
                if letters:
                    self._letters.put(None)  # these first, then the end
                break
            letters.append(letter)
        return letters

    def _deliver(self, queue_name: QueueName, letters: Sequence[_Letter]) -> None:
        messages = [message for letter in letters for message in letter.messages]
        taken = self._try_to_put(queue_name, messages) if messages else 0
        with self._lock:  # so that nobody loses patience with a letter while it is being answered
            for letter in letters:
                arrived = min(taken, len(letter.messages))
                letter.arrived.set_result(arrived)
                taken -= arrived

    def _try_to_put(self, queue_name: QueueName, messages: Sequence[bytes]) -> int:
        if self._clock() < self._resting_until:  # another queue has just failed, in the same round
            return 0
        try:
            taken = self._put(queue_name, messages)
        except Exception as error:  # noqa: BLE001 - each driver has its own
            self._resting_until = self._clock() + REST_SECONDS
            self._outage.begin(error)
            return 0
        self._outage.end()
        return taken
