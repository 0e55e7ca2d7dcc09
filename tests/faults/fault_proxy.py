"""The proxy between billvend and the sandbox: it passes on what is said, unless it is told to do worse.

The sandbox at its far end keeps its own book, so that whatever happens on the way, the book says what was sold. Hooks
come down the same proxy. It can be shut: whoever connects then is refused.
"""

import re
import socket
import socketserver
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from billvend.testing.fault_server import CLIENT_TIMEOUT_SECONDS, LOOPBACK, Connection, http_response

WEBHOOKS_PATH: Final = "/hooks"
SEND, REQUERY, VERIFY, OTHER = "send", "requery", "verify", "other"
_KINDS: Final = (
    (re.compile(rb"POST \S+/(pay|vend)[ ?]"), SEND),
    (re.compile(rb"POST \S+/requery |GET \S+/transaction/"), REQUERY),
    (re.compile(rb"POST \S+/merchant-verify |GET \S+/check/meter"), VERIFY),
)

ProxyFault: TypeAlias = Callable[[Connection, Callable[[], bytes]], None]
"""What becomes of one request: the connection of the client, and what passes it on and brings the whole answer back."""


# --- faults ---------------------------------------------------------------------------------------------------------


def pass_through(client: Connection, forward: Callable[[], bytes]) -> None:
    """All is well."""
    client.send(forward())


def drop_response(client: Connection, forward: Callable[[], bytes]) -> None:
    """It arrives; the answer does not come back."""
    forward()


def drop_request(client: Connection, forward: Callable[[], bytes]) -> None:
    """The connection is closed, and nothing was passed on."""


def stall_before_forwarding(client: Connection, forward: Callable[[], bytes]) -> None:
    """Nothing is passed on, and nothing said, until the other side gives up."""
    client.hang()


def stall_after_forwarding(client: Connection, forward: Callable[[], bytes]) -> None:
    """It arrives; the answer is held back until the other side gives up."""
    forward()
    client.hang()


def trickle_response(client: Connection, forward: Callable[[], bytes]) -> None:
    """The answer comes byte by byte."""
    client.trickle(forward())


def reset_mid_body(client: Connection, forward: Callable[[], bytes]) -> None:
    """Half of the answer's body comes, then a reset."""
    head, body = _split(forward())
    client.send(head + body[: len(body) // 2])
    client.reset()


def truncate_body(client: Connection, forward: Callable[[], bytes]) -> None:
    """The answer ends in the middle of its JSON, and says that this is all."""
    _, body = _split(forward())
    client.send(_answer(body[: len(body) // 2]))


def return_404(client: Connection, forward: Callable[[], bytes]) -> None:
    """A gateway does not know the address: a 404 that is not the provider's, and nothing is passed on."""
    client.send(_answer(b"<h1>Not Found</h1>", status="404 Not Found", kind="text/html"))


def return_502(client: Connection, forward: Callable[[], bytes]) -> None:
    """It arrives, and a gateway makes a 502 of the answer."""
    forward()
    client.send(_answer(b"<h1>Bad Gateway</h1>", status="502 Bad Gateway", kind="text/html"))


def rewrite_body(*changes: tuple[str, str]) -> ProxyFault:
    """The answer comes with its body changed: each pattern to its replacement. One of them has to be there."""

    def fault(client: Connection, forward: Callable[[], bytes]) -> None:
        _, body = _split(forward())
        changed = body.decode()
        for pattern, replacement in changes:
            changed = re.sub(pattern, replacement, changed)
        assert changed != body.decode(), "there was nothing to be rewritten"
        client.send(_answer(changed.encode()))

    return fault


@dataclass
class PausedRequest:
    """A request that is held by the proxy, before it is passed on or with the answer in hand, until it may go on."""

    with_answer: bool
    arrived: threading.Event = field(default_factory=threading.Event)
    resume: threading.Event = field(default_factory=threading.Event)

    def __call__(self, client: Connection, forward: Callable[[], bytes]) -> None:
        answer = forward() if self.with_answer else None
        self.arrived.set()
        assert self.resume.wait(30)
        client.send(answer or forward())

    def wait(self) -> None:
        """Wait until it is held by the proxy."""
        assert self.arrived.wait(30)


# --- the proxy -------------------------------------------------------------------------------------------------------


class FaultProxy:
    """Listens from the start on a port that stays its own. Close it, or use it in a `with`."""

    def __init__(self) -> None:
        self.target: tuple[str, int] = (LOOPBACK, 0)
        """The sandbox."""
        self.on_webhook: Callable[[bytes], object] = lambda body: None
        """Who is told of a hook."""
        self._planned: dict[str, deque[ProxyFault]] = {}
        self.request_kinds: list[str] = []
        """The kinds of the requests that came along, in order, wherever they ended."""
        self._webhooks = 0
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self.port = 0
        self._open()

    @property
    def url(self) -> str:
        """Its address, without a path."""
        return f"http://{LOOPBACK}:{self.port}"

    def plan(self, kind: str, *faults: ProxyFault) -> None:
        """What becomes of the next requests of this kind, one after the other; all is well with those that follow."""
        self._planned[kind] = deque(faults)

    def clear(self) -> None:
        """Plan nothing, and count from 0."""
        self._planned.clear()
        self.request_kinds.clear()
        self._webhooks = 0

    def count(self, kind: str) -> int:
        """How many requests of a kind came along."""
        return self.request_kinds.count(kind)

    def wait_for_webhooks(self, count: int) -> None:
        """Wait until so many hooks came and were handed over."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._webhooks >= count, 30)

    @contextmanager
    def refuse_connections(self) -> Iterator[None]:
        """Whoever connects in the meantime is refused."""
        self._close()
        try:
            yield
        finally:
            self._open()

    def __enter__(self) -> "FaultProxy":
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._close()

    def _open(self) -> None:
        proxy = self

        class Handler(socketserver.StreamRequestHandler):
            timeout = CLIENT_TIMEOUT_SECONDS

            def handle(self) -> None:
                with suppress(OSError):  # the other side gave up
                    head = b"".join(iter(self.rfile.readline, b"\r\n"))
                    length = re.search(rb"(?i)content-length: *(\d+)", head)
                    body = self.rfile.read(int(length[1])) if length else b""
                    proxy._serve(Connection(head + b"\r\n" + body, self.connection, proxy._closing))

            def finish(self) -> None:
                with suppress(OSError):
                    super().finish()

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True
            request_queue_size = 64

        self._server = Server((LOOPBACK, self.port), Handler)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def _close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.socket.close()  # not server_close(): that waits for those who stand on the proxy

    def _serve(self, client: Connection) -> None:
        head, body = _split(client.request)
        if head.startswith(b"POST " + WEBHOOKS_PATH.encode()):
            self.on_webhook(body)
            client.send(_answer(b'{"response": "success"}'))
            with self._changed:
                self._webhooks += 1
                self._changed.notify_all()
            return
        kind = next((kind for pattern, kind in _KINDS if pattern.match(head)), OTHER)
        planned = self._planned.get(kind)
        fault = planned.popleft() if planned else pass_through
        self.request_kinds.append(kind)
        fault(client, lambda: self._forward(client.request))

    def _forward(self, request: bytes) -> bytes:
        """Pass a request on; the whole answer, or nothing where the sandbox closes without one."""
        request = re.sub(rb"(?i)\r\nconnection: [^\r]*", b"\r\nConnection: close", request, count=1)
        with socket.create_connection(self.target, timeout=CLIENT_TIMEOUT_SECONDS) as upstream:
            upstream.sendall(request)
            return b"".join(iter(lambda: upstream.recv(65536), b""))


def _answer(body: bytes, *, status: str = "200 OK", kind: str = "application/json") -> bytes:
    return http_response(body, status=status, kind=kind, headers=("Connection: close",))


def _split(message: bytes) -> tuple[bytes, bytes]:
    head, blank, body = message.partition(b"\r\n\r\n")
    return head + blank, body
