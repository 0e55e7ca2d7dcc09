"""The API under load: `billvend serve` as a process, and so many clients that each keep one connection open.

The clients are one asyncio process that speaks just enough HTTP/1.1: on two cores every instruction of theirs is taken from
the server.
"""

import asyncio
import json
import os
import re
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from billvend import open_billvend
from billvend.bootstrap import upgrade_tables
from billvend.config import Settings


@dataclass(frozen=True, slots=True)
class Served:
    """What `clients` clients saw of POST /bills/pay."""

    wallets: int
    clients: int
    requests_per_second: float
    p50_ms: float
    p99_ms: float


def measure(
    url: str, folder: Path, *, wallets: int, clients: int, seconds: float, verify: bool = False
) -> Served:
    """Fund the wallets, serve, and pay bills for a while; every one must be accepted."""
    settings = Settings(database_url=url, sandbox_book=folder / "sandbox.db", rate_limit="0")
    upgrade_tables(settings)
    with open_billvend(settings) as bv:
        for number in range(wallets):
            bv.fund(f"user-{number:05}", "1000000", key=f"fund-{number}")
    with _serving(url, folder, verify=verify) as port:
        asyncio.run(_load(port, wallets, clients, min(1.0, seconds), "warm"))
        times, took = asyncio.run(_load(port, wallets, clients, seconds, "load"))
    return Served(
        wallets, clients, len(times) / took,
        statistics.median(times) * 1000, statistics.quantiles(times, n=100)[98] * 1000,
    )  # fmt: skip


@contextmanager
def _serving(url: str, folder: Path, *, verify: bool) -> Iterator[int]:
    settings = {
        "DATABASE_URL": url, "PORT": "0", "RATE_LIMIT": "0", "VERIFY_METER": str(verify).lower(), "LOG_LEVEL": "warning",
        "SANDBOX_BOOK": str(folder / "sandbox.db"), "MIN_AMOUNT": "1",
    }  # fmt: skip
    command = [sys.executable, "-m", "billvend", "serve", "--no-worker"]
    process = subprocess.Popen(
        command,
        env={**os.environ, **settings},
        cwd=folder,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        port = _port(process)
        _await(port)
        yield port
    finally:
        process.terminate()
        process.wait(30)


def _port(process: "subprocess.Popen[str]") -> int:
    assert process.stdout is not None
    line = process.stdout.readline()
    found = re.search(r"http://127\.0\.0\.1:(\d+)", line)
    if found is None:
        raise SystemExit(f"billvend serve did not start: {line} {process.stderr and process.stderr.read()}")
    return int(found[1])


def _await(port: int) -> None:
    for _ in range(200):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health/live", timeout=1).close()
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
        else:
            return
    raise SystemExit("billvend serve does not answer")


async def _load(port: int, wallets: int, clients: int, seconds: float, run: str) -> tuple[list[float], float]:
    began = time.perf_counter()
    times = await asyncio.gather(
        *(_client(port, wallets, clients, number, began + seconds, run) for number in range(clients))
    )
    return [each for own in times for each in own], time.perf_counter() - began


async def _client(port: int, wallets: int, clients: int, number: int, until: float, run: str) -> list[float]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    times: list[float] = []
    serial = number
    while (began := time.perf_counter()) < until:
        bill = {
            "userId": f"user-{serial % wallets:05}", "billType": "electricity", "amount": "1",
            "meterNumber": "12345678901", "provider": "EKEDC",
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
            raise SystemExit(f"not accepted: {answer.decode()} {rest.decode()}")
        times.append(time.perf_counter() - began)
        serial += clients
    writer.close()
    return times
