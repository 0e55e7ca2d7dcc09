"""A proxy to PostgreSQL on a loopback port that can cut connections at a COMMIT.

`before` cuts when the client sends COMMIT: it never reaches the server. `after` forwards the COMMIT, waits until the
server has carried it out, and cuts before the client receives the answer.
"""

import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from select import select
from urllib.parse import urlsplit

COMMIT = b"Q\x00\x00\x00\x0bCOMMIT\x00"
COMMITTED = b"C\x00\x00\x00\x0bCOMMIT\x00"
CONNECTION_SETUP = b"SET TIME ZONE"
"""Sent, and then committed, on each new connection."""
LOOPBACK = "127.0.0.1"


class DbProxy:
    """A proxy: the client connects to `url`. Cuts are ordered ahead and made in that order, one for each COMMIT."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._server = (parts.hostname or LOOPBACK, parts.port or 5432)
        self._listener = _listening(0)
        self._port = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._ends: set[socket.socket] = set()
        self._orders: deque[str] = deque()
        self._on_statement: Callable[[bytes], bool] = lambda _sent: False
        self._threads: list[threading.Thread] = []
        self._stays_down = False
        self.commits = 0
        """How many COMMITs have passed."""
        self.url = parts._replace(netloc=f"{parts.username}@{LOOPBACK}:{self._port}").geturl()
        self._spawn(self._accept, self._listener)

    # --- orders -------------------------------------------------------------------------------------------------------

    def cut(self, *orders: str, stay_down: bool = False) -> None:
        """What to do with the next commits: `before`, `after` or `pass`. With `stay_down`, accept no new connection
        after that."""
        self._orders.extend(orders)
        self._stays_down = stay_down

    def cut_at(self, text: bytes, *, time: int = 1) -> None:
        """Cut as soon as the client has sent this text for the n-th time."""
        times = count(1)
        self._on_statement = lambda sent: text in sent and next(times) == time

    def stop(self) -> None:
        """Cut all connections, and refuse new ones."""
        _close(self._listener)
        with self._lock:
            ends, self._ends = self._ends, set()
        for end in ends:
            _close(end)

    def start(self) -> None:
        """Accept connections again, on the same port."""
        self._stays_down = False
        self._listener = _listening(self._port)
        self._spawn(self._accept, self._listener)

    def close(self) -> None:
        self.stop()
        for thread in self._threads:
            thread.join(10)

    # --- forwarding ---------------------------------------------------------------------------------------------------

    def _spawn(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection(self._server)
                with self._lock:
                    self._ends |= {client, server}
                self._spawn(self._forward, client, server)

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        """Forward bytes both ways until either end closes, or a cut is due."""
        order, setting_up = "pass", False
        with suppress(OSError, ValueError):
            while True:
                for end in select([client, server], [], [])[0]:
                    data = end.recv(1 << 16)
                    if not data:
                        raise ConnectionError
                    if end is client:
                        order = "pass" if setting_up else self._order(data)
                        setting_up = CONNECTION_SETUP in data
                    if order == "before" or (order == "after" and end is server and COMMITTED in data):
                        self._cut()
                        raise ConnectionError
                    (server if end is client else client).sendall(data)
        with self._lock:
            self._ends -= {client, server}
        _close(client)
        _close(server)

    def _order(self, data: bytes) -> str:
        with self._lock:
            if self._on_statement(data):
                self._on_statement = lambda _sent: False
                return "before"
            if not data.endswith(COMMIT):
                return "pass"
            self.commits += 1
            return self._orders.popleft() if self._orders else "pass"

    def _cut(self) -> None:
        if self._stays_down and not self._orders:
            self.stop()


def _listening(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((LOOPBACK, port))
    listener.listen(64)
    return listener


def _close(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits on it
    end.close()


@contextmanager
def db_proxy_to(url: str) -> Iterator[DbProxy]:
    """A proxy to the PostgreSQL server at a URL."""
    proxy = DbProxy(url)
    try:
        yield proxy
    finally:
        proxy.close()
