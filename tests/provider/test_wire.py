"""One HTTP call over real sockets: what left us, what arrived, how long it took, and what was never done."""

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
    mute_port,
    server_context,
    silent_port,
    slamming_port,
)

SHORT_SECONDS = 0.4
"""A deadline that is to pass."""
AMPLE_SECONDS = 10.0
"""A deadline that is not."""
SLACK_SECONDS = 2.0
"""How much later a call may come back on a busy machine."""
SECRET = "s3cr3t-Zq9"
HEADERS = {"api-key": SECRET}
SALE = {"id": "R1", "meter": "12345678901"}
OK = http_response(b'{"code": "000"}')


@pytest.fixture
def wire() -> Iterator[HttpClient]:
    wire = HttpClient(timeout_seconds=AMPLE_SECONDS)
    yield wire
    wire.close()


def sell(wire: HttpClient, url: str, **how: object) -> Response | NotSent | Unknown:
    """One call with a secret in it, that has to come back in time and to keep the secret."""
    seconds = how.get("timeout_seconds", AMPLE_SECONDS)
    began = time.monotonic()
    answer = wire.call("POST", url, headers=HEADERS, content=SALE, **how)  # type: ignore[arg-type]  # a table's
    assert isinstance(seconds, float)
    assert time.monotonic() - began < seconds + SLACK_SECONDS
    assert SECRET not in repr(answer)
    return answer


# --- a call that works ------------------------------------------------------------------------------------------------


def test_a_whole_answer_is_given_as_it_came(wire: HttpClient) -> None:
    body = b'{"amount": 1000.10, "n": 3, "text": "\\u20a6"}'
    answer = http_response(
        body, status="404 Not Found", kind="Application/JSON; charset=utf-8", headers=("X-Two: 2",)
    )
    with FaultServer(send_and_keep_open(answer)) as fault_server:
        said = wire.call("POST", f"{fault_server.url}/pay", headers=HEADERS, params={"a": "b"}, content=SALE)
    assert isinstance(said, Response)
    assert (said.status, said.raw_body) == (404, body)
    assert said.body == {"amount": Decimal("1000.10"), "n": 3, "text": "\u20a6"}
    assert said.headers["x-two"] == "2"
    assert said.is_json_object
    assert said.summary == "HTTP 404, Application/JSON"
    (request,) = fault_server.requests
    head, _, sent = request.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /pay?a=b HTTP/1.1\r\n")
    assert json.loads(sent) == SALE
    assert f"api-key: {SECRET}".encode() in head
    assert b"accept-encoding: identity" in head.lower()


def test_a_response_shows_nothing_of_its_content() -> None:
    said = Response(200, {"token": "12345678901234567890"}, {"x-key": SECRET}, b"12345678901234567890")
    assert repr(said) == "Response(status=200)"


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ({"content-type": "text/html; charset=utf-8"}, "HTTP 200, text/html"),
        ({}, "HTTP 200, no content type"),
        ({"content-type": f"your key is {SECRET}"}, "HTTP 200, no content type"),
        ({"content-type": "x/" + "y" * 5000}, "HTTP 200, no content type"),
        ({"content-type": "a/b\x1b[31m"}, "HTTP 200, no content type"),
    ],
)
def test_what_is_told_of_an_answer_is_a_few_plain_words(kind: dict[str, str], told: str) -> None:
    assert Response(200, None, kind).summary == told


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"<html>", b'{"a": NaN}', b'{"a": Infinity}', b"\xff", b"\xef\xbb\xbf{}", b'{"a"', b"{}{}"),
        *(b"[" * 100_000, b"1" * 5000, b'{"a": 1e99999999999999999999}'),
    ],
    ids=lambda body: repr(body[:20]),
)
def test_what_is_no_json_is_an_answer_without_a_body(wire: HttpClient, body: bytes) -> None:
    with FaultServer(send_and_keep_open(http_response(body))) as fault_server:
        said = sell(wire, fault_server.url)
    assert isinstance(said, Response)
    assert (said.body, said.raw_body, said.is_json_object) == (None, body, False)


# --- before the first byte --------------------------------------------------------------------------------------------


def test_a_refused_connection_is_not_sent(wire: HttpClient) -> None:
    said = sell(wire, f"http://{LOOPBACK}:{closed_port()}")
    assert isinstance(said, NotSent)
    assert "refused" in said.reason


def test_a_name_that_does_not_resolve_is_not_sent(wire: HttpClient) -> None:
    said = sell(wire, "https://nobody.invalid", timeout_seconds=3.0)
    assert isinstance(said, NotSent)


@pytest.mark.parametrize("host", ["a..b", "x" * 70 + ".example", "exa mple", "[::1", "127.0.0.1:99999999"])
def test_a_host_that_none_can_be_is_not_sent(wire: HttpClient, host: str) -> None:
    assert isinstance(sell(wire, f"http://{host}/"), NotSent)


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "127.0.0.1/pay", "/pay", ""])
def test_an_address_that_is_none_is_not_sent(wire: HttpClient, url: str) -> None:
    assert isinstance(sell(wire, url), NotSent)


def test_a_look_up_that_hangs_is_bounded_by_the_deadline() -> None:
    over = threading.Event()

    def hanging(host: str) -> tuple[str, ...]:
        over.wait(10)
        return (LOOPBACK,)

    said = sell(HttpClient(timeout_seconds=SHORT_SECONDS, resolve_host=hanging), "http://slow.example")
    over.set()
    assert said == NotSent("the provider can't be reached: ConnectTimeout: the name look-up took too long")


def test_a_name_without_addresses_is_not_sent() -> None:
    said = sell(
        HttpClient(timeout_seconds=AMPLE_SECONDS, resolve_host=lambda host: ()), "http://provider.example"
    )
    assert isinstance(said, NotSent)


def test_the_addresses_of_a_name_are_tried_in_turn() -> None:
    asked: list[str] = []

    def two(host: str) -> tuple[str, ...]:
        asked.append(host)
        return ("127.0.0.9", LOOPBACK)  # the server listens on the second alone

    with (
        FaultServer(send_and_keep_open(OK)) as fault_server,
        closing(HttpClient(timeout_seconds=10.0, resolve_host=two)) as wire,
    ):
        assert isinstance(sell(wire, f"http://provider.example:{fault_server.port}"), Response)
        assert len(fault_server.requests) == 1
        assert b"host: provider.example:" in fault_server.requests[0].lower()
    assert asked == ["provider.example"]


def test_an_address_that_keeps_silent_leaves_time_for_the_next() -> None:
    addresses = ("127.0.0.9", LOOPBACK)
    with (
        FaultServer(send_and_keep_open(OK)) as fault_server,
        mute_port(addresses[0], fault_server.port),
        closing(HttpClient(timeout_seconds=1.0, resolve_host=lambda host: addresses)) as wire,
    ):
        assert isinstance(sell(wire, f"http://provider.example:{fault_server.port}"), Response)


def test_addresses_that_all_keep_silent_take_the_deadline_and_no_more() -> None:
    with mute_port() as port:
        wire = HttpClient(timeout_seconds=SHORT_SECONDS, resolve_host=lambda host: (LOOPBACK,) * 3)
        assert isinstance(sell(wire, f"http://provider.example:{port}"), NotSent)


def test_the_usual_look_up_finds_this_machine() -> None:
    assert LOOPBACK in resolve_host("localhost")
    assert resolve_host(LOOPBACK) == (LOOPBACK,)


@pytest.mark.parametrize("asked_first", [True, False])
def test_without_leave_not_a_byte_is_sent(wire: HttpClient, asked_first: bool) -> None:
    leaves: list[bool] = []
    with FaultServer(send_and_keep_open(OK)) as fault_server:

        def may_send() -> bool:
            leaves.append(not asked_first and not leaves)  # at first, and no more when the connection stands
            return leaves[-1]

        assert sell(wire, fault_server.url, may_send=may_send) == NotSent("it was too late to send")
        assert isinstance(sell(wire, fault_server.url), Response), "and the next call works"
    assert leaves == ([False] if asked_first else [True, False])
    assert len(fault_server.requests) == 1
    assert fault_server.received_bytes == fault_server.requests[0]


def test_leave_is_asked_when_the_connection_stands_and_once_more_on_one_that_is_kept(
    wire: HttpClient,
) -> None:
    seen: list[tuple[int, int]] = []
    with FaultServer(send_and_keep_open(OK)) as fault_server:

        def may_send() -> bool:
            if seen:
                fault_server.has_connection(SLACK_SECONDS)
            seen.append((fault_server.connections, len(fault_server.received_bytes)))
            return True

        sell(wire, fault_server.url, may_send=may_send)
        length = len(fault_server.received_bytes)
        sell(wire, fault_server.url, may_send=may_send)
    assert seen == [(0, 0), (1, 0), (1, length), (1, length)]


def test_a_deadline_that_passes_before_the_first_byte_leaves_nothing_sent(wire: HttpClient) -> None:
    with FaultServer(send_and_keep_open(OK)) as fault_server:
        for requests in (0, 1):  # on a new connection, and on one that is kept
            assert isinstance(sell(wire, fault_server.url, timeout_seconds=1e-9), NotSent)
            assert len(fault_server.requests) == requests
            sell(wire, fault_server.url)
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
def test_a_header_that_can_not_be_sent_is_not_sent_and_not_told(
    wire: HttpClient, headers: dict[str, str]
) -> None:
    with FaultServer(send_and_keep_open(OK)) as fault_server:
        said = wire.call("GET", fault_server.url, headers=headers)
        assert isinstance(said, NotSent)
        assert SECRET not in said.reason
        assert not fault_server.received_bytes


@pytest.mark.parametrize("content", ["\ud800", float("nan")])
def test_content_that_can_not_be_written_is_not_sent(wire: HttpClient, content: object) -> None:
    with FaultServer(send_and_keep_open(OK)) as fault_server:
        assert isinstance(wire.call("POST", fault_server.url, content={"phone": content}), NotSent)
        assert not fault_server.connections


# --- TLS --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificate(tmp_path_factory.mktemp("tls"))


def test_a_server_that_speaks_no_tls_is_not_sent(wire: HttpClient) -> None:
    with FaultServer(send_and_keep_open(OK)) as fault_server:
        said = sell(wire, fault_server.url.replace("http:", "https:"), timeout_seconds=SHORT_SECONDS)
        assert isinstance(said, NotSent)
        assert fault_server.requests == []
        assert SECRET.encode() not in fault_server.received_bytes


def test_a_certificate_that_nobody_signed_is_not_sent(wire: HttpClient, pem: Path) -> None:
    with FaultServer(send_and_keep_open(OK), tls=server_context(pem)) as fault_server:
        said = sell(wire, fault_server.url)
        assert isinstance(said, NotSent)
        assert "CERTIFICATE_VERIFY_FAILED" in said.reason
        assert not fault_server.received_bytes


def test_a_certificate_for_another_name_is_not_sent(pem: Path) -> None:
    with FaultServer(send_and_keep_open(OK), tls=server_context(pem)) as fault_server:
        wire = HttpClient(
            timeout_seconds=AMPLE_SECONDS, trusted_certificates=pem, resolve_host=lambda host: (LOOPBACK,)
        )
        said = sell(wire, f"https://provider.example:{fault_server.port}")
        assert isinstance(said, NotSent)
        assert "provider.example" in said.reason
        assert not fault_server.received_bytes


def test_a_handshake_that_hangs_is_not_sent() -> None:
    with silent_port() as port:
        assert isinstance(
            sell(HttpClient(timeout_seconds=SHORT_SECONDS), f"https://{LOOPBACK}:{port}"), NotSent
        )


def test_a_handshake_that_is_reset_is_not_sent(wire: HttpClient) -> None:
    with slamming_port() as port:
        assert isinstance(sell(wire, f"https://{LOOPBACK}:{port}"), NotSent)


def test_a_connection_that_is_reset_under_the_request_is_in_doubt(wire: HttpClient) -> None:
    asked: list[int] = []
    with socket.create_server((LOOPBACK, 0)) as server:

        def may_send() -> bool:
            asked.append(len(asked))
            if len(asked) == 2:  # the connection stands, and the first byte is next
                connection, _ = server.accept()
                Connection(b"", connection, threading.Event()).reset()
            return True

        said = sell(wire, f"http://{LOOPBACK}:{server.getsockname()[1]}", may_send=may_send)
    assert isinstance(said, Unknown)
    assert asked == [0, 1]


@pytest.mark.parametrize(
    ("behave", "kind"),
    [
        (send_and_keep_open(OK), Response),
        (Connection.reset, Unknown),
        (Connection.close, Unknown),
        (Connection.hang, Unknown),
    ],
)
def test_over_tls_the_request_is_the_first_byte_and_not_the_handshake(
    pem: Path, behave: Handler, kind: type
) -> None:
    with (
        FaultServer(behave, tls=server_context(pem)) as fault_server,
        closing(HttpClient(timeout_seconds=SHORT_SECONDS, trusted_certificates=pem)) as wire,
    ):
        received: list[int] = []

        def may_send() -> bool:
            received.append(len(fault_server.received_bytes))
            return True

        said = sell(wire, fault_server.url, may_send=may_send)
        assert isinstance(said, kind)
        assert received == [0, 0]
        assert len(fault_server.requests) == 1


def test_threads_share_one_tls_context(pem: Path) -> None:
    with (
        FaultServer(send_and_keep_open(OK), tls=server_context(pem)) as fault_server,
        closing(HttpClient(timeout_seconds=AMPLE_SECONDS, trusted_certificates=pem)) as wire,
    ):
        said = together(8, lambda number: sell(wire, fault_server.url))
        assert [type(one) for one in said] == [Response] * 8
        assert len(fault_server.requests) == 8


# --- after the first byte ---------------------------------------------------------------------------------------------


WHOLE = {
    "HTML 500": 500,
    "HTML 502": 502,
    "HTML 200": 200,
    "JSON 503": 503,
    "empty 200": 200,
    "empty 204": 204,
}
"""The faults that are whole answers all the same, with their status."""


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_after_the_first_byte_there_is_a_whole_answer_or_doubt(fault: Fault, wire: HttpClient) -> None:
    with FaultServer(fault.handler) as fault_server:
        said = sell(
            wire,
            fault_server.url,
            timeout_seconds=SHORT_SECONDS if fault.lasts_until_deadline else AMPLE_SECONDS,
        )
        assert len(fault_server.requests) == 1
        assert bytes(fault_server.received_bytes) == fault_server.requests[0], "no byte of another request"
    if fault.name in WHOLE:
        assert isinstance(said, Response)
        assert said.status == WHOLE[fault.name]
        assert not said.is_json_object or said.body == {}
    else:
        assert isinstance(said, Unknown)
    with FaultServer(send_and_keep_open(OK)) as healthy:
        assert isinstance(sell(wire, healthy.url), Response), "and the next call works"


def test_a_deadline_is_told_as_one(wire: HttpClient) -> None:
    with FaultServer(Connection.hang) as fault_server:
        assert sell(wire, fault_server.url, timeout_seconds=0.25) == Unknown("no whole answer within 0.25 s")


def test_a_request_that_nobody_reads_is_bounded_by_the_deadline() -> None:
    sale = {"padding": "x" * 30_000_000}  # more than the sockets hold
    with silent_port() as port, closing(HttpClient(timeout_seconds=SHORT_SECONDS)) as wire:
        began = time.monotonic()
        assert isinstance(wire.call("POST", f"http://{LOOPBACK}:{port}", content=sale), Unknown)
        assert time.monotonic() - began < SHORT_SECONDS + SLACK_SECONDS


def test_of_a_giant_body_little_is_read_and_less_is_kept(wire: HttpClient) -> None:
    said_bytes = 0
    most_bytes = 100 * 1024 * 1024

    def giant(talk: Connection) -> None:
        nonlocal said_bytes
        talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % most_bytes)
        piece = b" " * 65536
        while said_bytes < most_bytes:
            talk.send(piece)
            said_bytes += len(piece)

    with FaultServer(giant) as fault_server:
        wire.call("GET", f"http://{LOOPBACK}:{closed_port()}")  # what a first call takes is taken
        tracemalloc.start()
        try:
            said = sell(wire, fault_server.url)
            _, peak_bytes = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert said == Unknown("the answer is larger than 1,048,576 bytes")
    assert peak_bytes < 8 * MAX_BODY_BYTES
    assert said_bytes < 32 * 1024 * 1024, "what the sockets hold, and no more"


def packed(body: bytes, *, times: int = 1, wbits: int = 31) -> bytes:
    """The body, so many times over, as gzip or, with 15, as zlib."""
    packer = zlib.compressobj(wbits=wbits)
    return b"".join(packer.compress(body) for _ in range(times)) + packer.flush()


MEBIBYTE = b" " * MAX_BODY_BYTES
COMPRESSED = {
    "gzip": ("gzip", packed(b"{}"), b"{}"),
    "x-gzip": ("x-gzip", packed(b"{}"), b"{}"),
    "capitals": ("GZIP", packed(b"{}"), b"{}"),
    "zlib": ("deflate", packed(b"{}", wbits=15), b"{}"),
    "identity": ("identity", b"{}", b"{}"),
    "just not too large": ("gzip", packed(MEBIBYTE), MEBIBYTE),
    "just too large": ("gzip", packed(MEBIBYTE + b" "), None),
    "a bomb": ("gzip", packed(MEBIBYTE, times=200), None),
    "without its end": ("gzip", packed(b"{}")[:-8], None),
    "with half its end": ("gzip", packed(b"{}")[:-4], None),
    "with more behind": ("gzip", packed(b"{}") + packed(b" "), None),
    "not compressed": ("gzip", b"{}", None),
    "twice": ("gzip, gzip", packed(packed(b"{}")), None),
    "unknown": ("br", b"{}", None),
}
"""An encoding as declared, a body as sent, and how it is read; None: not at all."""


@pytest.mark.parametrize(("encoding", "body", "plain"), COMPRESSED.values(), ids=COMPRESSED)
def test_compression_that_we_asked_nobody_for_is_read_within_bounds_or_not(
    wire: HttpClient, encoding: str, body: bytes, plain: bytes | None
) -> None:
    with FaultServer(
        send_and_keep_open(http_response(body, headers=(f"Content-Encoding: {encoding}",)))
    ) as fault_server:
        tracemalloc.start()
        try:
            said = sell(wire, fault_server.url)
            _, peak_bytes = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak_bytes < 16 * MAX_BODY_BYTES
    if plain is None:
        assert said == Unknown("the answer's compression can't be read")
    else:
        assert isinstance(said, Response)
        assert said.raw_body == plain


@pytest.mark.parametrize(
    "location", ["/elsewhere", "{other}/pay", "http://[", "\u20a6", "{other}/" + "x" * 99]
)
@pytest.mark.parametrize("status", ["301 Moved", "303 See Other", "307 Temporary", "308 Permanent"])
def test_redirects_are_answers_that_are_not_followed(wire: HttpClient, status: str, location: str) -> None:
    with FaultServer(send_and_keep_open(OK)) as elsewhere:
        to = f"Location: {location.format(other=elsewhere.url)}"
        with FaultServer(
            send_and_keep_open(http_response(b"", status=status, headers=(to,)))
        ) as fault_server:
            said = sell(wire, fault_server.url)
            assert len(fault_server.requests) == 1
        assert elsewhere.connections == 0
    assert isinstance(said, Unknown) or (isinstance(said, Response) and said.status == int(status[:3]))


def test_what_the_other_side_throws_back_is_not_told(wire: HttpClient) -> None:
    def echo(talk: Connection) -> None:
        talk.send(talk.request)
        talk.close()

    with FaultServer(echo) as fault_server:
        said = sell(wire, fault_server.url)  # which looks for the secret
    assert said == Unknown("the connection failed: RemoteProtocolError")


# --- connections ------------------------------------------------------------------------------------------------------


def test_a_connection_is_used_again(wire: HttpClient) -> None:
    with FaultServer(send_and_keep_open(OK)) as fault_server:
        assert [type(sell(wire, fault_server.url)) for _ in range(3)] == [Response] * 3
        assert (fault_server.connections, len(fault_server.requests)) == (1, 3)


def test_a_connection_that_the_server_closed_meanwhile_is_replaced(wire: HttpClient) -> None:
    with FaultServer(send_and_close(OK)) as fault_server:
        for number in (1, 2, 3):
            assert isinstance(sell(wire, fault_server.url), Response)
            assert fault_server.has_no_connections(SLACK_SECONDS)
            assert (fault_server.connections, len(fault_server.requests)) == (number, number)


def test_a_connection_that_dies_under_the_second_request_is_doubt_and_nothing_is_sent_twice(
    wire: HttpClient,
) -> None:
    def second_time_unlucky(talk: Connection) -> None:
        if len(fault_server.requests) == 1:
            talk.send(OK)
        else:
            talk.reset()

    with FaultServer(second_time_unlucky) as fault_server:
        assert isinstance(sell(wire, fault_server.url), Response)
        assert isinstance(sell(wire, fault_server.url), Unknown)
        assert (fault_server.connections, len(fault_server.requests)) == (1, 2)


@pytest.mark.parametrize("leftovers", [http_response(b'{"for": "nobody"}'), b"HTTP/1.1 200 O", b"\r\n", b"x"])
def test_what_comes_after_an_answer_is_not_the_answer_to_the_next_request(
    wire: HttpClient, leftovers: bytes
) -> None:
    """A Content-Length that is too small, say."""

    def chatty(talk: Connection) -> None:
        body = b'{"for": %d}' % len(fault_server.requests)
        talk.send(http_response(body) + leftovers)

    with FaultServer(chatty) as fault_server:
        for number in (1, 2, 3):
            said = sell(wire, fault_server.url)
            assert isinstance(said, Response)
            assert said.body == {"for": number}
        assert len(fault_server.requests) == 3


def test_no_cookie_is_kept(wire: HttpClient) -> None:
    with FaultServer(
        send_and_keep_open(http_response(b"{}", headers=("Set-Cookie: session=1; Path=/",)))
    ) as fault_server:
        for _ in range(2):
            sell(wire, fault_server.url)
        assert all(b"cookie" not in request.lower() for request in fault_server.requests)


def test_the_environment_has_no_say(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text(f"machine {LOOPBACK} login me password mine\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "no such file"))
    monkeypatch.delenv("NO_PROXY", raising=False)
    with FaultServer(send_and_keep_open(OK)) as proxy, FaultServer(send_and_keep_open(OK)) as fault_server:
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        with closing(HttpClient(timeout_seconds=AMPLE_SECONDS)) as wire:
            assert isinstance(sell(wire, fault_server.url), Response)
        assert (proxy.connections, len(fault_server.requests)) == (0, 1)
        assert b"authorization" not in fault_server.requests[0].lower()


def together(number: int, act: Callable[[int], object]) -> list[object]:
    """What each of so many threads brings back, which begin at the same moment."""
    start = threading.Barrier(number)

    def work(which: int) -> object:
        start.wait(AMPLE_SECONDS)
        return act(which)

    with ThreadPoolExecutor(number) as threads:
        return list(threads.map(work, range(number)))


def test_threads_have_a_connection_each_and_get_their_own_answers(wire: HttpClient) -> None:
    def echo_when_all_are_here(talk: Connection) -> None:
        fault_server.has_requests(8, SLACK_SECONDS)
        talk.send(http_response(talk.request.partition(b"\r\n\r\n")[2]))

    with FaultServer(echo_when_all_are_here) as fault_server:
        for turn in (1, 2):
            said = together(8, lambda number: wire.call("POST", fault_server.url, content={"number": number}))
            assert [getattr(one, "body", one) for one in said] == [{"number": number} for number in range(8)]
            assert len(fault_server.requests) == 8 * turn
        assert fault_server.connections == 8, "threads that come later take over the connections"


def test_close_gives_the_connections_back_and_a_later_call_opens_one(wire: HttpClient) -> None:
    with FaultServer(send_and_keep_open(OK)) as fault_server:
        sell(wire, fault_server.url)
        wire.close()
        wire.close()
        assert fault_server.has_no_connections(SLACK_SECONDS)
        assert isinstance(sell(wire, fault_server.url), Response)
        assert fault_server.connections == 2


def test_a_call_that_is_under_way_at_close_comes_to_its_end_and_then_leaves_no_connection(
    wire: HttpClient,
) -> None:
    def close_and_answer(talk: Connection) -> None:
        wire.close()
        talk.send(OK)

    with FaultServer(close_and_answer) as fault_server:
        assert isinstance(sell(wire, fault_server.url), Response)
        assert fault_server.has_no_connections(SLACK_SECONDS)
