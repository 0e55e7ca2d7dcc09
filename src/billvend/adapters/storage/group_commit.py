"""Group commit: what many callers ask at once is committed together, and each gets its own result.

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

from billvend.domain.decisions.commands import Command
from billvend.domain.decisions.decider import CommandOutcome
from billvend.domain.errors import Unavailable
from billvend.domain.policy.accounts import Mode
from billvend.ports.journal import DuePayment, Journal
from billvend.ports.telemetry import Metrics, NullMetrics

MAX_BATCH_COMMANDS: Final = 500
"""Commands in one transaction, where they come from several callers."""
MAX_WAITING_COMMANDS: Final = 5_000
"""With so many commands waiting, more are refused: nobody would be glad of an answer that comes too late."""


class GroupCommit:
    """A `billvend.ports.journal.Journal` in front of another: one transaction at a time, for all who wait."""

    def __init__(
        self,
        journal: Journal,
        *,
        max_batch_commands: int = MAX_BATCH_COMMANDS,
        max_waiting_commands: int = MAX_WAITING_COMMANDS,
        measures: Metrics | None = None,
    ) -> None:
        self._journal = journal
        self._measures = measures or NullMetrics()
        self._max_batch_commands = max_batch_commands
        self._max_waiting_commands = max_waiting_commands
        self._lock = threading.Lock()
        self._queue: deque[_Request] = deque()
        self._waiting_count = 0
        self._has_leader = False

    def execute(self, commands: Sequence[Command]) -> list[CommandOutcome]:
        """Carry out the commands, together with those of others; see the port.

        Raises `Unavailable`, with nothing done, when too many wait already.
        """
        if not commands:
            return []
        request = _Request(commands)
        self._enqueue(request)
        try:
            request.wakeup.acquire()
        except BaseException:
            self._abort(request)
            raise
        if request.is_leader:
            self._run_batch()
        if request.outcome is None:  # whoever led was torn away: what was done is known by the keys
            return self._journal.execute(commands)
        if isinstance(request.outcome, Exception):
            raise request.outcome
        return request.outcome

    def _enqueue(self, request: "_Request") -> None:
        """Queue up; lead, if nobody does."""
        with self._lock:
            if (
                self._waiting_count
                and self._waiting_count + len(request.commands) > self._max_waiting_commands
            ):
                raise Unavailable("Too much is waiting to be written down. Nothing was done: try again soon.")
            self._queue.append(request)
            self._waiting_count += len(request.commands)
            if not self._has_leader:
                self._promote_next()

    def _promote_next(self) -> None:
        """The first in the queue leads from now on, if there is one. Under the lock."""
        self._has_leader = bool(self._queue)
        if self._queue:
            self._queue[0].is_leader = True
            self._queue[0].wakeup.release()

    def _run_batch(self) -> None:
        """Commit for everybody who waits by now, then leave the lead to whoever came meanwhile."""
        batch = self._next_batch()
        try:
            outcomes = self._commit(batch)
            for request, outcome in zip(batch, outcomes, strict=True):
                request.outcome = outcome
        finally:
            with self._lock:
                self._promote_next()
            for request in batch[1:]:  # the first is who leads
                request.wakeup.release()

    def _next_batch(self) -> list["_Request"]:
        with self._lock:
            batch = [self._queue.popleft()]
            count = len(batch[0].commands)
            while self._queue and count + len(self._queue[0].commands) <= self._max_batch_commands:
                batch.append(self._queue.popleft())
                count += len(batch[-1].commands)
            self._waiting_count -= count
            return batch

    def _commit(self, batch: Sequence["_Request"]) -> list[list[CommandOutcome] | Exception]:
        try:
            all_results = self._journal.execute(
                [command for request in batch for command in request.commands]
            )
        except Exception as error:  # noqa: BLE001  each caller gets it, as if it had come alone
            return [error for _ in batch]
        self._measures.batch(len(all_results))
        results = iter(all_results)
        return [list(islice(results, len(request.commands))) for request in batch]

    def _abort(self, request: "_Request") -> None:
        """A caller is torn away: what nobody took yet is not done, and somebody else leads."""
        with self._lock:
            if request in self._queue:
                self._queue.remove(request)
                self._waiting_count -= len(request.commands)
                if request.is_leader:
                    self._promote_next()

    # --- besides commands: as the journal behind has it ---------------------------------------------------------------

    def dry_run(self, commands: Sequence[Command]) -> list[CommandOutcome]:
        """See the port."""
        return self._journal.dry_run(commands)

    def take_due_payments(self, now: datetime, limit: int, hint_interval_seconds: float) -> list[DuePayment]:
        """See the port."""
        return self._journal.take_due_payments(now, limit, hint_interval_seconds)

    def release_due(self, due: Sequence[DuePayment]) -> None:
        """See the port."""
        self._journal.release_due(due)

    def bind_environment(self, mode: Mode) -> Mode:
        """See the port."""
        return self._journal.bind_environment(mode)

    def mode(self) -> Mode | None:
        """See the port."""
        return self._journal.mode()

    def close(self) -> None:
        """See the port."""
        self._journal.close()


def _acquired_lock() -> threading.Lock:
    """A lock that is taken already: to take it again is to wait. An event would do, at ten times the cost."""
    lock = threading.Lock()
    lock.acquire()
    return lock


@dataclass(slots=True, eq=False)
class _Request:
    """One caller in the queue."""

    commands: Sequence[Command]
    wakeup: threading.Lock = field(default_factory=_acquired_lock)
    """Released once: when the caller has its outcome, or has to lead."""
    is_leader: bool = False
    outcome: list[CommandOutcome] | Exception | None = None
