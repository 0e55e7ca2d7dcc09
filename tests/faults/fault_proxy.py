"""The fault proxy between billvend and the sandbox. It forwards requests, unless a test plans a fault.

The sandbox behind it keeps its own records, so the tests know what was sold whatever the proxy does. Webhooks come
through the same proxy. It can also refuse connections.
"""

import re
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from billvend.testing.fault_server import (
    CLIENT_TIMEOUT_SECONDS,
    LOOPBACK,
    Connection,
    FaultServer,
    http_response,
)

WEBHOOKS_PATH: Final = "/hooks"
SEND, REQUERY, VERIFY, OTHER = "send", "requery", "verify", "other"
_KINDS: Final = (
    (re.compile(rb"POST \S+/(pay|vend)[ ?]"), SEND),
    (re.compile(rb"POST \S+/requery |GET \S+/transaction/"), REQUERY),
    (re.compile(rb"POST \S+/merchant-verify |GET \S+/check/meter"), VERIFY),
)

ProxyFault: TypeAlias = Callable[[Connection, Callable[[], bytes]], None]
"""Handles one request. Arguments: the client's connection, and a function that forwards and returns the full answer."""


# --- faults ---------------------------------------------------------------------------------------------------------


def pass_through(client: Connection, forward: Callable[[], bytes]) -> None:
    """No fault."""
    client.send(forward())


def drop_response(client: Connection, forward: Callable[[], bytes]) -> None:
    """The request arrives. The answer is lost."""
    forward()


def drop_request(client: Connection, forward: Callable[[], bytes]) -> None:
    """The connection is closed. Nothing is forwarded."""


def stall_before_forwarding(client: Connection, forward: Callable[[], bytes]) -> None:
    """Nothing is forwarded and nothing is answered until the client gives up."""
    client.hang()


def stall_after_forwarding(client: Connection, forward: Callable[[], bytes]) -> None:
    """The request arrives. The answer is held back until the client gives up."""
    forward()
    client.hang()


def trickle_response(client: Connection, forward: Callable[[], bytes]) -> None:
    """The answer comes byte by byte."""
    client.trickle(forward())


def reset_mid_body(client: Connection, forward: Callable[[], bytes]) -> None:
    """Half of the body comes, then a reset."""
    head, body = _split(forward())
    client.send(head + body[: len(body) // 2])
    client.reset()


def truncate_body(client: Connection, forward: Callable[[], bytes]) -> None:
    """The answer ends in the middle of its JSON. Its Content-Length matches."""
    _, body = _split(forward())
    client.send(_answer(body[: len(body) // 2]))


def return_404(client: Connection, forward: Callable[[], bytes]) -> None:
    """A gateway answers 404, not the provider. Nothing is forwarded."""
    client.send(_answer(b"<h1>Not Found</h1>", status="404 Not Found", kind="text/html"))


def return_502(client: Connection, forward: Callable[[], bytes]) -> None:
    """The request arrives. A gateway replaces the answer with a 502."""
    forward()
    client.send(_answer(b"<h1>Bad Gateway</h1>", status="502 Bad Gateway", kind="text/html"))


def rewrite_body(*changes: tuple[str, str]) -> ProxyFault:
    """Replaces each pattern in the body of the answer. At least one must match."""

    def fault(client: Connection, forward: Callable[[], bytes]) -> None:
        _, body = _split(forward())
        changed = body.decode()
        for pattern, replacement in changes:
            changed = re.sub(pattern, replacement, changed)
        assert changed != body.decode(), "no pattern matched the body"
        client.send(_answer(changed.encode()))

    return fault


@dataclass
class PausedRequest:
    """A request that the proxy holds until `resume`: before forwarding it, or with the answer (`with_answer`)."""

    with_answer: bool
    arrived: threading.Event = field(default_factory=threading.Event)
    resume: threading.Event = field(default_factory=threading.Event)

    def __call__(self, client: Connection, forward: Callable[[], bytes]) -> None:
        answer = forward() if self.with_answer else None
        self.arrived.set()
        assert self.resume.wait(30)
        client.send(answer or forward())

    def wait(self) -> None:
        """Wait until the proxy holds the request."""
        assert self.arrived.wait(30)


# --- the proxy -------------------------------------------------------------------------------------------------------


class FaultProxy:
    """Listens from the start, always on the same port. Use it in a `with`."""

    def __init__(self) -> None:
        self.target: tuple[str, int] = (LOOPBACK, 0)
        """Host and port of the sandbox."""
        self.on_webhook: Callable[[bytes], object] = lambda body: None
        """Called with the body of each webhook."""
        self._planned: dict[str, deque[ProxyFault]] = {}
        self.request_kinds: list[str] = []
        """The kinds of all requests in order, forwarded or not."""
        self._webhooks = 0
        self._changed = threading.Condition()
        self._server = FaultServer(self._serve)
        self.url = self._server.url
        """The URL without a path."""

    def plan(self, kind: str, *faults: ProxyFault) -> None:
        """Plan faults for the next requests of this kind, one for each. Later requests have no fault."""
        self._planned[kind] = deque(faults)

    def clear(self) -> None:
        """Remove the planned faults and reset the counts."""
        self._planned.clear()
        self.request_kinds.clear()
        self._webhooks = 0

    def count(self, kind: str) -> int:
        """How many requests of a kind came in."""
        return self.request_kinds.count(kind)

    def wait_for_webhooks(self, count: int) -> None:
        """Wait until so many webhooks were handled."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._webhooks >= count, 30)

    @contextmanager
    def refuse_connections(self) -> Iterator[None]:
        """Refuse connections within the block."""
        port = self._server.port
        self._server.close()
        try:
            yield
        finally:
            self._server = FaultServer(self._serve, port=port)

    def __enter__(self) -> "FaultProxy":
        return self

    def __exit__(self, *_: object) -> None:
        self._server.close()

    def _serve(self, client: Connection) -> None:
        """One request for each connection."""
        head, body = _split(client.request)
        if head.startswith(b"POST " + WEBHOOKS_PATH.encode()):
            self.on_webhook(body)
            client.send(_answer(b'{"response": "success"}'))
            with self._changed:
                self._webhooks += 1
                self._changed.notify_all()
        else:
            kind = next((kind for pattern, kind in _KINDS if pattern.match(head)), OTHER)
            planned = self._planned.get(kind)
            fault = planned.popleft() if planned else pass_through
            self.request_kinds.append(kind)
            fault(client, lambda: self._forward(client.request))
        client.close()

    def _forward(self, request: bytes) -> bytes:
        """Forward a request. Returns the full answer, empty if the sandbox closed without one."""
        request = re.sub(rb"(?i)\r\nconnection: [^\r]*", b"\r\nConnection: close", request, count=1)
        with socket.create_connection(self.target, timeout=CLIENT_TIMEOUT_SECONDS) as upstream:
            upstream.sendall(request)
            return b"".join(iter(lambda: upstream.recv(65536), b""))


def _answer(body: bytes, *, status: str = "200 OK", kind: str = "application/json") -> bytes:
    return http_response(body, status=status, kind=kind, headers=("Connection: close",))


def _split(message: bytes) -> tuple[bytes, bytes]:
    head, blank, body = message.partition(b"\r\n\r\n")
    return head + blank, body
