"""Run work concurrently: in threads, or in processes that share nothing but the database."""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing.synchronize import Barrier
from threading import Barrier as ThreadBarrier
from typing import TypeVar

from billvend.adapters.storage.database import Database
from billvend.adapters.storage.schema_version import upgrade
from tests.storage.harness import expect_executed, open_harness, result_codes

T = TypeVar("T")

TIMEOUT_SECONDS = 60


def run_in_threads(*calls: Callable[[], T]) -> list[T]:
    """The results of the calls. Each call runs in its own thread, and all start together."""
    barrier = ThreadBarrier(len(calls))

    def run(call: Callable[[], T]) -> T:
        barrier.wait(TIMEOUT_SECONDS)
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result() for future in [pool.submit(run, call) for call in calls]]


def run_in_processes(work: Callable[[str, str], T], url: str, *names: str) -> list[T]:
    """The results of `work(url, name)`, each run in a fresh process. All start together."""
    spawn = multiprocessing.get_context("spawn")
    barrier = spawn.Barrier(len(names))
    with ProcessPoolExecutor(len(names), spawn, initializer=_set_barrier, initargs=(barrier,)) as pool:
        return [future.result() for future in [pool.submit(_started, work, url, name) for name in names]]


_barriers: list[Barrier] = []


def _set_barrier(barrier: Barrier) -> None:
    _barriers.append(barrier)


def wait_for_others() -> None:
    """In a process: wait until all processes have arrived."""
    _barriers[-1].wait(TIMEOUT_SECONDS)


def _started(work: Callable[[str, str], T], url: str, name: str) -> T:
    wait_for_others()
    return work(url, name)


# --- functions that the processes run ---------------------------------------------------------------------------------


def upgrade_database(url: str, _name: str) -> str:
    """Make the tables."""
    database = Database(url)
    before = upgrade(database)
    database.close()
    return before


def pay_and_claim(url: str, name: str) -> tuple[list[str], int]:
    """Pay the same twenty bills as the other processes, then work on all that is due; returns the results."""
    with open_harness(url, name=name) as harness:
        became = [
            result_codes(harness.execute(harness.pay(minor=1_000, key=f"order-{number}")))[0]
            for number in range(20)
        ]
        wait_for_others()
        due = harness.journal.take_due_payments(harness.now, 100, 0)
        results = expect_executed(harness.execute(*(harness.claim_due(found) for found in due)))
        return became, sum(done.result.provider_call is not None for done in results)
