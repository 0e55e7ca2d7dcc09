"""Books to write in: on a SQLite file, on SQLite in memory, and on PostgreSQL."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import hypothesis
import pytest
import sqlalchemy as sa

from billvend.adapters.storage.database import Database
from billvend.adapters.storage.migrate import upgrade
from billvend.adapters.storage.tables import APPEND_ONLY, metadata
from tests.storage.till import Till, open_till
from tests.support import servers

POSTGRES = pytest.param("postgres", marks=pytest.mark.integration)
EVERYWHERE = ["file", "memory", POSTGRES]
ON_DISK = ["file", POSTGRES]
"""Where several connections, threads or processes can meet."""

STRAYS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
"""

hypothesis.settings.register_profile(
    "nightly", parent=hypothesis.settings.get_profile("billvend"), max_examples=2_000, stateful_step_count=100
)
if profile := os.environ.get("HYPOTHESIS_PROFILE"):
    hypothesis.settings.load_profile(profile)


@pytest.fixture(scope="session")
def _postgres_books(postgres_server: servers.Postgres) -> Iterator[str]:
    """One PostgreSQL database with all tables, for all tests that leave these as they are."""
    url = servers.new_database(postgres_server)
    database = Database(url)
    upgrade(database)
    database.close()
    yield url
    servers.drop_database(postgres_server, url)


@pytest.fixture(params=EVERYWHERE)
def till(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Till]:
    """New books of every kind."""
    with _new_books(request, tmp_path) as url, open_till(url) as till:
        yield till


@pytest.fixture(params=ON_DISK)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of new books of the kinds that several connections can share."""
    with _new_books(request, tmp_path) as url:
        with open_till(url):
            pass  # has its tables now
        yield url


@contextmanager
def _new_books(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    match request.param:
        case "memory":
            yield "sqlite://"
        case "file":
            yield f"sqlite:///{tmp_path / 'books.db'}"
        case _:
            url: str = request.getfixturevalue("_postgres_books")
            _empty(url)  # in a tenth of the time that a new database takes
            yield url


def _empty(url: str) -> None:
    database = Database(url)
    with database.writing() as connection:
        connection.execute(sa.text(STRAYS))
        for table in APPEND_ONLY:
            connection.execute(sa.text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
        connection.execute(sa.text(f"TRUNCATE {', '.join(metadata.tables)}"))
        for table in APPEND_ONLY:
            connection.execute(sa.text(f"ALTER TABLE {table} ENABLE TRIGGER USER"))
    database.close()
