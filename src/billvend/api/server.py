"""The server: Granian with the application, and a worker where no other process would run one.

    this process            holds the port and handles no requests: it starts the others, and restarts them when they die
    ├── Granian's workers   each with its own billvend, and threads that handle requests
    └── billvend worker     on an embedded database, or on request

SIGTERM and SIGINT stop it. It accepts no new connections, finishes the requests in progress, and then the worker finishes
its work. If this process is killed, the others notice it and stop.
"""

import atexit
import logging
import multiprocessing
import os
import signal
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
from billvend.api.listening_port import announce_when_listening, reserve_port
from billvend.api.parsing import MAX_BATCH_BYTES, MAX_BODY_BYTES
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
"""Threads in each process that handle requests. With half as many, a prototype on PostgreSQL handled half the requests."""
MAX_REQUESTS: Final = 4096
"""Requests that a process has at a time, including those whose bodies are incomplete. Further ones wait."""
PROCESSES: Final = 2
"""Processes that handle requests, on PostgreSQL."""
DRAIN_SECONDS: Final = 30
"""How long the requests in progress, and then the worker, may take to finish when the server stops."""
RESTART_SECONDS: Final = 1.0
"""How often the worker is checked. If it exited, it is restarted."""
RETRY_SECONDS: Final = 1.0
"""How often a process that started while the database is down tries again."""

_DATABASE_URL_VARIABLE: Final = "_BILLVEND_DATABASE_URL"
"""The environment variable that gives Granian's processes the database of the command line."""
_LOG_CONFIG: Final = {
    "formatters": {},
    "handlers": {},
    "loggers": {"_granian": {"handlers": [], "propagate": True}},
}
"""Granian logs to our handlers."""


def serve(
    settings: Settings,
    *,
    database_url: str | None = None,
    with_worker: bool | None = None,
    processes: int | None = None,
    announce: Callable[[str], None],
) -> None:
    """Serve until SIGTERM or SIGINT, on the main thread. `announce` gets the address once the server listens.

    `database_url` is that of the command line, if it gave one. The other processes read their settings from the environment
    and `.env`, as this one did. `with_worker` None: on an embedded database. `processes` None: two, or one on such a database.
    Raises `ConfigurationError` if it must not or cannot listen, `Unavailable`.
    """
    _raise_file_limit()
    with _shared_metrics_folder():
        with open_billvend(settings) as bv:  # reports every error of the settings, in one line
            keys_notice = _keys_notice(bv, settings.host)
        if database_url is not None:
            os.environ[_DATABASE_URL_VARIABLE] = database_url
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        starts_worker = _is_embedded(settings) if with_worker is None else with_worker
        with (
            reserve_port(settings.host, settings.port) as port,
            announce_when_listening(
                settings.host,
                port,
                lambda: announce(
                    f"billvend listens on http://{host}:{port}. Swagger UI is at /api.{keys_notice}"
                ),
            ),
            _run_worker(database_url) if starts_worker else nullcontext(),
        ):
            _build_server(settings, port, processes).serve()


def _keys_notice(bv: Billvend, host: str) -> str:
    """What the start prints about keys. Raises `ConfigurationError` if a key is required first, `Unavailable`."""
    if bv.has_api_keys():
        return ""
    if not bv.is_test_money_only():
        reason = "The API would be open to live money"
    elif not is_loopback_host(host):
        reason = f"HOST={host} would open the API to other machines"
    else:
        return " No API keys yet: only requests from this machine are accepted, with test money."
    raise ConfigurationError(
        f"{reason}, and there are no API keys yet. Nothing was started. Create one first: "
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
        # On SQLite a second process would only wait for the lock of the first. On PostgreSQL each process may have as many
        # connections as threads, and by default a server accepts 100.
        workers=processes or (1 if _is_embedded(settings) else PROCESSES),
        task_impl=TaskImpl.asyncio,  # Granian's own kind of task supports no timeout
        websockets=False,
        backpressure=MAX_REQUESTS,
        factory=True,
        respawn_failed_workers=True,
        workers_kill_timeout=DRAIN_SECONDS,
        log_level=LogLevels.error,
        log_dictconfig=_LOG_CONFIG,
    )


def _raise_file_limit() -> None:
    """Raise the limit of file descriptors: each connection needs one, and the default is low."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        limit = 2 * MAX_REQUESTS if hard == resource.RLIM_INFINITY else min(hard, 2 * MAX_REQUESTS)
        if soft != resource.RLIM_INFINITY and soft < limit:
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))


@contextmanager
def _shared_metrics_folder() -> Iterator[None]:
    """A folder for the metrics of all processes, so that any of them can sum them. Set before anything is measured."""
    with tempfile.TemporaryDirectory(prefix="billvend-metrics-") as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        try:
            yield
        finally:
            del os.environ["PROMETHEUS_MULTIPROC_DIR"]


def application() -> RsgiAdapter:
    """The application in one of Granian's processes, with its own settings, logs and billvend."""
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
    """Close, and exit without finalising Python, when all responses are sent.

    A thread of Granian that needs Python during finalisation aborts the process with a panic on stderr (its issues 846
    and 881).
    """
    stack.close()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _open_with_retry(settings: Settings) -> Billvend:
    """Wait for the database. A restarted process that exits while it is down would stop the whole server."""
    while True:
        try:
            return open_billvend(settings)
        except Unavailable as error:
            logger.warning("A server process cannot start yet: %s", error)
            time.sleep(RETRY_SECONDS)


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


# --- the embedded worker ---------------------------------------------------------------------------------------------


@contextmanager
def _run_worker(database_url: str | None) -> Iterator[None]:
    """Run `billvend worker` in its own process. It is restarted when it exits, and finishes its work at the end."""
    stopping = threading.Event()
    supervisor = threading.Thread(
        target=_supervise_worker, args=(database_url, stopping), name="billvend-worker-supervisor"
    )
    supervisor.start()
    try:
        yield
    finally:
        stopping.set()
        supervisor.join()


def _supervise_worker(database_url: str | None, stopping: threading.Event) -> None:
    process = _start_worker(database_url)
    while not stopping.wait(RESTART_SECONDS):
        if process.poll() is not None:
            logger.error("The worker exited with status %s and is restarted", process.returncode)
            process = _start_worker(database_url)
    with process:
        process.terminate()
        try:
            process.wait(DRAIN_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()


def _start_worker(database_url: str | None) -> "subprocess.Popen[bytes]":
    """Start the worker's process. Its stdin is a pipe that closes when this process ends, so it never outlives us."""
    database_option = [] if database_url is None else ["--database-url", database_url]
    return subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", "billvend", "worker", "--exit-with-parent", *database_option],
        stdin=subprocess.PIPE,
        # Its own session: Ctrl-C at the terminal reaches only this process, which stops the worker last.
        start_new_session=True,
        # /metrics includes the worker's metrics. On a port of its own they would be scraped twice.
        env={name: value for name, value in os.environ.items() if name != "METRICS_PORT"},
    )
