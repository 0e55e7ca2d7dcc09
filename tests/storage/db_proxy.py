"""A wire to PostgreSQL that can be cut: a proxy on a loopback port, which reads along and knows a COMMIT when it sees one.

`before` cuts when a COMMIT comes by, which then never reaches the server; `after` lets it reach the server, waits until it
is carried out, and cuts before the client learns of it.
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
"""What is said, and then committed, on each new connection."""
LOOPBACK = "127.0.0.1"


class DbProxy:
    """Where the client connects is `url`. Cuts are ordered ahead, and made in that order, one a COMMIT."""

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
        """How many have come by."""
        self.url = parts._replace(netloc=f"{parts.username}@{LOOPBACK}:{self._port}").geturl()
        self._spawn(self._accept, self._listener)

    # --- orders -------------------------------------------------------------------------------------------------------

    def cut(self, *orders: str, stay_down: bool = False) -> None:
        """What to do with the next commits: `before`, `after` or `pass`; then, perhaps, to take no new connection."""
        self._orders.extend(orders)
        self._stays_down = stay_down

    def cut_at(self, text: bytes, *, time: int = 1) -> None:
        """Cut as soon as the client says this for the n-th time."""
        times = count(1)
        self._on_statement = lambda sent: text in sent and next(times) == time

    def stop(self) -> None:
        """Cut all, and refuse whoever tries to connect."""
        _close(self._listener)
        with self._lock:
            ends, self._ends = self._ends, set()
        for end in ends:
            _close(end)

    def start(self) -> None:
        """Take connections again, at the same port."""
        self._stays_down = False
        self._listener = _listening(self._port)
        self._spawn(self._accept, self._listener)

    def close(self) -> None:
        self.stop()
        for thread in self._threads:
            thread.join(10)

    # --- at work ------------------------------------------------------------------------------------------------------

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
        """Carry bytes both ways until either end closes, or it is time to cut."""
        order, setting_up = "pass", False
        with suppress(OSError, ValueError):
            while True:
                for end in select([client, server], [], [])[0]:
                    said = end.recv(1 << 16)
                    if not said:
                        raise ConnectionError
                    if end is client:
                        order = "pass" if setting_up else self._order(said)
                        setting_up = CONNECTION_SETUP in said
                    if order == "before" or (order == "after" and end is server and COMMITTED in said):
                        self._cut()
                        raise ConnectionError
                    (server if end is client else client).sendall(said)
        with self._lock:
            self._ends -= {client, server}
        _close(client)
        _close(server)

    def _order(self, said: bytes) -> str:
        with self._lock:
            if self._on_statement(said):
                self._on_statement = lambda _sent: False
                return "before"
            if not said.endswith(COMMIT):
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
        end.shutdown(socket.SHUT_RDWR)  # wakes whoever waits on it
    end.close()


@contextmanager
def db_proxy_to(url: str) -> Iterator[DbProxy]:
    """A wire to the PostgreSQL server at a URL."""
    proxy = DbProxy(url)
    try:
        yield proxy
    finally:
        proxy.close()
