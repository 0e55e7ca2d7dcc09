"""Where it is measured: empty databases of our own, beside the one that is named, and gone afterwards."""

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
"""What one funding may bring in; a wallet is to last for a run."""
FUNDING_THREADS = 32


@contextmanager
def empty_database(server_url: str, folder: Path) -> Iterator[str]:
    """A database of our own on the server of that URL, or in the folder for SQLite; gives its URL, and drops it at the end.

    Raises `ConfigurationError` where the server does not let us make one, `Unavailable`.
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
            f"A database to measure in can't be made or dropped on that server ({detail}). The books were not touched: name "
            "one where the role may create databases."
        ) from None


def database_version(url: str) -> str:
    """What keeps the books at that URL, and of which version. Raises `Unavailable`."""
    with closing(open_database(Settings(database_url=url))) as database:
        with database.read_transaction():
            dialect = database.engine.dialect
        kind = "SQLite" if database.is_sqlite else "PostgreSQL"
        return f"{kind} {'.'.join(map(str, dialect.server_version_info or ()))}"


def prepare_shop(url: str, folder: Path) -> Settings:
    """Settings of a shop on an empty database, that asks nobody about meters."""
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
    """So many wallets, each with a million in it, and whose they are."""
    users = [f"user-{number:05}" for number in range(count)]
    with ThreadPoolExecutor(FUNDING_THREADS) as pool:  # at once, so that they are written down together
        list(pool.map(lambda user: bv.fund(user, FUNDING_AMOUNT, key=f"fund-{user}"), users))
    return users
