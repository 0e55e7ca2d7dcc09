"""The tables: made from nothing, by anybody, on both databases, and exactly as the code thinks they are."""

from collections.abc import Iterator, Mapping
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
from billvend.adapters.storage.migrate import HEAD, current, require_head, upgrade
from billvend.adapters.storage.tables import metadata
from billvend.domain.errors import BadSetting, Unavailable
from tests.storage.rivals import in_processes, upgrade_it
from tests.storage.till import EVERYWHERE, ON_DISK, Till
from tests.support import servers, tables


@pytest.fixture(autouse=True)
def _made_by_alembic() -> Iterator[None]:
    with tables.made_by_alembic():
        yield


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
    assert current(database) is None
    assert upgrade(database) == "none"
    assert current(database) == HEAD
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


def test_migrations_make_what_the_code_expects(database: Database) -> None:
    upgrade(database)
    with database.engine.connect() as connection:
        options = {"compare_type": True, "compare_server_default": True}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, metadata) == []


@pytest.mark.parametrize("url", ON_DISK, indirect=True)
def test_migrations_make_what_the_definitions_would(
    request: pytest.FixtureRequest, database: Database, tmp_path: Path
) -> None:
    """To the letter, with constraints and conditions, which Alembic does not compare."""
    upgrade(database)
    if database.is_sqlite:
        made = Database(f"sqlite:///{tmp_path / 'made.db'}")
    else:
        server: servers.Postgres = request.getfixturevalue("postgres_server")
        made = Database(servers.new_database(server))
    metadata.create_all(made.engine)
    assert described(database) == described(made)
    made.close()


@pytest.mark.parametrize("url", ON_DISK, indirect=True)
def test_the_tables_of_other_tests_are_the_same(
    request: pytest.FixtureRequest, database: Database, tmp_path: Path
) -> None:
    upgrade(database)
    for name in ("first", "second"):
        if database.is_sqlite:
            other = Database(f"sqlite:///{tmp_path / name}.db")
        else:
            other = Database(servers.new_database(request.getfixturevalue("postgres_server")))
        with tables.made_as_before():
            assert upgrade(other) == "none"
        assert current(other) == HEAD
        assert described(other) == described(database)
        other.close()


def described(database: Database) -> dict[str, Any]:
    """All that can be read back about the tables."""
    inspector = sa.inspect(database.engine)

    def by_name(found: list[Any]) -> list[str]:
        return sorted(repr(_plain(each)) for each in found)

    return {
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


@pytest.mark.parametrize("already", [[], ["funding_intents_by_time", "transactions_by_reference"]])
def test_books_of_version_0003_get_the_indexes_that_they_lack(database: Database, already: list[str]) -> None:
    config = alembic_config()
    with database.writing() as connection:
        config.attributes["connection"] = connection
        to_version(config, "0003")
        for table in metadata.tables.values():
            for index in table.indexes:
                if index.name in already:
                    index.create(connection)
    assert current(database) == "0003"
    assert upgrade(database) == "0003"
    indexes = {index.name for table in metadata.tables.values() for index in table.indexes}
    made = {
        found["name"]
        for table in metadata.tables
        for found in sa.inspect(database.engine).get_indexes(table)
        if "duplicates_constraint" not in found
    }
    assert made == indexes


@pytest.mark.parametrize("url", ON_DISK, indirect=True)
def test_processes_that_upgrade_at_once_take_turns(url: str, database: Database) -> None:
    before = in_processes(upgrade_it, url, "a", "b")
    assert sorted(before) == [HEAD, "none"]
    assert current(database) == HEAD


def test_missing_tables_are_named_with_what_makes_them(database: Database) -> None:
    with pytest.raises(BadSetting, match=r"no tables yet.*billvend db upgrade"):
        require_head(database)


def test_tables_of_an_older_version_are_named_with_what_changes_them(database: Database) -> None:
    upgrade(database)
    _set_version(database, "0000")
    with pytest.raises(BadSetting, match=r"of version 0000.*billvend db upgrade"):
        require_head(database)


@pytest.mark.parametrize("version", ["0007", "9999", "a1b2c3"])
def test_tables_of_a_newer_billvend_are_left_alone(database: Database, version: str) -> None:
    upgrade(database)
    _set_version(database, version)
    for refusing in (require_head, upgrade):
        with pytest.raises(BadSetting, match=f"of version {version}") as refusal:
            refusing(database)
        assert "\n" not in str(refusal.value)
    assert current(database) == version


def test_a_database_of_somebody_else_is_left_as_it_was(database: Database) -> None:
    with database.writing() as connection:
        connection.execute(sa.text("CREATE TABLE wallets (owner TEXT)"))
    with pytest.raises(BadSetting, match="not billvend's") as refusal:
        upgrade(database)
    assert "\n" not in str(refusal.value)
    assert sa.inspect(database.engine).get_table_names() == ["wallets"]


def test_books_are_never_taken_down(database: Database) -> None:
    upgrade(database)
    config = alembic_config()
    with pytest.raises(RuntimeError, match="restore a backup"), database.writing() as connection:  # noqa: PT012  one act
        config.attributes["connection"] = connection
        downgrade(config, "base")
    require_head(database)


@pytest.mark.parametrize("gone", ["sqlite:////nowhere/books.db", "postgresql://billvend@127.0.0.1:1/books"])
def test_a_database_that_is_away(gone: str) -> None:
    database = Database(gone)
    for asking in (current, upgrade, require_head):
        with pytest.raises(Unavailable) as refusal:
            asking(database)
        assert "\n" not in str(refusal.value)
    database.close()


def _set_version(database: Database, version: str) -> None:
    with database.writing() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = :version"), {"version": version})
