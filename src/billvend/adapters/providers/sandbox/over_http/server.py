"""The sandbox as a server: both dialects, and its own calls."""

import logging
import re
import socket
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from os import PathLike
from types import MappingProxyType
from typing import Any, Final

from flask import Flask, Response
from werkzeug.exceptions import HTTPException
from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler

from billvend.adapters.providers.sandbox.faults import InvalidFault
from billvend.adapters.providers.sandbox.over_http.buypower_dialect import buypower_dialect
from billvend.adapters.providers.sandbox.over_http.control import control
from billvend.adapters.providers.sandbox.over_http.http_sandbox import CURRENCY, HttpSandbox, json_response
from billvend.adapters.providers.sandbox.over_http.vtpass_answers import webhook_body
from billvend.adapters.providers.sandbox.over_http.vtpass_dialect import vtpass_dialect
from billvend.adapters.providers.sandbox.over_http.webhook_sender import WebhookSender
from billvend.adapters.providers.sandbox.sales_store import SalesStore
from billvend.adapters.providers.sandbox.simulator import Simulator
from billvend.domain.errors import ConfigurationError, Unavailable

DIALECTS: Final = MappingProxyType(
    {"vtpass": (vtpass_dialect, "/api"), "buypower": (buypower_dialect, "/v2")}
)
"""The calls of each dialect, and the path below which the real API has them."""
MAX_BODY_BYTES: Final = 1024 * 1024
VTPASS_DUPLICATE_WINDOW_SECONDS: Final = 30
"""As VTpass does."""

logger = logging.getLogger("billvend.sandbox")


@dataclass(frozen=True, slots=True)
class RunningSandbox:
    """A sandbox that is listening."""

    url: str
    """Without a path: `http://127.0.0.1:4000`."""
    store: SalesStore
    """What it really sold."""
    stop: Callable[[], None]
    """Stop listening, finish running requests, and cut delayed ones. Idempotent."""

    @property
    def vtpass_url(self) -> str:
        """The URL below which `/pay` is."""
        return f"{self.url}/vtpass/api"

    @property
    def buypower_url(self) -> str:
        """The URL below which `/vend` is."""
        return f"{self.url}/buypower/v2"

    @property
    def control_url(self) -> str:
        """The URL below which `/book` is."""
        return f"{self.url}/_sandbox"


@contextmanager
def serve_sandbox(
    store_path: str | PathLike[str],
    *,
    dialect: str | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    max_delay_seconds: float = 120.0,
    webhook_url: str | None = None,
    webhook_delay_seconds: float = 0.5,
    duplicate_window_seconds: int = VTPASS_DUPLICATE_WINDOW_SECONDS,
    min_requery_age_seconds: int = 0,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Iterator[RunningSandbox]:
    """Serve a sandbox in threads of this process until the block ends.

    Each dialect has a path of its own. `dialect` names one that is also served at the root. Port 0 is any free port.
    Raises `ConfigurationError` if it cannot listen or the webhook URL is invalid, and `Unavailable` if the sales store
    cannot be opened.
    """
    if webhook_url is not None and not re.fullmatch(r"https?://[!-~]+", webhook_url):
        raise ConfigurationError(
            f"--hook-url: must be an http:// or https:// address, not {webhook_url!a}. Nothing was started."
        )
    with closing(SalesStore(store_path)) as store:
        simulator = Simulator(store, currency=CURRENCY, now=now)
        with _listen(host, port) as listener:
            webhooks = WebhookSender(
                webhook_url,
                delay_seconds=webhook_delay_seconds,
                simulator=simulator,
                store=store,
                body_of=webhook_body,
            )
            sandbox = HttpSandbox(
                simulator,
                store,
                webhooks,
                now,
                max_delay_seconds,
                duplicate_window_seconds,
                min_requery_age_seconds,
            )
            running = _start(_create_app(sandbox, dialect), sandbox, listener, host)
        try:
            yield running
        finally:
            running.stop()


def _create_app(sandbox: HttpSandbox, root_dialect: str | None) -> Flask:
    app = Flask("billvend.sandbox", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    app.register_blueprint(control(sandbox), url_prefix="/_sandbox")
    for name, (create_calls, path) in DIALECTS.items():
        app.register_blueprint(create_calls(sandbox), url_prefix=f"/{name}{path}")
        if name == root_dialect:
            app.register_blueprint(create_calls(sandbox), url_prefix=path, name="at-root")

    @app.errorhandler(InvalidFault)
    def invalid_fault(error: InvalidFault) -> Response:
        return json_response({"error": str(error)}, 400)

    @app.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> Response:
        return json_response({"error": error.name}, error.code or 500)

    @app.errorhandler(Unavailable)
    @app.errorhandler(sqlite3.Error)
    def store_failed(error: Exception) -> Response:
        logger.error("The sandbox's sales store failed: %s", error)
        return json_response({"error": "the sandbox's sales store failed"}, 500)

    return app


def _listen(host: str, port: int) -> socket.socket:
    """Open the socket here, because werkzeug ends the process if it cannot."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=128)
    except (OSError, OverflowError) as error:
        raise ConfigurationError(
            f"--port: can't listen on {host}, port {port}: {error}. Nothing was started."
        ) from error


def _start(app: Flask, sandbox: HttpSandbox, listener: socket.socket, host: str) -> RunningSandbox:
    port = listener.getsockname()[1]
    server = _Server(host, port, app, _RequestHandler, fd=listener.fileno())
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="sandbox-server", daemon=True)
    thread.start()

    def stop() -> None:
        if not sandbox.stopping.is_set():
            sandbox.stopping.set()
            server.shutdown()
            thread.join()
            sandbox.webhooks.close()

    url_host = f"[{host}]" if ":" in host else host
    return RunningSandbox(f"http://{url_host}:{port}", sandbox.store, stop)


class _Server(ThreadedWSGIServer):
    daemon_threads = False  # so that it waits for running requests when it closes


class _RequestHandler(WSGIRequestHandler):
    """Logs requests to billvend's log, at level DEBUG."""

    timeout = 10.0
    """The longest pause of a client within its request, so that none can hold up the end of the server."""

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002  the base's name
        logger.debug(message, *args)
