"""Serving: Granian around the application, with a worker beside it where nobody else would work.

    this process            holds the port and answers nothing: it starts the others, and starts them anew when they die
    ├── Granian's workers   each with a billvend of its own, and threads that answer requests
    └── billvend worker     on an embedded database, or as asked

SIGTERM and SIGINT stop it: no new connection is taken, requests under way are answered, then the worker finishes what
it has in hand. When this process is killed, the others notice, and stop by themselves.
"""

import atexit
import errno
import logging
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from typing import Final

from granian.constants import HTTPModes, Interfaces, TaskImpl
from granian.log import LogLevels
from granian.server.mp import MPServer

from billvend.api.app import create_app
from billvend.api.parsing import MAX_BODY_BYTES
from billvend.api.routing import MAX_BATCH_BYTES
from billvend.api.rsgi import RsgiAdapter
from billvend.app import Billvend
from billvend.bootstrap import open_billvend
from billvend.config import Settings, load_settings
from billvend.domain.errors import ConfigurationError, Unavailable
from billvend.domain.ids import is_loopback_host
from billvend.gc_tuning import freeze_gc, relax_gc
from billvend.logs import log_to_stderr

logger = logging.getLogger("billvend.api")

THREADS: Final = 32
"""That answer requests, in each process. With half as many, a prototype on PostgreSQL answered half as many requests."""
MAX_REQUESTS: Final = 4096
"""That a process has at a time, those whose bodies have not arrived yet among them; further ones wait for their turn."""
PROCESSES: Final = 2
"""That answer requests, on PostgreSQL."""
DRAIN_SECONDS: Final = 30
"""How long requests under way, and then the worker, may take to finish once it is to stop."""
RESTART_SECONDS: Final = 1.0
"""How soon a worker that died is started anew."""
RETRY_SECONDS: Final = 1.0
"""How often a process that was started while the database is away tries again."""
POLL_SECONDS: Final = 0.1
"""How often it is tried whether somebody listens already."""

_DATABASE_URL_VARIABLE: Final = "_BILLVEND_DATABASE_URL"
"""Where Granian's processes find the database that the command line named."""
_LOG_CONFIG: Final = {
    "formatters": {},
    "handlers": {},
    "loggers": {"_granian": {"handlers": [], "propagate": True}},
}
"""Granian's own lines go where ours go."""


def serve(
    settings: Settings,
    *,
    database_url: str | None = None,
    with_worker: bool | None = None,
    processes: int | None = None,
    announce: Callable[[str], None],
) -> None:
    """Serve until SIGTERM or SIGINT, on the main thread; `announce` gets the address once it listens.

    `database_url` is what the command line named, if anything: the other processes read their settings from the environment
    and `.env` as this one did. `with_worker` None: on an embedded database; `processes` None: two, or one on such a database.
    Raises `ConfigurationError` where it must not or can't listen, `Unavailable`.
    """
    _raise_file_limit()
    with _shared_metrics_folder():
        with open_billvend(settings) as bv:  # all that is wrong with the settings is told here, in one line
            keys_notice = _keys_notice(bv, settings.host)
        if database_url is not None:
            os.environ[_DATABASE_URL_VARIABLE] = database_url
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        starts_worker = _is_embedded(settings) if with_worker is None else with_worker
        with (
            reserve_port(settings.host, settings.port) as port,
            _announce_when_listening(
                settings.host,
                port,
                lambda: announce(
                    f"billvend listens on http://{host}:{port}, its document is at /api.{keys_notice}"
                ),
            ),
            _run_worker(database_url) if starts_worker else nullcontext(),
        ):
            _build_server(settings, port, processes).serve()


def _keys_notice(bv: Billvend, host: str) -> str:
    """What the start says of keys. Raises `ConfigurationError` where there must be one first, `Unavailable`."""
    if bv.has_api_keys():
        return ""
    if not bv.is_test_money_only():
        reason = "The API would open real money"
    elif not is_loopback_host(host):
        reason = f"HOST={host} would open the API to other machines"
    else:
        return " No API keys yet: only requests from this machine are accepted, with test money."
    raise ConfigurationError(
        f"{reason}, and there are no API keys yet. Nothing was started. Make a key first: "
        "billvend api-keys create --scope pay --name till-7"
    )


def _is_embedded(settings: Settings) -> bool:
    return settings.database_kind == "sqlite"


def _build_server(settings: Settings, port: int, processes: int | None) -> MPServer:
    multiprocessing.set_start_method("spawn", force=True)
    return MPServer(
        "billvend.api.server:application",
        address=settings.host,
        port=port,
        interface=Interfaces.RSGI,
        http=HTTPModes.http1,
        # On SQLite a second process would only wait for the first one's lock. On PostgreSQL each may have as many connections
        # as it has threads, and a server takes 100, unless it was told otherwise.
        workers=processes or (1 if _is_embedded(settings) else PROCESSES),
        task_impl=TaskImpl.asyncio,  # its own kind of task knows no deadline
        websockets=False,
        backpressure=MAX_REQUESTS,
        factory=True,
        respawn_failed_workers=True,
        workers_kill_timeout=DRAIN_SECONDS,
        log_level=LogLevels.error,
        log_dictconfig=_LOG_CONFIG,
    )


def _raise_file_limit() -> None:
    """Each connection takes a file descriptor, and systems allow few to who does not ask for more."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        limit = 2 * MAX_REQUESTS if hard == resource.RLIM_INFINITY else min(hard, 2 * MAX_REQUESTS)
        if soft != resource.RLIM_INFINITY and soft < limit:
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))


@contextmanager
def _shared_metrics_folder() -> Iterator[None]:
    """A folder in which all processes count, so that any of them can tell the sums. Before anything is measured."""
    with tempfile.TemporaryDirectory(prefix="billvend-metrics-") as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        try:
            yield
        finally:
            del os.environ["PROMETHEUS_MULTIPROC_DIR"]


def application() -> RsgiAdapter:
    """The application in one of Granian's processes: its own settings, logs and billvend."""
    relax_gc()
    settings = load_settings(os.environ.get(_DATABASE_URL_VARIABLE))
    stack = ExitStack()
    stack.enter_context(log_to_stderr(settings.log_level, settings.log_format))
    bv = stack.enter_context(_open_with_retry(settings))
    atexit.register(_close_and_exit, stack)
    threading.Thread(target=_exit_with_parent, name="billvend-parent", daemon=True).start()
    app = create_app(bv, settings)
    freeze_gc()
    return RsgiAdapter(
        app,
        threads=THREADS,
        max_body_bytes=MAX_BODY_BYTES,
        max_body_bytes_by_path={"/bills/pay/batch": MAX_BATCH_BYTES},
    )


def _close_and_exit(stack: ExitStack) -> None:
    """All is answered. A thread of Granian's that still asks for Python while it is being taken down would have the process
    abort, with a panic on stderr (its issues 846 and 881): so it ends here, and Python is not taken down."""
    stack.close()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _open_with_retry(settings: Settings) -> Billvend:
    """A process that is started anew while the database is away waits for it, rather than die, and with it the server."""
    while True:
        try:
            return open_billvend(settings)
        except Unavailable as error:
            logger.warning("A process can't begin yet: %s", error)
            time.sleep(RETRY_SECONDS)


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


# --- the worker beside it ---------------------------------------------------------------------------------------------


@contextmanager
def _run_worker(database_url: str | None) -> Iterator[None]:
    """A `billvend worker` in a process of its own, started anew when it dies; at the end it finishes what it has in hand."""
    stopping = threading.Event()
    supervisor = _WorkerSupervisor(database_url, stopping)
    thread = threading.Thread(target=supervisor.run, name="billvend-worker-supervisor")
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        supervisor.stop()
        thread.join()


class _WorkerSupervisor:
    """The worker's process. It reads from a pipe of ours, which ends when this process does: so it never outlives us."""

    def __init__(self, database_url: str | None, stopping: threading.Event) -> None:
        database_option = [] if database_url is None else ["--database-url", database_url]
        self._command = [
            sys.executable,
            "-m",
            "billvend",
            "worker",
            "--exit-with-parent",
            *database_option,
        ]
        # What it counts is told by /metrics with all the rest: told twice, it would be counted twice.
        self._environment = {name: value for name, value in os.environ.items() if name != "METRICS_PORT"}
        self._stopping = stopping
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def run(self) -> None:
        """Start it, and start it anew when it ends, until it is to stop."""
        while (process := self._start()) is not None:
            status = process.wait()
            if not self._stopping.wait(RESTART_SECONDS):
                logger.error("The worker ended with status %s, and is started anew", status)

    def _start(self) -> "subprocess.Popen[bytes] | None":
        with self._lock:
            if self._stopping.is_set():
                return None
            # A group of its own: Ctrl-C at the terminal is for this process, which stops the worker last.
            self._process = subprocess.Popen(  # noqa: S603
                self._command, stdin=subprocess.PIPE, start_new_session=True, env=self._environment
            )
            return self._process

    def stop(self) -> None:
        """Ask it to stop, and wait."""
        with self._lock:
            process = self._process
        if process is None:
            return
        process.terminate()
        try:
            process.wait(DRAIN_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdin is not None:
            process.stdin.close()


# --- where it listens -------------------------------------------------------------------------------------------------


def find_free_port(host: str, port: int) -> int:
    """The port, or any free one for 0. Raises `ConfigurationError` where nobody can listen there."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(address)
            return int(trial.getsockname()[1])
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            reason = f"PORT={port} is taken by another program. Stop it, or choose another PORT"
        else:
            reason = f"HOST={host} and PORT={port} can't be listened on: {error.strerror}"
        raise ConfigurationError(f"{reason}. Nothing was started.") from None


@contextmanager
def reserve_port(host: str, port: int) -> Iterator[int]:
    """The port, or any free one for 0, kept from everybody else. Raises `ConfigurationError` where nobody can listen there.

    On Linux each of Granian's processes opens it by itself, seconds later, in a way that lets others open it as well:
    two servers would share the requests. A socket of ours that is bound, and does not listen, keeps others away, and
    leaves room for them. Elsewhere Granian opens the port once, at its start.
    """
    port = find_free_port(host, port)
    if not sys.platform.startswith("linux"):
        yield port
        return
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as reservation:
        reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        # Where it can't be had so, connections of another program's are not forgotten yet: nobody else listens there.
        with suppress(OSError):
            reservation.bind(address)
        yield port


@contextmanager
def _announce_when_listening(host: str, port: int, announce: Callable[[], None]) -> Iterator[None]:
    """Call `announce`, on a thread of its own, as soon as somebody listens there."""
    stopping = threading.Event()

    def watch() -> None:
        while not stopping.wait(POLL_SECONDS):
            with suppress(OSError), socket.create_connection((host, port), timeout=1):
                announce()
                return

    watcher = threading.Thread(target=watch, name="billvend-watcher")
    watcher.start()
    try:
        yield
    finally:
        stopping.set()
        watcher.join()
