"""Ten minutes of load on all processes: does their memory grow? `python -m benchmarks.soak --minutes 10`.

`billvend serve` and `billvend worker` run on a temporary PostgreSQL and Valkey, with a provider over HTTP. Clients pay as
fast as they are answered, with pauses in which the workers catch up. In the first quarter of the time Valkey hangs in
every burst. So memory that failures need is allocated by then, and memory that still grows later grows for ever.
"""

import argparse
import contextlib
import os
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Final

import psutil

from benchmarks import http_load, settlement
from benchmarks.databases import empty_database, fund_wallets, prepare_shop
from billvend import open_billvend
from billvend.config import load_settings
from tests.support import servers

CLIENTS: Final = 32
BURST_SECONDS: Final = 5.0
HANG_SECONDS: Final = 1.0
"""How long Valkey hangs in every burst of the first quarter."""
MAX_BACKLOG: Final = 2_000
"""With more payments waiting, the clients pause for the workers."""
MAX_MEMORY_MIB: Final = 150.0
MAX_GROWTH_RATIO: Final = 1.05
"""Memory in the last quarter relative to the second. In the first quarter modules are loaded and pools fill."""


@dataclass
class SoakResult:
    """What a run measured."""

    payments: int = 0
    seconds: float = 0.0
    memory_mib: dict[int, list[float]] = field(default_factory=dict)
    """The memory of each billvend process after each burst, by process id."""


def memory_growth(sizes: Sequence[float]) -> float:
    """The median of the last quarter of the sizes, relative to that of the second quarter."""
    quarter = max(1, len(sizes) // 4)
    return statistics.median(sizes[-quarter:]) / statistics.median(sizes[quarter : 2 * quarter] or sizes)


def find_problems(result: SoakResult) -> list[str]:
    """The problems of a run, a line each."""
    problems = []
    for pid, sizes in result.memory_mib.items():
        if max(sizes) > MAX_MEMORY_MIB:
            problems.append(
                f"process {pid} used {max(sizes):.0f} MiB, more than the {MAX_MEMORY_MIB:.0f} allowed"
            )
        if memory_growth(sizes) > MAX_GROWTH_RATIO:
            problems.append(f"process {pid} grew to {memory_growth(sizes):.2f} times its earlier memory")
    return problems


def soak(
    database_url: str, redis: servers.RedisProtocolServer, folder: Path, *, seconds: float
) -> SoakResult:
    """Load billvend for so long, and let all payments end. Raises `SystemExit` if the audit then finds a difference."""
    result = SoakResult()
    prepare_shop(database_url, folder)
    with contextlib.ExitStack() as stack:
        provider_url = stack.enter_context(settlement.run_provider(0))
        settings = settlement.shop_environment(database_url, redis.url, provider_url)
        stack.enter_context(settlement.set_environment(settings))
        bv = stack.enter_context(open_billvend(load_settings()))
        users = fund_wallets(bv, 1_000)
        for _ in range(settlement.WORKERS):
            stack.enter_context(settlement.run_worker(folder))
        _, port = stack.enter_context(http_load.serve_billvend(settings, folder))
        began, bursts = time.monotonic(), count()
        while (spent := time.monotonic() - began) < seconds:
            with _paused_redis(redis) if spent < seconds / 4 else contextlib.nullcontext():
                times, _ = http_load.run_load(
                    port, users, CLIENTS, min(BURST_SECONDS, seconds), f"burst-{next(bursts)}"
                )
            result.payments += len(times)
            for pid, size in http_load.memory_mib(os.getpid()).items():
                if _is_billvend_process(pid):
                    result.memory_mib.setdefault(pid, []).append(size)
            settlement.wait_for_workers(bv, MAX_BACKLOG)
        settlement.wait_for_workers(bv)
        result.seconds = time.monotonic() - began
        audit = bv.audit()
        if not audit.ok:
            raise SystemExit(f"the audit found a difference: {audit.differences[0]}")
        if audit.payments != result.payments:
            raise SystemExit(f"{result.payments} payments were accepted, but the ledger has {audit.payments}")
    return result


@contextlib.contextmanager
def _paused_redis(redis: servers.RedisProtocolServer) -> Iterator[None]:
    """Valkey accepts requests and does not answer them, for the first `HANG_SECONDS` of the block."""
    assert redis.pid is not None
    os.kill(redis.pid, signal.SIGSTOP)
    resume_timer = threading.Timer(HANG_SECONDS, os.kill, (redis.pid, signal.SIGCONT))
    resume_timer.start()
    try:
        yield
    finally:
        resume_timer.join()


def _is_billvend_process(pid: int) -> bool:
    """Whether this is `billvend serve`, a process that it started, or a worker. The provider and Python's own are not."""
    with contextlib.suppress(psutil.NoSuchProcess):
        command = psutil.Process(pid).cmdline()
        return "billvend" in command or any("spawn_main" in argument for argument in command)
    return False


def main() -> None:
    """Run the load, print the memory of each process, and fail if it grew."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak")
    parser.add_argument("--minutes", type=float, default=10.0)
    options = parser.parse_args()
    with (
        servers.postgres(durable=True) as server,
        servers.valkey() as redis,
        tempfile.TemporaryDirectory() as folder_name,
        empty_database(server.url, Path(folder_name)) as url,
    ):
        result = soak(url, redis, Path(folder_name), seconds=options.minutes * 60)
    print(
        f"{result.payments:,} payments accepted and settled in {result.seconds:.0f} s. The audit found nothing."
    )
    for pid, sizes in result.memory_mib.items():
        sizes_text = ", ".join(f"{size:.0f}" for size in sizes[:: max(1, len(sizes) // 12)])
        print(f"process {pid}: {sizes_text} MiB; growth {memory_growth(sizes):.3f}")
    if problems := find_problems(result):
        sys.exit("\n".join(problems))


if __name__ == "__main__":
    main()
