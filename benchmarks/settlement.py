"""Payments from acceptance to their end, with Redis, workers and a provider over HTTP as separate processes."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.databases import fund_wallets, prepare_shop
from billvend import Billvend, open_billvend
from billvend.config import load_settings
from billvend.usecases.pay import Bill, PaymentResult

THREADS = 64
WORKERS = 2
"""Processes."""
TIMEOUT_SECONDS = 300


def measure_settlement(url: str, redis_url: str, folder: Path, *, payments: int, latency_ms: int) -> float:
    """Payments settled a second, from the first acceptance to the end of the last payment."""
    with run_provider(latency_ms) as provider_url:
        prepare_shop(url, folder)
        with set_environment(shop_environment(url, redis_url, provider_url)), contextlib.ExitStack() as stack:
            bv = stack.enter_context(open_billvend(load_settings()))
            users = fund_wallets(bv, 1_000)
            for _ in range(WORKERS):
                stack.enter_context(run_worker(folder))
            # A warm-up: the start of a worker takes long and is not measured.
            _settle(
                bv,
                [Bill(user, "1", "12345678901", "EKEDC", key="warm") for user in users[: THREADS * WORKERS]],
            )
            bills = [
                Bill(users[n % len(users)], "1", f"{10**10 + n}", "EKEDC", key=f"order-{n}")
                for n in range(payments)
            ]
            return payments / _settle(bv, bills)


def shop_environment(url: str, redis_url: str, provider_url: str) -> dict[str, str]:
    """The environment variables of a shop with an external database, queue and provider."""
    return {
        "DATABASE_URL": url, "REDIS_URL": redis_url, "BILL_PROVIDER": "vtpass", "BILL_PROVIDER_API_URL": provider_url,
        "BILL_PROVIDER_API_KEY": "key", "BILL_PROVIDER_PUBLIC_KEY": "PK_public", "BILL_PROVIDER_SECRET_KEY": "SK_secret",
        "BILL_PROVIDER_PHONE": "08030000000", "VERIFY_METER": "false", "QUEUE_CONCURRENCY": str(THREADS),
        "LOG_LEVEL": "warning", "ENABLE_NOTIFICATIONS": "false", "MIN_AMOUNT": "1", "BREAKER_MAX_IN_DOUBT": "0",
    }  # fmt: skip


def _settle(bv: Billvend, bills: list[Bill]) -> float:
    began = time.perf_counter()
    accepted = bv.pay_many(bills)
    rejected = [each for each in accepted if not isinstance(each, PaymentResult)]
    if rejected:
        raise SystemExit(f"a payment of the benchmark was rejected: {rejected[0]}")
    wait_for_workers(bv)
    return time.perf_counter() - began


def wait_for_workers(bv: Billvend, max_backlog: int = 0) -> None:
    """Wait until at most `max_backlog` payments wait for workers."""
    give_up_at = time.monotonic() + TIMEOUT_SECONDS
    while sum(bv.backlog().payments.values()) > max_backlog:
        if time.monotonic() > give_up_at:
            raise SystemExit(f"payments did not end within {TIMEOUT_SECONDS} s: {bv.backlog()}")
        time.sleep(0.05)


@contextlib.contextmanager
def set_environment(settings: dict[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(settings)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextlib.contextmanager
def run_provider(latency_ms: int) -> Iterator[str]:
    command = [sys.executable, "-m", "benchmarks.vtpass_stub", str(latency_ms)]
    root = Path(__file__).parent.parent
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{int(process.stdout.readline())}/api"
        finally:
            process.kill()


@contextlib.contextmanager
def run_worker(folder: Path) -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "-m", "billvend", "worker"], cwd=folder)
    try:
        yield
    finally:
        process.terminate()
        process.wait(60)
