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

from billvend.adapters.provider.wire import LARGEST_BODY_BYTES, Response, Wire, look_up
from billvend.domain.outcome import NotSent, Unknown
from billvend.testing.faults import FAULTS, Fault
from billvend.testing.other_side import LOOPBACK, Behaviour, OtherSide, Talk, answers, http_answer, says
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
OK = http_answer(b'{"code": "000"}')


@pytest.fixture
def wire() -> Iterator[Wire]:
    wire = Wire(timeout_seconds=AMPLE_SECONDS)
    yield wire
    wire.close()


def sell(wire: Wire, url: str, **how: object) -> Response | NotSent | Unknown:
    """One call with a secret in it, that has to come back in time and to keep the secret."""
    seconds = how.get("timeout_seconds", AMPLE_SECONDS)
    began = time.monotonic()
    answer = wire.call("POST", url, headers=HEADERS, content=SALE, **how)  # type: ignore[arg-type]  # a table's
    assert isinstance(seconds, float)
    assert time.monotonic() - began < seconds + SLACK_SECONDS
    assert SECRET not in repr(answer)
    return answer


# --- a call that works ------------------------------------------------------------------------------------------------


def test_a_whole_answer_is_given_as_it_came(wire: Wire) -> None:
    body = b'{"amount": 1000.10, "n": 3, "text": "\\u20a6"}'
    answer = http_answer(
        body, status="404 Not Found", kind="Application/JSON; charset=utf-8", headers=("X-Two: 2",)
    )
    with OtherSide(answers(answer)) as other_side:
        said = wire.call("POST", f"{other_side.url}/pay", headers=HEADERS, params={"a": "b"}, content=SALE)
    assert isinstance(said, Response)
    assert (said.status, said.raw) == (404, body)
    assert said.body == {"amount": Decimal("1000.10"), "n": 3, "text": "\u20a6"}
    assert said.headers["x-two"] == "2"
    assert said.is_json_object
    assert said.told == "HTTP 404, Application/JSON"
    (request,) = other_side.requests
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
    assert Response(200, None, kind).told == told


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"<html>", b'{"a": NaN}', b'{"a": Infinity}', b"\xff", b"\xef\xbb\xbf{}", b'{"a"', b"{}{}"),
        *(b"[" * 100_000, b"1" * 5000, b'{"a": 1e99999999999999999999}'),
    ],
    ids=lambda body: repr(body[:20]),
)
def test_what_is_no_json_is_an_answer_without_a_body(wire: Wire, body: bytes) -> None:
    with OtherSide(answers(http_answer(body))) as other_side:
        said = sell(wire, other_side.url)
    assert isinstance(said, Response)
    assert (said.body, said.raw, said.is_json_object) == (None, body, False)


# --- before the first byte --------------------------------------------------------------------------------------------


def test_a_refused_connection_is_not_sent(wire: Wire) -> None:
    said = sell(wire, f"http://{LOOPBACK}:{closed_port()}")
    assert isinstance(said, NotSent)
    assert "refused" in said.why


def test_a_name_that_does_not_resolve_is_not_sent(wire: Wire) -> None:
    said = sell(wire, "https://nobody.invalid", timeout_seconds=3.0)
    assert isinstance(said, NotSent)


@pytest.mark.parametrize("host", ["a..b", "x" * 70 + ".example", "exa mple", "[::1", "127.0.0.1:99999999"])
def test_a_host_that_none_can_be_is_not_sent(wire: Wire, host: str) -> None:
    assert isinstance(sell(wire, f"http://{host}/"), NotSent)


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "127.0.0.1/pay", "/pay", ""])
def test_an_address_that_is_none_is_not_sent(wire: Wire, url: str) -> None:
    assert isinstance(sell(wire, url), NotSent)


def test_a_look_up_that_hangs_is_bounded_by_the_deadline() -> None:
    over = threading.Event()

    def hanging(host: str) -> tuple[str, ...]:
        over.wait(10)
        return (LOOPBACK,)

    said = sell(Wire(timeout_seconds=SHORT_SECONDS, look_up=hanging), "http://slow.example")
    over.set()
    assert said == NotSent("the provider can't be reached: ConnectTimeout: the name look-up took too long")


def test_a_name_without_addresses_is_not_sent() -> None:
    said = sell(Wire(timeout_seconds=AMPLE_SECONDS, look_up=lambda host: ()), "http://provider.example")
    assert isinstance(said, NotSent)


def test_the_addresses_of_a_name_are_tried_in_turn() -> None:
    asked: list[str] = []

    def two(host: str) -> tuple[str, ...]:
        asked.append(host)
        return ("127.0.0.9", LOOPBACK)  # the server listens on the second alone

    with OtherSide(answers(OK)) as other_side, closing(Wire(timeout_seconds=10.0, look_up=two)) as wire:
        assert isinstance(sell(wire, f"http://provider.example:{other_side.port}"), Response)
        assert len(other_side.requests) == 1
        assert b"host: provider.example:" in other_side.requests[0].lower()
    assert asked == ["provider.example"]


def test_an_address_that_keeps_silent_leaves_time_for_the_next() -> None:
    addresses = ("127.0.0.9", LOOPBACK)
    with (
        OtherSide(answers(OK)) as other_side,
        mute_port(addresses[0], other_side.port),
        closing(Wire(timeout_seconds=1.0, look_up=lambda host: addresses)) as wire,
    ):
        assert isinstance(sell(wire, f"http://provider.example:{other_side.port}"), Response)


def test_addresses_that_all_keep_silent_take_the_deadline_and_no_more() -> None:
    with mute_port() as port:
        wire = Wire(timeout_seconds=SHORT_SECONDS, look_up=lambda host: (LOOPBACK,) * 3)
        assert isinstance(sell(wire, f"http://provider.example:{port}"), NotSent)


def test_the_usual_look_up_finds_this_machine() -> None:
    assert LOOPBACK in look_up("localhost")
    assert look_up(LOOPBACK) == (LOOPBACK,)


@pytest.mark.parametrize("asked_first", [True, False])
def test_without_leave_not_a_byte_is_sent(wire: Wire, asked_first: bool) -> None:
    leaves: list[bool] = []
    with OtherSide(answers(OK)) as other_side:

        def may_send() -> bool:
            leaves.append(not asked_first and not leaves)  # at first, and no more when the connection stands
            return leaves[-1]

        assert sell(wire, other_side.url, may_send=may_send) == NotSent("it was too late to send")
        assert isinstance(sell(wire, other_side.url), Response), "and the next call works"
    assert leaves == ([False] if asked_first else [True, False])
    assert len(other_side.requests) == 1
    assert other_side.received == other_side.requests[0]


def test_leave_is_asked_when_the_connection_stands_and_once_more_on_one_that_is_kept(wire: Wire) -> None:
    seen: list[tuple[int, int]] = []
    with OtherSide(answers(OK)) as other_side:

        def may_send() -> bool:
            if seen:
                other_side.has_connection(SLACK_SECONDS)
            seen.append((other_side.connections, len(other_side.received)))
            return True

        sell(wire, other_side.url, may_send=may_send)
        length = len(other_side.received)
        sell(wire, other_side.url, may_send=may_send)
    assert seen == [(0, 0), (1, 0), (1, length), (1, length)]


def test_a_deadline_that_passes_before_the_first_byte_leaves_nothing_sent(wire: Wire) -> None:
    with OtherSide(answers(OK)) as other_side:
        for requests in (0, 1):  # on a new connection, and on one that is kept
            assert isinstance(sell(wire, other_side.url, timeout_seconds=1e-9), NotSent)
            assert len(other_side.requests) == requests
            sell(wire, other_side.url)
        assert bytes(other_side.received) == b"".join(other_side.requests)


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
def test_a_header_that_can_not_be_sent_is_not_sent_and_not_told(wire: Wire, headers: dict[str, str]) -> None:
    with OtherSide(answers(OK)) as other_side:
        said = wire.call("GET", other_side.url, headers=headers)
        assert isinstance(said, NotSent)
        assert SECRET not in said.why
        assert not other_side.received


@pytest.mark.parametrize("content", ["\ud800", float("nan")])
def test_content_that_can_not_be_written_is_not_sent(wire: Wire, content: object) -> None:
    with OtherSide(answers(OK)) as other_side:
        assert isinstance(wire.call("POST", other_side.url, content={"phone": content}), NotSent)
        assert not other_side.connections


# --- TLS --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificate(tmp_path_factory.mktemp("tls"))


def test_a_server_that_speaks_no_tls_is_not_sent(wire: Wire) -> None:
    with OtherSide(answers(OK)) as other_side:
        said = sell(wire, other_side.url.replace("http:", "https:"), timeout_seconds=SHORT_SECONDS)
        assert isinstance(said, NotSent)
        assert other_side.requests == []
        assert SECRET.encode() not in other_side.received


def test_a_certificate_that_nobody_signed_is_not_sent(wire: Wire, pem: Path) -> None:
    with OtherSide(answers(OK), tls=server_context(pem)) as other_side:
        said = sell(wire, other_side.url)
        assert isinstance(said, NotSent)
        assert "CERTIFICATE_VERIFY_FAILED" in said.why
        assert not other_side.received


def test_a_certificate_for_another_name_is_not_sent(pem: Path) -> None:
    with OtherSide(answers(OK), tls=server_context(pem)) as other_side:
        wire = Wire(timeout_seconds=AMPLE_SECONDS, trusted_certificates=pem, look_up=lambda host: (LOOPBACK,))
        said = sell(wire, f"https://provider.example:{other_side.port}")
        assert isinstance(said, NotSent)
        assert "provider.example" in said.why
        assert not other_side.received


def test_a_handshake_that_hangs_is_not_sent() -> None:
    with silent_port() as port:
        assert isinstance(sell(Wire(timeout_seconds=SHORT_SECONDS), f"https://{LOOPBACK}:{port}"), NotSent)


def test_a_handshake_that_is_reset_is_not_sent(wire: Wire) -> None:
    with slamming_port() as port:
        assert isinstance(sell(wire, f"https://{LOOPBACK}:{port}"), NotSent)


def test_a_connection_that_is_reset_under_the_request_is_in_doubt(wire: Wire) -> None:
    asked: list[int] = []
    with socket.create_server((LOOPBACK, 0)) as server:

        def may_send() -> bool:
            asked.append(len(asked))
            if len(asked) == 2:  # the connection stands, and the first byte is next
                connection, _ = server.accept()
                Talk(b"", connection, threading.Event()).reset()
            return True

        said = sell(wire, f"http://{LOOPBACK}:{server.getsockname()[1]}", may_send=may_send)
    assert isinstance(said, Unknown)
    assert asked == [0, 1]


@pytest.mark.parametrize(
    ("behave", "kind"),
    [(answers(OK), Response), (Talk.reset, Unknown), (Talk.hang_up, Unknown), (Talk.stall, Unknown)],
)
def test_over_tls_the_request_is_the_first_byte_and_not_the_handshake(
    pem: Path, behave: Behaviour, kind: type
) -> None:
    with (
        OtherSide(behave, tls=server_context(pem)) as other_side,
        closing(Wire(timeout_seconds=SHORT_SECONDS, trusted_certificates=pem)) as wire,
    ):
        received: list[int] = []

        def may_send() -> bool:
            received.append(len(other_side.received))
            return True

        said = sell(wire, other_side.url, may_send=may_send)
        assert isinstance(said, kind)
        assert received == [0, 0]
        assert len(other_side.requests) == 1


def test_threads_share_one_tls_context(pem: Path) -> None:
    with (
        OtherSide(answers(OK), tls=server_context(pem)) as other_side,
        closing(Wire(timeout_seconds=AMPLE_SECONDS, trusted_certificates=pem)) as wire,
    ):
        said = together(8, lambda number: sell(wire, other_side.url))
        assert [type(one) for one in said] == [Response] * 8
        assert len(other_side.requests) == 8


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
def test_after_the_first_byte_there_is_a_whole_answer_or_doubt(fault: Fault, wire: Wire) -> None:
    with OtherSide(fault.behave) as other_side:
        said = sell(wire, other_side.url, timeout_seconds=SHORT_SECONDS if fault.lasts else AMPLE_SECONDS)
        assert len(other_side.requests) == 1
        assert bytes(other_side.received) == other_side.requests[0], "no byte of another request"
    if fault.name in WHOLE:
        assert isinstance(said, Response)
        assert said.status == WHOLE[fault.name]
        assert not said.is_json_object or said.body == {}
    else:
        assert isinstance(said, Unknown)
    with OtherSide(answers(OK)) as healthy:
        assert isinstance(sell(wire, healthy.url), Response), "and the next call works"


def test_a_deadline_is_told_as_one(wire: Wire) -> None:
    with OtherSide(Talk.stall) as other_side:
        assert sell(wire, other_side.url, timeout_seconds=0.25) == Unknown("no whole answer within 0.25 s")


def test_a_request_that_nobody_reads_is_bounded_by_the_deadline() -> None:
    sale = {"padding": "x" * 30_000_000}  # more than the sockets hold
    with silent_port() as port, closing(Wire(timeout_seconds=SHORT_SECONDS)) as wire:
        began = time.monotonic()
        assert isinstance(wire.call("POST", f"http://{LOOPBACK}:{port}", content=sale), Unknown)
        assert time.monotonic() - began < SHORT_SECONDS + SLACK_SECONDS


def test_of_a_giant_body_little_is_read_and_less_is_kept(wire: Wire) -> None:
    said_bytes = 0
    most_bytes = 100 * 1024 * 1024

    def giant(talk: Talk) -> None:
        nonlocal said_bytes
        talk.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % most_bytes)
        piece = b" " * 65536
        while said_bytes < most_bytes:
            talk.say(piece)
            said_bytes += len(piece)

    with OtherSide(giant) as other_side:
        wire.call("GET", f"http://{LOOPBACK}:{closed_port()}")  # what a first call takes is taken
        tracemalloc.start()
        try:
            said = sell(wire, other_side.url)
            _, peak_bytes = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert said == Unknown("the answer is larger than 1,048,576 bytes")
    assert peak_bytes < 8 * LARGEST_BODY_BYTES
    assert said_bytes < 32 * 1024 * 1024, "what the sockets hold, and no more"


def packed(body: bytes, *, times: int = 1, wbits: int = 31) -> bytes:
    """The body, so many times over, as gzip or, with 15, as zlib."""
    packer = zlib.compressobj(wbits=wbits)
    return b"".join(packer.compress(body) for _ in range(times)) + packer.flush()


MEBIBYTE = b" " * LARGEST_BODY_BYTES
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
    wire: Wire, encoding: str, body: bytes, plain: bytes | None
) -> None:
    with OtherSide(answers(http_answer(body, headers=(f"Content-Encoding: {encoding}",)))) as other_side:
        tracemalloc.start()
        try:
            said = sell(wire, other_side.url)
            _, peak_bytes = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak_bytes < 16 * LARGEST_BODY_BYTES
    if plain is None:
        assert said == Unknown("the answer's compression can't be read")
    else:
        assert isinstance(said, Response)
        assert said.raw == plain


@pytest.mark.parametrize(
    "location", ["/elsewhere", "{other}/pay", "http://[", "\u20a6", "{other}/" + "x" * 99]
)
@pytest.mark.parametrize("status", ["301 Moved", "303 See Other", "307 Temporary", "308 Permanent"])
def test_redirects_are_answers_that_are_not_followed(wire: Wire, status: str, location: str) -> None:
    with OtherSide(answers(OK)) as elsewhere:
        to = f"Location: {location.format(other=elsewhere.url)}"
        with OtherSide(answers(http_answer(b"", status=status, headers=(to,)))) as other_side:
            said = sell(wire, other_side.url)
            assert len(other_side.requests) == 1
        assert elsewhere.connections == 0
    assert isinstance(said, Unknown) or (isinstance(said, Response) and said.status == int(status[:3]))


def test_what_the_other_side_throws_back_is_not_told(wire: Wire) -> None:
    def echo(talk: Talk) -> None:
        talk.say(talk.request)
        talk.hang_up()

    with OtherSide(echo) as other_side:
        said = sell(wire, other_side.url)  # which looks for the secret
    assert said == Unknown("the connection failed: RemoteProtocolError")


# --- connections ------------------------------------------------------------------------------------------------------


def test_a_connection_is_used_again(wire: Wire) -> None:
    with OtherSide(answers(OK)) as other_side:
        assert [type(sell(wire, other_side.url)) for _ in range(3)] == [Response] * 3
        assert (other_side.connections, len(other_side.requests)) == (1, 3)


def test_a_connection_that_the_server_closed_meanwhile_is_replaced(wire: Wire) -> None:
    with OtherSide(says(OK)) as other_side:
        for number in (1, 2, 3):
            assert isinstance(sell(wire, other_side.url), Response)
            assert other_side.is_left_alone(SLACK_SECONDS)
            assert (other_side.connections, len(other_side.requests)) == (number, number)


def test_a_connection_that_dies_under_the_second_request_is_doubt_and_nothing_is_sent_twice(
    wire: Wire,
) -> None:
    def second_time_unlucky(talk: Talk) -> None:
        if len(other_side.requests) == 1:
            talk.say(OK)
        else:
            talk.reset()

    with OtherSide(second_time_unlucky) as other_side:
        assert isinstance(sell(wire, other_side.url), Response)
        assert isinstance(sell(wire, other_side.url), Unknown)
        assert (other_side.connections, len(other_side.requests)) == (1, 2)


@pytest.mark.parametrize("leftovers", [http_answer(b'{"for": "nobody"}'), b"HTTP/1.1 200 O", b"\r\n", b"x"])
def test_what_comes_after_an_answer_is_not_the_answer_to_the_next_request(
    wire: Wire, leftovers: bytes
) -> None:
    """A Content-Length that is too small, say."""

    def chatty(talk: Talk) -> None:
        body = b'{"for": %d}' % len(other_side.requests)
        talk.say(http_answer(body) + leftovers)

    with OtherSide(chatty) as other_side:
        for number in (1, 2, 3):
            said = sell(wire, other_side.url)
            assert isinstance(said, Response)
            assert said.body == {"for": number}
        assert len(other_side.requests) == 3


def test_no_cookie_is_kept(wire: Wire) -> None:
    with OtherSide(answers(http_answer(b"{}", headers=("Set-Cookie: session=1; Path=/",)))) as other_side:
        for _ in range(2):
            sell(wire, other_side.url)
        assert all(b"cookie" not in request.lower() for request in other_side.requests)


def test_the_environment_has_no_say(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text(f"machine {LOOPBACK} login me password mine\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "no such file"))
    monkeypatch.delenv("NO_PROXY", raising=False)
    with OtherSide(answers(OK)) as proxy, OtherSide(answers(OK)) as other_side:
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        with closing(Wire(timeout_seconds=AMPLE_SECONDS)) as wire:
            assert isinstance(sell(wire, other_side.url), Response)
        assert (proxy.connections, len(other_side.requests)) == (0, 1)
        assert b"authorization" not in other_side.requests[0].lower()


def together(number: int, act: Callable[[int], object]) -> list[object]:
    """What each of so many threads brings back, which begin at the same moment."""
    start = threading.Barrier(number)

    def work(which: int) -> object:
        start.wait(AMPLE_SECONDS)
        return act(which)

    with ThreadPoolExecutor(number) as threads:
        return list(threads.map(work, range(number)))


def test_threads_have_a_connection_each_and_get_their_own_answers(wire: Wire) -> None:
    def echo_when_all_are_here(talk: Talk) -> None:
        other_side.has_requests(8, SLACK_SECONDS)
        talk.say(http_answer(talk.request.partition(b"\r\n\r\n")[2]))

    with OtherSide(echo_when_all_are_here) as other_side:
        for turn in (1, 2):
            said = together(8, lambda number: wire.call("POST", other_side.url, content={"number": number}))
            assert [getattr(one, "body", one) for one in said] == [{"number": number} for number in range(8)]
            assert len(other_side.requests) == 8 * turn
        assert other_side.connections == 8, "threads that come later take over the connections"


def test_close_gives_the_connections_back_and_a_later_call_opens_one(wire: Wire) -> None:
    with OtherSide(answers(OK)) as other_side:
        sell(wire, other_side.url)
        wire.close()
        wire.close()
        assert other_side.is_left_alone(SLACK_SECONDS)
        assert isinstance(sell(wire, other_side.url), Response)
        assert other_side.connections == 2


def test_a_call_that_is_under_way_at_close_comes_to_its_end_and_then_leaves_no_connection(wire: Wire) -> None:
    def close_and_answer(talk: Talk) -> None:
        wire.close()
        talk.say(OK)

    with OtherSide(close_and_answer) as other_side:
        assert isinstance(sell(wire, other_side.url), Response)
        assert other_side.is_left_alone(SLACK_SECONDS)
