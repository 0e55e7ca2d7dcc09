"""Databases for the tests: a SQLite file, SQLite in memory, and PostgreSQL."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from billvend.adapters.storage.database import Database
from billvend.adapters.storage.schema_version import upgrade
from tests.storage.harness import ALL_DATABASES, SHARED_DATABASES, JournalHarness, open_harness, truncate_all
from tests.support import servers


@pytest.fixture(params=ALL_DATABASES)
def harness(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[JournalHarness]:
    """A new database of each kind."""
    if request.param == "postgres":
        database: Database = request.getfixturevalue("postgres_database")
        truncate_all(database)
        yield JournalHarness(database)
    else:
        with _new_database(request, tmp_path) as url, open_harness(url) as harness:
            yield harness


@pytest.fixture(params=SHARED_DATABASES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a new database, of the kinds that several connections can share."""
    with _new_database(request, tmp_path) as url:
        yield url


@contextmanager
def _new_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    match request.param:
        case "memory":
            yield "sqlite://"
        case "file":
            path = tmp_path / "billvend.db"
            shutil.copy(request.getfixturevalue("sqlite_template"), path)
            yield f"sqlite:///{path}"
        case _:
            database: Database = request.getfixturevalue("postgres_database")
            truncate_all(database)
            yield database.url.set(drivername="postgresql").render_as_string(hide_password=False)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with all tables and no rows. Tests copy it."""
    path = tmp_path_factory.mktemp("storage") / "empty.db"
    database = Database(f"sqlite:///{path}")
    upgrade(database)
    database.close()
    return path


@pytest.fixture(scope="session")
def postgres_database(postgres_server: servers.Postgres) -> Iterator[Database]:
    """One PostgreSQL database with all tables, shared by all tests that do not change the tables."""
    url = servers.new_database(postgres_server)
    database = Database(url)
    upgrade(database)
    yield database
    database.close()
    servers.drop_database(postgres_server, url)


@pytest.fixture
def unavailable_database() -> Iterator[Database]:
    """A database that cannot be opened."""
    database = Database("sqlite:////nowhere/at/all/billvend.db")
    yield database
    database.close()
