"""The RSGI adapter of `billvend serve`: bodies that are slow, end early or never end, and ambiguous headers."""

import asyncio
import contextlib
import http.client
import json
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from billvend.api.parsing import read_body
from billvend.api.rsgi import MAX_BUFFERED_BYTES, RsgiAdapter
from tests.api.server import ServerProcess, run_server

pytestmark = pytest.mark.long

SLOW_SENDERS = 100
"""Three times as many as there are threads."""
HEAD = b"POST /wallet/fund HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
FUNDING = b'{"userId": "ada", "amount": 1}'


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with run_server(tmp_path_factory.mktemp("server"), "--no-worker") as server:
        yield server


def balance(server: ServerProcess) -> str:
    status, document = server.request("GET", "/wallet/balance/ada")
    return document["data"]["balance"] if status == 200 else "none"


def raw_request(server: ServerProcess, request: bytes, *, ends: bool = False) -> tuple[int, Any]:
    """The status and error code for these bytes. `ends`: close our side after them."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(request)
        if ends:
            connection.shutdown(socket.SHUT_WR)
        response = http.client.HTTPResponse(connection)
        response.begin()
        text = response.read()
        return response.status, json.loads(text)["error"]["code"] if response.status >= 400 else None


def chunked(*parts: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (*parts, b""))


def test_slow_bodies_do_not_block_others(server: ServerProcess) -> None:
    before = balance(server)
    with contextlib.ExitStack() as stack:
        senders = [
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=60))
            for _ in range(SLOW_SENDERS)
        ]
        for slow in senders:
            slow.sendall(b"POST /hooks/paystack HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
        assert server.request("POST", "/wallet/fund", {"userId": "ada", "amount": 1})[0] == 201
        senders[-1].setblocking(False)
        with pytest.raises(BlockingIOError):  # the server still waits for the rest
            senders[-1].recv(1)
    assert balance(server) != before


@pytest.mark.parametrize(
    ("request_", "ends", "expected"),
    [
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(FUNDING[:9], FUNDING[9:]), False, (201, None)),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(*[b" " * 1024] * 64, FUNDING), False, (413, "body_too_large")),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(*[b" " * 65536] * 20), False, (413, "body_too_large")),
        (HEAD + b"Content-Length: 3000000\r\n\r\n{", False, (413, "body_too_large")),
        (HEAD + b"Content-Length: 65537\r\n\r\n" + b" " * 65507 + FUNDING, False, (413, "body_too_large")),
        (HEAD + b"Content-Length: 65536\r\n\r\n" + b" " * 65506 + FUNDING, False, (201, None)),
        (HEAD + b"Content-Length: 50\r\n\r\n" + FUNDING, True, (400, "malformed_json")),
    ],
    ids=["chunked", "over the path limit", "over every limit", "announced", "a byte too long", "longest", "truncated"],
)  # fmt: skip
def test_body_is_read_completely_or_rejected(
    server: ServerProcess, request_: bytes, ends: bool, expected: tuple[int, str | None]
) -> None:
    before = balance(server)
    assert raw_request(server, request_, ends=ends) == expected
    assert (balance(server) == before) is (expected[0] != 201)


@pytest.mark.parametrize(
    "header",
    [
        b"Idempotency-Key: a\r\nIdempotency-Key: b", b"Idempotency-Key: a\r\nIdempotency-Key: a",
        b"Idempotency-Key: order-\xc3\xa9",
        b"Idempotency_Key: a", b"X-Forwarded-For: \xff, 203.0.113.9", b"X-Anything: \x80", b"Authorization: Bearer \xff",
        b"Authorization: a\r\nAuthorization: b", b"Content-Type: text/plain", b"Host: localhost",
    ],
)  # fmt: skip
def test_ambiguous_header_is_rejected(server: ServerProcess, header: bytes) -> None:
    before = balance(server)
    length = b"Content-Length: %d\r\n\r\n" % len(FUNDING)
    assert raw_request(server, HEAD + header + b"\r\n" + length + FUNDING) == (400, "malformed_header")
    assert balance(server) == before


def test_unknown_transfer_encoding_is_rejected(server: ServerProcess) -> None:
    before = balance(server)
    request = HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + chunked(FUNDING)
    assert raw_request(server, request) == (400, "malformed_header")
    assert balance(server) == before


@pytest.mark.parametrize(
    "head",
    [
        b"GET http://shop.example/wallet/balance/ada HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /wallet/balance/ada HTTP/1.1\r\nHost: shop.example\r\n\r\n",
    ],
    ids=["absolute URL", "other host"],
)
def test_without_api_keys_foreign_host_is_forbidden(server: ServerProcess, head: bytes) -> None:
    assert raw_request(server, head) == (403, "forbidden")


def test_non_ascii_host_is_rejected(server: ServerProcess) -> None:
    head = b"GET /wallet/balance/ada HTTP/1.1\r\nHost: shop.example\xff\r\n\r\n"
    assert raw_request(server, head) == (400, "malformed_header")


def test_missing_host_header_is_rejected(server: ServerProcess) -> None:
    """RFC 9112, 3.2, requires it. HTTP/1.0 had no such header."""
    assert raw_request(server, b"GET /health/live HTTP/1.1\r\n\r\n") == (400, "malformed_header")
    assert raw_request(server, b"GET /billers HTTP/1.1\r\n\r\n") == (400, "malformed_header")
    assert raw_request(server, b"GET /billers HTTP/1.0\r\n\r\n") == (200, None)


def test_invalid_utf8_user_id_is_rejected(server: ServerProcess) -> None:
    assert raw_request(server, b"GET /wallet/balance/%FF HTTP/1.1\r\nHost: localhost\r\n\r\n") == (
        422,
        "validation_failed",
    )


# --- without a server: time and memory --------------------------------------------------------------------------------


@dataclass
class RsgiScope:
    """A request as Granian passes it."""

    headers: dict[str, str]
    method: str = "POST"
    path: str = "/"
    query_string: str = ""
    http_version: str = "1.1"
    server: str = "127.0.0.1:80"
    client: str = "[::1]:5000"
    scheme: str = "http"
    authority: str | None = None


@dataclass
class StalledBody:
    """A body that stalls after these bytes. Records the answers."""

    received: bytes = b""
    answers: list[tuple[int, bytes]] = field(default_factory=list)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self.received
        await asyncio.Event().wait()

    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.answers.append((status, body))


def body_reading_app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """An application that reads the body and returns it, or the error code."""
    from flask import Request

    from billvend.domain.errors import BillvendError

    start_response("200 OK", [])
    try:
        return [environ["REMOTE_ADDR"].encode(), b" ", read_body(Request(environ))]
    except BillvendError as error:
        return [error.code.encode()]


@pytest.mark.parametrize(
    "headers", [{"content-length": "5"}, {"transfer-encoding": "chunked"}], ids=["announced", "chunked"]
)
def test_slow_body_is_rejected(headers: dict[str, str]) -> None:
    adapter, stalled = (
        RsgiAdapter(body_reading_app, threads=1, max_body_bytes=1000, body_timeout_seconds=0.05),
        StalledBody(b"..."),
    )
    asyncio.run(adapter.__rsgi__(RsgiScope(headers), stalled))  # type: ignore[arg-type]  # only the attributes that are read
    assert stalled.answers == [(200, b"body_too_slow")]
    assert set(adapter._free_bytes.values()) == {MAX_BUFFERED_BYTES}


@pytest.mark.parametrize("path", ["/", "/large"])
def test_body_memory_is_limited_and_separate_for_large_bodies(path: str) -> None:
    each = 1024 * 1024
    adapter = RsgiAdapter(
        body_reading_app,
        threads=1,
        max_body_bytes=each,
        max_body_bytes_by_path={"/large": each},
        body_timeout_seconds=60,
    )
    fit = MAX_BUFFERED_BYTES // each

    async def response_to(received: bytes, announced: int, path: str) -> bytes:
        sender = StalledBody(received)
        await adapter.__rsgi__(RsgiScope({"content-length": str(announced)}, path=path), sender)  # type: ignore[arg-type]  # see above
        return sender.answers[0][1]

    async def many() -> None:
        waiting = [asyncio.create_task(response_to(b"." * (each - 1), each, path)) for _ in range(fit)]
        await asyncio.sleep(0)
        assert await response_to(b"!" * fit, fit, path) == b"::1 " + b"!" * fit
        assert await response_to(b"!" * (fit + 1), fit + 1, path) == b"unavailable"
        assert await response_to(b"", 10**15, path) == b"body_too_large"
        assert await response_to(b"", 0, path) == b"::1 "
        other = "/large" if path == "/" else "/"
        assert await response_to(b"!" * 1000, 1000, other) == b"::1 " + b"!" * 1000
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    asyncio.run(many())
    assert set(adapter._free_bytes.values()) == {MAX_BUFFERED_BYTES}
