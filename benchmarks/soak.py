"""Load for ten minutes, with everything outside: does memory grow? `python -m benchmarks.soak --minutes 10`.

`billvend serve` and `billvend worker` on a PostgreSQL and a Valkey of our own, with a provider over HTTP; clients that pay as
fast as they are answered, but for pauses in which the workers catch up. In the first quarter of the time Valkey hangs in every
burst: what failing takes of memory is taken by then, and whatever grows later grows for ever.
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

from benchmarks import http_load, settlement
from benchmarks.databases import empty_database, fund_wallets, prepare_shop
from billvend import open_billvend
from billvend.config import load_settings
from tests.support import servers

CLIENTS: Final = 32
BURST_SECONDS: Final = 5.0
HANG_SECONDS: Final = 1.0
"""Valkey, in every burst of the first quarter."""
MAX_BACKLOG: Final = 2_000
"""Payments; more wait for the workers."""
MAX_MEMORY_MIB: Final = 150.0
MAX_GROWTH_RATIO: Final = 1.05
"""The last quarter's memory, of the second quarter's: in the first all is loaded, and pools fill."""


@dataclass
class SoakResult:
    """What was seen of a run."""

    payments: int = 0
    seconds: float = 0.0
    memory_mib: dict[int, list[float]] = field(default_factory=dict)
    """The memory of each process of billvend, by its id, after each burst."""


def memory_growth(sizes: Sequence[float]) -> float:
    """The last quarter of the sizes, of the second quarter."""
    quarter = max(1, len(sizes) // 4)
    return statistics.median(sizes[-quarter:]) / statistics.median(sizes[quarter : 2 * quarter] or sizes)


def find_problems(result: SoakResult) -> list[str]:
    """What is wrong with it, a line each."""
    problems = []
    for pid, sizes in result.memory_mib.items():
        if max(sizes) > MAX_MEMORY_MIB:
            problems.append(
                f"process {pid} held {max(sizes):.0f} MiB, and is to hold {MAX_MEMORY_MIB:.0f} at most"
            )
        if memory_growth(sizes) > MAX_GROWTH_RATIO:
            problems.append(f"process {pid} grew to {memory_growth(sizes):.2f} of what it held before")
    return problems


def soak(
    database_url: str, redis: servers.RedisProtocolServer, folder: Path, *, seconds: float
) -> SoakResult:
    """Load it for so long, and let it come to its end. Raises where the books don't agree then."""
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
            raise SystemExit(f"the books differ: {audit.differences[0]}")
        if audit.payments != result.payments:
            raise SystemExit(f"{result.payments} were answered, and {audit.payments} stand in the books")
    return result


@contextlib.contextmanager
def _paused_redis(redis: servers.RedisProtocolServer) -> Iterator[None]:
    """Valkey takes what it is sent and answers nothing, for the first second of what is done meanwhile."""
    assert redis.pid is not None
    os.kill(redis.pid, signal.SIGSTOP)
    resume_timer = threading.Timer(HANG_SECONDS, os.kill, (redis.pid, signal.SIGCONT))
    resume_timer.start()
    try:
        yield
    finally:
        resume_timer.join()


def _is_billvend_process(pid: int) -> bool:
    """`billvend serve`, a process that it started, or a worker; the provider and what Python starts beside them are not."""
    with contextlib.suppress(OSError):
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        return b"\0billvend\0" in command or b"spawn_main" in command
    return False


def main() -> None:
    """Soak it, show what each process held, and fail where that grew."""
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
    print(f"{result.payments:,} payments accepted and settled in {result.seconds:.0f} s; the books agree.")
    for pid, sizes in result.memory_mib.items():
        sizes_text = ", ".join(f"{size:.0f}" for size in sizes[:: max(1, len(sizes) // 12)])
        print(f"process {pid}: {sizes_text} MiB; memory_growth {memory_growth(sizes):.3f}")
    if problems := find_problems(result):
        sys.exit("\n".join(problems))


if __name__ == "__main__":
    main()
