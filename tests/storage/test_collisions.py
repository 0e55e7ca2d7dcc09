"""Work that collides with somebody else's is done again, with the same commands, and nobody sees it."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import psycopg
import pytest

from billvend.adapters.storage import database as storage
from billvend.adapters.storage.schema_version import upgrade
from billvend.domain.errors import Unavailable
from tests.storage.till import POSTGRES, Till, errors_of, named, open_till

on_postgresql = pytest.mark.parametrize("url", [POSTGRES], indirect=True)
on_sqlite = pytest.mark.parametrize("url", ["file"], indirect=True)


WAITING = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock' AND pid <> pg_backend_pid()
"""


def wait_until_it_waits(connection: psycopg.Connection) -> None:
    """Return when another session of this database waits for a lock."""
    while connection.execute(WAITING).fetchone() == (0,):
        connection.execute("SELECT pg_stat_clear_snapshot()")


@on_postgresql
def test_a_deadlock_is_not_the_callers_business(url: str) -> None:
    """We lock ada and wait for ben; somebody who has ben then waits for ada."""
    with (
        open_till(url) as till,
        ThreadPoolExecutor(1) as pool,
        psycopg.connect(url) as other,
        errors_of(till) as errors,
    ):
        till.do(till.fund("ada"), till.fund("ben"))
        other.execute("SET deadlock_timeout = '1min'")  # that it is us who are sacrificed
        other.execute("SELECT 1 FROM wallets WHERE user_id = 'ben' FOR UPDATE")
        paying = pool.submit(till.do, till.pay("ben", 100), till.pay("ada", 10))
        wait_until_it_waits(other)
        other.execute("SELECT 1 FROM wallets WHERE user_id = 'ada' FOR UPDATE")
        other.commit()
        assert named(paying.result(30)) == ["done", "done"]
        assert set(errors) == {"40P01"}  # once, or again where the other one is slow to go
        assert (till.balance("ada"), till.balance("ben")) == ((9_990, 10), (9_900, 100))
        assert till.audit().ok


@pytest.mark.integration
def test_a_serialization_failure_is_not_the_callers_business(postgres_url: str) -> None:
    """PostgreSQL has none at the level that we ask for; databases that speak its language do."""
    database = storage.Database(postgres_url)
    upgrade(database)
    till = Till(database)
    for statement in FAILING_TWICE:
        till.run(statement)
    with errors_of(till) as errors:
        assert named(till.do(till.fund("ada"))) == ["done"]
    assert errors == ["40001", "40001"]
    assert till.balance("ada") == (10_000, 0)
    assert till.audit().ok
    database.close()


FAILING_TWICE = (
    "CREATE SEQUENCE asked",  # counts also what is rolled back
    """
    CREATE FUNCTION fail_twice() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF nextval('asked') <= 2 THEN
            RAISE EXCEPTION 'could not serialize access' USING ERRCODE = '40001';
        END IF;
        RETURN NEW;
    END $$
    """,
    "CREATE TRIGGER fails_twice BEFORE INSERT ON wallets FOR EACH ROW EXECUTE FUNCTION fail_twice()",
)


@on_sqlite
def test_a_busy_file_is_tried_again(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "SQLITE_BUSY_TIMEOUT_SECONDS", 0.001)
    with open_till(url) as till, ThreadPoolExecutor(1) as pool, errors_of(till) as errors:
        till.funded("ada")
        with closing(sqlite3.connect(str(till.database.url.database), isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            paying = pool.submit(till.do, till.pay("ada", 100))
            while len(errors) < 2:
                pass
            other.execute("ROLLBACK")
        assert named(paying.result(30)) == ["done"]
        assert set(errors) == {"database is locked"}
        assert till.audit().ok


@on_sqlite
def test_a_file_that_stays_busy_is_unavailable(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "SQLITE_BUSY_TIMEOUT_SECONDS", 0.001)
    with (
        open_till(url) as till,
        closing(sqlite3.connect(str(till.database.url.database), isolation_level=None)) as other,
    ):
        till.funded("ada")
        before = till.everything()
        other.execute("BEGIN IMMEDIATE")
        for commands in ([till.pay("ada", 100)], [till.pay("ada", 100), till.fund("ada")]):
            with pytest.raises(Unavailable, match=r"database is locked.*Nothing was done"):
                till.do(*commands)
        with pytest.raises(Unavailable, match="database is locked"):
            till.journal.take_due_payments(till.now, 10, 60)
        other.execute("ROLLBACK")
        assert till.everything() == before


@on_postgresql
def test_a_server_that_only_reads_is_unavailable(url: str) -> None:
    """As a standby is, before it has been promoted."""
    with (
        open_till(f"{url}?options=-c%20default_transaction_read_only%3Don") as till,
        open_till(url) as writer,
    ):
        writer.funded("ada")
        for commands in ([till.pay("ada", 100)], [till.pay("ada", 100), till.fund("ada")]):
            with pytest.raises(Unavailable, match="Nothing was done"):
                till.do(*commands)
        assert till.balance("ada") == (10_000, 0)


@on_sqlite
def test_a_file_that_can_only_be_read_is_unavailable(url: str) -> None:
    with open_till(url) as writer:
        writer.funded("ada")
    database = storage.Database(f"{url.replace('sqlite:///', 'sqlite:///file:')}?mode=ro&uri=true")
    till = Till(database, name="reader")
    with pytest.raises(Unavailable, match="Nothing was done"):
        till.do(till.fund("ada"))
    assert till.balance("ada") == (10_000, 0)
    database.close()


def test_more_threads_than_connections_wait_their_turn(url: str) -> None:
    with open_till(url) as till, ThreadPoolExecutor(48) as pool:
        results = list(pool.map(lambda number: till.do(till.fund(f"user{number}")), range(96)))
        assert [named(result) for result in results] == [["done"]] * 96


def test_no_connection_to_be_had_is_unavailable(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "POOL_SIZE", 1)
    monkeypatch.setattr(storage, "POOL_TIMEOUT_SECONDS", 0.01)
    with open_till(url) as till, till.database.read_transaction(), till.database.read_transaction():
        for ask in (
            lambda: till.do(till.fund()),
            lambda: till.balance(),
            lambda: till.journal.take_due_payments(till.now, 1, 1),
        ):
            with pytest.raises(Unavailable, match="Nothing was done"):
                ask()
