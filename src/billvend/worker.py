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

from billvend.app import Billvend
from billvend.domain.errors import BillvendError
from billvend.ports.queue import Hint
from billvend.usecases.sweep import MAX_PAYMENTS_PER_SWEEP

MIN_RETRY_SECONDS = 0.25
"""After a pass whose finds nobody took, the next one comes so soon; then after twice that, up to the interval."""

logger = logging.getLogger("billvend.worker")


def run(
    bv: Billvend, *, threads: int, sweep_interval_seconds: float, parent: IO[bytes] | None = None
) -> None:
    """Work until SIGTERM or SIGINT, or until `parent` ends; then finish what is in hand, and return.

    To be called on the main thread. `parent` is a pipe that whoever started this holds open as long as it lives.
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
    """Sweep now and every so often until `stop` is set, whatever happens in between."""
    retry_seconds, is_failing = MIN_RETRY_SECONDS, False
    while not stop.is_set():
        pause_seconds = interval_seconds
        try:
            result = bv.sweep()
        except Exception as error:
            if not is_failing:
                is_expected = isinstance(error, BillvendError)
                logger.warning("Sweeping fails, and goes on trying: %s", error, exc_info=not is_expected)
            is_failing = True
        else:
            if is_failing:
                logger.info("Sweeping works again")
            is_failing = False
            if result.due:
                logger.info("Swept", extra={"context": {"due": result.due, "enqueued": result.enqueued}})
            if result.not_enqueued:  # the queue is away, and that must stop no payment
                settle_inline(bv, result.not_enqueued, stop)
                pause_seconds = min(retry_seconds, interval_seconds)
                retry_seconds = min(retry_seconds * 2, interval_seconds)
            else:
                retry_seconds = MIN_RETRY_SECONDS
                if result.due == MAX_PAYMENTS_PER_SWEEP:  # there is more
                    pause_seconds = 0.0
        stop.wait(pause_seconds)


def account_status_loop(bv: Billvend, interval_seconds: float, stop: threading.Event) -> None:
    """Look after the provider accounts now and every so often until `stop` is set, whatever happens in between."""
    while True:
        try:
            bv.refresh_account_status()
        except Exception as error:
            is_expected = isinstance(error, BillvendError)
            logger.warning("The providers could not be looked after: %s", error, exc_info=not is_expected)
        if stop.wait(interval_seconds):
            return


def deposit_loop(bv: Billvend, interval_seconds: float, stop: threading.Event) -> None:
    """Ask about fundings of which nothing was heard, every so often until `stop` is set, whatever happens in between."""
    since: datetime | None = None
    while not stop.is_set():
        try:
            since = bv.poll_deposits(since)
        except Exception as error:
            is_expected = isinstance(error, BillvendError)
            logger.warning("Fundings could not be asked about: %s", error, exc_info=not is_expected)
        stop.wait(interval_seconds)


def notification_loop(bv: Billvend, interval_seconds: float, stop: threading.Event) -> None:
    """Tell the outside what is due, what the queue lost included, now and every so often until `stop` is set."""
    while not stop.is_set():
        delivered_count = 0
        try:
            delivered_count = bv.deliver_notifications()
        except Exception as error:
            is_expected = isinstance(error, BillvendError)
            logger.warning("The outside could not be told: %s", error, exc_info=not is_expected)
        if not delivered_count:
            stop.wait(interval_seconds)


def settle_inline(bv: Billvend, hints: Sequence[Hint], stop: threading.Event) -> None:
    """Settle payments without the queue's help, one after the other, until `stop` is set."""
    for hint in hints:
        if stop.is_set():
            return
        try:
            bv.settle(hint)
        except Exception as error:
            is_expected = isinstance(error, BillvendError)
            logger.warning(
                "A payment could not be worked, and will be tried again: %s",
                error,
                exc_info=not is_expected,
                extra={"context": {"transactionId": hint.transaction_id}},
            )


class _StopSignal:
    """The wish to stop: made once, by a signal or by ourselves."""

    def __init__(self) -> None:
        self.event = threading.Event()
        self.reason: str | None = None

    def request(self, reason: str) -> None:
        # The reason first: a signal may come while this thread is inside of set(), which can't bear another set().
        if self.reason is None:
            self.reason = reason
            self.event.set()

    def stop_when_parent_exits(self, parent: IO[bytes]) -> None:
        """Wait until there is nothing more to read, and then stop."""
        while os.read(
            parent.fileno(), 1024
        ):  # past its buffer, whose lock the end of Python would find taken
            pass
        self.request("the end of its parent")

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
