"""A server on loopback that calls a handler for each request, works on raw bytes, and counts."""

import socket
import ssl
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Self, TypeAlias

LOOPBACK: Final = "127.0.0.1"
CLIENT_TIMEOUT_SECONDS: Final = 5.0
"""How long a connection waits for its client, so that no test hangs."""
_RESET_AT_CLOSE: Final = struct.pack("ii", 1, 0)


def http_response(
    body: bytes, *, status: str = "200 OK", kind: str = "application/json", headers: tuple[str, ...] = ()
) -> bytes:
    """The bytes of an HTTP answer with the right Content-Length."""
    lines = (f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}", *headers)
    return "\r\n".join((*lines, "", "")).encode() + body


@dataclass(slots=True)
class Connection:
    """A request, and the connection to answer it on."""

    request: bytes
    """Head and body."""
    raw_socket: socket.socket
    server_closing: threading.Event
    """Set when the server closes."""

    def send(self, data: bytes) -> None:
        """Send these bytes. Raises `OSError` if the client has disconnected."""
        self.raw_socket.sendall(data)

    def close(self) -> None:
        """Close the connection properly (FIN)."""
        with suppress(OSError):
            self.raw_socket.shutdown(socket.SHUT_RDWR)
        self.raw_socket.close()

    def reset(self) -> None:
        """Reset the connection (RST)."""
        self.raw_socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)
        self.raw_socket.close()

    def hang(self) -> None:
        """Send nothing until the client disconnects, at most for `CLIENT_TIMEOUT_SECONDS`."""
        while self.raw_socket.recv(65536):
            pass

    def trickle(self, data: bytes, gap_seconds: float = 0.03) -> None:
        """Send `data` byte by byte, repeatedly, until the client disconnects, at most for `CLIENT_TIMEOUT_SECONDS`."""
        for turn in range(int(CLIENT_TIMEOUT_SECONDS / gap_seconds)):
            if self.server_closing.wait(gap_seconds):
                return
            self.send(data[turn % len(data) :][:1])


Handler: TypeAlias = Callable[[Connection], None]
"""What the server does with a request. The connection stays open for the next one, unless the handler closes it.

An `OSError` means that the client has disconnected. It ends the connection.
"""


def send_and_close(data: bytes) -> Handler:
    """A handler that sends these bytes and closes."""

    def handle(connection: Connection) -> None:
        connection.send(data)
        connection.close()

    return handle


def send_and_keep_open(data: bytes) -> Handler:
    """A handler that sends these bytes and waits for the next request."""
    return lambda connection: connection.send(data)


class FaultServer:
    """The server. It listens when it is created, on any free port. Use it in a `with` block, or call `close`."""

    def __init__(self, handler: Handler, *, tls: ssl.SSLContext | None = None, port: int = 0) -> None:
        self.requests: list[bytes] = []
        """Every whole request, in the order of arrival."""
        self.received_bytes = bytearray()
        """Every byte that arrived, decrypted."""
        self.connections = 0
        """How many connections were opened in all."""
        self._handler = handler
        self._tls = tls
        self._closing = threading.Event()
        self._changed = threading.Condition()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server((LOOPBACK, port), backlog=128)
        self._listener.settimeout(0.2)  # for systems where closing it does not end accept()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def port(self) -> int:
        """The port that it listens on."""
        address: tuple[str, int] = self._listener.getsockname()
        return address[1]

    @property
    def url(self) -> str:
        """Its URL, without a path."""
        return f"{'http' if self._tls is None else 'https'}://{LOOPBACK}:{self.port}"

    def has_connection(self, within_seconds: float) -> bool:
        """Whether a client has connected, or does within this time."""
        with self._changed:
            return self._changed.wait_for(lambda: self.connections > 0, within_seconds)

    def has_requests(self, number: int, within_seconds: float) -> bool:
        """Whether so many whole requests have arrived, or do within this time."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self.requests) >= number, within_seconds)

    def has_no_connections(self, within_seconds: float) -> bool:
        """Whether all connections are closed, or become so within this time."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._open, within_seconds)

    def close(self) -> None:
        """Close all connections and stop listening."""
        self._closing.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        self._listener.close()
        with self._changed:
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:  # no client yet, or the server is closing
                continue
            connection.settimeout(CLIENT_TIMEOUT_SECONDS)
            with self._changed:
                self.connections += 1
                self._open.add(connection)
                self._changed.notify_all()
            self._threads.append(threading.Thread(target=self._serve, args=(connection,), daemon=True))
            self._threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        current = connection
        try:
            with suppress(OSError):
                if self._tls is not None:
                    current = self._tls.wrap_socket(connection, server_side=True)
                    with self._changed:
                        self._open.add(current)
                self._handle_requests(current)
        finally:
            current.close()
            connection.close()
            with self._changed:
                self._open -= {connection, current}
                self._changed.notify_all()

    def _handle_requests(self, connection: socket.socket) -> None:
        unread = b""
        while connection.fileno() >= 0:
            while (end := _end_of_request(unread)) is None:
                data = connection.recv(65536)
                if not data:
                    return
                unread += data
                with self._changed:
                    self.received_bytes += data
            request, unread = unread[:end], unread[end:]
            with self._changed:
                self.requests.append(request)
                self._changed.notify_all()
            self._handler(Connection(request, connection, self._closing))


def _end_of_request(data: bytes) -> int | None:
    """The end of the first whole request; None while it is incomplete."""
    head, blank, _ = data.partition(b"\r\n\r\n")
    if not blank:
        return None
    fields = dict(line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:] if b":" in line)
    end = len(head) + len(blank) + int(fields.get(b"content-length", b"0"))
    return end if len(data) >= end else None
