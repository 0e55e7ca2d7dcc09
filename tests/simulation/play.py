"""One play: a seed and a number of payments in, what happened and what was wrong with it out."""

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path

from tests.simulation import actors, oracle
from tests.simulation.process import Process
from tests.simulation.world import World

DAY_SECONDS = 86400.0
LONGEST_DAYS = 30


@dataclass
class Outcome:
    """What came of a play."""

    seed: int
    payments: int
    wrong: list[str]
    """What billvend must never do, and did."""
    trace: str
    """A hash over every turn, every commit and every event: the same for the same seed."""
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
        return "\n".join([head, *tables, *(f"WRONG  {what}" for what in self.wrong[:20])])


def play(seed: int, payments: int, folder: Path) -> Outcome:
    """Rough times until all is paid and for three quarters of an hour more; then fine weather until nothing is left to do.

    Raises `Violation` where billvend is caught in the act.
    """
    began = time.monotonic()
    world = World(seed, folder)
    try:
        _play(world, payments)
        booked = oracle.all_payments(world)
        hashes = ",".join(oracle.last_hashes(world))
        return Outcome(
            seed,
            len(booked),
            oracle.judge(world, booked),
            sha256(f"{world.stage.trace} {hashes}".encode()).hexdigest(),
            world.stage.seconds / DAY_SECONDS,
            time.monotonic() - began,
            {
                "events": oracle.count_events(world),
                "faults": world.faults,
                "seen": world.seen,
                "incidents": Counter(i.kind.value for payment in booked for i in payment.incidents),
                "statuses": Counter(payment.status.value for payment in booked),
                "proofs of reversals": Counter(payment.proof.value for payment in booked if payment.proof),
            },
        )
    finally:
        world.close()


def _play(world: World, payments: int) -> None:
    stage = world.stage
    workers: list[Process] = []

    def hire() -> None:
        """A new worker, also where one is stopped: somebody starts another, and then there are both."""
        workers.append(Process(world, when_stopped=hire))
        stage.enter(f"worker {len(workers)}", partial(actors.worker, workers[-1]))

    for _ in range(actors.WORKERS):
        hire()
    callers = [actors.Callers(world, payments) for _ in range(actors.CALLERS)]
    for number, caller in enumerate(callers):
        stage.enter(f"caller {number}", caller.play)
    for number in range(actors.SWEEPERS):
        stage.enter(f"sweeper {number}", partial(actors.sweeper, world))
    stage.enter("support", partial(actors.support_desk, world))
    stage.enter("operator", partial(actors.operator, world))
    stage.enter("weather", partial(actors.weather, world, workers))
    while len(world.told) < payments:
        stage.pause(60)
    stage.pause(0.75 * actors.HOUR)
    world.calm()
    while not world.is_at_rest and stage.seconds < LONGEST_DAYS * DAY_SECONDS:
        stage.pause(actors.HOUR)
    stage.pause(2 * actors.HOUR)
