"""Group commit: the commands of many callers are committed together, and each caller gets its own result.

There is no timer and no extra thread. A caller that finds no commit in progress commits at once, alone. Callers that
arrive meanwhile wait, and the first of them then commits for all. So a single caller is as fast as without group
commit, and many callers share the database's round trips and its disk writes.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from billvend.domain.decisions.commands import Command
from billvend.domain.decisions.decider import CommandOutcome
from billvend.domain.errors import Unavailable
from billvend.ports.telemetry import BatchCommitted, Metrics

MAX_BATCH_COMMANDS: Final = 500
"""Commands of several callers in one transaction."""
MAX_WAITING_COMMANDS: Final = 5_000
"""When so many commands wait, more are rejected: their answers would come too late to be of use."""


class GroupCommit:
    """One transaction at a time, for all callers that wait. `commit` executes a list of commands in a transaction."""

    def __init__(
        self,
        commit: Callable[[Sequence[Command]], list[CommandOutcome]],
        *,
        max_batch_commands: int = MAX_BATCH_COMMANDS,
        max_waiting_commands: int = MAX_WAITING_COMMANDS,
        metrics: Metrics | None = None,
    ) -> None:
        self._commit = commit
        self._metrics = metrics
        self._max_batch_commands = max_batch_commands
        self._max_waiting_commands = max_waiting_commands
        self._lock = threading.Lock()
        self._queue: deque[_Request] = deque()
        self._waiting_count = 0
        self._has_leader = False

    def execute(self, commands: Sequence[Command]) -> list[CommandOutcome]:
        """Carry out the commands, together with those of other callers; see the port.

        Raises `Unavailable` when too many commands wait already. Nothing was done then.
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
        if request.outcome is None:  # the leader was interrupted: the keys show which commands were committed
            return self._commit(commands)
        if isinstance(request.outcome, Exception):
            raise request.outcome
        return request.outcome

    def _enqueue(self, request: "_Request") -> None:
        """Add the request to the queue. It leads if no other request does."""
        with self._lock:
            if (
                self._waiting_count
                and self._waiting_count + len(request.commands) > self._max_waiting_commands
            ):
                raise Unavailable(
                    "Too many requests wait for the database. Nothing was done: try again soon."
                )
            self._queue.append(request)
            self._waiting_count += len(request.commands)
            if not self._has_leader:
                self._promote_next()

    def _promote_next(self) -> None:
        """Make the first request in the queue the leader, if there is one. The caller holds the lock."""
        self._has_leader = bool(self._queue)
        if self._queue:
            self._queue[0].is_leader = True
            self._queue[0].wakeup.release()

    def _run_batch(self) -> None:
        """Commit for all callers that wait now. Then the first of those that arrived meanwhile leads."""
        batch = self._next_batch()
        try:
            outcomes = self._commit_batch(batch)
            for request, outcome in zip(batch, outcomes, strict=True):
                request.outcome = outcome
        finally:
            with self._lock:
                self._promote_next()
            for request in batch[1:]:  # the first is this caller's own
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

    def _commit_batch(self, batch: Sequence["_Request"]) -> list[list[CommandOutcome] | Exception]:
        try:
            all_results = self._commit([command for request in batch for command in request.commands])
        except Exception as error:  # noqa: BLE001  each caller gets it, as if its commands were alone
            return [error for _ in batch]
        if self._metrics is not None:
            self._metrics.observe(BatchCommitted(len(all_results)))
        results = iter(all_results)
        return [list(islice(results, len(request.commands))) for request in batch]

    def _abort(self, request: "_Request") -> None:
        """Drop the request of an interrupted caller if no batch has it yet, and let another request lead."""
        with self._lock:
            if request in self._queue:
                self._queue.remove(request)
                self._waiting_count -= len(request.commands)
                if request.is_leader:
                    self._promote_next()


def _acquired_lock() -> threading.Lock:
    """A lock that is held already, so that the next acquire waits. A `threading.Event` costs ten times as much."""
    lock = threading.Lock()
    lock.acquire()
    return lock


@dataclass(slots=True, eq=False)
class _Request:
    """One caller in the queue."""

    commands: Sequence[Command]
    wakeup: threading.Lock = field(default_factory=_acquired_lock)
    """Released once: when the caller has its outcome, or becomes the leader."""
    is_leader: bool = False
    outcome: list[CommandOutcome] | Exception | None = None
