"""The committer: what many callers ask at once is committed together, and each gets its own result.

Nothing waits for a timer, and there is no thread of its own: whoever comes while nobody commits does so at once, alone;
whoever comes meanwhile waits, and the first of those then commits for all of them. So one caller is as fast as without it,
and many share the database's round trips and the disk.
"""

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Final

from billvend.domain.abilities import Mode
from billvend.domain.commands import Command
from billvend.domain.decide import Result
from billvend.domain.errors import Unavailable
from billvend.ports.journal import Due, Journal
from billvend.ports.measures import Measures, NotMeasured

MOST_AT_ONCE: Final = 500
"""Commands in one transaction, where they come from several callers."""
MOST_WAITING: Final = 5_000
"""With so many commands waiting, more are refused: nobody would be glad of an answer that comes too late."""


class Committer:
    """A `billvend.ports.journal.Journal` in front of another: one transaction at a time, for all who wait."""

    def __init__(
        self,
        journal: Journal,
        *,
        most_at_once: int = MOST_AT_ONCE,
        most_waiting: int = MOST_WAITING,
        measures: Measures | None = None,
    ) -> None:
        self._journal = journal
        self._measures = measures or NotMeasured()
        self._most_at_once = most_at_once
        self._most_waiting = most_waiting
        self._lock = threading.Lock()
        self._queue: deque[_Ticket] = deque()
        self._waiting = 0
        self._is_led = False

    def execute(self, commands: Sequence[Command]) -> list[Result]:
        """Carry out the commands, together with those of others; see the port.

        Raises `Unavailable`, with nothing done, when too many wait already.
        """
        if not commands:
            return []
        ticket = _Ticket(commands)
        self._join(ticket)
        try:
            ticket.woken.acquire()
        except BaseException:
            self._leave(ticket)
            raise
        if ticket.leads:
            self._lead()
        if ticket.outcome is None:  # whoever led was torn away: what was done is known by the keys
            return self._journal.execute(commands)
        if isinstance(ticket.outcome, Exception):
            raise ticket.outcome
        return ticket.outcome

    def _join(self, ticket: "_Ticket") -> None:
        """Queue up; lead, if nobody does."""
        with self._lock:
            if self._waiting and self._waiting + len(ticket.commands) > self._most_waiting:
                raise Unavailable("Too much is waiting to be written down. Nothing was done: try again soon.")
            self._queue.append(ticket)
            self._waiting += len(ticket.commands)
            if not self._is_led:
                self._hand_over()

    def _hand_over(self) -> None:
        """The first in the queue leads from now on, if there is one. Under the lock."""
        self._is_led = bool(self._queue)
        if self._queue:
            self._queue[0].leads = True
            self._queue[0].woken.release()

    def _lead(self) -> None:
        """Commit for everybody who waits by now, then leave the lead to whoever came meanwhile."""
        batch = self._take()
        try:
            outcomes = self._commit(batch)
            for ticket, outcome in zip(batch, outcomes, strict=True):
                ticket.outcome = outcome
        finally:
            with self._lock:
                self._hand_over()
            for ticket in batch[1:]:  # the first is who leads
                ticket.woken.release()

    def _take(self) -> list["_Ticket"]:
        with self._lock:
            batch = [self._queue.popleft()]
            count = len(batch[0].commands)
            while self._queue and count + len(self._queue[0].commands) <= self._most_at_once:
                batch.append(self._queue.popleft())
                count += len(batch[-1].commands)
            self._waiting -= count
            return batch

    def _commit(self, batch: Sequence["_Ticket"]) -> list[list[Result] | Exception]:
        try:
            together = self._journal.execute([command for ticket in batch for command in ticket.commands])
        except Exception as error:  # noqa: BLE001  each caller gets it, as if it had come alone
            return [error for _ in batch]
        self._measures.batch(len(together))
        results = iter(together)
        return [list(islice(results, len(ticket.commands))) for ticket in batch]

    def _leave(self, ticket: "_Ticket") -> None:
        """A caller is torn away: what nobody took yet is not done, and somebody else leads."""
        with self._lock:
            if ticket in self._queue:
                self._queue.remove(ticket)
                self._waiting -= len(ticket.commands)
                if ticket.leads:
                    self._hand_over()

    # --- besides commands: as the journal behind has it ---------------------------------------------------------------

    def rehearse(self, commands: Sequence[Command]) -> list[Result]:
        """See the port."""
        return self._journal.rehearse(commands)

    def take_due(self, now: datetime, limit: int, quiet_seconds: float) -> list[Due]:
        """See the port."""
        return self._journal.take_due(now, limit, quiet_seconds)

    def put_back(self, due: Sequence[Due]) -> None:
        """See the port."""
        self._journal.put_back(due)

    def stamp(self, mode: Mode) -> Mode:
        """See the port."""
        return self._journal.stamp(mode)

    def mode(self) -> Mode | None:
        """See the port."""
        return self._journal.mode()

    def close(self) -> None:
        """See the port."""
        self._journal.close()


def _held() -> threading.Lock:
    """A lock that is taken already: to take it again is to wait. An event would do, at ten times the cost."""
    lock = threading.Lock()
    lock.acquire()
    return lock


@dataclass(slots=True, eq=False)
class _Ticket:
    """One caller in the queue."""

    commands: Sequence[Command]
    woken: threading.Lock = field(default_factory=_held)
    """Released once: when the caller has its outcome, or has to lead."""
    leads: bool = False
    outcome: list[Result] | Exception | None = None
