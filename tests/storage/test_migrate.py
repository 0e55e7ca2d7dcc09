"""The tables: made from nothing, by anybody, on both databases, and exactly as the code thinks they are."""

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
from tests.storage.rivals import in_processes, upgrade_it
from tests.storage.till import EVERYWHERE, ON_DISK, Till
from tests.support import servers


@pytest.fixture(params=EVERYWHERE)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where there is nothing yet."""
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


def test_tables_are_made_from_nothing_and_only_once(database: Database) -> None:
    assert current_version(database) is None
    assert upgrade(database) == "none"
    assert current_version(database) == HEAD
    require_head(database)
    till = Till(database)
    till.funded(minor=7)
    assert upgrade(database) == HEAD
    assert till.balance() == (7, 0)


def test_this_version_is_the_last_of_the_migrations() -> None:
    scripts = ScriptDirectory.from_config(alembic_config())
    assert scripts.get_heads() == [HEAD]
    versions = [script.revision for script in scripts.walk_revisions()]
    assert versions == sorted(versions, reverse=True)  # "newer" is told by comparing them as text


def by_migrations(database: Database) -> None:
    """Create the tables by all migrations, one after the other."""
    config = alembic_config()
    with database.write_transaction() as connection:
        config.attributes["connection"] = connection
        to_version(config, "head")


@pytest.mark.parametrize("make", [upgrade, by_migrations])
def test_tables_are_what_the_code_expects(database: Database, make: Callable[[Database], object]) -> None:
    make(database)
    with database.engine.connect() as connection:
        options = {"compare_type": True, "compare_server_default": True}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, metadata) == []


@pytest.mark.parametrize("url", ON_DISK, indirect=True)
def test_migrations_create_the_tables_of_a_new_database(
    request: pytest.FixtureRequest, database: Database, tmp_path: Path
) -> None:
    """To the letter, with constraints, conditions and triggers, which Alembic does not compare."""
    upgrade(database)
    if database.is_sqlite:
        migrated = Database(f"sqlite:///{tmp_path / 'migrated.db'}")
    else:
        server: servers.Postgres = request.getfixturevalue("postgres_server")
        migrated = Database(servers.new_database(server))
    by_migrations(migrated)
    assert current_version(migrated) == HEAD
    assert described(database) == described(migrated)
    assert upgrade(migrated) == HEAD
    migrated.close()


def described(database: Database) -> dict[str, Any]:
    """All that can be read back about the tables."""
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


@pytest.mark.parametrize("url", ON_DISK, indirect=True)
def test_processes_that_upgrade_at_once_take_turns(url: str, database: Database) -> None:
    before = in_processes(upgrade_it, url, "a", "b")
    assert sorted(before) == [HEAD, "none"]
    assert current_version(database) == HEAD


def test_missing_tables_are_named_with_what_makes_them(database: Database) -> None:
    with pytest.raises(ConfigurationError, match=r"no tables yet.*billvend db upgrade"):
        require_head(database)


@pytest.mark.parametrize("version", ["0001", "0005"])
def test_tables_from_before_the_first_release_are_left_alone(database: Database, version: str) -> None:
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
def test_tables_of_a_newer_billvend_are_left_alone(database: Database, version: str) -> None:
    upgrade(database)
    _set_version(database, version)
    for refusing in (require_head, upgrade):
        with pytest.raises(ConfigurationError, match=f"of version {version}") as refusal:
            refusing(database)
        assert "\n" not in str(refusal.value)
    assert current_version(database) == version


def test_a_database_of_somebody_else_is_left_as_it_was(database: Database) -> None:
    with database.write_transaction() as connection:
        connection.execute(sa.text("CREATE TABLE wallets (owner TEXT)"))
    with pytest.raises(ConfigurationError, match="not billvend's") as refusal:
        upgrade(database)
    assert "\n" not in str(refusal.value)
    assert sa.inspect(database.engine).get_table_names() == ["wallets"]


def test_books_are_never_taken_down(database: Database) -> None:
    upgrade(database)
    config = alembic_config()
    with pytest.raises(RuntimeError, match="restore a backup"), database.write_transaction() as connection:  # noqa: PT012  one act
        config.attributes["connection"] = connection
        downgrade(config, "base")
    require_head(database)


@pytest.mark.parametrize("gone", ["sqlite:////nowhere/books.db", "postgresql://billvend@127.0.0.1:1/books"])
def test_a_database_that_is_away(gone: str) -> None:
    database = Database(gone)
    for asking in (current_version, upgrade, require_head):
        with pytest.raises(Unavailable) as refusal:
            asking(database)
        assert "\n" not in str(refusal.value)
    database.close()


def _set_version(database: Database, version: str) -> None:
    with database.write_transaction() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = :version"), {"version": version})
