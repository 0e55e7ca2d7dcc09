"""Serves the metrics of a process without an API, on loopback."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from billvend.domain.errors import ConfigurationError
from billvend.ports.telemetry import CONTENT_TYPE

LOOPBACK: Final = "127.0.0.1"
CONNECTION_TIMEOUT_SECONDS: Final = 10.0
"""How long a connection may be idle."""

logger = logging.getLogger("billvend.metrics")


@contextmanager
def serve_metrics(exposition: Callable[[], str], port: int | None) -> Iterator[int | None]:
    """Serve what `exposition` returns at GET /metrics on this port, until the block ends. Gives the port.

    With the port None nothing is served. 0 is any free port. Raises `ConfigurationError` if the port is not available.
    """
    if port is None:
        yield None
        return
    try:
        server = _Server((LOOPBACK, port), _handler(exposition))
    except OSError as error:
        raise ConfigurationError(
            f"METRICS_PORT: nothing can listen on {LOOPBACK}:{port} ({error.strerror}). Choose another port."
        ) from error
    thread = threading.Thread(target=server.serve_forever, args=[0.1], name="billvend-metrics")
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True  # a slow reader must not delay the shutdown
    allow_reuse_address = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        logger.debug("A reader of the metrics disconnected")


def _handler(exposition: Callable[[], str]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = CONNECTION_TIMEOUT_SECONDS

        def do_GET(self) -> None:
            if self.path.partition("?")[0] != "/metrics":
                self.send_error(HTTPStatus.NOT_FOUND)
                return
            try:
                body = exposition().encode()
            except Exception:
                logger.exception("The metrics could not be collected")
                self.send_error(HTTPStatus.INTERNAL_SERVER_ERROR)
                return
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", CONTENT_TYPE)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  http.server names it so
            """Log nothing: requests for metrics are frequent and of no interest."""

    return Handler
