"""The sandbox as a server: both dialects, its own calls, and a thread for hooks."""

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

from billvend.adapters.provider.sandbox.book import Book
from billvend.adapters.provider.sandbox.desk import Desk
from billvend.adapters.provider.sandbox.faults import FaultRefused
from billvend.adapters.provider.sandbox.over_http.buypower_dialect import buypower_dialect
from billvend.adapters.provider.sandbox.over_http.control import control
from billvend.adapters.provider.sandbox.over_http.counter import (
    CURRENCY,
    LARGEST_BODY_BYTES,
    Counter,
    as_json,
)
from billvend.adapters.provider.sandbox.over_http.hooks import Hooks
from billvend.adapters.provider.sandbox.over_http.vtpass_dialect import vtpass_dialect
from billvend.domain.errors import BadSetting, Unavailable

DIALECTS: Final = ("vtpass", "buypower")
VTPASS_PATH: Final = "/vtpass/api"
BUYPOWER_PATH: Final = "/buypower/v2"
CONTROL_PATH: Final = "/_sandbox"
LIKELY_DUPLICATE_SECONDS: Final = 30
"""VTpass's window."""

logger = logging.getLogger("billvend.sandbox")


@dataclass(frozen=True, slots=True)
class Running:
    """A sandbox that listens."""

    url: str
    """`http://127.0.0.1:4000`."""
    book: Book
    """What it really sold."""
    stop: Callable[[], None]
    """Answer what is in hand, cut what is being delayed, and listen no more. Twice is once."""

    @property
    def vtpass_url(self) -> str:
        """What stands before `/pay`."""
        return self.url + VTPASS_PATH

    @property
    def buypower_url(self) -> str:
        """What stands before `/vend`."""
        return self.url + BUYPOWER_PATH

    @property
    def control_url(self) -> str:
        """What stands before `/book`."""
        return self.url + CONTROL_PATH


@contextmanager
def serving(
    book_path: str | PathLike[str],
    *,
    dialect: str | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    longest_delay_seconds: float = 120.0,
    hook_url: str | None = None,
    hook_delay_seconds: float = 0.5,
    likely_duplicate_seconds: int = LIKELY_DUPLICATE_SECONDS,
    earliest_requery_seconds: int = 0,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Iterator[Running]:
    """A sandbox that serves in threads of this process until the block ends.

    Both dialects stand below paths of their own; `dialect` names the one that is served at the root as well. Port 0 is
    any free one. Raises `BadSetting` where it can't listen or tell by hook, and `Unavailable` where the book can't be opened.
    """
    if hook_url is not None and not re.fullmatch(r"https?://[!-~]+", hook_url):
        raise BadSetting(
            f"--hook-url: must be an http:// or https:// address, not {hook_url!a}. Nothing was started."
        )
    book = Book(book_path)
    try:
        desk = Desk(book, currency=CURRENCY, now=now)
        with _listening(host, port) as listener:
            hooks = Hooks(hook_url, delay_seconds=hook_delay_seconds, desk=desk)
            counter = Counter(
                desk,
                book,
                hooks,
                now,
                longest_delay_seconds,
                likely_duplicate_seconds,
                earliest_requery_seconds,
            )
            running = _started(create_app(counter, dialect), counter, listener, host)
        try:
            yield running
        finally:
            running.stop()
    finally:
        book.close()


def create_app(counter: Counter, dialect: str | None = None) -> Flask:
    """The application. `dialect` is served at the root as well."""
    app = Flask("billvend.sandbox", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = LARGEST_BODY_BYTES
    app.register_blueprint(vtpass_dialect(counter), url_prefix=VTPASS_PATH)
    app.register_blueprint(buypower_dialect(counter), url_prefix=BUYPOWER_PATH)
    app.register_blueprint(control(counter), url_prefix=CONTROL_PATH)
    if dialect == "vtpass":
        app.register_blueprint(vtpass_dialect(counter), url_prefix="/api", name="at-root")
    if dialect == "buypower":
        app.register_blueprint(buypower_dialect(counter), url_prefix="/v2", name="at-root")

    @app.errorhandler(FaultRefused)
    def bad_fault(error: FaultRefused) -> Response:
        return as_json({"error": str(error)}, 400)

    @app.errorhandler(HTTPException)
    def no_such_call(error: HTTPException) -> Response:
        return as_json({"error": error.name}, error.code or 500)

    @app.errorhandler(Unavailable)
    @app.errorhandler(sqlite3.Error)
    def broken(error: Exception) -> Response:
        logger.error("The sandbox's book failed: %s", error)
        return as_json({"error": "the sandbox's book failed"}, 500)

    return app


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that is ours to open, since werkzeug ends the process where it can't."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family, backlog=128)
    except (OSError, OverflowError) as error:
        raise BadSetting(
            f"--port: can't listen on {host}, port {port}: {error}. Nothing was started."
        ) from error
    with listener:
        yield listener


def _started(app: Flask, counter: Counter, listener: socket.socket, host: str) -> Running:
    in_hand = _InHand(app.wsgi_app, counter.stopping)
    port = listener.getsockname()[1]
    server = make_server(host, port, in_hand, threaded=True, request_handler=_Handler, fd=listener.fileno())
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="sandbox-server", daemon=True)
    thread.start()

    def stop() -> None:
        if not counter.stopping.is_set():
            counter.stopping.set()
            server.shutdown()
            thread.join()
            in_hand.wait()
            counter.hooks.close()

    shown = f"[{host}]" if ":" in host else host
    return Running(f"http://{shown}:{port}", counter.book, stop)


class _InHand:
    """The application, and how many requests it has in hand."""

    def __init__(self, app: WSGIApplication, stopping: threading.Event) -> None:
        self._app = app
        self._stopping = stopping
        self._changed = threading.Condition()
        self._count = 0

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        with self._changed:
            if self._stopping.is_set():
                raise ConnectionAbortedError  # which the server takes for a client that left
            self._count += 1
        try:
            return self._app(environ, start_response)
        finally:
            with self._changed:
                self._count -= 1
                self._changed.notify_all()

    def wait(self) -> None:
        """Wait until nothing is in hand."""
        with self._changed:
            self._changed.wait_for(lambda: self._count == 0)


class _Handler(WSGIRequestHandler):
    """Logs requests where billvend's logs go, and there only for who wants to know."""

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002  the base's name
        logger.debug(message, *args)
