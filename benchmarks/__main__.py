"""Measures everything on a temporary PostgreSQL and Valkey, and writes docs/benchmarks.json and docs/benchmarks.svg.

`benchmarks.rounds` has the measurements that need only a database. Those that need more are here: payments that workers
settle, full tables, HTTP without billvend, and the start-up time of commands.
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

from benchmarks import bare_http, full_tables, library_load, settlement, startup
from benchmarks.databases import database_version, empty_database
from benchmarks.plot import draw
from benchmarks.report import machine_line, results_table
from benchmarks.results import Samples, median_results, to_document
from benchmarks.rounds import MANY_WALLETS, Measurement, measurements, run_round
from billvend.gc_tuning import relax_gc
from tests.support import servers

ALTERNATIONS = 3


def main() -> None:
    """Measure several rounds, then print and write the medians."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--seconds", type=float, default=3.0, help="how long each load lasts")
    parser.add_argument("--rounds", type=int, default=3, help="how many rounds the medians are taken from")
    parser.add_argument("--payments", type=int, default=2_000, help="how many are settled in each round")
    parser.add_argument("--rows", type=int, default=1_000_000, help="payments in the full tables, or 0")
    parser.add_argument("--output", type=Path, default=Path("docs/benchmarks.json"))
    options = parser.parse_args()
    relax_gc()  # as every billvend process does
    rounds: list[Samples] = []
    with (
        servers.postgres(durable=True) as server,
        servers.valkey() as redis,
        tempfile.TemporaryDirectory() as folder_name,
    ):
        folder, server_url = Path(folder_name), server.url
        pgbench = str(server.binaries / "pgbench")
        with empty_database(server_url, folder) as full:
            if options.rows:
                began = time.perf_counter()
                full_tables.fill_tables(full, folder, options.rows)
                _print_progress(0, f"{options.rows:,} payments copied", time.perf_counter() - began)
            for number in range(options.rounds):
                more_measurements = _more_measurements(
                    server_url, redis, full if options.rows else None, folder, options
                )
                all_measurements = chain(
                    measurements(server_url, folder, seconds=options.seconds, pgbench=pgbench),
                    more_measurements,
                )
                rounds.append(run_round(all_measurements, partial(_print_progress, number + 1)))
        database = f"{database_version(server_url)}, {options.rows:,} payments in the full tables"
    results = median_results(rounds)
    table = results_table(results)
    grid = Table(*table.headings)
    for row in table.rows:
        grid.add_row(*row)
    document = to_document(results, database, options.rounds)
    console = Console(width=160)
    console.print(grid)
    console.print(machine_line(document))
    options.output.write_text(json.dumps(document, indent=2) + "\n")
    draw(results, options.output.with_suffix(".svg"))


def _more_measurements(
    server_url: str,
    redis: servers.RedisProtocolServer,
    full: str | None,
    folder: Path,
    options: argparse.Namespace,
) -> Iterator[tuple[str, Measurement]]:
    def settled(name: str, latency_ms: int) -> Samples:
        redis.flush()
        with empty_database(server_url, folder) as url:
            rate = settlement.measure_settlement(
                url, redis.url, folder, payments=options.payments, latency_ms=latency_ms
            )
        return {name: rate}

    yield "settled, 0 ms", lambda: settled("settled", 0)
    yield "settled, 50 ms", lambda: settled("settled_50_ms", 50)
    if full is not None:
        yield "accepts, full tables", lambda: _full_and_empty(server_url, full, folder, options.seconds)
    yield "HTTP, without billvend", lambda: bare_http.measure(options.seconds)
    yield "commands", lambda: startup.measure(folder)


def _full_and_empty(server_url: str, full: str, folder: Path, seconds: float) -> Samples:
    """Accepts with full and with empty tables, in turns.

    The speed of a machine changes more from minute to minute than full tables change it.
    """

    def accepts(url: str) -> float:
        return library_load.measure_accepts(
            url, folder, wallet_count=MANY_WALLETS, callers=library_load.CALLERS, seconds=seconds
        )

    rates: dict[str, list[float]] = {"accepts_full": [], "accepts_empty": []}
    for _ in range(ALTERNATIONS):
        rates["accepts_full"].append(accepts(full))
        with empty_database(server_url, folder) as empty:
            rates["accepts_empty"].append(accepts(empty))
    return {name: statistics.mean(samples) for name, samples in rates.items()}


def _print_progress(number: int, name: str, seconds: float) -> None:
    print(f"Round {number}: {name}, {seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main()
