"""All figures, on a PostgreSQL and a Redis of our own: writes docs/benchmarks.json and docs/benchmarks.svg.

To `billvend bench` come what needs more than a database: payments worked to their end by workers, tables that are full, the
time that commands take to start.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from itertools import chain
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import bare, filling, settling, starting
from benchmarks.plot import draw
from billvend.bench import loads
from billvend.bench.figures import Measured, document, medians
from billvend.bench.places import database_version, empty_database
from billvend.bench.round import MANY, Measure, measured, parts
from billvend.cli.benching import machine_line, table
from billvend.garbage import look_seldom
from tests.support import servers

TURNS = 3


def main() -> None:
    """Measure several rounds, and show and write the medians."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--seconds", type=float, default=3.0, help="how long each load lasts")
    parser.add_argument("--rounds", type=int, default=3, help="the medians of so many are shown")
    parser.add_argument("--payments", type=int, default=2_000, help="that are settled in each round")
    parser.add_argument("--rows", type=int, default=1_000_000, help="payments in the full tables; 0: none")
    parser.add_argument("--output", type=Path, default=Path("docs/benchmarks.json"))
    options = parser.parse_args()
    look_seldom()  # as `billvend bench` does
    rounds: list[Measured] = []
    with (
        servers.postgres(durable=True) as server,
        servers.valkey() as redis,
        tempfile.TemporaryDirectory() as named,
    ):
        folder, near = Path(named), server.url
        pgbench = str(server.binaries / "pgbench")
        with empty_database(near, folder) as full:
            if options.rows:
                began = time.perf_counter()
                filling.fill(full, folder, options.rows)
                _tell(0, f"{options.rows:,} payments copied", time.perf_counter() - began)
            for number in range(options.rounds):
                more = _more(near, redis, full if options.rows else None, folder, options)
                every = chain(parts(near, folder, seconds=options.seconds, pgbench=pgbench), more)
                rounds.append(measured(every, partial(_tell, number + 1)))
        database = f"{database_version(near)}, {options.rows:,} payments in the full tables"
    figures = medians(rounds)
    shown = table(figures)
    grid = Table(*shown.headings)
    for row in shown.rows:
        grid.add_row(*row)
    found = document(figures, database, options.rounds)
    console = Console(width=160)
    console.print(grid)
    console.print(machine_line(found))
    options.output.write_text(json.dumps(found, indent=2) + "\n")
    draw(figures, options.output.with_suffix(".svg"))


def _more(
    near: str,
    redis: servers.RedisProtocolServer,
    full: str | None,
    folder: Path,
    options: argparse.Namespace,
) -> Iterator[tuple[str, Measure]]:
    def settled(name: str, latency_ms: int) -> Measured:
        redis.flush()
        with empty_database(near, folder) as url:
            rate = settling.measure(url, redis.url, folder, payments=options.payments, latency_ms=latency_ms)
        return {name: rate}

    yield "settled, 0 ms", lambda: settled("settled", 0)
    yield "settled, 50 ms", lambda: settled("settled_50_ms", 50)
    if full is not None:
        yield "accepts, full tables", lambda: _full_and_empty(near, full, folder, options.seconds)
    yield "HTTP, without billvend", lambda: bare.measure(options.seconds)
    yield "commands", lambda: starting.measure(folder)


def _full_and_empty(near: str, full: str, folder: Path, seconds: float) -> Measured:
    """In turns: what a machine does differently from one minute to the next is more than what full tables make of it."""

    def accepts(url: str) -> float:
        return loads.accepts(url, folder, wallets_=MANY, callers=loads.CALLERS, seconds=seconds)

    rates: dict[str, list[float]] = {"accepts_full": [], "accepts_empty": []}
    for _ in range(TURNS):
        rates["accepts_full"].append(accepts(full))
        with empty_database(near, folder) as empty:
            rates["accepts_empty"].append(accepts(empty))
    return {name: statistics.mean(told) for name, told in rates.items()}


def _tell(number: int, name: str, took: float) -> None:
    print(f"Round {number}: {name}, {took:.0f} s", flush=True)


if __name__ == "__main__":
    main()
