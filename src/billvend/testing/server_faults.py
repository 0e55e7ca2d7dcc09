"""Faults of the server after it received the whole request. None of them shows whether it sold."""

import json
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from hashlib import shake_256
from typing import Any, Final

from billvend.testing.fault_server import (
    Connection,
    Handler,
    http_response,
    send_and_close,
    send_and_keep_open,
)

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
OVERSIZED_BODY_BYTES: Final = 50 * 1024 * 1024
"""Much larger than any answer."""
RANDOM_BYTES: Final = shake_256(b"billvend").digest(2000)
UNEXPECTED_BODIES: Final = (
    b"", b" ", b"OK", b"null", b"true", b"0", b"-1", b'""', b'"success"', b"[]", b"{}", b"[[]]", b"[{}]",
    b"NaN", b"Infinity", b"1e400", b'{"a": 1e99999999999999999999}', b"1" * 5000, b"[" * 100_000,
    b'{"', b'{"code":', b"{}{}", b"\xff\xfe{}", b"\xef\xbb\xbf{}", b'{"\\ud800": "\\ud800"}', RANDOM_BYTES,
    b'{"code": null}', b'{"code": {}}', b'{"code": [[]]}', b'{"status": []}', b'{"data": []}', b'{"data": 1}',
    b'{"content": []}', b'{"result": "x"}', b'{"message": {}}', b'{"error": {"error": {}}}', b'{"": ""}',
    b"<?xml version='1.0'?><r/>",
)  # fmt: skip
"""Bodies of an answer 200 that mean nothing in the API of any provider."""

UNEXPECTED_VALUES: Final[tuple[object, ...]] = (
    None, [], {}, "", "N/A", "9" * 5000, -1, 10**30, 1.5, True, ["x"], {"x": ["x"]},
)  # fmt: skip
"""Values that replace those of a corrupt answer."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault after the whole request has arrived."""

    name: str
    handler: Handler
    lasts_until_deadline: bool = False
    """Whether the fault lasts until the deadline of the call."""

    def __str__(self) -> str:
        return self.name


def _flood(head: bytes, filling: bytes) -> Handler:
    def handle(connection: Connection) -> None:
        connection.send(head)
        for _ in range(OVERSIZED_BODY_BYTES // len(filling)):
            connection.send(filling)
        connection.close()

    return handle


def _send_then(head: bytes, act: Callable[[Connection], None]) -> Handler:
    def handle(connection: Connection) -> None:
        connection.send(head)
        act(connection)

    return handle


def _drip(connection: Connection) -> None:
    connection.trickle(b" ")


_HEAD: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
_LONG: Final = _HEAD + b"Content-Length: 1000000\r\n\r\n"
_CHUNKED: Final = _HEAD + b"Transfer-Encoding: chunked\r\n\r\n"

FAULTS: Final = (
    Fault("reset", Connection.reset),
    Fault("closed without an answer", Connection.close),
    Fault("stalled", Connection.hang, lasts_until_deadline=True),
    Fault("dripping head", _send_then(_HEAD + b"X-Drip: ", _drip), lasts_until_deadline=True),
    Fault("dripping body", _send_then(_LONG, _drip), lasts_until_deadline=True),
    Fault("half a body", send_and_close(_LONG + b'{"code": "000", "status": "succ')),
    Fault("reset in the body", _send_then(_LONG + b"{", Connection.reset)),
    Fault("cut off chunks", send_and_close(_CHUNKED + b"2\r\n{}\r\n")),
    Fault("broken chunks", send_and_close(_CHUNKED + b"zz\r\n{}\r\n0\r\n\r\n")),
    Fault("HTML 500", send_and_keep_open(http_response(b"<h1>Oops</h1>", status="500 Error", kind="text/html"))),
    Fault("HTML 502", send_and_keep_open(http_response(b"<h1>Bad</h1>", status="502 Bad Gateway", kind="text/html"))),
    Fault("HTML 200", send_and_keep_open(http_response(b"<h1>Please log in</h1>", kind="text/html"))),
    Fault("JSON 503", send_and_keep_open(http_response(b"{}", status="503 Service Unavailable"))),
    Fault("empty 200", send_and_keep_open(http_response(b""))),
    Fault("empty 204", send_and_close(b"HTTP/1.1 204 No Content\r\n\r\n")),
    Fault("random bytes", send_and_close(RANDOM_BYTES)),
    Fault("nonsense in the head", send_and_close(b"HTTP/1.1 200 OK\r\n: :\x00\r\n\r\n{}")),
    Fault("switching protocols", send_and_close(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n{}")),
    Fault("a flood of 1xx", _flood(b"", _CONTINUE * 1000), lasts_until_deadline=True),
    Fault("a flood of headers", _flood(_HEAD, b"X-Flood: flood\r\n" * 1000)),
    Fault("a giant body", _flood(_HEAD + b"\r\n", b" " * 65536)),
    Fault("a compression that was not requested", send_and_keep_open(http_response(b"{}", headers=("Content-Encoding: br",)))),
)  # fmt: skip
"""The faults of the suite, in the order of its runs."""


def corrupt(body: bytes) -> Iterator[bytes]:
    """Copies of a JSON body, each with one value replaced. None if the body is not JSON."""
    try:
        document = json.loads(body)
    except ValueError:
        return
    for path in _paths(document):
        for value in UNEXPECTED_VALUES:
            copy = deepcopy(document)
            target = copy
            for step in path[:-1]:
                target = target[step]
            target[path[-1]] = value
            yield json.dumps(copy).encode()


def _paths(document: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path to each value in a JSON document."""
    items = document.items() if isinstance(document, Mapping) else enumerate(document)
    for step, value in items:
        yield (*before, step)
        if isinstance(value, dict | list):
            yield from _paths(value, (*before, step))
