"""The sandbox as a server: both dialects, its own calls, and a thread for webhooks."""

import logging
import re
import socket
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from os import PathLike
from typing import Any, Final
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from flask import Flask, Response
from werkzeug.exceptions import HTTPException
from werkzeug.serving import WSGIRequestHandler, make_server

from billvend.adapters.providers.sandbox.faults import InvalidFault
from billvend.adapters.providers.sandbox.over_http.buypower_dialect import buypower_dialect
from billvend.adapters.providers.sandbox.over_http.control import control
from billvend.adapters.providers.sandbox.over_http.http_sandbox import (
    CURRENCY,
    MAX_BODY_BYTES,
    HttpSandbox,
    json_response,
)
from billvend.adapters.providers.sandbox.over_http.vtpass_dialect import vtpass_dialect
from billvend.adapters.providers.sandbox.over_http.webhook_sender import WebhookSender
from billvend.adapters.providers.sandbox.sales_store import SalesStore
from billvend.adapters.providers.sandbox.simulator import Simulator
from billvend.domain.errors import ConfigurationError, Unavailable

DIALECTS: Final = ("vtpass", "buypower")
VTPASS_PATH: Final = "/vtpass/api"
BUYPOWER_PATH: Final = "/buypower/v2"
CONTROL_PATH: Final = "/_sandbox"
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
        return self.url + VTPASS_PATH

    @property
    def buypower_url(self) -> str:
        """The URL below which `/vend` is."""
        return self.url + BUYPOWER_PATH

    @property
    def control_url(self) -> str:
        """The URL below which `/book` is."""
        return self.url + CONTROL_PATH


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
    store = SalesStore(store_path)
    try:
        simulator = Simulator(store, currency=CURRENCY, now=now)
        with _open_listener(host, port) as listener:
            webhooks = WebhookSender(webhook_url, delay_seconds=webhook_delay_seconds, simulator=simulator)
            sandbox = HttpSandbox(
                simulator,
                store,
                webhooks,
                now,
                max_delay_seconds,
                duplicate_window_seconds,
                min_requery_age_seconds,
            )
            running = _start(create_app(sandbox, dialect), sandbox, listener, host)
        try:
            yield running
        finally:
            running.stop()
    finally:
        store.close()


def create_app(sandbox: HttpSandbox, dialect: str | None = None) -> Flask:
    """The application. `dialect` is also served at the root."""
    app = Flask("billvend.sandbox", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    app.register_blueprint(vtpass_dialect(sandbox), url_prefix=VTPASS_PATH)
    app.register_blueprint(buypower_dialect(sandbox), url_prefix=BUYPOWER_PATH)
    app.register_blueprint(control(sandbox), url_prefix=CONTROL_PATH)
    if dialect == "vtpass":
        app.register_blueprint(vtpass_dialect(sandbox), url_prefix="/api", name="at-root")
    if dialect == "buypower":
        app.register_blueprint(buypower_dialect(sandbox), url_prefix="/v2", name="at-root")

    @app.errorhandler(InvalidFault)
    def invalid_fault(error: InvalidFault) -> Response:
        return json_response({"error": str(error)}, 400)

    @app.errorhandler(HTTPException)
    def no_such_call(error: HTTPException) -> Response:
        return json_response({"error": error.name}, error.code or 500)

    @app.errorhandler(Unavailable)
    @app.errorhandler(sqlite3.Error)
    def store_failed(error: Exception) -> Response:
        logger.error("The sandbox's sales store failed: %s", error)
        return json_response({"error": "the sandbox's sales store failed"}, 500)

    return app


@contextmanager
def _open_listener(host: str, port: int) -> Iterator[socket.socket]:
    """Open the socket here, because werkzeug ends the process if it cannot."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family, backlog=128)
    except (OSError, OverflowError) as error:
        raise ConfigurationError(
            f"--port: can't listen on {host}, port {port}: {error}. Nothing was started."
        ) from error
    with listener:
        yield listener


def _start(app: Flask, sandbox: HttpSandbox, listener: socket.socket, host: str) -> RunningSandbox:
    in_flight = _InFlightRequests(app.wsgi_app, sandbox.stopping)
    port = listener.getsockname()[1]
    server = make_server(
        host, port, in_flight, threaded=True, request_handler=_RequestHandler, fd=listener.fileno()
    )
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="sandbox-server", daemon=True)
    thread.start()

    def stop() -> None:
        if not sandbox.stopping.is_set():
            sandbox.stopping.set()
            server.shutdown()
            thread.join()
            in_flight.wait()
            sandbox.webhooks.close()

    url_host = f"[{host}]" if ":" in host else host
    return RunningSandbox(f"http://{url_host}:{port}", sandbox.store, stop)


class _InFlightRequests:
    """The application, with a count of running requests."""

    def __init__(self, app: WSGIApplication, stopping: threading.Event) -> None:
        self._app = app
        self._stopping = stopping
        self._changed = threading.Condition()
        self._count = 0

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        with self._changed:
            if self._stopping.is_set():
                raise ConnectionAbortedError  # the server treats it as a client that disconnected
            self._count += 1
        try:
            return self._app(environ, start_response)
        finally:
            with self._changed:
                self._count -= 1
                self._changed.notify_all()

    def wait(self) -> None:
        """Wait until no request is running."""
        with self._changed:
            self._changed.wait_for(lambda: self._count == 0)


class _RequestHandler(WSGIRequestHandler):
    """Logs requests to billvend's log, at level DEBUG."""

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002  the base's name
        logger.debug(message, *args)
