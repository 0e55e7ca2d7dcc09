"""Run one simulation: a seed and a number of payments in, the outcome and all violations out."""

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path

from tests.simulation import invariants, tasks
from tests.simulation.process import Process
from tests.simulation.simulation import Simulation

DAY_SECONDS = 86400.0
MAX_DAYS = 30


@dataclass
class Outcome:
    """The outcome of a simulation."""

    seed: int
    payments: int
    problems: list[str]
    """What billvend must never do, and did."""
    trace: str
    """A hash over every turn, every commit and every event. It is the same for the same seed."""
    virtual_days: float
    wall_seconds: float
    counts: Mapping[str, Mapping[str, int]]

    def __str__(self) -> str:
        head = (
            f"seed {self.seed}: {self.payments} payments, {self.virtual_days:.1f} virtual days,"
            f" {self.wall_seconds:.1f} s, trace {self.trace[:16]}"
        )
        tables = []
        for title, counted in self.counts.items():
            rows = [
                f"{number:>8}  {what}" for what, number in sorted(counted.items(), key=lambda row: -row[1])
            ]
            tables.append("\n".join([f"  {title}", *rows]))
        return "\n".join([head, *tables, *(f"WRONG  {what}" for what in self.problems[:20])])


def run_simulation(seed: int, payments: int, folder: Path) -> Outcome:
    """Inject faults until all payments are made and for three quarters of an hour more, then run without faults until
    no work is left.

    Raises `Violation` at once if billvend does what it must never do.
    """
    began = time.monotonic()
    simulation = Simulation(seed, folder)
    try:
        _run(simulation, payments)
        booked = invariants.all_payments(simulation)
        hashes = ",".join(invariants.last_hashes(simulation))
        return Outcome(
            seed,
            len(booked),
            invariants.check(simulation, booked),
            sha256(f"{simulation.scheduler.trace} {hashes}".encode()).hexdigest(),
            simulation.scheduler.seconds / DAY_SECONDS,
            time.monotonic() - began,
            {
                "events": invariants.count_events(simulation),
                "faults": simulation.faults,
                "seen": simulation.observed,
                "incidents": Counter(i.kind.value for payment in booked for i in payment.incidents),
                "statuses": Counter(payment.status.value for payment in booked),
                "proofs of reversals": Counter(payment.proof.value for payment in booked if payment.proof),
            },
        )
    finally:
        simulation.close()


def _run(simulation: Simulation, payments: int) -> None:
    scheduler = simulation.scheduler
    workers: list[Process] = []

    def hire() -> None:
        """Start a new worker, also in place of a stopped one, which may wake up later: then there are both."""
        workers.append(Process(simulation, when_stopped=hire))
        scheduler.spawn(f"worker {len(workers)}", partial(tasks.worker, workers[-1]))

    for _ in range(tasks.WORKERS):
        hire()
    callers = [tasks.Callers(simulation, payments) for _ in range(tasks.CALLERS)]
    for number, caller in enumerate(callers):
        scheduler.spawn(f"caller {number}", caller.run)
    for number in range(tasks.SWEEPERS):
        scheduler.spawn(f"sweeper {number}", partial(tasks.sweeper, simulation))
    scheduler.spawn("support", partial(tasks.webhook_receiver, simulation))
    scheduler.spawn("operator", partial(tasks.operator, simulation))
    scheduler.spawn("fault injector", partial(tasks.inject_faults, simulation, workers))
    while len(simulation.accepted) < payments:
        scheduler.sleep(60)
    scheduler.sleep(0.75 * tasks.HOUR)
    simulation.stop_faults()
    while not simulation.is_settled and scheduler.seconds < MAX_DAYS * DAY_SECONDS:
        scheduler.sleep(tasks.HOUR)
    scheduler.sleep(2 * tasks.HOUR)
