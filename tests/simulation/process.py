"""A process: a billvend of its own on a shared simulation. It may be killed or stopped at any of its points."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from billvend import Unavailable
from billvend.app import Billvend
from billvend.domain.decisions.commands import Command, RecordAnswer
from billvend.domain.decisions.decider import CommandOutcome
from billvend.domain.policy.accounts import Mode
from billvend.ports.journal import DuePayment
from billvend.ports.queue import Hint, QueueName
from tests.simulation.providers import ProviderConnection
from tests.simulation.simulation import ProcessClock

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

CRASH_SHARE: Final = 0.0025
"""The share of points at which a process is killed."""
STALL_SHARE: Final = 0.006
"""The share of calls before or after which a process is stopped for long."""
MAX_STALL_SECONDS: Final = 3600.0


class Crashed(BaseException):
    """What a killed process raises."""


class Process:
    """One worker, sweeper, or process of callers."""

    def __init__(self, simulation: "Simulation", when_stopped: Callable[[], None] = lambda: None) -> None:
        self.simulation = simulation
        self._when_stopped = when_stopped
        self.clock = ProcessClock(simulation)
        parts = simulation.bv._deps
        lines = {
            (c.account.provider, c.account.account_id): ProviderConnection(c, self)
            for c in simulation.providers
        }
        self.bv = Billvend(
            replace(
                parts,
                clock=self.clock,
                journal=ProcessJournal(self),
                queries=ReachableWhileUp(self.simulation, parts.queries),
                account_status=ReachableWhileUp(self.simulation, parts.account_status),
                queue=ProcessQueue(self),
                providers=lines,
            )
        )

    def restart(self) -> None:
        """Start again after a crash, with a correct clock."""
        self.simulation.scheduler.sleep(self.simulation.chance.uniform(1, 30))
        self.clock.ahead_seconds = 0.0

    def crash_point(self, what: str, *, may_stall: bool = False) -> None:
        """A crash point. A little time passes; now and then the process is killed here, or stopped."""
        simulation = self.simulation
        if simulation.fault_occurs(CRASH_SHARE, f"a process died {what}"):
            raise Crashed
        seconds = simulation.chance.uniform(0, 0.6 if may_stall else 0.02)
        if may_stall and simulation.fault_occurs(STALL_SHARE, f"a process was stopped {what}"):
            self._when_stopped()
            seconds = MAX_STALL_SECONDS ** simulation.chance.uniform(0.4, 1)
        simulation.scheduler.sleep(seconds)


class ProcessJournal:
    """The journal as one process sees it."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._simulation = process.simulation
        self._real = process.simulation.bv._deps.journal

    def execute(self, commands: Sequence[Command]) -> list[CommandOutcome]:
        """See the port."""
        self._process.crash_point("before a commit")
        results = self._simulation.commits.execute(commands)
        self._process.crash_point("after a commit")
        for command in commands:
            if isinstance(command, RecordAnswer) and self._simulation.fault_occurs(
                0.02, "an answer reported twice"
            ):
                self._simulation.commits.report_again_later(command)
        return results

    def take_due_payments(self, now: datetime, limit: int, hint_interval_seconds: float) -> list[DuePayment]:
        """See the port."""
        require_database(self._simulation)
        due = self._real.take_due_payments(now, limit, hint_interval_seconds)
        self._process.crash_point("after a commit")
        return due

    def release_due(self, due: Sequence[DuePayment]) -> None:
        """See the port."""
        require_database(self._simulation)
        self._real.release_due(due)

    def bind_environment(self, mode: Mode) -> Mode:
        """See the port."""
        require_database(self._simulation)
        return self._real.bind_environment(mode)

    def mode(self) -> Mode | None:
        """See the port."""
        require_database(self._simulation)
        return self._real.mode()

    def close(self) -> None:
        """Other processes still use it."""


class ReachableWhileUp:
    """A part of the database as a process sees it, while the database is up."""

    def __init__(self, simulation: "Simulation", real: object) -> None:
        self._simulation = simulation
        self._real = real

    def __getattr__(self, name: str) -> Any:
        require_database(self._simulation)
        return getattr(self._real, name)


class ProcessQueue:
    """The queue as one process sees it. It only sends hints, since simulated workers take hints from `HintQueue`."""

    backend = "memory"

    def __init__(self, process: Process) -> None:
        self._process = process

    def enqueue(self, queue: QueueName, hints: Sequence[Hint], *, wait: bool = True) -> int:
        """See the port."""
        self._process.crash_point("before a hand-over")
        simulation = self._process.simulation
        if simulation.scheduler.seconds < simulation.queue_down_until:
            simulation.scheduler.sleep(0.2)
            return 0
        for hint in hints:
            simulation.queue.put(hint)
        return len(hints) if wait else 0

    def depth(self) -> dict[QueueName, int]:
        """See the port."""
        return {}

    def consume(self, handlers: Mapping[QueueName, Any], *, threads: int, stop: Any) -> None:
        """See the port."""
        raise NotImplementedError

    def close(self) -> None:
        """Other processes still use it."""


def require_database(simulation: "Simulation") -> None:
    """Raises `Unavailable` while the database is down."""
    if simulation.scheduler.seconds < simulation.database_down_until:
        raise Unavailable("The database is down. Nothing was done.")
