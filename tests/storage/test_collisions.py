"""Work that collides with other work is repeated with the same commands, and callers do not see it."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import psycopg
import pytest

from billvend.adapters.storage import database as storage
from billvend.adapters.storage.schema_version import upgrade
from billvend.domain.errors import Unavailable
from tests.storage.harness import POSTGRES, JournalHarness, database_errors, open_harness, result_codes

pytestmark = pytest.mark.long

on_postgresql = pytest.mark.parametrize("url", [POSTGRES], indirect=True)
on_sqlite = pytest.mark.parametrize("url", ["file"], indirect=True)


LOCK_WAITERS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock' AND pid <> pg_backend_pid()
"""


def wait_for_lock_waiter(connection: psycopg.Connection) -> None:
    """Return when another session of this database waits for a lock."""
    while connection.execute(LOCK_WAITERS).fetchone() == (0,):
        connection.execute("SELECT pg_stat_clear_snapshot()")


@on_postgresql
def test_deadlock_is_retried(url: str) -> None:
    """We lock ada and wait for ben; another session that holds ben then waits for ada."""
    with (
        open_harness(url) as harness,
        ThreadPoolExecutor(1) as pool,
        psycopg.connect(url) as other,
        database_errors(harness) as errors,
    ):
        harness.execute(harness.fund("ada"), harness.fund("ben"))
        other.execute("SET deadlock_timeout = '1min'")  # the database must abort our session
        other.execute("SELECT 1 FROM wallets WHERE user_id = 'ben' FOR UPDATE")
        paying = pool.submit(harness.execute, harness.pay("ben", 100), harness.pay("ada", 10))
        wait_for_lock_waiter(other)
        other.execute("SELECT 1 FROM wallets WHERE user_id = 'ada' FOR UPDATE")
        other.commit()
        assert result_codes(paying.result(30)) == ["done", "done"]
        assert set(errors) == {"40P01"}  # once, or again if the other session is slow to end
        assert (harness.balance("ada"), harness.balance("ben")) == ((9_990, 10), (9_900, 100))
        assert harness.audit().ok


@pytest.mark.integration
def test_serialization_failure_is_retried(postgres_url: str) -> None:
    """PostgreSQL raises none at our isolation level. Compatible databases do."""
    database = storage.Database(postgres_url)
    upgrade(database)
    harness = JournalHarness(database)
    for statement in FAILING_TWICE:
        harness.run(statement)
    with database_errors(harness) as errors:
        assert result_codes(harness.execute(harness.fund("ada"))) == ["done"]
    assert errors == ["40001", "40001"]
    assert harness.balance("ada") == (10_000, 0)
    assert harness.audit().ok
    database.close()


FAILING_TWICE = (
    "CREATE SEQUENCE attempts_made",  # counts rolled-back attempts too
    """
    CREATE FUNCTION fail_twice() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF nextval('attempts_made') <= 2 THEN
            RAISE EXCEPTION 'could not serialize access' USING ERRCODE = '40001';
        END IF;
        RETURN NEW;
    END $$
    """,
    "CREATE TRIGGER fails_twice BEFORE INSERT ON wallets FOR EACH ROW EXECUTE FUNCTION fail_twice()",
)


@on_sqlite
def test_busy_sqlite_file_is_retried(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "SQLITE_BUSY_TIMEOUT_SECONDS", 0.001)
    with open_harness(url) as harness, ThreadPoolExecutor(1) as pool, database_errors(harness) as errors:
        harness.add_funds("ada")
        with closing(sqlite3.connect(str(harness.database.url.database), isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            paying = pool.submit(harness.execute, harness.pay("ada", 100))
            while len(errors) < 2:
                pass
            other.execute("ROLLBACK")
        assert result_codes(paying.result(30)) == ["done"]
        assert set(errors) == {"database is locked"}
        assert harness.audit().ok


@on_sqlite
def test_sqlite_file_that_stays_busy_is_unavailable(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "SQLITE_BUSY_TIMEOUT_SECONDS", 0.001)
    with (
        open_harness(url) as harness,
        closing(sqlite3.connect(str(harness.database.url.database), isolation_level=None)) as other,
    ):
        harness.add_funds("ada")
        before = harness.all_rows()
        other.execute("BEGIN IMMEDIATE")
        for commands in ([harness.pay("ada", 100)], [harness.pay("ada", 100), harness.fund("ada")]):
            with pytest.raises(Unavailable, match=r"database is locked.*Nothing was done"):
                harness.execute(*commands)
        with pytest.raises(Unavailable, match="database is locked"):
            harness.journal.take_due_payments(harness.now, 10, 60)
        other.execute("ROLLBACK")
        assert harness.all_rows() == before


@on_postgresql
def test_read_only_server_is_unavailable_for_writes(url: str) -> None:
    """As a standby is before it is promoted."""
    with (
        open_harness(f"{url}?options=-c%20default_transaction_read_only%3Don") as harness,
        open_harness(url) as writer,
    ):
        writer.add_funds("ada")
        for commands in ([harness.pay("ada", 100)], [harness.pay("ada", 100), harness.fund("ada")]):
            with pytest.raises(Unavailable, match="Nothing was done"):
                harness.execute(*commands)
        assert harness.balance("ada") == (10_000, 0)


@on_sqlite
def test_read_only_file_is_unavailable_for_writes(url: str) -> None:
    with open_harness(url) as writer:
        writer.add_funds("ada")
    database = storage.Database(f"{url.replace('sqlite:///', 'sqlite:///file:')}?mode=ro&uri=true")
    harness = JournalHarness(database, name="reader")
    with pytest.raises(Unavailable, match="Nothing was done"):
        harness.execute(harness.fund("ada"))
    assert harness.balance("ada") == (10_000, 0)
    database.close()


def test_more_threads_than_connections_wait_and_succeed(url: str) -> None:
    with open_harness(url) as harness, ThreadPoolExecutor(48) as pool:
        results = list(pool.map(lambda number: harness.execute(harness.fund(f"user{number}")), range(96)))
        assert [result_codes(result) for result in results] == [["done"]] * 96


def test_exhausted_pool_is_unavailable(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "POOL_SIZE", 1)
    monkeypatch.setattr(storage, "POOL_TIMEOUT_SECONDS", 0.01)
    with (
        open_harness(url) as harness,
        harness.database.read_transaction(),
        harness.database.read_transaction(),
    ):
        for operation in (
            lambda: harness.execute(harness.fund()),
            lambda: harness.balance(),
            lambda: harness.journal.take_due_payments(harness.now, 1, 1),
        ):
            with pytest.raises(Unavailable, match="Nothing was done"):
                operation()
