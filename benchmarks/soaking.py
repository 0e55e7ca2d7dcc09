"""Load for ten minutes, with everything outside: does memory grow? `python -m benchmarks.soaking --minutes 10`.

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

from benchmarks import settling
from billvend import open_billvend
from billvend.bench import over_http
from billvend.bench.places import empty_database, shop, wallets
from billvend.config import load_settings
from tests.support import servers

CLIENTS: Final = 32
BURST_SECONDS: Final = 5.0
HANGS_SECONDS: Final = 1.0
"""Valkey, in every burst of the first quarter."""
MOST_WAITING: Final = 2_000
"""Payments; more wait for the workers."""
MOST_MIB: Final = 150.0
MOST_GROWTH: Final = 1.05
"""The last quarter's memory, of the second quarter's: in the first all is loaded, and pools fill."""


@dataclass
class Soaked:
    """What was seen of a run."""

    payments: int = 0
    seconds: float = 0.0
    mib: dict[int, list[float]] = field(default_factory=dict)
    """The memory of each process of billvend, by its id, after each burst."""


def growth(sizes: Sequence[float]) -> float:
    """The last quarter of the sizes, of the second quarter."""
    quarter = max(1, len(sizes) // 4)
    return statistics.median(sizes[-quarter:]) / statistics.median(sizes[quarter : 2 * quarter] or sizes)


def complaints(soaked: Soaked) -> list[str]:
    """What is wrong with it, a line each."""
    found = []
    for pid, sizes in soaked.mib.items():
        if max(sizes) > MOST_MIB:
            found.append(f"process {pid} held {max(sizes):.0f} MiB, and is to hold {MOST_MIB:.0f} at most")
        if growth(sizes) > MOST_GROWTH:
            found.append(f"process {pid} grew to {growth(sizes):.2f} of what it held before")
    return found


def soak(database_url: str, redis: servers.RedisProtocolServer, folder: Path, *, seconds: float) -> Soaked:
    """Load it for so long, and let it come to its end. Raises where the books don't agree then."""
    soaked = Soaked()
    shop(database_url, folder)
    with contextlib.ExitStack() as stack:
        provider_url = stack.enter_context(settling.provider(0))
        settings = settling.settings(database_url, redis.url, provider_url)
        stack.enter_context(settling.environment(settings))
        bv = stack.enter_context(open_billvend(load_settings()))
        users = wallets(bv, 1_000)
        for _ in range(settling.WORKERS):
            stack.enter_context(settling.worker(folder))
        _, port = stack.enter_context(over_http.serving(settings, folder))
        began, bursts = time.monotonic(), count()
        while (spent := time.monotonic() - began) < seconds:
            with _hanging(redis) if spent < seconds / 4 else contextlib.nullcontext():
                times, _ = over_http.load(
                    port, users, CLIENTS, min(BURST_SECONDS, seconds), f"burst-{next(bursts)}"
                )
            soaked.payments += len(times)
            for pid, size in over_http.memory_mib(os.getpid()).items():
                if _is_billvends(pid):
                    soaked.mib.setdefault(pid, []).append(size)
            settling.catch_up(bv, MOST_WAITING)
        settling.catch_up(bv)
        soaked.seconds = time.monotonic() - began
        audit = bv.audit()
        if not audit.ok:
            raise SystemExit(f"the books differ: {audit.differences[0]}")
        if audit.payments != soaked.payments:
            raise SystemExit(f"{soaked.payments} were answered, and {audit.payments} stand in the books")
    return soaked


@contextlib.contextmanager
def _hanging(redis: servers.RedisProtocolServer) -> Iterator[None]:
    """Valkey takes what it is sent and answers nothing, for the first second of what is done meanwhile."""
    assert redis.pid is not None
    os.kill(redis.pid, signal.SIGSTOP)
    waking = threading.Timer(HANGS_SECONDS, os.kill, (redis.pid, signal.SIGCONT))
    waking.start()
    try:
        yield
    finally:
        waking.join()


def _is_billvends(pid: int) -> bool:
    """`billvend serve`, a process that it started, or a worker; the provider and what Python starts beside them are not."""
    with contextlib.suppress(OSError):
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        return b"\0billvend\0" in command or b"spawn_main" in command
    return False


def main() -> None:
    """Soak it, show what each process held, and fail where that grew."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soaking")
    parser.add_argument("--minutes", type=float, default=10.0)
    options = parser.parse_args()
    with (
        servers.postgres(durable=True) as server,
        servers.valkey() as redis,
        tempfile.TemporaryDirectory() as named,
        empty_database(server.url, Path(named)) as url,
    ):
        soaked = soak(url, redis, Path(named), seconds=options.minutes * 60)
    print(f"{soaked.payments:,} payments accepted and settled in {soaked.seconds:.0f} s; the books agree.")
    for pid, sizes in soaked.mib.items():
        told = ", ".join(f"{size:.0f}" for size in sizes[:: max(1, len(sizes) // 12)])
        print(f"process {pid}: {told} MiB; growth {growth(sizes):.3f}")
    if wrong := complaints(soaked):
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main()
