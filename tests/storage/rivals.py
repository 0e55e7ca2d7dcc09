"""Work that is done by many at once: in threads, or in processes that share nothing but the database."""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing.synchronize import Barrier
from threading import Barrier as ThreadBarrier
from typing import TypeVar

from billvend.adapters.storage.database import Database
from billvend.adapters.storage.schema_version import upgrade
from tests.storage.till import all_done, named, open_till

T = TypeVar("T")

PATIENCE_SECONDS = 60


def at_once(*calls: Callable[[], T]) -> list[T]:
    """What the calls return, each made in a thread of its own, and all started together."""
    gate = ThreadBarrier(len(calls))

    def run(call: Callable[[], T]) -> T:
        gate.wait(PATIENCE_SECONDS)
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result() for future in [pool.submit(run, call) for call in calls]]


def in_processes(work: Callable[[str, str], T], url: str, *names: str) -> list[T]:
    """What `work(url, name)` returns in a fresh process for each name, all started together."""
    spawn = multiprocessing.get_context("spawn")
    gate = spawn.Barrier(len(names))
    with ProcessPoolExecutor(len(names), spawn, initializer=_at_the_gate, initargs=(gate,)) as pool:
        return [future.result() for future in [pool.submit(_started, work, url, name) for name in names]]


_gates: list[Barrier] = []


def _at_the_gate(gate: Barrier) -> None:
    _gates.append(gate)


def all_together() -> None:
    """In a process: wait until all of them are here."""
    _gates[-1].wait(PATIENCE_SECONDS)


def _started(work: Callable[[str, str], T], url: str, name: str) -> T:
    all_together()
    return work(url, name)


# --- what processes do ------------------------------------------------------------------------------------------------


def upgrade_it(url: str, _name: str) -> str:
    """Make the tables."""
    database = Database(url)
    before = upgrade(database)
    database.close()
    return before


def pay_and_claim(url: str, name: str) -> tuple[list[str], int]:
    """Pay the same twenty bills as everybody, then work on whatever is due; returns what came of it."""
    with open_till(url, name=name) as till:
        became = [named(till.do(till.pay(minor=1_000, key=f"order-{number}")))[0] for number in range(20)]
        all_together()
        due = till.journal.take_due_payments(till.now, 100, 0)
        results = all_done(till.do(*(till.claim_due(found) for found in due)))
        return became, sum(done.result.provider_call is not None for done in results)
