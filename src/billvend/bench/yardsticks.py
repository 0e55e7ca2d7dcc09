"""What the database does without billvend, by pgbench, PostgreSQL's own benchmark."""

import re
import shutil
import subprocess
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Final

from billvend.bench.figures import Measured
from billvend.bench.places import empty_database
from billvend.bootstrap import open_database
from billvend.config import Settings

SCALE: Final = 10
CLIENTS: Final = 16
THREADS: Final = 1
SECONDS: Final = 6
WALLETS: Final = 1_000
PATIENCE_SECONDS: Final = 300

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
"""The smallest possible accept: one UPDATE, two INSERTs."""


def pgbench_path() -> str | None:
    """Where pgbench is, if it is anywhere on PATH."""
    return shutil.which("pgbench")


def measure(near: str, folder: Path, pgbench: str, *, seconds: int = SECONDS) -> Measured:
    """T, the milliseconds of one of its transactions, M and H on the server of that URL, in databases of their own."""
    with empty_database(near, folder) as url:
        _run(pgbench, url, "-i", "-s", str(SCALE), "-q")
        alone = _rate(pgbench, url, seconds, clients=1)
        found = {"T": _rate(pgbench, url, seconds), "T_alone_ms": 1000 / alone}
    with empty_database(near, folder) as url, tempfile.TemporaryDirectory(dir=folder) as own:
        _make_tables(url)
        for name, wallets in (("M", WALLETS), ("H", 1)):
            script = Path(own) / f"{name}.sql"
            script.write_text(_ACCEPT.format(wallets=wallets))
            found[name] = _rate(pgbench, url, seconds, "-f", str(script))
    return found


def _make_tables(url: str) -> None:
    with (
        closing(open_database(Settings(database_url=url))) as database,
        database.engine.begin() as connection,
    ):
        connection.exec_driver_sql(_TABLES.format(wallets=WALLETS))


def _rate(pgbench: str, url: str, seconds: int, *script: str, clients: int = CLIENTS) -> float:
    printed = _run(pgbench, url, "-c", str(clients), "-j", str(THREADS), "-T", str(seconds), "-n", *script)
    found = re.search(r"^tps = ([0-9.]+)", printed, re.MULTILINE)
    if found is None:
        raise RuntimeError(f"pgbench says no rate: {printed[-200:]}")
    return float(found[1])


def _run(pgbench: str, url: str, *options: str) -> str:
    done = subprocess.run(  # noqa: S603  PostgreSQL's own program
        [pgbench, *options, url], capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )
    if done.returncode:
        raise RuntimeError(f"pgbench failed: {done.stderr.strip()[-200:]}")
    return done.stdout
