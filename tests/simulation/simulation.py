"""The simulation: what outlives a process. The true time, one database, one queue, two providers and the faults.

The core, the use cases and the SQLite journal are the real ones; only the edges are simulated.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from billvend import Billvend, Unavailable, open_billvend
from billvend.adapters.storage.tables import transactions
from billvend.config import load_settings
from billvend.domain.decisions.commands import Claim, Command, Executed, RecordAnswer
from billvend.domain.decisions.decider import CommandOutcome
from billvend.domain.errors import OutcomeUnknown
from billvend.domain.journal.events import StreamKey
from billvend.ports.queue import Hint
from tests.simulation.providers import TIMEOUT_SECONDS, SimulatedProvider
from tests.simulation.scheduler import Scheduler, Task

START: Final = datetime(2026, 11, 22, 22, 57, tzinfo=UTC)
"""Three minutes before midnight at the providers, one of which binds its references to the day."""
LEASE_SECONDS: Final = 40.0
COMMIT_SECONDS: Final = 1.0
"""Commands that arrive within so long of each other are committed together."""


class Violation(BaseException):
    """billvend did what it must never do. No `except Exception` may swallow it."""


@dataclass
class AcceptedPayment:
    """The answer that a caller got for an accepted payment."""

    user_id: str
    meter: str
    amount: int


class Simulation:
    """Everything that outlives a process."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.seed = seed
        self.scheduler = Scheduler(seed)
        self.chance = self.scheduler.chance
        self.faults_enabled = True
        """Whether faults are injected."""
        self.faults: Counter[str] = Counter()
        self.observed: Counter[str] = Counter()
        self.ids = count(1)
        self.providers = [
            SimulatedProvider(self, "north", reference_lasts_a_day=True),
            SimulatedProvider(self, "south", reference_lasts_a_day=False),
        ]
        self.clock = ProcessClock(self)
        self.bv = self._open_billvend(folder)
        """A billvend without faults, for the director and the invariant checks."""
        self.database = self.bv._deps.journal._database  # type: ignore[attr-defined]  # the SQL one's own
        self.database_down_until = self.queue_down_until = 0.0
        self.commits = CommitBatches(self)
        self.queue = HintQueue(self)
        self.problems: list[str] = []
        """Violations that were found while it ran, besides those of the invariant checks."""
        self.accepted: dict[str, AcceptedPayment] = {}
        """By transaction id."""
        self.funded: Counter[str] = Counter()
        """The deposits that each user certainly made, in naira."""
        self.payment_of: dict[str, StreamKey] = {}
        """The payment of each reference."""
        self.references: defaultdict[StreamKey, list[str]] = defaultdict(list)
        self.may_send_until: dict[str, float] = {}
        """Until when each reference may be sent, by the latest permission."""
        self.webhooks: list[tuple[str, str]] = []
        """Received webhooks that no process has read yet: the provider that sent each, and its reference."""

    @property
    def true_time(self) -> datetime:
        """The true time."""
        return START + timedelta(seconds=self.scheduler.seconds)

    def _open_billvend(self, folder: Path) -> Billvend:
        settings = load_settings(
            "sqlite://",
            sandbox_book=folder / "unused.db",
            verify_meter=False,
            enable_notifications=False,
            bill_provider_timeout=TIMEOUT_SECONDS,
            lease_seconds=LEASE_SECONDS,
            requery_schedule="20,60,120,300,600,1200,3600",
            breaker_max_in_doubt=150_000,
        )
        parts = open_billvend(settings, clock=self.clock)._deps
        for provider in parts.providers.values():
            provider.close()
        routes = tuple(provider.account for provider in self.providers)
        policy = replace(parts.policy, accounts=routes)
        return Billvend(replace(parts, providers={}, policy=policy))

    def stop_faults(self) -> None:
        """Inject no fault from here on, and bring up everything that is down."""
        self.faults_enabled = False
        self.database_down_until = self.queue_down_until = 0.0
        for provider in self.providers:
            provider.down_until = 0.0

    def next_due(self) -> datetime | None:
        """When a payment is next due; None if none ever will be."""
        with self.database.read_transaction() as connection:
            due: datetime | None = connection.scalar(sa.select(sa.func.min(transactions.c.next_check_at)))
        return due

    @property
    def is_settled(self) -> bool:
        """Whether no work is left, on either side."""
        landed = not any(provider.in_transit for provider in self.providers)
        return self.next_due() is None and self.queue.is_empty and landed and not self.webhooks

    def close(self) -> None:
        """End all tasks."""
        self.scheduler.close()
        self.bv.close()
        for provider in self.providers:
            provider.sales.close()

    # --- chance -------------------------------------------------------------------------------------------------------

    def fault_occurs(self, share: float, fault: str) -> bool:
        """Whether to inject a fault now; counts it."""
        struck = self.chance.random() < share and self.faults_enabled
        if struck:
            self.faults[fault] += 1
        return struck

    def draw_outcome(
        self, table: Sequence[tuple[int, str, int]], weights: Sequence[int]
    ) -> tuple[int, str, int]:
        """One row of a table of faults, whose first row is no fault."""
        drawn = self.chance.choices(table, weights)[0]
        if not self.faults_enabled or drawn is table[0]:
            return table[0]
        self.faults[f"provider: {drawn[1]}"] += 1
        return drawn

    # --- checks while billvend runs -------------------------------------------------------------------------------------

    def fail(self, what: str) -> None:
        """Raise `Violation`, which ends the simulation."""
        raise Violation(f"{self.scheduler.seconds:.1f} s: {what}")

    def record_permission(self, payment: StreamKey, reference: str, *, to_send: bool) -> None:
        """A worker may now call the provider about a reference."""
        if to_send:
            self.may_send_until[reference] = self.scheduler.seconds + LEASE_SECONDS
        if reference not in self.payment_of:
            self.payment_of[reference] = payment
            self.references[payment].append(reference)

    def check_send(self, reference: str) -> None:
        """No process may send a reference after the lease, nor while another one of the payment may have sold, or may yet."""
        if self.scheduler.seconds > self.may_send_until[reference]:
            self.fail(f"{reference} is sent after its lease")
        payment = self.payment_of[reference]
        for other in self.references[payment]:
            if other != reference and any(provider.may_still_sell(other) for provider in self.providers):
                self.fail(f"payment {payment.stream} is sent as {reference} while {other} may sell")
        self.observed["requests sent"] += 1


class ProcessClock:
    """A process's own clock. It is right unless the fault injector set it wrong."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self.ahead_seconds = 0.0

    def now(self) -> datetime:
        """The time of the wall clock."""
        return self._simulation.true_time + timedelta(seconds=self.ahead_seconds)

    def elapsed_seconds(self) -> float:
        """The monotonic clock, which cannot be set."""
        return self._simulation.scheduler.seconds

    def sleep(self, seconds: float) -> None:
        """Other tasks run meanwhile."""
        self._simulation.scheduler.sleep(seconds)

    def new_id(self) -> str:
        """Unique among all processes, and sorted by the time of making."""
        return f"id-{next(self._simulation.ids):09}"


class CommitBatches:
    """The connection to the journal. Commands that arrive within a short time are executed as one list, as the port
    allows.

    That is also why 5,000 payments take only seconds.
    """

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._waiting: list[tuple[Task, Sequence[Command]]] = []
        self._results: dict[str, list[CommandOutcome] | Unavailable] = {}
        self._permissions: dict[tuple[StreamKey, int, int], float] = {}
        """The permissions to send that have no report yet, each with its end."""

    def execute(self, commands: Sequence[Command]) -> list[CommandOutcome]:
        """Execute the commands of one process, together with those of others."""
        scheduler = self._simulation.scheduler
        if not self._waiting:
            scheduler.at(self._simulation.chance.uniform(0, COMMIT_SECONDS), self._commit)
        self._waiting.append((scheduler.current, commands))
        scheduler.park()
        results = self._results.pop(scheduler.current.name)
        if isinstance(results, Unavailable):
            raise results
        return results

    def _commit(self) -> None:
        simulation, waiting = self._simulation, self._waiting
        self._waiting = []
        simulation.chance.shuffle(waiting)
        commands = [command for _, commands_of_task in waiting for command in commands_of_task]
        results = self._executed(commands)
        for task, commands_of_task in waiting:
            if isinstance(results, Unavailable):
                self._results[task.name] = results
            else:
                self._results[task.name], results = (
                    results[: len(commands_of_task)],
                    results[len(commands_of_task) :],
                )
            simulation.scheduler.wake(task, simulation.chance.uniform(0, 0.05))

    def _executed(self, commands: Sequence[Command]) -> list[CommandOutcome] | Unavailable:
        simulation = self._simulation
        if simulation.scheduler.seconds < simulation.database_down_until:
            return Unavailable("The database is down. Nothing was done.")
        if simulation.fault_occurs(0.002, "a commit cut off before it was done"):
            return [_unknown(command) for command in commands]
        results = simulation.bv._deps.journal.execute(commands)
        for command, result in zip(commands, results, strict=True):
            self._note(command, result)
        if simulation.fault_occurs(0.002, "a commit cut off after it was done"):
            return [_unknown(command) for command in commands]
        return results

    def report_again_later(self, report: RecordAnswer) -> None:
        """Another process reports the same answer once more, some time later."""
        simulation = self._simulation

        def repeat() -> None:
            if simulation.scheduler.seconds >= simulation.database_down_until:
                late = replace(report, key=simulation.clock.new_id(), at=simulation.true_time)
                simulation.bv._deps.journal.execute([late])

        simulation.scheduler.at(simulation.chance.uniform(0, 3600), repeat)

    def _note(self, command: Command, result: CommandOutcome) -> None:
        """Add the command to the trace; and no process may get permission to send while another permission is valid."""
        simulation = self._simulation
        payment = StreamKey(command.user_id, command.transaction_id)
        if not isinstance(result, Executed):
            simulation.scheduler.record(f"{command.operation} {payment.stream} {result.code}")
            return
        simulation.scheduler.record(f"{command.operation} {payment.stream} {result.result.status}")
        if isinstance(command, RecordAnswer) and not command.is_requery:
            self._permissions.pop((payment, command.attempt, command.call_number), None)
        work = result.result.provider_call
        if not isinstance(command, Claim) or work is None or result.replayed:
            return
        simulation.record_permission(payment, work.reference, to_send=not work.is_requery)
        if work.is_requery:
            return
        now = simulation.scheduler.seconds
        for (whose, _, _), until in self._permissions.items():
            # A clock that was wrong when it took a lease protects nothing: the core cannot know better.
            if whose == payment and now < until <= now + LEASE_SECONDS:
                simulation.fail(f"two may send payment {payment.stream} at once")
        until = (command.at - START).total_seconds() + LEASE_SECONDS
        self._permissions = {leave: end for leave, end in self._permissions.items() if end > now}
        self._permissions[payment, work.attempt, work.call_number] = until


def _unknown(command: Command) -> OutcomeUnknown:
    return OutcomeUnknown(
        "The connection broke. Repeat it with its key.",
        transaction_id=command.transaction_id,
        idempotency_key=command.key,
    )


class HintQueue:
    """One queue for all processes, which loses, duplicates, delays and reorders hints."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._ready: list[Hint] = []
        self._idle: list[Task] = []
        self._wiped = 0

    def put(self, hint: Hint) -> None:
        """A hint, which may arrive."""
        simulation = self._simulation
        if simulation.fault_occurs(0.02, "a hint lost"):
            return
        times = 2 if simulation.fault_occurs(0.04, "a hint doubled") else 1
        for _ in range(times):
            most_seconds = 900.0 if simulation.fault_occurs(0.02, "a hint delayed") else 0.2
            self._send(hint, simulation.chance.uniform(0, most_seconds))

    def take(self) -> Hint:
        """The next hint, in no particular order; parks until there is one."""
        scheduler = self._simulation.scheduler
        while not self._ready:
            self._idle.append(scheduler.current)
            scheduler.park()
        return self._ready.pop(self._simulation.chance.randrange(len(self._ready)))

    def wipe(self) -> None:
        """As by FLUSHALL: queued hints are lost, and so are delayed ones."""
        self._ready.clear()
        self._wiped += 1

    @property
    def is_empty(self) -> bool:
        """Whether no hint is queued."""
        return not self._ready

    def _send(self, hint: Hint, after_seconds: float) -> None:
        wiped = self._wiped

        def arrive() -> None:
            if wiped != self._wiped:
                return
            self._ready.append(hint)
            if self._idle:
                self._simulation.scheduler.wake(
                    self._idle.pop(self._simulation.chance.randrange(len(self._idle)))
                )

        self._simulation.scheduler.at(after_seconds, arrive)
