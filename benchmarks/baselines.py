"""The database without billvend, measured by pgbench, PostgreSQL's own benchmark."""

import re
import shutil
import subprocess
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Final

from benchmarks.databases import empty_database
from benchmarks.results import Samples
from billvend.bootstrap import open_database
from billvend.config import Settings

SCALE: Final = 10
CLIENTS: Final = 16
THREADS: Final = 1
SECONDS: Final = 6
WALLETS: Final = 1_000
TIMEOUT_SECONDS: Final = 300

_TABLES: Final = """
CREATE TABLE smallest_wallets (wallet int PRIMARY KEY, balance bigint NOT NULL);
CREATE TABLE smallest_events (wallet int, id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, data text NOT NULL);
CREATE TABLE smallest_payments (wallet int, id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, amount bigint NOT NULL);
INSERT INTO smallest_wallets SELECT n, 1000000000 FROM generate_series(1, {wallets}) n;
"""
_ACCEPT: Final = """\\set wallet random(1, {wallets})
BEGIN;
UPDATE smallest_wallets SET balance = balance - 1 WHERE wallet = :wallet;
INSERT INTO smallest_events (wallet, data) VALUES (:wallet, 'held 1');
INSERT INTO smallest_payments (wallet, amount) VALUES (:wallet, 1);
COMMIT;
"""
"""The smallest possible accept: one UPDATE and two INSERTs."""


def find_pgbench() -> str | None:
    """The path of pgbench, if it is on PATH."""
    return shutil.which("pgbench")


def measure_baselines(server_url: str, folder: Path, pgbench: str, *, seconds: int = SECONDS) -> Samples:
    """The baselines T, M and H in transactions a second, and the milliseconds of one transaction of T with one client.

    Each is measured in a temporary database on the server of that URL.
    """
    with empty_database(server_url, folder) as url:
        _run_pgbench(pgbench, url, "-i", "-s", str(SCALE), "-q")
        alone = _measure_rate(pgbench, url, seconds, clients=1)
        samples = {"T": _measure_rate(pgbench, url, seconds), "T_alone_ms": 1000 / alone}
    with empty_database(server_url, folder) as url, tempfile.TemporaryDirectory(dir=folder) as own:
        _make_tables(url)
        for name, wallets in (("M", WALLETS), ("H", 1)):
            script = Path(own) / f"{name}.sql"
            script.write_text(_ACCEPT.format(wallets=wallets))
            samples[name] = _measure_rate(pgbench, url, seconds, "-f", str(script))
    return samples


def _make_tables(url: str) -> None:
    with (
        closing(open_database(Settings(database_url=url))) as database,
        database.engine.begin() as connection,
    ):
        connection.exec_driver_sql(_TABLES.format(wallets=WALLETS))


def _measure_rate(pgbench: str, url: str, seconds: int, *script: str, clients: int = CLIENTS) -> float:
    printed = _run_pgbench(
        pgbench, url, "-c", str(clients), "-j", str(THREADS), "-T", str(seconds), "-n", *script
    )
    match = re.search(r"^tps = ([0-9.]+)", printed, re.MULTILINE)
    if match is None:
        raise RuntimeError(f"pgbench printed no rate: {printed[-200:]}")
    return float(match[1])


def _run_pgbench(pgbench: str, url: str, *options: str) -> str:
    process = subprocess.run(
        [pgbench, *options, url], capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False
    )
    if process.returncode:
        raise RuntimeError(f"pgbench failed: {process.stderr.strip()[-200:]}")
    return process.stdout
