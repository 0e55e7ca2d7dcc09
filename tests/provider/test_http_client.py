"""One HTTP call over real sockets: bytes sent, bytes received, time taken, and what must never happen."""

import json
import socket
import threading
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest

from billvend.adapters.providers.http_client import MAX_BODY_BYTES, HttpClient, Response, resolve_host
from billvend.domain.outcome import NotSent, Unknown
from billvend.testing.fault_server import (
    LOOPBACK,
    Connection,
    FaultServer,
    Handler,
    http_response,
    send_and_close,
    send_and_keep_open,
)
from billvend.testing.server_faults import FAULTS, Fault
from tests.provider.sockets import (
    certificate,
    closed_port,
    full_backlog_port,
    resetting_port,
    server_context,
    unanswering_port,
)

pytestmark = pytest.mark.long

SHORT_SECONDS = 0.4
"""A timeout that must expire."""
AMPLE_SECONDS = 10.0
"""A timeout that must not expire."""
SLACK_SECONDS = 2.0
"""How long after its timeout a call may return on a busy machine."""
SECRET = "s3cr3t-Zq9"
HEADERS = {"api-key": SECRET}
SALE = {"id": "R1", "meter": "12345678901"}
OK = http_response(b'{"code": "000"}')


@pytest.fixture
def client() -> Iterator[HttpClient]:
    client = HttpClient(timeout_seconds=AMPLE_SECONDS)
    yield client
    client.close()


def post_sale(client: HttpClient, url: str, **options: object) -> Response | NotSent | Unknown:
    """Make one call with a secret in it. Checks that it returns in time and that the answer hides the secret."""
    seconds = options.get("timeout_seconds", AMPLE_SECONDS)
    began = time.monotonic()
    answer = client.call("POST", url, headers=HEADERS, content=SALE, **options)  # type: ignore[arg-type]  # from parameters
    assert isinstance(seconds, float)
    assert time.monotonic() - began < seconds + SLACK_SECONDS
    assert SECRET not in repr(answer)
    return answer


# --- successful calls -------------------------------------------------------------------------------------------------


def test_complete_answer_is_returned_unchanged(client: HttpClient) -> None:
    body = b'{"amount": 1000.10, "n": 3, "text": "\\u20a6"}'
    raw_answer = http_response(
        body, status="404 Not Found", kind="Application/JSON; charset=utf-8", headers=("X-Two: 2",)
    )
    with FaultServer(send_and_keep_open(raw_answer)) as fault_server:
        answer = client.call(
            "POST", f"{fault_server.url}/pay", headers=HEADERS, params={"a": "b"}, content=SALE
        )
    assert isinstance(answer, Response)
    assert (answer.status, answer.raw_body) == (404, body)
    assert answer.body == {"amount": Decimal("1000.10"), "n": 3, "text": "\u20a6"}
    assert answer.headers["x-two"] == "2"
    assert answer.is_json_object
    assert answer.summary == "HTTP 404, Application/JSON"
    (request,) = fault_server.requests
    head, _, sent = request.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /pay?a=b HTTP/1.1\r\n")
    assert json.loads(sent) == SALE
    assert f"api-key: {SECRET}".encode() in head
    assert b"accept-encoding: identity" in head.lower()


def test_response_repr_hides_content() -> None:
    answer = Response(200, {"token": "12345678901234567890"}, {"x-key": SECRET}, b"12345678901234567890")
    assert repr(answer) == "Response(status=200)"


@pytest.mark.parametrize(
    ("kind", "summary"),
    [
        ({"content-type": "text/html; charset=utf-8"}, "HTTP 200, text/html"),
        ({}, "HTTP 200, no content type"),
        ({"content-type": f"your key is {SECRET}"}, "HTTP 200, no content type"),
        ({"content-type": "x/" + "y" * 5000}, "HTTP 200, no content type"),
        ({"content-type": "a/b\x1b[31m"}, "HTTP 200, no content type"),
    ],
)
def test_response_description_is_safe(kind: dict[str, str], summary: str) -> None:
    assert Response(200, None, kind).summary == summary


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"<html>", b'{"a": NaN}', b'{"a": Infinity}', b"\xff", b"\xef\xbb\xbf{}", b'{"a"', b"{}{}"),
        *(b"[" * 100_000, b"1" * 5000, b'{"a": 1e99999999999999999999}'),
    ],
    ids=lambda body: repr(body[:20]),
)
def test_non_json_body_is_not_parsed(client: HttpClient, body: bytes) -> None:
    with FaultServer(send_and_keep_open(http_response(body))) as fault_server:
        answer = post_sale(client, fault_server.url)
    assert isinstance(answer, Response)
    assert (answer.body, answer.raw_body, answer.is_json_object) == (None, body, False)


# --- before the first byte --------------------------------------------------------------------------------------------


def test_refused_connection_returns_not_sent(client: HttpClient) -> None:
    answer = post_sale(client, f"http://{LOOPBACK}:{closed_port()}")
    assert isinstance(answer, NotSent)
    assert "refused" in answer.reason


def test_unresolvable_host_returns_not_sent(client: HttpClient) -> None:
    answer = post_sale(client, "https://unknown.invalid", timeout_seconds=3.0)
    assert isinstance(answer, NotSent)


@pytest.mark.parametrize("host", ["a..b", "x" * 70 + ".example", "exa mple", "[::1", "127.0.0.1:99999999"])
def test_invalid_hostname_returns_not_sent(client: HttpClient, host: str) -> None:
    assert isinstance(post_sale(client, f"http://{host}/"), NotSent)


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "127.0.0.1/pay", "/pay", ""])
def test_invalid_url_returns_not_sent(client: HttpClient, url: str) -> None:
    assert isinstance(post_sale(client, url), NotSent)


def test_hanging_name_lookup_ends_at_deadline() -> None:
    is_over = threading.Event()

    def resolve_slowly(host: str) -> tuple[str, ...]:
        is_over.wait(10)
        return (LOOPBACK,)

    answer = post_sale(
        HttpClient(timeout_seconds=SHORT_SECONDS, resolve_host=resolve_slowly), "http://slow.example"
    )
    is_over.set()
    assert answer == NotSent("the provider can't be reached: ConnectTimeout: the name look-up took too long")


def test_host_without_addresses_returns_not_sent() -> None:
    answer = post_sale(
        HttpClient(timeout_seconds=AMPLE_SECONDS, resolve_host=lambda host: ()), "http://provider.example"
    )
    assert isinstance(answer, NotSent)


def test_addresses_are_tried_in_turn() -> None:
    lookups: list[str] = []

    def resolve_to_two(host: str) -> tuple[str, ...]:
        lookups.append(host)
        return ("127.0.0.9", LOOPBACK)  # the server listens only on the second

    with (
        FaultServer(send_and_keep_open(OK)) as fault_server,
        closing(HttpClient(timeout_seconds=10.0, resolve_host=resolve_to_two)) as client,
    ):
        assert isinstance(post_sale(client, f"http://provider.example:{fault_server.port}"), Response)
        assert len(fault_server.requests) == 1
        assert b"host: provider.example:" in fault_server.requests[0].lower()
    assert lookups == ["provider.example"]


def test_unresponsive_address_leaves_time_for_next() -> None:
    addresses = ("127.0.0.9", LOOPBACK)
    with (
        FaultServer(send_and_keep_open(OK)) as fault_server,
        full_backlog_port(addresses[0], fault_server.port),
        closing(HttpClient(timeout_seconds=1.0, resolve_host=lambda host: addresses)) as client,
    ):
        assert isinstance(post_sale(client, f"http://provider.example:{fault_server.port}"), Response)


def test_unresponsive_addresses_end_at_deadline() -> None:
    with full_backlog_port() as port:
        client = HttpClient(timeout_seconds=SHORT_SECONDS, resolve_host=lambda host: (LOOPBACK,) * 3)
        assert isinstance(post_sale(client, f"http://provider.example:{port}"), NotSent)


def test_default_lookup_resolves_localhost() -> None:
    assert LOOPBACK in resolve_host("localhost")
    assert resolve_host(LOOPBACK) == (LOOPBACK,)


@pytest.mark.parametrize("is_late_at_first", [True, False])
def test_no_bytes_sent_when_guard_refuses(client: HttpClient, is_late_at_first: bool) -> None:
    guard_answers: list[bool] = []
    with FaultServer(send_and_keep_open(OK)) as fault_server:

        def may_send() -> bool:
            guard_answers.append(
                not is_late_at_first and not guard_answers
            )  # true at first, false once connected
            return guard_answers[-1]

        assert post_sale(client, fault_server.url, may_send=may_send) == NotSent("it was too late to send")
        assert isinstance(post_sale(client, fault_server.url), Response), "the next call works"
    assert guard_answers == ([False] if is_late_at_first else [True, False])
    assert len(fault_server.requests) == 1
    assert fault_server.received_bytes == fault_server.requests[0]


def test_send_guard_is_called_after_connect(
    client: HttpClient,
) -> None:
    connection_states: list[tuple[int, int]] = []
    with FaultServer(send_and_keep_open(OK)) as fault_server:

        def may_send() -> bool:
            if connection_states:
                fault_server.has_connection(SLACK_SECONDS)
            connection_states.append((fault_server.connections, len(fault_server.received_bytes)))
            return True

        post_sale(client, fault_server.url, may_send=may_send)
        length = len(fault_server.received_bytes)
        post_sale(client, fault_server.url, may_send=may_send)
    assert connection_states == [(0, 0), (1, 0), (1, length), (1, length)]


def test_deadline_before_first_byte_returns_not_sent(client: HttpClient) -> None:
    with FaultServer(send_and_keep_open(OK)) as fault_server:
        for requests in (0, 1):  # on a new connection, then on a reused one
            assert isinstance(post_sale(client, fault_server.url, timeout_seconds=1e-9), NotSent)
            assert len(fault_server.requests) == requests
            post_sale(client, fault_server.url)
        assert bytes(fault_server.received_bytes) == b"".join(fault_server.requests)


@pytest.mark.parametrize(
    "headers",
    [
        {"api-key": f"{SECRET}\n"},
        {"api-key": f"{SECRET}\u20a6"},
        {"api key": SECRET},
        {"api-key": f"{SECRET}\0"},
    ],
    ids=["newline", "naira", "name", "NUL"],
)
def test_invalid_header_returns_not_sent_without_its_value(
    client: HttpClient, headers: dict[str, str]
) -> None:
    with FaultServer(send_and_keep_open(OK)) as fault_server:
        answer = client.call("GET", fault_server.url, headers=headers)
        assert isinstance(answer, NotSent)
        assert SECRET not in answer.reason
        assert not fault_server.received_bytes


@pytest.mark.parametrize("content", ["\ud800", float("nan")])
def test_unserialisable_content_returns_not_sent(client: HttpClient, content: object) -> None:
    with FaultServer(send_and_keep_open(OK)) as fault_server:
        assert isinstance(client.call("POST", fault_server.url, content={"phone": content}), NotSent)
        assert not fault_server.connections


# --- TLS --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificate(tmp_path_factory.mktemp("tls"))


def test_server_without_tls_returns_not_sent(client: HttpClient) -> None:
    with FaultServer(send_and_keep_open(OK)) as fault_server:
        answer = post_sale(client, fault_server.url.replace("http:", "https:"), timeout_seconds=SHORT_SECONDS)
        assert isinstance(answer, NotSent)
        assert fault_server.requests == []
        assert SECRET.encode() not in fault_server.received_bytes


def test_untrusted_certificate_returns_not_sent(client: HttpClient, pem: Path) -> None:
    with FaultServer(send_and_keep_open(OK), tls=server_context(pem)) as fault_server:
        answer = post_sale(client, fault_server.url)
        assert isinstance(answer, NotSent)
        assert "CERTIFICATE_VERIFY_FAILED" in answer.reason
        assert not fault_server.received_bytes


def test_certificate_for_other_host_returns_not_sent(pem: Path) -> None:
    with FaultServer(send_and_keep_open(OK), tls=server_context(pem)) as fault_server:
        client = HttpClient(
            timeout_seconds=AMPLE_SECONDS, trusted_certificates=pem, resolve_host=lambda host: (LOOPBACK,)
        )
        answer = post_sale(client, f"https://provider.example:{fault_server.port}")
        assert isinstance(answer, NotSent)
        assert "provider.example" in answer.reason
        assert not fault_server.received_bytes


def test_hanging_handshake_returns_not_sent() -> None:
    with unanswering_port() as port:
        assert isinstance(
            post_sale(HttpClient(timeout_seconds=SHORT_SECONDS), f"https://{LOOPBACK}:{port}"), NotSent
        )


def test_reset_handshake_returns_not_sent(client: HttpClient) -> None:
    with resetting_port() as port:
        assert isinstance(post_sale(client, f"https://{LOOPBACK}:{port}"), NotSent)


def test_reset_during_request_returns_unknown(client: HttpClient) -> None:
    guard_calls: list[int] = []
    with socket.create_server((LOOPBACK, 0)) as server:

        def may_send() -> bool:
            guard_calls.append(len(guard_calls))
            if len(guard_calls) == 2:  # connected, just before the first byte
                connection, _ = server.accept()
                Connection(b"", connection, threading.Event()).reset()
            return True

        answer = post_sale(client, f"http://{LOOPBACK}:{server.getsockname()[1]}", may_send=may_send)
    assert isinstance(answer, Unknown)
    assert guard_calls == [0, 1]


@pytest.mark.parametrize(
    ("behave", "kind"),
    [
        (send_and_keep_open(OK), Response),
        (Connection.reset, Unknown),
        (Connection.close, Unknown),
        (Connection.hang, Unknown),
    ],
)
def test_tls_handshake_does_not_count_as_sent(pem: Path, behave: Handler, kind: type) -> None:
    with (
        FaultServer(behave, tls=server_context(pem)) as fault_server,
        closing(HttpClient(timeout_seconds=SHORT_SECONDS, trusted_certificates=pem)) as client,
    ):
        received: list[int] = []

        def may_send() -> bool:
            received.append(len(fault_server.received_bytes))
            return True

        answer = post_sale(client, fault_server.url, may_send=may_send)
        assert isinstance(answer, kind)
        assert received == [0, 0]
        assert len(fault_server.requests) == 1


def test_threads_share_one_tls_context(pem: Path) -> None:
    with (
        FaultServer(send_and_keep_open(OK), tls=server_context(pem)) as fault_server,
        closing(HttpClient(timeout_seconds=AMPLE_SECONDS, trusted_certificates=pem)) as client,
    ):
        answers = run_in_threads(8, lambda number: post_sale(client, fault_server.url))
        assert [type(one) for one in answers] == [Response] * 8
        assert len(fault_server.requests) == 8


# --- after the first byte ---------------------------------------------------------------------------------------------


COMPLETE_ANSWERS = {
    "HTML 500": 500,
    "HTML 502": 502,
    "HTML 200": 200,
    "JSON 503": 503,
    "empty 200": 200,
    "empty 204": 204,
}
"""The faults that still are complete answers, with their statuses."""


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_after_first_byte_answer_is_complete_or_unknown(fault: Fault, client: HttpClient) -> None:
    with FaultServer(fault.handler) as fault_server:
        answer = post_sale(
            client,
            fault_server.url,
            timeout_seconds=SHORT_SECONDS if fault.lasts_until_deadline else AMPLE_SECONDS,
        )
        assert len(fault_server.requests) == 1
        assert bytes(fault_server.received_bytes) == fault_server.requests[0], "no byte of another request"
    if fault.name in COMPLETE_ANSWERS:
        assert isinstance(answer, Response)
        assert answer.status == COMPLETE_ANSWERS[fault.name]
        assert not answer.is_json_object or answer.body == {}
    else:
        assert isinstance(answer, Unknown)
    with FaultServer(send_and_keep_open(OK)) as healthy:
        assert isinstance(post_sale(client, healthy.url), Response), "the next call works"


def test_timeout_is_reported_as_timeout(client: HttpClient) -> None:
    with FaultServer(Connection.hang) as fault_server:
        assert post_sale(client, fault_server.url, timeout_seconds=0.25) == Unknown(
            "no whole answer within 0.25 s"
        )


def test_unread_request_ends_at_deadline() -> None:
    sale = {"padding": "x" * 30_000_000}  # more than the socket buffers hold
    with unanswering_port() as port, closing(HttpClient(timeout_seconds=SHORT_SECONDS)) as client:
        began = time.monotonic()
        assert isinstance(client.call("POST", f"http://{LOOPBACK}:{port}", content=sale), Unknown)
        assert time.monotonic() - began < SHORT_SECONDS + SLACK_SECONDS


def test_giant_body_is_not_read_completely(client: HttpClient) -> None:
    sent_bytes = 0
    max_bytes = 100 * 1024 * 1024

    def giant(talk: Connection) -> None:
        nonlocal sent_bytes
        talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % max_bytes)
        piece = b" " * 65536
        while sent_bytes < max_bytes:
            talk.send(piece)
            sent_bytes += len(piece)

    with FaultServer(giant) as fault_server:
        client.call("GET", f"http://{LOOPBACK}:{closed_port()}")  # the first call allocates memory once
        tracemalloc.start()
        try:
            answer = post_sale(client, fault_server.url)
            _, peak_bytes = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert answer == Unknown("the answer is larger than 1,048,576 bytes")
    assert peak_bytes < 8 * MAX_BODY_BYTES
    assert sent_bytes < 32 * 1024 * 1024, "what the sockets hold, and no more"


def compressed(body: bytes, *, times: int = 1, wbits: int = 31) -> bytes:
    """The body, compressed so many times, as gzip or, with 15, as zlib."""
    packer = zlib.compressobj(wbits=wbits)
    return b"".join(packer.compress(body) for _ in range(times)) + packer.flush()


MEBIBYTE = b" " * MAX_BODY_BYTES
COMPRESSED = {
    "gzip": ("gzip", compressed(b"{}"), b"{}"),
    "x-gzip": ("x-gzip", compressed(b"{}"), b"{}"),
    "capitals": ("GZIP", compressed(b"{}"), b"{}"),
    "zlib": ("deflate", compressed(b"{}", wbits=15), b"{}"),
    "identity": ("identity", b"{}", b"{}"),
    "just not too large": ("gzip", compressed(MEBIBYTE), MEBIBYTE),
    "just too large": ("gzip", compressed(MEBIBYTE + b" "), None),
    "a bomb": ("gzip", compressed(MEBIBYTE, times=200), None),
    "without its end": ("gzip", compressed(b"{}")[:-8], None),
    "with half its end": ("gzip", compressed(b"{}")[:-4], None),
    "with more behind": ("gzip", compressed(b"{}") + compressed(b" "), None),
    "not compressed": ("gzip", b"{}", None),
    "twice": ("gzip, gzip", compressed(compressed(b"{}")), None),
    "unknown": ("br", b"{}", None),
}
"""The declared encoding, the body on the wire, and the body as read. None: it is not readable."""


@pytest.mark.parametrize(("encoding", "body", "plain"), COMPRESSED.values(), ids=COMPRESSED)
def test_unrequested_compression_is_limited(
    client: HttpClient, encoding: str, body: bytes, plain: bytes | None
) -> None:
    with FaultServer(
        send_and_keep_open(http_response(body, headers=(f"Content-Encoding: {encoding}",)))
    ) as fault_server:
        tracemalloc.start()
        try:
            answer = post_sale(client, fault_server.url)
            _, peak_bytes = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak_bytes < 16 * MAX_BODY_BYTES
    if plain is None:
        assert answer == Unknown("the answer's compression can't be read")
    else:
        assert isinstance(answer, Response)
        assert answer.raw_body == plain


@pytest.mark.parametrize(
    "location", ["/elsewhere", "{other}/pay", "http://[", "\u20a6", "{other}/" + "x" * 99]
)
@pytest.mark.parametrize("status", ["301 Moved", "303 See Other", "307 Temporary", "308 Permanent"])
def test_redirects_are_not_followed(client: HttpClient, status: str, location: str) -> None:
    with FaultServer(send_and_keep_open(OK)) as elsewhere:
        to = f"Location: {location.format(other=elsewhere.url)}"
        with FaultServer(
            send_and_keep_open(http_response(b"", status=status, headers=(to,)))
        ) as fault_server:
            answer = post_sale(client, fault_server.url)
            assert len(fault_server.requests) == 1
        assert elsewhere.connections == 0
    assert isinstance(answer, Unknown) or (isinstance(answer, Response) and answer.status == int(status[:3]))


def test_echoed_request_is_not_reported(client: HttpClient) -> None:
    def echo(talk: Connection) -> None:
        talk.send(talk.request)
        talk.close()

    with FaultServer(echo) as fault_server:
        answer = post_sale(client, fault_server.url)  # checks that the secret is hidden
    assert answer == Unknown("the connection failed: RemoteProtocolError")


# --- connections ------------------------------------------------------------------------------------------------------


def test_connection_is_reused(client: HttpClient) -> None:
    with FaultServer(send_and_keep_open(OK)) as fault_server:
        assert [type(post_sale(client, fault_server.url)) for _ in range(3)] == [Response] * 3
        assert (fault_server.connections, len(fault_server.requests)) == (1, 3)


def test_closed_idle_connection_is_replaced(client: HttpClient) -> None:
    with FaultServer(send_and_close(OK)) as fault_server:
        for number in (1, 2, 3):
            assert isinstance(post_sale(client, fault_server.url), Response)
            assert fault_server.has_no_connections(SLACK_SECONDS)
            assert (fault_server.connections, len(fault_server.requests)) == (number, number)


def test_reset_on_reused_connection_returns_unknown_without_resend(
    client: HttpClient,
) -> None:
    def second_time_unlucky(talk: Connection) -> None:
        if len(fault_server.requests) == 1:
            talk.send(OK)
        else:
            talk.reset()

    with FaultServer(second_time_unlucky) as fault_server:
        assert isinstance(post_sale(client, fault_server.url), Response)
        assert isinstance(post_sale(client, fault_server.url), Unknown)
        assert (fault_server.connections, len(fault_server.requests)) == (1, 2)


@pytest.mark.parametrize("leftovers", [http_response(b'{"for": "none"}'), b"HTTP/1.1 200 O", b"\r\n", b"x"])
def test_leftover_bytes_are_not_the_next_answer(client: HttpClient, leftovers: bytes) -> None:
    """As when a Content-Length is too small."""

    def chatty(talk: Connection) -> None:
        body = b'{"for": %d}' % len(fault_server.requests)
        talk.send(http_response(body) + leftovers)

    with FaultServer(chatty) as fault_server:
        for number in (1, 2, 3):
            answer = post_sale(client, fault_server.url)
            assert isinstance(answer, Response)
            assert answer.body == {"for": number}
        assert len(fault_server.requests) == 3


def test_cookies_are_not_stored(client: HttpClient) -> None:
    with FaultServer(
        send_and_keep_open(http_response(b"{}", headers=("Set-Cookie: session=1; Path=/",)))
    ) as fault_server:
        for _ in range(2):
            post_sale(client, fault_server.url)
        assert all(b"cookie" not in request.lower() for request in fault_server.requests)


def test_environment_is_ignored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text(f"machine {LOOPBACK} login me password mine\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "no such file"))
    monkeypatch.delenv("NO_PROXY", raising=False)
    with FaultServer(send_and_keep_open(OK)) as proxy, FaultServer(send_and_keep_open(OK)) as fault_server:
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        with closing(HttpClient(timeout_seconds=AMPLE_SECONDS)) as client:
            assert isinstance(post_sale(client, fault_server.url), Response)
        assert (proxy.connections, len(fault_server.requests)) == (0, 1)
        assert b"authorization" not in fault_server.requests[0].lower()


def run_in_threads(number: int, act: Callable[[int], object]) -> list[object]:
    """The results of so many threads that start at the same moment."""
    start = threading.Barrier(number)

    def work(which: int) -> object:
        start.wait(AMPLE_SECONDS)
        return act(which)

    with ThreadPoolExecutor(number) as threads:
        return list(threads.map(work, range(number)))


def test_threads_have_separate_connections(client: HttpClient) -> None:
    def echo_when_all_are_here(talk: Connection) -> None:
        fault_server.has_requests(8, SLACK_SECONDS)
        talk.send(http_response(talk.request.partition(b"\r\n\r\n")[2]))

    with FaultServer(echo_when_all_are_here) as fault_server:
        for turn in (1, 2):
            answers = run_in_threads(
                8, lambda number: client.call("POST", fault_server.url, content={"number": number})
            )
            assert [getattr(one, "body", one) for one in answers] == [
                {"number": number} for number in range(8)
            ]
            assert len(fault_server.requests) == 8 * turn
        assert fault_server.connections == 8, "threads that come later take over the connections"


def test_call_after_close_opens_new_connection(client: HttpClient) -> None:
    with FaultServer(send_and_keep_open(OK)) as fault_server:
        post_sale(client, fault_server.url)
        client.close()
        client.close()
        assert fault_server.has_no_connections(SLACK_SECONDS)
        assert isinstance(post_sale(client, fault_server.url), Response)
        assert fault_server.connections == 2


def test_close_during_call_lets_it_finish(
    client: HttpClient,
) -> None:
    def close_and_answer(talk: Connection) -> None:
        client.close()
        talk.send(OK)

    with FaultServer(close_and_answer) as fault_server:
        assert isinstance(post_sale(client, fault_server.url), Response)
        assert fault_server.has_no_connections(SLACK_SECONDS)
