"""The commands config and db."""

import sqlite3

import pytest

from billvend.adapters.storage.schema_version import HEAD
from tests.cli.console import Console


def test_config_shows_effective_settings_without_secrets(
    billvend: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWEEP_INTERVAL", "7")
    monkeypatch.setenv("PAYSTACK_SECRET_KEY", "sk_live_hunter2")
    arguments = ("config", "--database-url", "postgresql://ada:hunter2@db.example/shop")
    shown = billvend.json(*arguments)
    assert shown["SWEEP_INTERVAL"] == 7
    assert shown["DATABASE_URL"] == "postgresql://ada:***@db.example/shop"
    assert shown["PAYSTACK_SECRET_KEY"] == "***"
    screen = billvend(*arguments).out
    assert "hunter2" not in str(shown) + screen
    assert "SWEEP_INTERVAL" in screen


def test_config_reads_env_file_of_folder(billvend: Console) -> None:
    (billvend.folder / ".env").write_text("QUEUE_CONCURRENCY=3\n")
    assert billvend.json("config")["QUEUE_CONCURRENCY"] == 3


def test_db_upgrade_creates_tables_once(billvend: Console) -> None:
    assert billvend.json("db", "current") == {"current": None, "needed": HEAD, "upToDate": False}
    assert "There are no tables. billvend needs" in billvend("db", "current").out
    assert billvend.json("db", "upgrade") == {"before": None, "current": HEAD}
    assert billvend.json("db", "upgrade") == {"before": HEAD, "current": HEAD}
    assert billvend.json("db", "current") == {"current": HEAD, "needed": HEAD, "upToDate": True}


def test_db_commands_work_on_postgresql(billvend: Console, postgres_url: str) -> None:
    database_option = ("--database-url", postgres_url)
    assert "billvend db upgrade" in billvend.error(2, "bad_setting", "balance", "ada", *database_option)
    assert billvend.json("db", "current", *database_option)["current"] is None
    assert billvend.json("db", "upgrade", *database_option)["before"] is None
    assert billvend.json("db", "current", *database_option)["upToDate"] is True
    assert len(billvend.json("db", "seed", *database_option)["items"]) == 9
    assert billvend.json("balance", "ada", *database_option)["balance"] == "16500.00"
    assert billvend.json("audit", *database_option)["ok"] is True


def test_seed_is_safe_to_run_twice(billvend: Console) -> None:
    first = billvend.json("db", "seed")["items"]
    again = billvend.json("db", "seed")["items"]
    assert [t["transactionId"] for t in again] == [t["transactionId"] for t in first]
    assert billvend.json("balance", "ada")["balance"] == "16500.00"


def test_seed_is_rejected_in_production(billvend: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_ENV", "production")
    monkeypatch.setenv("BILL_PROVIDER", "vtpass")
    assert "examples belong in a test database" in billvend.error(2, "bad_setting", "db", "seed")
    assert list(billvend.folder.iterdir()) == []


def test_seed_is_rejected_on_live_database(billvend: Console) -> None:
    assert billvend("db", "upgrade").status == 0
    connection = sqlite3.connect(billvend.folder / "billvend.db")
    with connection:
        connection.execute("INSERT OR REPLACE INTO environment (id, mode) VALUES (1, 'live')")
    connection.close()
    assert "live money" in billvend.error(2, "bad_setting", "db", "seed")
    assert billvend.json("payments")["items"] == []
    assert billvend("balance", "ada").status == 3
