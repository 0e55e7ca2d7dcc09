"""The library under load: one caller, many callers at once, bulk payments, an audit."""

import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Final

from benchmarks.databases import fund_wallets, prepare_shop
from billvend.app import Billvend
from billvend.bootstrap import open_billvend
from billvend.usecases.pay import Bill, PaymentResult

CALLERS: Final = 64
BULK_SIZE: Final = 5_000
"""Bills in one call of `pay_many`."""


def measure_accepts(url: str, folder: Path, *, wallet_count: int, callers: int, seconds: float) -> float:
    """Payments accepted a second with so many callers at once. Each waits for its own payment."""
    with open_billvend(prepare_shop(url, folder)) as bv:
        users, serial, run = fund_wallets(bv, wallet_count), count(), uuid.uuid4().hex

        def accept() -> int:
            return int(not bv.accept(_build_bill(users, next(serial), run)).replayed)

        return _rate(accept, callers=callers, seconds=seconds)


def measure_bulk(url: str, folder: Path, *, seconds: float) -> tuple[float, float]:
    """Payments accepted a second in bulk, and the events a second of an audit of all of them."""
    with open_billvend(prepare_shop(url, folder)) as bv:
        users, serial, run = fund_wallets(bv, 1_000), count(), uuid.uuid4().hex

        def accept() -> int:
            paid = bv.pay_many(_build_bill(users, next(serial), run) for _ in range(BULK_SIZE))
            return sum(isinstance(each, PaymentResult) and not each.replayed for each in paid)

        return _rate(accept, callers=1, seconds=seconds), _audit_rate(bv)


def _audit_rate(bv: Billvend) -> float:
    began = time.perf_counter()
    audit = bv.audit()
    if not audit.ok:
        raise RuntimeError(f"the audit found a difference: {audit.differences[0]}")
    return audit.events / (time.perf_counter() - began)


def _build_bill(users: list[str], serial: int, run: str) -> Bill:
    """A bill that was never paid, even if another run used the same database."""
    return Bill(users[serial % len(users)], "1", "12345678901", "EKEDC", key=f"{run}-{serial}")


def _rate(work: Callable[[], int], *, callers: int, seconds: float) -> float:
    """Units of work a second with so many callers at once, until the time is up."""
    stop = threading.Event()

    def loop() -> int:
        count = 0
        while not stop.is_set():
            count += work()
        return count

    began = time.perf_counter()
    with ThreadPoolExecutor(callers) as pool:
        running = [pool.submit(loop) for _ in range(callers)]
        stop.wait(seconds)
        stop.set()
        total = sum(each.result() for each in running)
    return total / (time.perf_counter() - began)
