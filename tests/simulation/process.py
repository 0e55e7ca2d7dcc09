"""A process: a billvend of its own, over a world that it shares, which may die or be stopped at any of its points."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from billvend import Billvend, Unavailable
from billvend.domain.decisions.commands import Command, RecordAnswer
from billvend.domain.decisions.decider import CommandOutcome
from billvend.domain.policy.accounts import Mode
from billvend.ports.journal import DuePayment
from billvend.ports.queue import Hint, QueueName
from tests.simulation.company import Line
from tests.simulation.world import Clock

if TYPE_CHECKING:
    from tests.simulation.world import World

DEATHS: Final = 0.0025
"""The share of points at which a process is killed."""
STALLS: Final = 0.006
"""The share of calls before, or after, which a process is stopped for long."""
LONGEST_STALL_SECONDS: Final = 3600.0


class Died(BaseException):
    """What a process feels that is killed."""


class Process:
    """One worker, sweeper, or process of callers."""

    def __init__(self, world: "World", when_stopped: Callable[[], None] = lambda: None) -> None:
        self.world = world
        self._when_stopped = when_stopped
        self.clock = Clock(world)
        parts = world.bv._deps
        lines = {(c.account.provider, c.account.account_id): Line(c, self) for c in world.companies}
        self.bv = Billvend(
            replace(
                parts,
                clock=self.clock,
                journal=JournalOf(self),
                queries=Reached(self.world, parts.queries),
                account_status=Reached(self.world, parts.account_status),
                queue=QueueOf(self),
                providers=lines,
            )
        )

    def restart(self) -> None:
        """Come back after a death, with a clock that is right."""
        self.world.stage.pause(self.world.chance.uniform(1, 30))
        self.clock.ahead_seconds = 0.0

    def point(self, what: str, *, stalls: bool = False) -> None:
        """A place where dying matters. A little time passes; now and then the process dies here, or is stopped."""
        world = self.world
        if world.strikes(DEATHS, f"a process died {what}"):
            raise Died
        seconds = world.chance.uniform(0, 0.6 if stalls else 0.02)
        if stalls and world.strikes(STALLS, f"a process was stopped {what}"):
            self._when_stopped()
            seconds = LONGEST_STALL_SECONDS ** world.chance.uniform(0.4, 1)
        world.stage.pause(seconds)


class JournalOf:
    """The journal as one process reaches it."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._world = process.world
        self._real = process.world.bv._deps.journal

    def execute(self, commands: Sequence[Command]) -> list[CommandOutcome]:
        """See the port."""
        self._process.point("before a commit")
        results = self._world.commits.carry_out(commands)
        self._process.point("after a commit")
        for command in commands:
            if isinstance(command, RecordAnswer) and self._world.strikes(0.02, "an answer reported twice"):
                self._world.commits.again_later(command)
        return results

    def dry_run(self, commands: Sequence[Command]) -> list[CommandOutcome]:
        """See the port."""
        require_database(self._world)
        return self._real.dry_run(commands)

    def take_due_payments(self, now: datetime, limit: int, hint_interval_seconds: float) -> list[DuePayment]:
        """See the port."""
        require_database(self._world)
        due = self._real.take_due_payments(now, limit, hint_interval_seconds)
        self._process.point("after a commit")
        return due

    def release_due(self, due: Sequence[DuePayment]) -> None:
        """See the port."""
        require_database(self._world)
        self._real.release_due(due)

    def bind_environment(self, mode: Mode) -> Mode:
        """See the port."""
        require_database(self._world)
        return self._real.bind_environment(mode)

    def mode(self) -> Mode | None:
        """See the port."""
        require_database(self._world)
        return self._real.mode()

    def close(self) -> None:
        """Others use it still."""


class Reached:
    """A part of the database as a process reaches it, while it is there."""

    def __init__(self, world: "World", real: object) -> None:
        self._world = world
        self._real = real

    def __getattr__(self, name: str) -> Any:
        require_database(self._world)
        return getattr(self._real, name)


class QueueOf:
    """The queue as one process reaches it; only hands over, since the workers of this play take by themselves."""

    backend = "memory"

    def __init__(self, process: Process) -> None:
        self._process = process

    def enqueue(self, queue: QueueName, hints: Sequence[Hint]) -> int:
        """See the port."""
        self._process.point("before a hand-over")
        world = self._process.world
        if world.stage.seconds < world.queue_away_until:
            world.stage.pause(0.2)
            return 0
        for hint in hints:
            world.queue.put(hint)
        return len(hints)

    def enqueue_nowait(self, queue: QueueName, hints: Sequence[Hint]) -> None:
        """See the port."""
        self.enqueue(queue, hints)

    def depth(self) -> dict[QueueName, int]:
        """See the port."""
        return {}

    def consume(self, handlers: Mapping[QueueName, Any], *, threads: int, stop: Any) -> None:
        """See the port."""
        raise NotImplementedError

    def close(self) -> None:
        """Others use it still."""


def require_database(world: "World") -> None:
    """Raises `Unavailable` while the database is away."""
    if world.stage.seconds < world.books_away_until:
        raise Unavailable("The database is away. Nothing was done.")
