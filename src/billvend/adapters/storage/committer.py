"""The committer: what many callers ask at once is committed together, and each gets its own result.

Nothing waits for a timer, and there is no thread of its own: whoever comes while nobody commits does so at once, alone;
whoever comes meanwhile waits, and the first of those then commits for all of them. So one caller is as fast as without it,
and many share the database's round trips and the disk.

There may be several lanes: where enough wait, and for other users, a second transaction is made while the first waits for
the database.
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
ENOUGH: Final = 16
"""So many commands are worth a further transaction beside one that is under way; fewer wait for its end."""
MOST_WAITING: Final = 5_000
"""With so many commands waiting, more are refused: nobody would be glad of an answer that comes too late."""


class Committer:
    """A `billvend.ports.journal.Journal` in front of another: one transaction a lane at a time, for all who wait."""

    def __init__(
        self,
        journal: Journal,
        *,
        most_at_once: int = MOST_AT_ONCE,
        most_waiting: int = MOST_WAITING,
        lanes: int = 1,
        measures: Measures | None = None,
    ) -> None:
        self._journal = journal
        self._measures = measures or NotMeasured()
        self._most_at_once = most_at_once
        self._most_waiting = most_waiting
        self._lock = threading.Lock()
        self._queue: deque[_Ticket] = deque()
        self._waiting = 0
        self._lanes = lanes
        self._under_way: list[frozenset[str]] = []
        """Whose commands are being committed, a set for each transaction."""
        self._is_called = False
        """Somebody was told to lead, and has not taken its batch yet."""

    def execute(self, commands: Sequence[Command]) -> list[Result]:
        """Carry out the commands, together with those of others; see the port.

        Raises `Unavailable`, with nothing done, when too many wait already.
        """
        if not commands:
            return []
        ticket = _Ticket(commands, frozenset(command.user_id for command in commands))
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
        """Queue up; lead, if nobody does, or enough wait for another lane."""
        with self._lock:
            if self._waiting and self._waiting + len(ticket.commands) > self._most_waiting:
                raise Unavailable("Too much is waiting to be written down. Nothing was done: try again soon.")
            self._queue.append(ticket)
            self._waiting += len(ticket.commands)
            self._call()

    def _call(self) -> None:
        """Have the first in the queue lead, if there is one, and a lane for it. Under the lock."""
        if self._queue and not self._is_called and self._has_lane():
            self._is_called = True
            self._queue[0].leads = True
            self._queue[0].woken.release()

    def _has_lane(self) -> bool:
        """Whether a transaction may begin now, with the first in the queue in it."""
        if not self._under_way:
            return True
        return (
            len(self._under_way) < self._lanes and self._waiting >= ENOUGH and self._is_free(self._queue[0])
        )

    def _is_free(self, ticket: "_Ticket") -> bool:
        """Whether it is about nobody for whom something is being committed: it would only wait for the same locks."""
        return all(ticket.users.isdisjoint(users) for users in self._under_way)

    def _lead(self) -> None:
        """Commit for everybody who waits by now, then leave the lane to whoever came meanwhile."""
        batch, users = self._take()
        try:
            outcomes = self._commit(batch)
            for ticket, outcome in zip(batch, outcomes, strict=True):
                ticket.outcome = outcome
        finally:
            with self._lock:
                self._under_way.remove(users)
                self._call()
            for ticket in batch[1:]:  # the first is who leads
                ticket.woken.release()

    def _take(self) -> tuple[list["_Ticket"], frozenset[str]]:
        with self._lock:
            batch = [self._queue.popleft()]
            count = len(batch[0].commands)
            while self._queue and self._fits(self._queue[0], count):
                batch.append(self._queue.popleft())
                count += len(batch[-1].commands)
            users = frozenset().union(*(ticket.users for ticket in batch))
            self._waiting -= count
            self._is_called = False
            self._under_way.append(users)
            self._call()
            return batch, users

    def _fits(self, ticket: "_Ticket", count: int) -> bool:
        return count + len(ticket.commands) <= self._most_at_once and self._is_free(ticket)

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
                    self._is_called = False
                    self._call()

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
    users: frozenset[str]
    """Whom they are about."""
    woken: threading.Lock = field(default_factory=_held)
    """Released once: when the caller has its outcome, or has to lead."""
    leads: bool = False
    outcome: list[Result] | Exception | None = None
