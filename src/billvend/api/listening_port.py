"""The port of the server: it is checked and reserved before anything else is started."""

import errno
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from billvend.domain.errors import ConfigurationError

POLL_SECONDS: Final = 0.1
"""How often the port is checked until the server listens."""


def find_free_port(host: str, port: int) -> int:
    """The port, or any free one for 0. Raises `ConfigurationError` if it cannot be used."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(address)
            return int(trial.getsockname()[1])
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            reason = f"PORT={port} is in use by another program. Stop it, or choose another PORT"
        else:
            reason = f"Cannot listen on HOST={host}, PORT={port}: {error.strerror}"
        raise ConfigurationError(f"{reason}. Nothing was started.") from None


@contextmanager
def reserve_port(host: str, port: int) -> Iterator[int]:
    """Reserve the port, or any free one for 0. Raises `ConfigurationError` if it cannot be used.

    On Linux each of Granian's processes opens the port seconds later, and shared (SO_REUSEPORT). A second server could open
    it too, and would get half of the requests. Our bound socket, which does not listen, keeps other programs out but not
    Granian. Elsewhere Granian opens the port once, at its start.
    """
    port = find_free_port(host, port)
    if not sys.platform.startswith("linux"):
        yield port
        return
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as reservation:
        reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        # If this fails, old connections of another program are still closing. No program listens there.
        with suppress(OSError):
            reservation.bind(address)
        yield port


@contextmanager
def announce_when_listening(host: str, port: int, announce: Callable[[], None]) -> Iterator[None]:
    """Call `announce` on its own thread, as soon as the server listens."""
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
