"""The worker: settles the payments that the queue hints at, and sweeps for those that the queue lost.

Any number of workers may run, on any machine. A killed worker loses nothing: its leases expire, and a sweep finds the
work.
"""

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from types import FrameType
from typing import IO

from billvend.app import Billvend
from billvend.domain.errors import BillvendError
from billvend.ports.queue import Hint
from billvend.usecases.sweep import MAX_PAYMENTS_PER_SWEEP

MIN_RETRY_SECONDS = 0.25
"""The pause after a sweep whose hints the queue did not accept. It doubles each time, up to the interval."""

logger = logging.getLogger("billvend.worker")


def run(
    bv: Billvend, *, threads: int, sweep_interval_seconds: float, parent: IO[bytes] | None = None
) -> None:
    """Work until SIGTERM or SIGINT, or until the parent process ends. Then finish the running work, and return.

    Call it on the main thread. `parent` is a pipe that the parent process keeps open as long as it lives.
    """
    stop_signal = _StopSignal()
    if parent is not None:
        threading.Thread(target=lambda: stop_signal.stop_when_parent_exits(parent), daemon=True).start()
    loops = [
        threading.Thread(
            target=_repeat, args=(work, subject, sweep_interval_seconds, stop_signal.event), name=name
        )
        for name, subject, work in (
            ("billvend-sweep", "Sweeping", _Sweeps(bv, sweep_interval_seconds, stop_signal.event).sweep),
            ("billvend-account-status", "The check of provider accounts", bv.refresh_account_status),
            ("billvend-notifications", "The delivery of notifications", _deliveries(bv)),
            ("billvend-deposits", "The check of unpaid deposits", _deposit_checks(bv)),
        )
    ]
    with stop_signal.signal_handlers():
        logger.info("Worker started", extra={"context": {"threads": threads}})
        for loop in loops:
            loop.start()
        try:
            bv.run_worker(threads=threads, stop=stop_signal.event)
        finally:
            stop_signal.request("the end of its work")
            for loop in loops:
                loop.join()
    logger.info("Worker stopped", extra={"context": {"on": stop_signal.reason}})


def _repeat(
    work: Callable[[], float | None], subject: str, interval_seconds: float, stop: threading.Event
) -> None:
    """Do some work now and again and again, until `stop` is set.

    `work` returns the pause until the next time; None: the interval. Of several failures in a row, the first is logged.
    """
    is_failing = False
    while not stop.is_set():
        pause_seconds = None
        try:
            pause_seconds = work()
        except Exception as error:
            if not is_failing:
                is_expected = isinstance(error, BillvendError)
                logger.warning("%s fails, and is retried: %s", subject, error, exc_info=not is_expected)
            is_failing = True
        else:
            if is_failing:
                logger.info("%s works again", subject)
            is_failing = False
        stop.wait(interval_seconds if pause_seconds is None else pause_seconds)


class _Sweeps:
    """Sweeps, and settles the payments whose hints the queue does not accept."""

    def __init__(self, bv: Billvend, interval_seconds: float, stop: threading.Event) -> None:
        self._bv = bv
        self._interval_seconds = interval_seconds
        self._stop = stop
        self._retry_seconds = MIN_RETRY_SECONDS

    def sweep(self) -> float:
        """Sweep once. Returns the pause until the next sweep."""
        result = self._bv.sweep()
        if result.due:
            logger.info("Swept", extra={"context": {"due": result.due, "enqueued": result.enqueued}})
        if not result.not_enqueued:
            self._retry_seconds = MIN_RETRY_SECONDS
            has_more = result.due == MAX_PAYMENTS_PER_SWEEP
            return 0.0 if has_more else self._interval_seconds
        self._settle(result.not_enqueued)  # the queue is unavailable, which must not stop payments
        pause_seconds = min(self._retry_seconds, self._interval_seconds)
        self._retry_seconds *= 2
        return pause_seconds

    def _settle(self, hints: Sequence[Hint]) -> None:
        """Settle payments without the queue, one after the other, until `stop` is set."""
        for hint in hints:
            if self._stop.is_set():
                return
            try:
                self._bv.settle(hint)
            except Exception as error:
                is_expected = isinstance(error, BillvendError)
                logger.warning(
                    "A payment could not be settled, and is retried: %s",
                    error,
                    exc_info=not is_expected,
                    extra={"context": {"transactionId": hint.transaction_id}},
                )


def _deposit_checks(bv: Billvend) -> Callable[[], None]:
    """Checks unpaid deposits, each time those that became due since the last check that worked."""
    since: datetime | None = None

    def check() -> None:
        nonlocal since
        since = bv.poll_deposits(since)

    return check


def _deliveries(bv: Billvend) -> Callable[[], float | None]:
    """Delivers due notifications, without a pause while there are some."""
    return lambda: 0.0 if bv.deliver_notifications() else None


class _StopSignal:
    """The request to stop. The first one counts."""

    def __init__(self) -> None:
        self.event = threading.Event()
        self.reason: str | None = None

    def request(self, reason: str) -> None:
        # Set the reason first. A signal may arrive while this thread is inside set(), and a second set() would deadlock.
        if self.reason is None:
            self.reason = reason
            self.event.set()

    def stop_when_parent_exits(self, parent: IO[bytes]) -> None:
        """Wait until the pipe is closed, and then stop."""
        while os.read(
            parent.fileno(), 1024
        ):  # not through its buffer: the buffer's lock would block the exit of Python
            pass
        self.request("the end of the parent process")

    @contextmanager
    def signal_handlers(self) -> Iterator[None]:
        def handle(number: int, _frame: FrameType | None) -> None:
            self.request(signal.Signals(number).name)

        previous = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
