"""A server on loopback that does with each request what a function says, down to the bytes, and counts."""

import socket
import ssl
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self, TypeAlias

LOOPBACK: Final = "127.0.0.1"
PATIENCE_SECONDS: Final = 5.0
"""The longest that a connection waits for its client: no test hangs on us."""
_RESET_AT_CLOSE: Final = struct.pack("ii", 1, 0)


def http_answer(
    body: bytes, *, status: str = "200 OK", kind: str = "application/json", headers: tuple[str, ...] = ()
) -> bytes:
    """An answer as it goes over the wire, with its true length."""
    lines = (f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}", *headers)
    return "\r\n".join((*lines, "", "")).encode() + body


@dataclass(slots=True)
class Talk:
    """A request that came in, and the connection to answer it on."""

    request: bytes
    """Head and body."""
    connection: socket.socket
    closing: threading.Event
    """Set when the server closes."""

    def say(self, data: bytes) -> None:
        """Send these bytes. Raises `OSError` where nobody takes them any more."""
        self.connection.sendall(data)

    def hang_up(self) -> None:
        """Close the connection in good order."""
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)
        self.connection.close()

    def reset(self) -> None:
        """Tear the connection down (RST)."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)
        self.connection.close()

    def stall(self) -> None:
        """Say nothing until the other side goes, or for `PATIENCE_SECONDS`."""
        while self.connection.recv(65536):
            pass

    def drip(self, data: bytes, gap_seconds: float = 0.03) -> None:
        """Send byte by byte, over and over, until the other side goes; at most for `PATIENCE_SECONDS`."""
        for turn in range(int(PATIENCE_SECONDS / gap_seconds)):
            if self.closing.wait(gap_seconds):
                return
            self.say(data[turn % len(data) :][:1])


Behaviour: TypeAlias = Callable[[Talk], None]
"""What the server does with a request: it answers or not. The connection stays open for the next one unless closed.

An `OSError` ends the conversation: the other side has gone.
"""


def says(data: bytes) -> Behaviour:
    """Send these bytes, and close."""

    def behave(talk: Talk) -> None:
        talk.say(data)
        talk.hang_up()

    return behave


def answers(data: bytes) -> Behaviour:
    """Send these bytes, and wait for the next request."""
    return lambda talk: talk.say(data)


class OtherSide:
    """The server. It listens from the start; use it in a `with`, or `close` it."""

    def __init__(self, behave: Behaviour, *, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[bytes] = []
        """Every whole request, in the order of arrival."""
        self.received = bytearray()
        """Every byte that came in, after TLS."""
        self.connections = 0
        """How many were opened in all."""
        self._behave = behave
        self._tls = tls
        self._closing = threading.Event()
        self._changed = threading.Condition()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server((LOOPBACK, 0), backlog=128)
        self._listener.settimeout(0.2)  # for systems on which closing it wakes nobody
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def port(self) -> int:
        """Where it listens."""
        address: tuple[str, int] = self._listener.getsockname()
        return address[1]

    @property
    def url(self) -> str:
        """Its address, without a path."""
        return f"{'http' if self._tls is None else 'https'}://{LOOPBACK}:{self.port}"

    def has_connection(self, within_seconds: float) -> bool:
        """Whether anybody connected, or does within this time."""
        with self._changed:
            return self._changed.wait_for(lambda: self.connections > 0, within_seconds)

    def has_requests(self, number: int, within_seconds: float) -> bool:
        """Whether so many whole requests came in, or do within this time."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self.requests) >= number, within_seconds)

    def is_left_alone(self, within_seconds: float) -> bool:
        """Whether no connection is open any more, at the latest after this time."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._open, within_seconds)

    def close(self) -> None:
        """End all connections, and listen no more."""
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

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:  # nobody came yet, or it closes
                continue
            connection.settimeout(PATIENCE_SECONDS)
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
                self._converse(current)
        finally:
            current.close()
            connection.close()
            with self._changed:
                self._open -= {connection, current}
                self._changed.notify_all()

    def _converse(self, connection: socket.socket) -> None:
        unread = b""
        while connection.fileno() >= 0:
            while (end := _end_of_request(unread)) is None:
                data = connection.recv(65536)
                if not data:
                    return
                unread += data
                with self._changed:
                    self.received += data
            request, unread = unread[:end], unread[end:]
            with self._changed:
                self.requests.append(request)
                self._changed.notify_all()
            self._behave(Talk(request, connection, self._closing))


def _end_of_request(data: bytes) -> int | None:
    """Where the first whole request ends; None while it is not whole."""
    head, blank, _ = data.partition(b"\r\n\r\n")
    if not blank:
        return None
    fields = dict(line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:] if b":" in line)
    end = len(head) + len(blank) + int(fields.get(b"content-length", b"0"))
    return end if len(data) >= end else None
