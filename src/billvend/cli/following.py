"""Following a payment: what is happening, in plain words, until it ends or somebody has waited long enough."""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import FrameType
from typing import TYPE_CHECKING

from billvend.cli.exits import LostFromSight
from billvend.cli.output import Line, clean, is_terminal, say, terminal
from billvend.views import at_words, message

if TYPE_CHECKING:
    from billvend.domain.payment import Payment
    from billvend.library import Billvend

BACKLOG_SECONDS = 5
"""How often it is counted who else waits."""


class _Left(Exception):
    """The person stopped watching."""


@dataclass(frozen=True, slots=True)
class Followed:
    """What a payment came to while it was watched."""

    payment: "Payment"
    left: bool
    """True when Ctrl-C ended the wait."""


class Interrupt:
    """Whether somebody pressed Ctrl-C."""

    def __init__(self) -> None:
        self.noted = False
        self.tell: Callable[[], None] = lambda: None
        """Says so on the screen, as the call in hand may take a while."""

    def note(self, _number: int, _frame: FrameType | None) -> None:
        """The signal's handler."""
        self.noted = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
        self.tell()


@contextmanager
def first_interrupt_waits() -> Iterator[Interrupt]:
    """The first Ctrl-C is only noted, so that what is in hand gets its end on the books; a second one interrupts."""
    interrupt = Interrupt()
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before in (signal.SIG_IGN, None):
        yield interrupt
        return
    signal.signal(signal.SIGINT, interrupt.note)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def accepted(payment: "Payment") -> Iterator[None]:
    """From here on nothing may be told as if the payment had not been made. Raises `LostFromSight`."""
    try:
        yield
    except BrokenPipeError:
        raise
    except Exception as error:
        raise LostFromSight(payment.transaction_id, error) from error


def follow(
    bv: "Billvend", payment: "Payment", seconds: float, interrupt: Interrupt, *, silently: bool
) -> Followed:
    """Work a payment through and tell what happens; returns it as it stands when it ends or the wait does."""
    watching = _Watching(bv, payment, interrupt, silently=silently)
    try:
        with watching.on_screen():
            return Followed(bv.wait(payment.transaction_id, timeout=seconds, watch=watching), left=False)
    except (_Left, KeyboardInterrupt):
        return Followed(watching.payment, left=True)


class _Watching:
    """Told of the payment at each look; tells the person."""

    def __init__(self, bv: "Billvend", payment: "Payment", interrupt: Interrupt, *, silently: bool) -> None:
        self.payment = payment
        self._bv = bv
        self._interrupt = interrupt
        self._silently = silently
        self._spin: Callable[[str], None] | None = None
        self._others = 0
        self._counted_at: datetime | None = None
        self._said: object = None

    def on_screen(self) -> AbstractContextManager[object]:
        """A moving line on a terminal; nothing for a pipe, where lines follow each other."""
        if self._silently or not is_terminal(sys.stdout):
            return nullcontext()
        from rich.text import Text

        console = terminal()
        spinner = console.status("", spinner="dots" if console.encoding.startswith("utf") else "line")
        self._spin = lambda text: spinner.update(Text(clean(text)))
        leaving = "Leaving as soon as the call in hand is answered. Ctrl-C again leaves at once."
        self._interrupt.tell = lambda: spinner.update(Text(leaving))
        return spinner

    def __call__(self, payment: "Payment") -> None:
        self.payment = payment
        if payment.has_ended:
            return
        if not self._silently:
            self._tell(payment)
        if self._interrupt.noted:
            raise _Left

    def _tell(self, payment: "Payment") -> None:
        next_look_at = self._bv.next_look_at(payment)
        now = datetime.now(UTC)
        is_due = next_look_at is not None and next_look_at <= now
        sentences = [message(payment)]
        if next_look_at is not None and not is_due:
            sentences.append(f"Next check {at_words(next_look_at, now)}.")
        if others := self._others_who_wait(now, ours_waits=is_due):
            sentences.append(f"{others} other payment{'s wait' if others > 1 else ' waits'} for a worker.")
        if self._spin is not None:
            self._spin(" ".join(sentences))
        elif self._said != (news := (payment.status, payment.attempts)):
            self._said = news
            say(Line(" ".join(sentences)))

    def _others_who_wait(self, now: datetime, *, ours_waits: bool) -> int:
        if self._counted_at is None or now - self._counted_at > timedelta(seconds=BACKLOG_SECONDS):
            self._counted_at = now
            self._others = max(0, self._bv.backlog().due - ours_waits)
        return self._others
