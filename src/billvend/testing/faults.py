"""What the other side may do with a request that it received whole, and from which nobody can tell whether it sold."""

import json
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from hashlib import shake_256
from typing import Any, Final

from billvend.testing.other_side import Behaviour, Talk, answers, http_answer, says

GIANT_BYTES: Final = 50 * 1024 * 1024
"""Far more than any answer has."""
RANDOM_BYTES: Final = shake_256(b"billvend").digest(2000)
STRANGE_BODIES: Final = (
    *(b"", b" ", b"OK", b"null", b"true", b"0", b"-1", b'""', b'"success"', b"[]", b"{}", b"[[]]", b"[{}]"),
    *(b"NaN", b"Infinity", b"1e400", b'{"a": 1e99999999999999999999}', b"1" * 5000, b"[" * 100_000),
    *(b'{"', b'{"code":', b"{}{}", b"\xff\xfe{}", b"\xef\xbb\xbf{}", b'{"\\ud800": "\\ud800"}', RANDOM_BYTES),
    *(
        b'{"code": null}',
        b'{"code": {}}',
        b'{"code": [[]]}',
        b'{"status": []}',
        b'{"data": []}',
        b'{"data": 1}',
    ),
    *(b'{"content": []}', b'{"result": "x"}', b'{"message": {}}', b'{"error": {"error": {}}}', b'{"": ""}'),
    b"<?xml version='1.0'?><r/>",
)
"""Bodies of an answer 200, each of which says nothing, whatever dialect a provider speaks."""

STRANGE_VALUES: Final[tuple[object, ...]] = (
    None,
    [],
    {},
    "",
    "N/A",
    "9" * 5000,
    -1,
    10**30,
    1.5,
    True,
    ["x"],
    {"x": ["x"]},
)
"""What stands in a damaged answer."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong after the whole request has arrived."""

    name: str
    behave: Behaviour
    lasts: bool = False
    """Whether it goes on until the deadline of the call."""

    def __str__(self) -> str:
        return self.name


def _floods(head: bytes, filling: bytes, most_bytes: int) -> Behaviour:
    def behave(talk: Talk) -> None:
        talk.say(head)
        for _ in range(most_bytes // len(filling)):
            talk.say(filling)
        talk.hang_up()

    return behave


def _then(head: bytes, act: Callable[[Talk], None]) -> Behaviour:
    def behave(talk: Talk) -> None:
        talk.say(head)
        act(talk)

    return behave


_HEAD: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
_LONG: Final = _HEAD + b"Content-Length: 1000000\r\n\r\n"
_CHUNKED: Final = _HEAD + b"Transfer-Encoding: chunked\r\n\r\n"

FAULTS: Final = (
    Fault("reset", Talk.reset),
    Fault("closed without an answer", Talk.hang_up),
    Fault("stalled", Talk.stall, lasts=True),
    Fault("dripping head", _then(_HEAD + b"X-Drip: ", lambda talk: talk.drip(b"drip")), lasts=True),
    Fault("dripping body", _then(_LONG, lambda talk: talk.drip(b" ")), lasts=True),
    Fault("half a body", says(_LONG + b'{"code": "000", "status": "succ')),
    Fault("reset in the body", _then(_LONG + b"{", Talk.reset)),
    Fault("cut off chunks", says(_CHUNKED + b"2\r\n{}\r\n")),
    Fault("broken chunks", says(_CHUNKED + b"zz\r\n{}\r\n0\r\n\r\n")),
    Fault("HTML 500", answers(http_answer(b"<h1>Oops</h1>", status="500 Error", kind="text/html"))),
    Fault("HTML 502", answers(http_answer(b"<h1>Bad</h1>", status="502 Bad Gateway", kind="text/html"))),
    Fault("HTML 200", answers(http_answer(b"<h1>Please log in</h1>", kind="text/html"))),
    Fault("JSON 503", answers(http_answer(b"{}", status="503 Service Unavailable"))),
    Fault("empty 200", answers(http_answer(b""))),
    Fault("empty 204", says(b"HTTP/1.1 204 No Content\r\n\r\n")),
    Fault("random bytes", says(RANDOM_BYTES)),
    Fault("nonsense in the head", says(b"HTTP/1.1 200 OK\r\n: :\x00\r\n\r\n{}")),
    Fault("switching protocols", says(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n{}")),
    Fault("a flood of 1xx", _floods(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000, GIANT_BYTES), lasts=True),
    Fault("a flood of headers", _floods(_HEAD, b"X-Flood: flood\r\n" * 1000, GIANT_BYTES)),
    Fault("a giant body", _floods(_HEAD + b"\r\n", b" " * 65536, GIANT_BYTES)),
    Fault("a compression that nobody asked for", answers(http_answer(b"{}", headers=("Content-Encoding: br",)))),
)  # fmt: skip
"""The server's part of the suite, in the order in which it is played."""


def damaged(body: bytes) -> Iterator[bytes]:
    """A JSON body, with each of its values in turn replaced by another; nothing where it is not JSON."""
    try:
        document = json.loads(body)
    except ValueError:
        return
    for path in _paths(document):
        for value in STRANGE_VALUES:
            copy = deepcopy(document)
            place = copy
            for step in path[:-1]:
                place = place[step]
            place[path[-1]] = value
            yield json.dumps(copy).encode()


def _paths(document: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to each value in a JSON document."""
    inside = document.items() if isinstance(document, Mapping) else enumerate(document)
    for step, value in inside:
        yield (*before, step)
        if isinstance(value, dict | list):
            yield from _paths(value, (*before, step))
