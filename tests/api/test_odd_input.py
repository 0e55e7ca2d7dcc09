"""Odd bytes in every part of a request. The answer is a clear error, never a 500."""

import http.client
import json
import re
import socket
from collections.abc import Iterator
from urllib.parse import unquote_to_bytes

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from billvend import Billvend
from billvend.api import blueprint
from billvend.config import Settings
from tests.api.client import application
from tests.api.server import ServerProcess, run_server

pytestmark = pytest.mark.long

ODD_BYTES = {
    "beyond latin-1": "日".encode(), "latin-1": "é".encode(), "emoji": "😀".encode(), "percent-encoded": b"%E6%97%A5",
    "invalid UTF-8": b"%ff", "truncated character": b"%E6%97", "NUL": b"%00", "a surrogate": b"%ED%A0%80", "single %": b"%",
    "no hex": b"%zz", "line ends": b"%0D%0Aa:b", "a hash": b"%23", "long": b"a" * 60_000, "fullwidth": "２０".encode(),
    "many digits": b"9" * 6_000,
}  # fmt: skip
"""Bytes that reach the application."""
REJECTED_BYTES = {
    "a raw byte": b"\xff", "a raw latin-1": b"\xe9", "a raw surrogate": b"\xed\xa0\x80", "a raw NUL": b"\0",
    "truncated raw character": b"\xe6\x97", "far too long": b"a" * 70_000,
}  # fmt: skip
"""Bytes that the HTTP parser rejects with a status and no body."""
PATHS = {
    "GET": (
        "/", "/api", "/api/start.js", "/api/openapi.json", "/api/files/css/swagger-ui.css", "/billers", "/health",
        "/health/live", "/metrics", "/wallet/balance/ada", "/transactions/user/ada", "/transactions/t-1",
    ),
    "POST": (
        "/wallet/fund", "/wallet/fund/intent", "/bills/pay", "/bills/pay/batch", "/bills/verify", "/hooks/paystack",
        "/hooks/vtpass",
    ),
}  # fmt: skip
ALL_ENDPOINTS = [(method, path) for method, paths in PATHS.items() for path in paths]
BLUEPRINT_ENDPOINTS = [
    (method, path) for method, path in ALL_ENDPOINTS if path != "/" and not path.startswith("/api")
]
"""The endpoints of the blueprint."""
NAMES = (b"x", b"limit", b"cursor", b"status", b"type", b"currency")
QUERIES = [
    *(pytest.param(b"x=" + odd, id=f"the value: {name}") for name, odd in ODD_BYTES.items()),
    *(pytest.param(odd + b"=x", id=f"the name: {name}") for name, odd in ODD_BYTES.items()),
    pytest.param(b"&=&&;x;=%&?/?", id="no query"),
]
HEADERS = (
    "Cookie",
    "Authorization",
    "X-Request-Id",
    "Idempotency-Key",
    "Content-Type",
    "User-Agent",
    "X-Any",
)
ENVELOPE = {"success", "message", "data", "timestamp"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with run_server(tmp_path_factory.mktemp("odd"), "--no-worker") as server:
        assert server.request("POST", "/wallet/fund", {"userId": "ada", "amount": 1})[0] == 201
        yield server


@pytest.fixture
def mounted(bv: Billvend, settings: Settings) -> Flask:
    """The blueprint in another application, which reads cookies."""
    app = Flask("host_application")
    app.secret_key = "s"
    app.register_blueprint(blueprint(bv, settings), url_prefix="/electricity")
    return app


def raw_request(
    server: ServerProcess, method: str, target: bytes, header: bytes = b"X-Any: 1"
) -> tuple[int, bytes]:
    """The server's answer to exactly these bytes."""
    request = b"%s %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n" % (method.encode(), target, header)
    body = b"Content-Length: 2\r\n\r\n{}" if method == "POST" else b"\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(request + body)
        response = http.client.HTTPResponse(connection)
        response.begin()
        return response.status, response.read()


def assert_clear_answer(status: int, body: bytes) -> None:
    """No 500, and errors have the envelope. Paystack answers 503: it is not configured here."""
    assert status < 500 or json.loads(body)["error"]["code"] == "unavailable", (status, body)
    if status >= 400:
        document = json.loads(body)
        assert document.keys() == ENVELOPE | {"error"}
        assert document["success"] is False


# --- a real server over a socket --------------------------------------------------------------------------------------


def test_listed_paths_cover_every_route(bv: Billvend, settings: Settings) -> None:
    rules = {
        re.sub("<.*?>", "*", rule.rule) for rule in application(bv, settings).url_map.iter_rules()
    }  # fmt: skip
    filled = {re.sub("/(ada|t-1|css/.*)$", "/*", path) for _, path in ALL_ENDPOINTS}
    assert filled == rules


@pytest.mark.parametrize("query", QUERIES)
def test_odd_query_at_every_path_gets_no_500(server: ServerProcess, query: bytes) -> None:
    for method, path in [*ALL_ENDPOINTS, ("GET", "/nowhere"), ("POST", "/nowhere")]:
        assert_clear_answer(*raw_request(server, method, path.encode() + b"?" + query))


@pytest.mark.parametrize("path", [b"/wallet/balance/ada", b"/transactions/user/ada"])
@pytest.mark.parametrize("odd", ODD_BYTES.values(), ids=ODD_BYTES)
def test_odd_query_of_a_listing_gets_422(server: ServerProcess, path: bytes, odd: bytes) -> None:
    """For known and unknown names, as with ASCII."""
    for name in NAMES:
        status, body = raw_request(server, "GET", path + b"?" + name + b"=" + odd)
        assert status == 422, (name, body)
        assert_clear_answer(status, body)


@pytest.mark.parametrize(
    "start", ["/", "/wallet/balance/", "/transactions/", "/transactions/user/", "/api/files/", "//"]
)
@pytest.mark.parametrize("odd", ODD_BYTES.values(), ids=ODD_BYTES)
def test_odd_path_gets_no_500(server: ServerProcess, start: str, odd: bytes) -> None:
    assert_clear_answer(*raw_request(server, "GET", start.encode() + odd))
    assert_clear_answer(*raw_request(server, "POST", start.encode() + odd + b"?" + odd[:100]))


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize(
    "odd", [*ODD_BYTES.values(), b"\xff", b"\xe9", b'"\\377\\000"; =; ;;', b"x; charset*=x'y'%ff"]
)
def test_odd_header_gets_no_500(server: ServerProcess, header: str, odd: bytes) -> None:
    for method, path in BLUEPRINT_ENDPOINTS:
        assert_clear_answer(*raw_request(server, method, path.encode(), b"%s: %s" % (header.encode(), odd)))


@pytest.mark.parametrize("header", [b"If-Modified-Since", b"If-Unmodified-Since", b"If-Range"])
@pytest.mark.parametrize(
    "time", [b"Sun, 06 Nov 99999999999 08:49:37 GMT", b"Sun, 06 Nov 2026 99999999999:00:00 GMT"]
)
def test_condition_with_impossible_time_gets_no_500(
    server: ServerProcess, header: bytes, time: bytes
) -> None:
    for path in (b"/api/files/css/swagger-ui.css", b"/api/openapi.json", b"/billers", b"/health/live"):
        status, _ = raw_request(server, "GET", path, b"Range: bytes=0-1\r\n%s: %s" % (header, time))
        assert status < 500, path


@pytest.mark.parametrize("odd", REJECTED_BYTES.values(), ids=REJECTED_BYTES)
def test_invalid_http_gets_a_status_from_the_parser(server: ServerProcess, odd: bytes) -> None:
    for target in (b"/billers?x=" + odd, b"/billers?" + odd + b"=x", b"/wallet/balance/" + odd):
        assert raw_request(server, "GET", target) in ((400, b""), (414, b""))


# --- another WSGI server, which passes all bytes to the application ----------------------------------------------------


def wsgi_request(app: Flask, method: str, path: str, **environ: str) -> TestResponse:
    return app.test_client().open(
        path, method=method, environ_overrides=environ, content_type="application/json", data=b"{}"
    )


def as_wsgi(odd: bytes) -> str:
    return odd.decode("latin-1")


ALL_BYTES = {**ODD_BYTES, **REJECTED_BYTES}


@pytest.mark.parametrize("odd", ALL_BYTES.values(), ids=ALL_BYTES)
def test_odd_query_of_a_mounted_blueprint_gets_no_500(mounted: Flask, odd: bytes) -> None:
    for method, path in BLUEPRINT_ENDPOINTS:
        for query in (b"x=" + odd, odd + b"=x", b"limit=" + odd):
            response = wsgi_request(mounted, method, f"/electricity{path}", QUERY_STRING=as_wsgi(query))
            assert_clear_answer(response.status_code, response.data)


@pytest.mark.parametrize("odd", [b"\xff", b"\xe9", b"\xed\xa0\x80", b"\xe6\x97"])
def test_query_not_utf8_gets_422_that_says_so(mounted: Flask, odd: bytes) -> None:
    response = wsgi_request(
        mounted, "GET", "/electricity/wallet/balance/ada", QUERY_STRING=as_wsgi(b"currency=" + odd)
    )
    assert response.status_code == 422
    assert response.get_json()["message"] == "The query is not UTF-8. Nothing was done."


@pytest.mark.parametrize("odd", ALL_BYTES.values(), ids=ALL_BYTES)
def test_odd_header_of_a_mounted_blueprint_gets_no_500(mounted: Flask, odd: bytes) -> None:
    for method, path in BLUEPRINT_ENDPOINTS:
        for header in HEADERS:
            name = header.upper().replace("-", "_")
            environ = {name if name == "CONTENT_TYPE" else f"HTTP_{name}": as_wsgi(odd)}
            response = wsgi_request(mounted, method, f"/electricity{path}", **environ)
            assert_clear_answer(response.status_code, response.data)


@pytest.mark.parametrize("odd", ALL_BYTES.values(), ids=ALL_BYTES)
def test_odd_path_of_a_mounted_blueprint_gets_no_500(mounted: Flask, odd: bytes) -> None:
    for start in ("/wallet/balance/", "/transactions/", "/transactions/user/"):
        path = as_wsgi(f"/electricity{start}".encode() + unquote_to_bytes(odd))
        response = wsgi_request(mounted, "GET", "/", PATH_INFO=path)
        assert_clear_answer(response.status_code, response.data)
