"""Progress of a payment: what is happening, in plain words, until it ends or the wait does."""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import FrameType
from typing import TYPE_CHECKING

from billvend.cli.exits import FollowFailed
from billvend.cli.output import Line, is_terminal, print_blocks, sanitize, terminal
from billvend.presentation import customer_message, describe_time

if TYPE_CHECKING:
    from billvend.app import Billvend
    from billvend.domain.payment.state import Payment

BACKLOG_REFRESH_SECONDS = 5
"""How often the other due payments are counted."""


class _Interrupted(Exception):
    """Ctrl-C ended the wait."""


@dataclass(frozen=True, slots=True)
class WaitResult:
    """A payment after the wait."""

    payment: "Payment"
    was_interrupted: bool
    """True when Ctrl-C ended the wait."""


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
) -> WaitResult:
    """Process a payment and print its progress. Returns it when it ends, or when the wait does."""
    reporter = _ProgressReporter(bv, payment, interrupt, quiet=quiet)
    try:
        with reporter.live_display():
            return WaitResult(
                bv.wait(payment, timeout=timeout_seconds, on_poll=reporter),
                was_interrupted=False,
            )
    except (_Interrupted, KeyboardInterrupt):
        return WaitResult(reporter.payment, was_interrupted=True)


class _ProgressReporter:
    """Prints the progress of a payment at each poll."""

    def __init__(self, bv: "Billvend", payment: "Payment", interrupt: Interrupt, *, quiet: bool) -> None:
        self.payment = payment
        self._bv = bv
        self._interrupt = interrupt
        self._quiet = quiet
        self._update_spinner: Callable[[str], None] | None = None
        self._other_count = 0
        self._counted_at: datetime | None = None
        self._reported_state: object = None

    def live_display(self) -> AbstractContextManager[object]:
        """A spinner on a terminal. Nothing for a pipe, which gets lines."""
        if self._quiet or not is_terminal(sys.stdout):
            return nullcontext()
        from rich.text import Text

        console = terminal()
        spinner = console.status("", spinner="dots" if console.encoding.startswith("utf") else "line")
        self._update_spinner = lambda text: spinner.update(Text(sanitize(text)))
        interrupted_text = "Stopping after the current request. Press Ctrl-C again to stop now."
        self._interrupt.on_interrupt = lambda: spinner.update(Text(interrupted_text))
        return spinner

    def __call__(self, payment: "Payment") -> None:
        self.payment = payment
        if payment.has_ended:
            return
        if not self._quiet:
            self._report(payment)
        if self._interrupt.is_requested:
            raise _Interrupted

    def _report(self, payment: "Payment") -> None:
        next_check_at = self._bv.next_check_at(payment)
        now = datetime.now(UTC)
        is_due = next_check_at is not None and next_check_at <= now
        sentences = [customer_message(payment)]
        if next_check_at is not None and not is_due:
            sentences.append(f"Next check {describe_time(next_check_at, now)}.")
        if other_count := self._count_other_due_payments(now, ours_is_due=is_due):
            sentences.append(
                f"{other_count} other payment{'s wait' if other_count > 1 else ' waits'} for a worker."
            )
        if self._update_spinner is not None:
            self._update_spinner(" ".join(sentences))
        elif self._reported_state != (state := (payment.status, payment.attempts)):
            self._reported_state = state
            print_blocks(Line(" ".join(sentences)))

    def _count_other_due_payments(self, now: datetime, *, ours_is_due: bool) -> int:
        if self._counted_at is None or now - self._counted_at > timedelta(seconds=BACKLOG_REFRESH_SECONDS):
            self._counted_at = now
            self._other_count = max(0, self._bv.count_due() - ours_is_due)
        return self._other_count
