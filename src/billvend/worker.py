"""The worker: settles the payments that the queue hints at, and sweeps for those that the queue lost.

Any number of workers may run, on any machine. A killed worker loses nothing: its leases expire, and a sweep finds the
work.
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
    sweep_thread = threading.Thread(
        target=lambda: sweep_loop(bv, sweep_interval_seconds, stop_signal.event), name="billvend-sweep"
    )
    account_status_thread = threading.Thread(
        target=lambda: account_status_loop(bv, sweep_interval_seconds, stop_signal.event),
        name="billvend-account-status",
    )
    notification_thread = threading.Thread(
        target=lambda: notification_loop(bv, sweep_interval_seconds, stop_signal.event),
        name="billvend-notifications",
    )
    deposit_thread = threading.Thread(
        target=lambda: deposit_loop(bv, sweep_interval_seconds, stop_signal.event),
        name="billvend-deposits",
    )
    with stop_signal.signal_handlers():
        logger.info("Worker started", extra={"context": {"threads": threads}})
        sweep_thread.start()
        account_status_thread.start()
        notification_thread.start()
        deposit_thread.start()
        try:
            bv.run_worker(threads=threads, stop=stop_signal.event)
        finally:
            stop_signal.request("the end of its work")
            sweep_thread.join()
            account_status_thread.join()
            notification_thread.join()
            deposit_thread.join()
    logger.info("Worker stopped", extra={"context": {"on": stop_signal.reason}})


def sweep_loop(bv: Billvend, interval_seconds: float, stop: threading.Event) -> None:
    """Sweep now and at every interval until `stop` is set. Errors are logged."""
    retry_seconds, is_failing = MIN_RETRY_SECONDS, False
    while not stop.is_set():
        pause_seconds = interval_seconds
        try:
            result = bv.sweep()
        except Exception as error:
            if not is_failing:
                is_expected = isinstance(error, BillvendError)
                logger.warning("Sweeping fails, and is retried: %s", error, exc_info=not is_expected)
            is_failing = True
        else:
            if is_failing:
                logger.info("Sweeping works again")
            is_failing = False
            if result.due:
                logger.info("Swept", extra={"context": {"due": result.due, "enqueued": result.enqueued}})
            if result.not_enqueued:  # the queue is unavailable, which must not stop payments
                settle_inline(bv, result.not_enqueued, stop)
                pause_seconds = min(retry_seconds, interval_seconds)
                retry_seconds = min(retry_seconds * 2, interval_seconds)
            else:
                retry_seconds = MIN_RETRY_SECONDS
                if result.due == MAX_PAYMENTS_PER_SWEEP:  # there is more
                    pause_seconds = 0.0
        stop.wait(pause_seconds)


def account_status_loop(bv: Billvend, interval_seconds: float, stop: threading.Event) -> None:
    """Refresh the account status now and at every interval until `stop` is set. Errors are logged."""
    while True:
        try:
            bv.refresh_account_status()
        except Exception as error:
            is_expected = isinstance(error, BillvendError)
            logger.warning("The account status could not be refreshed: %s", error, exc_info=not is_expected)
        if stop.wait(interval_seconds):
            return


def deposit_loop(bv: Billvend, interval_seconds: float, stop: threading.Event) -> None:
    """Check unpaid deposits now and at every interval until `stop` is set. Errors are logged."""
    since: datetime | None = None
    while not stop.is_set():
        try:
            since = bv.poll_deposits(since)
        except Exception as error:
            is_expected = isinstance(error, BillvendError)
            logger.warning("Unpaid deposits could not be checked: %s", error, exc_info=not is_expected)
        stop.wait(interval_seconds)


def notification_loop(bv: Billvend, interval_seconds: float, stop: threading.Event) -> None:
    """Deliver due notifications now and at every interval until `stop` is set, also those that the queue lost."""
    while not stop.is_set():
        delivered_count = 0
        try:
            delivered_count = bv.deliver_notifications()
        except Exception as error:
            is_expected = isinstance(error, BillvendError)
            logger.warning("Notifications could not be delivered: %s", error, exc_info=not is_expected)
        if not delivered_count:
            stop.wait(interval_seconds)


def settle_inline(bv: Billvend, hints: Sequence[Hint], stop: threading.Event) -> None:
    """Settle payments without the queue, one after the other, until `stop` is set."""
    for hint in hints:
        if stop.is_set():
            return
        try:
            bv.settle(hint)
        except Exception as error:
            is_expected = isinstance(error, BillvendError)
            logger.warning(
                "A payment could not be settled, and is retried: %s",
                error,
                exc_info=not is_expected,
                extra={"context": {"transactionId": hint.transaction_id}},
            )


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
