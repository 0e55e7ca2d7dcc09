"""The worker: takes what the queue brings, and sweeps for what the queue lost.

Any number of them may run, anywhere. One that is killed loses nothing: its claims run out, and a sweep finds the work.
"""

import logging
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from types import FrameType
from typing import IO

from billvend.domain.errors import BillvendError
from billvend.library import Billvend
from billvend.ports.queue import Hint
from billvend.usecases.sweep import MOST_A_PASS

SOON_SECONDS = 0.25
"""After a pass whose finds nobody took, the next one comes so soon; then after twice that, up to the interval."""

logger = logging.getLogger("billvend.worker")


def run(
    bv: Billvend, *, threads: int, sweep_interval_seconds: float, parent: IO[bytes] | None = None
) -> None:
    """Work until SIGTERM or SIGINT, or until `parent` ends; then finish what is in hand, and return.

    To be called on the main thread. `parent` is a pipe that whoever started this holds open as long as it lives.
    """
    stopping = _Stopping()
    if parent is not None:
        threading.Thread(target=lambda: stopping.with_the_end_of(parent), daemon=True).start()
    sweeper = threading.Thread(
        target=lambda: sweep_often(bv, sweep_interval_seconds, stopping.event), name="billvend-sweeper"
    )
    watch = threading.Thread(
        target=lambda: look_after_often(bv, sweep_interval_seconds, stopping.event), name="billvend-breaker"
    )
    messenger = threading.Thread(
        target=lambda: notify_often(bv, sweep_interval_seconds, stopping.event), name="billvend-messenger"
    )
    cashier = threading.Thread(
        target=lambda: ask_about_fundings_often(bv, sweep_interval_seconds, stopping.event),
        name="billvend-cashier",
    )
    with stopping.on_signals():
        logger.info("Worker started", extra={"context": {"threads": threads}})
        sweeper.start()
        watch.start()
        messenger.start()
        cashier.start()
        try:
            bv.work(threads=threads, stop=stopping.event)
        finally:
            stopping.ask("the end of its work")
            sweeper.join()
            watch.join()
            messenger.join()
            cashier.join()
    logger.info("Worker stopped", extra={"context": {"on": stopping.reason}})


def sweep_often(bv: Billvend, interval_seconds: float, stop: threading.Event) -> None:
    """Sweep now and every so often until `stop` is set, whatever happens in between."""
    retry_seconds, is_away = SOON_SECONDS, False
    while not stop.is_set():
        pause_seconds = interval_seconds
        try:
            swept = bv.sweep()
        except Exception as error:
            if not is_away:
                expected = isinstance(error, BillvendError)
                logger.warning("Sweeping fails, and goes on trying: %s", error, exc_info=not expected)
            is_away = True
        else:
            if is_away:
                logger.info("Sweeping works again")
            is_away = False
            if swept.due:
                logger.info("Swept", extra={"context": {"due": swept.due, "enqueued": swept.enqueued}})
            if swept.left:  # the queue is away, and that must stop no payment
                do_it_here(bv, swept.left, stop)
                pause_seconds = min(retry_seconds, interval_seconds)
                retry_seconds = min(retry_seconds * 2, interval_seconds)
            else:
                retry_seconds = SOON_SECONDS
                if swept.due == MOST_A_PASS:  # there is more
                    pause_seconds = 0.0
        stop.wait(pause_seconds)


def look_after_often(bv: Billvend, interval_seconds: float, stop: threading.Event) -> None:
    """Look after the provider accounts now and every so often until `stop` is set, whatever happens in between."""
    while True:
        try:
            bv.look_after()
        except Exception as error:
            expected = isinstance(error, BillvendError)
            logger.warning("The providers could not be looked after: %s", error, exc_info=not expected)
        if stop.wait(interval_seconds):
            return


def ask_about_fundings_often(bv: Billvend, interval_seconds: float, stop: threading.Event) -> None:
    """Ask about fundings of which nothing was heard, every so often until `stop` is set, whatever happens in between."""
    since: datetime | None = None
    while not stop.is_set():
        try:
            since = bv.ask_about_fundings(since)
        except Exception as error:
            expected = isinstance(error, BillvendError)
            logger.warning("Fundings could not be asked about: %s", error, exc_info=not expected)
        stop.wait(interval_seconds)


def notify_often(bv: Billvend, interval_seconds: float, stop: threading.Event) -> None:
    """Tell the outside what is due, what the queue lost included, now and every so often until `stop` is set."""
    while not stop.is_set():
        tried = 0
        try:
            tried = bv.notify()
        except Exception as error:
            expected = isinstance(error, BillvendError)
            logger.warning("The outside could not be told: %s", error, exc_info=not expected)
        if not tried:
            stop.wait(interval_seconds)


def do_it_here(bv: Billvend, hints: Sequence[Hint], stop: threading.Event) -> None:
    """Settle payments without the queue's help, one after the other, until `stop` is set."""
    for hint in hints:
        if stop.is_set():
            return
        try:
            bv.settle(hint)
        except Exception as error:
            expected = isinstance(error, BillvendError)
            logger.warning(
                "A payment could not be worked, and will be tried again: %s",
                error,
                exc_info=not expected,
                extra={"context": {"transactionId": hint.transaction_id}},
            )


class _Stopping:
    """The wish to stop: made once, by a signal or by ourselves."""

    def __init__(self) -> None:
        self.event = threading.Event()
        self.reason: str | None = None

    def ask(self, reason: str) -> None:
        # The reason first: a signal may come while this thread is inside of set(), which can't bear another set().
        if self.reason is None:
            self.reason = reason
            self.event.set()

    def with_the_end_of(self, parent: IO[bytes]) -> None:
        """Wait until there is nothing more to read, and then stop."""
        while os.read(
            parent.fileno(), 1024
        ):  # past its buffer, whose lock the end of Python would find taken
            pass
        self.ask("the end of its parent")

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        def asked(number: int, _frame: FrameType | None) -> None:
            self.ask(signal.Signals(number).name)

        before = {number: signal.signal(number, asked) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
