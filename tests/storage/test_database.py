"""How a process opens its connections."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
import sqlalchemy as sa

from billvend.adapters.storage.database import Database

AT_ONCE = 4


def test_new_sqlite_file_is_opened_by_many_threads(tmp_path: Path) -> None:
    meeting = Barrier(AT_ONCE)

    def first_look(url: str) -> int:
        database = Database(url)
        meeting.wait()
        try:
            with database.read_transaction() as connection:
                return int(connection.exec_driver_sql("SELECT 1").scalar_one())
        finally:
            database.close()

    with ThreadPoolExecutor(AT_ONCE) as pool:
        for number in range(50):
            url = f"sqlite:///{tmp_path}/{number}.db"
            assert list(pool.map(first_look, [url] * AT_ONCE)) == [1] * AT_ONCE


def test_connection_in_use_is_closed_after_use(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'billvend.db'}")
    with database.read_transaction() as connection:
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        database.close()
        assert connection.exec_driver_sql("SELECT 1").scalar_one() == 1
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        driver.execute("SELECT 1")


@pytest.mark.parametrize(
    ("default", "used"),
    [("off", "on"), ("local", "on"), ("remote_write", "on"), ("on", "on"), ("remote_apply", "remote_apply")],
)
def test_postgresql_connection_commits_durably_whatever_the_server_default(
    postgres_url: str, default: str, used: str
) -> None:
    admin = Database(postgres_url)
    with admin.engine.connect() as connection:
        name = sa.make_url(postgres_url).database
        connection.exec_driver_sql(f'ALTER DATABASE "{name}" SET synchronous_commit = {default}')
        connection.commit()
    admin.close()
    database = Database(postgres_url)
    for transaction in (
        database.write_transaction,
        database.write_transaction,
    ):  # the second one on a connection from the pool
        with transaction() as connection:
            assert connection.exec_driver_sql("SHOW synchronous_commit").scalar_one() == used
    database.close()
