"""Servers on loopback for tests below HTTP: TLS with self-made certificates, and ports that do not answer."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import trustme

from billvend.testing.fault_server import LOOPBACK, Connection


def certificate(folder: Path) -> Path:
    """A new certificate for 127.0.0.1 with its key, in one PEM file. No trusted authority signed it."""
    path = folder / "certificate.pem"
    authority = trustme.CA()
    issued = authority.issue_cert(LOOPBACK)
    path.write_bytes(issued.private_key_and_cert_chain_pem.bytes() + authority.cert_pem.bytes())
    return path


def server_context(pem: Path) -> ssl.SSLContext:
    """The TLS context of a server with this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


def closed_port() -> int:
    """A port on which no server listens."""
    with socket.create_server((LOOPBACK, 0)) as server:
        port: int = server.getsockname()[1]
    return port


@contextmanager
def full_backlog_port(host: str = LOOPBACK, port: int = 0) -> Iterator[int]:
    """A port that neither accepts nor rejects connections: its backlog is full, and no server accepts from it."""
    with socket.create_server((host, port), backlog=0) as server, ExitStack() as waiting:
        for _ in range(4):
            one = waiting.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(server.getsockname())
        yield server.getsockname()[1]


@contextmanager
def unanswering_port() -> Iterator[int]:
    """A port that accepts connections and never sends a byte."""
    with socket.create_server((LOOPBACK, 0)) as server:
        yield server.getsockname()[1]


@contextmanager
def resetting_port() -> Iterator[int]:
    """A port that accepts one connection and resets it immediately."""

    def reset_one() -> None:
        with suppress(OSError):  # no client connected
            connection, _ = server.accept()
            Connection(b"", connection, threading.Event()).reset()

    with socket.create_server((LOOPBACK, 0)) as server:
        server.settimeout(5.0)
        thread = threading.Thread(target=reset_one)
        thread.start()
        yield server.getsockname()[1]
        thread.join()
