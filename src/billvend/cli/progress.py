"""Progress of a payment: what is happening, in plain words, until it ends or the wait does."""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from types import FrameType
from typing import TYPE_CHECKING

from billvend.cli.blocks import Line
from billvend.cli.exits import FollowFailed
from billvend.cli.output import is_terminal, print_blocks, sanitize, terminal
from billvend.presentation.text import customer_message, describe_time

if TYPE_CHECKING:
    from billvend.app import Billvend
    from billvend.domain.payment.state import Payment

BACKLOG_REFRESH_SECONDS = 5
"""How often the other due payments are counted."""


class Interrupt:
    """Whether Ctrl-C was pressed."""

    def __init__(self) -> None:
        self.is_requested = False
        self.on_interrupt: Callable[[], None] = lambda: None
        """Shows it on the screen, because the current call may take a while."""

    def handle_signal(self, _number: int, _frame: FrameType | None) -> None:
        """The signal's handler."""
        self.is_requested = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
        self.on_interrupt()


@contextmanager
def defer_sigint() -> Iterator[Interrupt]:
    """Only note the first Ctrl-C, so that the current work is recorded. A second one interrupts."""
    interrupt = Interrupt()
    previous = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or previous in (signal.SIG_IGN, None):
        yield interrupt
        return
    signal.signal(signal.SIGINT, interrupt.handle_signal)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, previous)


@contextmanager
def after_acceptance(payment: "Payment") -> Iterator[None]:
    """Turn errors after acceptance into `FollowFailed`, which says that the payment was accepted."""
    try:
        yield
    except BrokenPipeError:
        raise
    except Exception as error:
        raise FollowFailed(payment.transaction_id, error) from error


def wait_with_progress(
    bv: "Billvend", payment: "Payment", timeout_seconds: float, interrupt: Interrupt, *, quiet: bool
) -> "Payment":
    """Process a payment and show its progress. Returns it when it has ended, after the timeout, or after Ctrl-C."""
    describe = _describer(bv)

    def on_poll(polled: "Payment") -> None:
        nonlocal payment
        payment = polled
        if not polled.has_ended:
            show(polled)
            if interrupt.is_requested:
                raise KeyboardInterrupt

    with _display(describe, interrupt, quiet=quiet) as show:
        try:
            return bv.wait(payment, timeout=timeout_seconds, on_poll=on_poll)
        except KeyboardInterrupt:
            return payment


@contextmanager
def _display(
    describe: "Callable[[Payment], str]", interrupt: Interrupt, *, quiet: bool
) -> "Iterator[Callable[[Payment], None]]":
    """Shows a payment each time it was read: a spinner on a terminal, a line for each change in a pipe."""
    if quiet:
        yield lambda _payment: None
    elif is_terminal(sys.stdout):
        from rich.text import Text

        console = terminal()
        dots = "dots" if console.encoding.startswith("utf") else "line"
        with console.status("", spinner=dots) as spinner:
            interrupted_text = "Stopping after the current request. Press Ctrl-C again to stop now."
            interrupt.on_interrupt = lambda: spinner.update(Text(interrupted_text))
            yield lambda payment: spinner.update(Text(sanitize(describe(payment))))
    else:
        printed: object = None

        def print_change(payment: "Payment") -> None:
            nonlocal printed
            state = (payment.status, payment.attempts)
            if state != printed:
                printed = state
                print_blocks(Line(describe(payment)))

        yield print_change


def _describer(bv: "Billvend") -> "Callable[[Payment], str]":
    @lru_cache(maxsize=1)
    def count_others(_period: int, ours_is_due: bool) -> int:
        return max(0, bv.count_due() - ours_is_due)

    def describe(payment: "Payment") -> str:
        next_check_at, now = bv.next_check_at(payment), datetime.now(UTC)
        is_due = next_check_at is not None and next_check_at <= now
        sentences = [customer_message(payment)]
        if next_check_at is not None and not is_due:
            sentences.append(f"Next check {describe_time(next_check_at, now)}.")
        if others := count_others(int(now.timestamp()) // BACKLOG_REFRESH_SECONDS, is_due):
            sentences.append(f"{others} other payment{'s wait' if others > 1 else ' waits'} for a worker.")
        return " ".join(sentences)

    return describe
