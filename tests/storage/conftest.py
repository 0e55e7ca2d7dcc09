"""Books to write in: on a SQLite file, on SQLite in memory, and on PostgreSQL."""

import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from billvend.adapters.storage.database import Database
from billvend.adapters.storage.migrate import upgrade
from tests.storage.till import Till
from tests.support import servers

POSTGRES = pytest.param("postgres", marks=pytest.mark.integration)
EVERYWHERE = ["file", "memory", POSTGRES]
ON_DISK = ["file", POSTGRES]
"""Where several connections, threads or processes can meet."""

hypothesis.settings.register_profile(
    "nightly", parent=hypothesis.settings.get_profile("billvend"), max_examples=2_000, stateful_step_count=100
)
if profile := os.environ.get("HYPOTHESIS_PROFILE"):
    hypothesis.settings.load_profile(profile)


@pytest.fixture(scope="session")
def postgres_template(postgres_server: servers.Postgres) -> str:
    """A PostgreSQL database with all tables and no rows, to be copied."""
    url = servers.new_database(postgres_server)
    database = Database(url)
    upgrade(database)
    database.close()
    return url


@pytest.fixture(params=ON_DISK)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of new books, with tables, that several connections can share."""
    yield from _new_books(request, tmp_path)


@pytest.fixture(params=EVERYWHERE)
def till(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Till]:
    """New books of every kind."""
    yield from _tills(_new_books(request, tmp_path))


@pytest.fixture
def shared_till(url: str) -> Iterator[Till]:
    """New books of the kinds that several connections can share."""
    yield from _tills(iter([url]))


def _tills(urls: Iterator[str]) -> Iterator[Till]:
    for url in urls:
        database = Database(url)
        if database.is_sqlite:
            upgrade(database)
        yield Till(database)
        database.close()


def _new_books(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    match request.param:
        case "memory":
            yield "sqlite://"
        case "file":
            yield f"sqlite:///{tmp_path / 'books.db'}"
        case _:
            server: servers.Postgres = request.getfixturevalue("postgres_server")
            url = servers.new_database(server, template=request.getfixturevalue("postgres_template"))
            yield url
            servers.drop_database(server, url)
