"""The tables: created from nothing, with few rights, on both databases, and exactly as the code defines them."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.command import downgrade
from alembic.command import upgrade as to_version
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from billvend.adapters.storage.database import Database
from billvend.adapters.storage.schema_version import HEAD, current_version, require_head, upgrade
from billvend.adapters.storage.tables import metadata
from billvend.domain.errors import ConfigurationError, Unavailable
from tests.storage.concurrency import run_in_processes, upgrade_database
from tests.storage.harness import ALL_DATABASES, SHARED_DATABASES, JournalHarness
from tests.support import servers


@pytest.fixture(params=ALL_DATABASES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database without tables."""
    if request.param == "postgres":
        return str(request.getfixturevalue("postgres_url"))
    return "sqlite://" if request.param == "memory" else f"sqlite:///{tmp_path / 'new.db'}"


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    database = Database(url)
    yield database
    database.close()


def alembic_config() -> Config:
    config = Config()
    config.set_main_option("script_location", "billvend.adapters.storage:migrations")
    return config


def test_upgrade_creates_tables_once(database: Database) -> None:
    assert current_version(database) is None
    assert upgrade(database) == "none"
    assert current_version(database) == HEAD
    require_head(database)
    harness = JournalHarness(database)
    harness.add_funds(minor=7)
    assert upgrade(database) == HEAD
    assert harness.balance() == (7, 0)


def test_head_is_the_latest_migration() -> None:
    scripts = ScriptDirectory.from_config(alembic_config())
    assert scripts.get_heads() == [HEAD]
    versions = [script.revision for script in scripts.walk_revisions()]
    assert versions == sorted(versions, reverse=True)  # "newer" compares the versions as text


def run_migrations(database: Database) -> None:
    """Create the tables with all migrations, one after the other."""
    config = alembic_config()
    with database.write_transaction() as connection:
        config.attributes["connection"] = connection
        to_version(config, "head")


@pytest.mark.parametrize("make", [upgrade, run_migrations])
def test_created_tables_match_the_metadata(database: Database, make: Callable[[Database], object]) -> None:
    make(database)
    with database.engine.connect() as connection:
        options = {"compare_type": True, "compare_server_default": True}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, metadata) == []


@pytest.mark.parametrize("url", SHARED_DATABASES, indirect=True)
def test_migrations_and_metadata_create_identical_tables(
    request: pytest.FixtureRequest, database: Database, tmp_path: Path
) -> None:
    """Exactly, with constraints, conditions and triggers, which Alembic does not compare."""
    upgrade(database)
    if database.is_sqlite:
        migrated = Database(f"sqlite:///{tmp_path / 'migrated.db'}")
    else:
        server: servers.Postgres = request.getfixturevalue("postgres_server")
        migrated = Database(servers.new_database(server))
    run_migrations(migrated)
    assert current_version(migrated) == HEAD
    assert describe(database) == describe(migrated)
    assert upgrade(migrated) == HEAD
    migrated.close()


def describe(database: Database) -> dict[str, Any]:
    """Everything that the database reports about the tables."""
    inspector = sa.inspect(database.engine)

    def by_name(found: list[Any]) -> list[str]:
        return sorted(repr(_plain(each)) for each in found)

    with database.read_transaction() as connection:
        triggers = connection.exec_driver_sql(
            "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' ORDER BY name"
            if database.is_sqlite
            else "SELECT tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal ORDER BY tgname"
        ).all()
    assert len(triggers) == (12 if database.is_sqlite else 8)
    return {"triggers": [tuple(trigger) for trigger in triggers]} | {
        table: {
            "columns": [repr(_plain(column)) for column in inspector.get_columns(table)],
            "key": inspector.get_pk_constraint(table),
            "uniques": by_name(inspector.get_unique_constraints(table)),
            "checks": by_name(inspector.get_check_constraints(table)),
            "foreign keys": by_name(inspector.get_foreign_keys(table)),
            "indexes": by_name(inspector.get_indexes(table)),
            "options": inspector.get_table_options(table),
        }
        for table in metadata.tables
    }


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return sorted((name, _plain(item)) for name, item in value.items())
    return str(value) if isinstance(value, sa.TextClause) else value


@pytest.mark.parametrize("url", SHARED_DATABASES, indirect=True)
def test_concurrent_upgrades_run_one_after_another(url: str, database: Database) -> None:
    before = run_in_processes(upgrade_database, url, "a", "b")
    assert sorted(before) == [HEAD, "none"]
    assert current_version(database) == HEAD


def test_missing_tables_error_names_the_upgrade_command(database: Database) -> None:
    with pytest.raises(ConfigurationError, match=r"no tables yet.*billvend db upgrade"):
        require_head(database)


@pytest.mark.parametrize("version", ["0001", "0005"])
def test_upgrade_rejects_tables_from_before_the_first_release(database: Database, version: str) -> None:
    upgrade(database)
    _set_version(database, version)
    for refusing in (require_head, upgrade):
        with pytest.raises(
            ConfigurationError, match=f"of version {version}, from before.*DATABASE_URL"
        ) as refusal:
            refusing(database)
        assert "\n" not in str(refusal.value)
    assert current_version(database) == version


@pytest.mark.parametrize("version", ["0101", "9999", "a1b2c3"])
def test_upgrade_rejects_tables_of_a_newer_version(database: Database, version: str) -> None:
    upgrade(database)
    _set_version(database, version)
    for refusing in (require_head, upgrade):
        with pytest.raises(ConfigurationError, match=f"of version {version}") as refusal:
            refusing(database)
        assert "\n" not in str(refusal.value)
    assert current_version(database) == version


def test_upgrade_rejects_a_foreign_database(database: Database) -> None:
    with database.write_transaction() as connection:
        connection.execute(sa.text("CREATE TABLE wallets (owner TEXT)"))
    with pytest.raises(ConfigurationError, match="not billvend's") as refusal:
        upgrade(database)
    assert "\n" not in str(refusal.value)
    assert sa.inspect(database.engine).get_table_names() == ["wallets"]


def test_downgrade_is_rejected(database: Database) -> None:
    upgrade(database)
    config = alembic_config()
    with pytest.raises(RuntimeError, match="restore a backup"), database.write_transaction() as connection:  # noqa: PT012  one act
        config.attributes["connection"] = connection
        downgrade(config, "base")
    require_head(database)


@pytest.mark.parametrize(
    "unreachable", ["sqlite:////nowhere/billvend.db", "postgresql://billvend@127.0.0.1:1/billvend"]
)
def test_upgrade_is_unavailable_when_database_is_down(unreachable: str) -> None:
    database = Database(unreachable)
    for operation in (current_version, upgrade, require_head):
        with pytest.raises(Unavailable) as refusal:
            operation(database)
        assert "\n" not in str(refusal.value)
    database.close()


def _set_version(database: Database, version: str) -> None:
    with database.write_transaction() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = :version"), {"version": version})
