"""Temporary, empty databases to measure in, on the given server."""

import tempfile
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from billvend.bootstrap import open_database, upgrade_schema
from billvend.config import Settings
from billvend.domain.errors import ConfigurationError

if TYPE_CHECKING:
    from billvend.app import Billvend

FUNDING_AMOUNT = "1000000"
"""The largest amount of one funding. A wallet must last for a run."""
FUNDING_THREADS = 32


@contextmanager
def empty_database(server_url: str, folder: Path) -> Iterator[str]:
    """Create a database on the server of that URL, or in the folder for SQLite. Gives its URL, and drops it at the end.

    Raises `Unavailable`, and `ConfigurationError` if the server does not let us create one.
    """
    name = f"billvend_bench_{uuid.uuid4().hex[:12]}"
    if server_url.startswith("sqlite"):
        with tempfile.TemporaryDirectory(prefix=f"{name}_", dir=folder) as own:
            yield f"sqlite:///{own}/shop.db"
        return
    _execute(server_url, f'CREATE DATABASE "{name}"')
    try:
        yield sa.make_url(server_url).set(database=name).render_as_string(hide_password=False)
    finally:
        _execute(server_url, f'DROP DATABASE "{name}" WITH (FORCE)')


def _execute(url: str, statement: str) -> None:
    try:
        with (
            closing(open_database(Settings(database_url=url))) as database,
            database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection,
        ):
            connection.exec_driver_sql(statement)
    except sa.exc.DBAPIError as error:
        detail = str(error.orig).strip().splitlines()[0]
        raise ConfigurationError(
            f"The server does not let us create or drop a database to measure in ({detail}). No ledger was touched. "
            "Use a server where the role may create databases."
        ) from None


def database_version(url: str) -> str:
    """The database at that URL and its version, such as `PostgreSQL 18.1`. Raises `Unavailable`."""
    with closing(open_database(Settings(database_url=url))) as database:
        with database.read_transaction():
            dialect = database.engine.dialect
        kind = "SQLite" if database.is_sqlite else "PostgreSQL"
        return f"{kind} {'.'.join(map(str, dialect.server_version_info or ()))}"


def prepare_shop(url: str, folder: Path) -> Settings:
    """Create the tables in an empty database. Returns settings that do not verify meters."""
    settings = Settings(
        database_url=url,
        sandbox_book=folder / "sandbox.db",
        verify_meter=False,
        rate_limit="0",
        min_amount="1",
    )
    upgrade_schema(settings)
    return settings


def fund_wallets(bv: "Billvend", count: int) -> list[str]:
    """Fund so many wallets with a million each. Returns their users."""
    users = [f"user-{number:05}" for number in range(count)]
    with ThreadPoolExecutor(FUNDING_THREADS) as pool:  # at once, so that they are committed together
        list(pool.map(lambda user: bv.fund(user, FUNDING_AMOUNT, key=f"fund-{user}"), users))
    return users
