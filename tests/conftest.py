"""Fixtures for all tests: real servers, started when the first test asks for one and stopped with the run.

Every worker of pytest-xdist has its own. A test that asks for a server is marked `integration` automatically. One that
asks for it by name at run time (`request.getfixturevalue("postgres_url")`) marks that case: `pytest.param("postgres",
marks=pytest.mark.integration)`.
"""

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.support import servers

SERVER_FIXTURES = {"postgres_server", "postgres_url", "own_postgres", "redis_server", "redis_url"}
REDIS_PROTOCOL_SERVERS = ["valkey", "redis"] if servers.has_redis() else ["valkey"]

# The time of an example says nothing on a busy machine, and a failure should show how to repeat it. The tests of a
# change use the same examples each time; `nox -s histories` draws new ones.
hypothesis.settings.register_profile("billvend", deadline=None, print_blob=True, derandomize=True)
hypothesis.settings.register_profile(
    "nightly",
    parent=hypothesis.settings.get_profile("billvend"),
    derandomize=False,
    max_examples=2_000,
    stateful_step_count=100,
)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "billvend"))

# The developer's own settings must not reach the tests.
SETTINGS = Path(__file__).parent.parent / ".env.example"
TERMINAL = ("COLUMNS", "FORCE_COLOR", "LINES", "NO_COLOR", "PAGER", "TERM")
LOCALE = ("LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "LC_MESSAGES", "TZ")
for name in (*re.findall(r"^#?([A-Z_]+)=", SETTINGS.read_text(), re.MULTILINE), *TERMINAL, *LOCALE):
    os.environ.pop(name, None)
    os.environ.pop(f"{name}_FILE", None)
time.tzset()


@pytest.fixture(scope="session", autouse=True)
def _working_directory_without_settings(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Run where no `.env` is: the folder of the project may hold the developer's own."""
    os.chdir(tmp_path_factory.mktemp("working_directory"))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if isinstance(item, pytest.Function) and SERVER_FIXTURES.intersection(item.fixturenames):
            item.add_marker("integration")
    items.sort(
        key=lambda item: item.get_closest_marker("long") is None
    )  # the longest first: none runs alone at the end


def _expect_mark(request: pytest.FixtureRequest) -> None:
    """Refuse a server to a test that `nox -s unit` would have run."""
    if request.node.get_closest_marker("integration") is None:
        pytest.fail("a test that asks for a server at run time is to be marked `integration`", pytrace=False)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[servers.Postgres]:
    """A PostgreSQL server: the one at BILLVEND_TEST_POSTGRES_URL, if that is set, or one of our own."""
    if url := os.environ.get("BILLVEND_TEST_POSTGRES_URL"):
        yield servers.ExistingPostgres(url)
    else:
        with servers.postgres() as server:
            yield server


@pytest.fixture
def postgres_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a new, empty PostgreSQL database, dropped after the test."""
    _expect_mark(request)
    server: servers.Postgres = request.getfixturevalue("postgres_server")
    url = servers.new_database(server)
    yield url
    servers.drop_database(server, url)


@pytest.fixture
def own_postgres(request: pytest.FixtureRequest) -> Iterator[servers.PostgresServer]:
    """A PostgreSQL server for this test alone, to be stopped, killed and started again."""
    _expect_mark(request)
    with servers.postgres() as server:
        yield server


@pytest.fixture(scope="session")
def _valkey_server() -> Iterator[servers.RedisProtocolServer]:
    with servers.valkey() as server:
        yield server


@pytest.fixture(scope="session")
def _redis_server() -> Iterator[servers.RedisProtocolServer]:
    with servers.redis_6() as server:
        yield server


@pytest.fixture(params=REDIS_PROTOCOL_SERVERS)
def redis_server(request: pytest.FixtureRequest) -> servers.RedisProtocolServer:
    """Valkey and then, where it has a wheel, Redis: running and empty. The test may stop, kill and start it."""
    _expect_mark(request)
    server: servers.RedisProtocolServer = request.getfixturevalue(f"_{request.param}_server")
    server.start()
    server.flush()
    return server


@pytest.fixture
def redis_url(redis_server: servers.RedisProtocolServer) -> str:
    """The URL of an empty Valkey and then, where it has a wheel, of an empty Redis."""
    return redis_server.url
