"""`billvend serve` under load: many clients, each with one open connection, and each waits for its answers.

All clients run in one asyncio process with a minimal HTTP/1.1: on a small machine they take their CPU time from the
server.
"""

import asyncio
import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from benchmarks.databases import fund_wallets, prepare_shop
from billvend.bootstrap import open_billvend
from billvend.domain.errors import Unavailable

CLIENTS: Final = 64
WARMUP_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class HttpSamples:
    """What the clients of POST /bills/pay measured."""

    requests_per_second: float
    p50_ms: float
    p99_ms: float
    memory_mib: float | None
    """Of the largest process of the server, at the end. None if the system does not report it."""


def measure_http(
    url: str, folder: Path, *, wallet_count: int, clients: int, seconds: float, verify_meters: bool = False
) -> HttpSamples:
    """Fund the wallets, start the server, and pay bills for a while. Every payment must be accepted.

    Each client pays for one meter. With `verify_meters` all meters are in the cache after the warm-up.
    """
    with open_billvend(prepare_shop(url, folder)) as bv:
        bv.require_test_money()  # these clients have no API key
        users = fund_wallets(bv, wallet_count)
    settings = {"DATABASE_URL": url, "VERIFY_METER": str(verify_meters).lower(), "REDIS_URL": ""}
    with serve_billvend(settings, folder) as (process, port):
        run_load(port, users, clients, min(WARMUP_SECONDS, seconds), "warm")
        times, took = run_load(port, users, clients, seconds, "load")
        memory = max(memory_mib(process.pid).values(), default=None)
    return HttpSamples(
        len(times) / took,
        statistics.median(times) * 1000,
        statistics.quantiles(times, n=100)[98] * 1000,
        memory,
    )


@contextmanager
def serve_billvend(
    settings: Mapping[str, str], folder: Path
) -> Iterator[tuple["subprocess.Popen[str]", int]]:
    """Run `billvend serve` with these settings. Gives its process and its port. Raises `Unavailable`."""
    defaults = {
        "PORT": "0", "RATE_LIMIT": "0", "LOG_LEVEL": "warning", "SANDBOX_BOOK": str(folder / "sandbox.db"),
        "MIN_AMOUNT": "1",
    }  # fmt: skip
    command = [sys.executable, "-m", "billvend", "serve", "--no-worker"]
    environment = {**os.environ, **defaults, **settings}
    with subprocess.Popen(command, env=environment, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        try:
            match = re.search(
                r"http://127\.0\.0\.1:(\d+)", process.stdout.readline() if process.stdout else ""
            )
            if match is None:
                raise Unavailable("billvend serve did not start. Its own message is above.")
            yield process, int(match[1])
        finally:
            process.terminate()


def run_load(
    port: int, users: list[str], clients: int, seconds: float, run: str
) -> tuple[list[float], float]:
    """Let so many clients pay for so long. Returns the seconds of each request, and of the whole run.

    `run` is a part of the idempotency keys, and must be new.
    """
    return asyncio.run(_run_clients(port, users, clients, seconds, run))


async def _run_clients(
    port: int, users: list[str], clients: int, seconds: float, run: str
) -> tuple[list[float], float]:
    began = time.perf_counter()
    until = began + seconds
    times = await asyncio.gather(
        *(
            _run_client(port, users, range(number, sys.maxsize, clients), until, run)
            for number in range(clients)
        )
    )
    return [each for own in times for each in own], time.perf_counter() - began


async def _run_client(port: int, users: list[str], serials: range, until: float, run: str) -> list[float]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    times: list[float] = []
    meter = f"{10**10 + serials.start}"
    for serial in serials:
        began = time.perf_counter()
        if began >= until:
            break
        bill = {
            "userId": users[serial % len(users)], "billType": "electricity", "amount": "1", "meterNumber": meter,
            "provider": "EKEDC",
        }  # fmt: skip
        body = json.dumps(bill).encode()
        head = (
            f"POST /bills/pay HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
            f"Idempotency-Key: {run}-{serial}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", answer)
        rest = await reader.readexactly(int(length[1]) if length else 0)
        if not answer.startswith(b"HTTP/1.1 202"):
            raise RuntimeError(f"not accepted: {rest.decode()[:200]}")
        times.append(time.perf_counter() - began)
    writer.close()
    return times


def memory_mib(pid: int) -> dict[int, float]:
    """The memory in MiB of each process below this one, by its id."""
    sizes = {}
    for child in psutil.Process(pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            sizes[child.pid] = child.memory_info().rss / 2**20
    return sizes
