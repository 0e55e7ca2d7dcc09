"""Webhooks over real sockets: signatures verified by the standard's library, and public addresses only."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from billvend.adapters.notify.public_ip import allow_any, is_public
from billvend.adapters.notify.webhook import WebhookNotifier
from billvend.domain.notifications import Channel, NotificationKind
from billvend.ports.notifier import DeliveryOutcome, DeliveryResult
from billvend.ports.repositories import Message
from billvend.testing.fault_server import (
    LOOPBACK,
    Connection,
    FaultServer,
    Handler,
    http_response,
    send_and_keep_open,
)
from tests.provider.sockets import certificate, closed_port, server_context

OLD = "whsec_c29tZSBzZWNyZXQgdGhhdCBpcyBvbGQgbm93"
NEW = "whsec_YW5vdGhlciBvbmUgdGhhdCBpcyBuZXcgaGVyZQ=="
OTHER = "whsec_bm9ib2R5IGdhdmUgdGhpcyBvbmUgdG8gdXMh"
TOKEN = "12345678901234567890"
AT = datetime(2026, 11, 22, 12, tzinfo=UTC)
MESSAGE = Message(
    "msg_5f0c", "ada", Channel.WEBHOOK, "T1", NotificationKind.PAYMENT_COMPLETED,
    '{"transactionId":"T1","token":"12345678901234567890","reason":"\\u20a6"}', AT,
)  # fmt: skip
OK = http_response(b"{}")
SHORT_SECONDS = 0.4
SLACK_SECONDS = 2.0


@contextmanager
def notifier(url: str, *secrets: str, **how: Any) -> Iterator[WebhookNotifier]:
    arguments: dict[str, Any] = {
        "may_connect": allow_any,
        "now": lambda: datetime.now(UTC),
        "timeout_seconds": 10.0,
    } | how
    with closing(WebhookNotifier(url=url, secrets=secrets or (OLD,), **arguments)) as one:
        yield one


def deliver(url: str, *secrets: str, **how: Any) -> DeliveryResult:
    with notifier(url, *secrets, **how) as one:
        return one.deliver(MESSAGE)


def deliver_against(answer: bytes) -> DeliveryResult:
    with FaultServer(send_and_keep_open(answer)) as fault_server:
        return deliver(fault_server.url)


def parse_request(request: bytes) -> tuple[str, dict[str, str], bytes]:
    """The request line, the headers by lower-case name, and the body."""
    head, _, body = request.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    return first, {name.lower(): value for name, value in headers.items()}, body


# --- requests ---------------------------------------------------------------------------------------------------------


def test_signature_verifies_with_standard_webhooks_library() -> None:
    with FaultServer(send_and_keep_open(OK)) as fault_server:
        assert deliver(f"{fault_server.url}/hooks/billvend?key=k") == DeliveryResult(
            DeliveryOutcome.DELIVERED, fault_server.url, "HTTP 200, application/json", 200
        )
        (request,) = fault_server.requests
    first, headers, body = parse_request(request)
    assert first == "POST /hooks/billvend?key=k HTTP/1.1"
    assert headers["content-type"] == "application/json"
    assert headers["webhook-id"] == "msg_5f0c"
    assert Webhook(OLD).verify(body, headers) == {
        "type": "payment.completed",
        "timestamp": "2026-11-22T12:00:00.000Z",
        "data": {"transactionId": "T1", "token": TOKEN, "reason": "₦"},
    }
    with pytest.raises(WebhookVerificationError):
        Webhook(OTHER).verify(body, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(OLD).verify(body.replace(b"T1", b"T2"), headers)


def test_every_secret_verifies_during_rotation() -> None:
    with FaultServer(send_and_keep_open(OK)) as fault_server:
        deliver(fault_server.url, OLD, NEW)
        _, headers, body = parse_request(fault_server.requests[0])
    assert len(headers["webhook-signature"].split(" ")) == 2
    for secret in (OLD, NEW):
        Webhook(secret).verify(body, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(OTHER).verify(body, headers)


def test_retry_differs_only_in_timestamp_and_signature() -> None:
    times = iter([datetime.now(UTC), datetime.now(UTC) - timedelta(minutes=2)])
    with (
        FaultServer(send_and_keep_open(http_response(b"", status="500 Oh"))) as fault_server,
        notifier(fault_server.url, now=lambda: next(times)) as one,
    ):
        for _ in range(2):
            assert one.deliver(MESSAGE).outcome is DeliveryOutcome.FAILED
        requests = [parse_request(request) for request in fault_server.requests]
        assert fault_server.connections == 2
    (first, headers, body), (again, other_headers, other_body) = requests
    assert (first, body) == (again, other_body)
    differing = {name for name in headers if headers[name] != other_headers[name]}
    assert differing == {"webhook-timestamp", "webhook-signature"}
    for attempt_headers in (headers, other_headers):
        Webhook(OLD).verify(body, attempt_headers)


def test_delivery_repr_hides_secrets() -> None:
    with FaultServer(send_and_keep_open(http_response(TOKEN.encode(), status="500 Oh"))) as fault_server:
        result = deliver(f"http://user:pw@{LOOPBACK}:{fault_server.port}/T0/s3cret?t=s3cret")
        assert result.target == fault_server.url
    assert not any(secret in repr(result) for secret in ("s3cret", "pw", TOKEN))


def test_endpoint_id_depends_on_url_and_hides_it() -> None:
    with notifier("https://a.example/s3cret") as one, notifier("https://a.example/other") as two:
        assert one.endpoint != two.endpoint
        assert "s3cret" not in one.endpoint
        with notifier("https://a.example/s3cret", NEW) as again:
            assert again.endpoint == one.endpoint


# --- responses --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "statuses"),
    [
        (DeliveryOutcome.DELIVERED, (200, 201, 202, 204, 299)),
        (DeliveryOutcome.FAILED, (301, 302, 304, 307, 400, 401, 404, 409, 429, 500, 503)),
        (DeliveryOutcome.GONE, (410,)),
    ],
)
def test_http_status_decides_outcome(outcome: DeliveryOutcome, statuses: tuple[int, ...]) -> None:
    for status in statuses:
        result = deliver_against(http_response(b"", status=f"{status} Reason"))
        assert (result.outcome, result.http_status) == (outcome, status)


def test_redirect_is_not_followed() -> None:
    with FaultServer(send_and_keep_open(OK)) as elsewhere:
        for status in ("301 M", "302 F", "307 T", "308 P"):
            result = deliver_against(
                http_response(b"", status=status, headers=(f"Location: {elsewhere.url}/",))
            )
            assert result.outcome is DeliveryOutcome.FAILED
            assert "not followed" in result.detail
        assert elsewhere.connections == 0


@pytest.mark.parametrize(
    ("status", "retry_after", "seconds"),
    [
        ("429 Slow", "120", 120),
        ("503 Busy", " 7 ", 7),
        ("503 Busy", format_datetime(AT + timedelta(hours=1), usegmt=True), 3600),
        ("429 Slow", "9" * 400, 999_999_999),
        *(("429 Slow", text, None) for text in ("soon", "-5", "1.5", "١٢", "Sun, 22 Nov 2026 12:00:00")),
        ("500 Oh", "120", None),
        ("302 There", "120", None),
    ],
)
def test_retry_after_is_respected(status: str, retry_after: str, seconds: float | None) -> None:
    answer = http_response(b"", status=status).replace(
        b"\r\n\r\n", f"\r\nRetry-After: {retry_after}\r\n\r\n".encode()
    )
    with FaultServer(send_and_keep_open(answer)) as fault_server:
        result = deliver(fault_server.url, now=lambda: AT)
    assert (result.outcome, result.retry_after_seconds) == (DeliveryOutcome.FAILED, seconds)


def huge(talk: Connection) -> None:
    talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
    for _ in range(1_000):
        talk.send(b"x" * 100_000)


def drip(talk: Connection) -> None:
    talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    talk.trickle(b"x")


@pytest.mark.parametrize(
    "behave",
    [Connection.hang, drip, huge, Connection.close, Connection.reset, lambda talk: talk.send(b"nonsense\r\n\r\n")],
    ids=["stall", "drip", "huge", "hang up", "reset", "nonsense"],
)  # fmt: skip
def test_server_fault_fails_within_timeout(behave: Handler) -> None:
    began = time.monotonic()
    with FaultServer(behave) as fault_server:
        result = deliver(fault_server.url, timeout_seconds=SHORT_SECONDS)
        assert len(fault_server.requests) == 1
    assert (result.outcome, result.http_status) == (DeliveryOutcome.FAILED, None)
    assert time.monotonic() - began < SHORT_SECONDS + SLACK_SECONDS


def test_connection_refused_is_retried() -> None:
    result = deliver(f"http://{LOOPBACK}:{closed_port()}/")
    assert result.outcome is DeliveryOutcome.FAILED
    assert "refused" in result.detail


# --- addresses --------------------------------------------------------------------------------------------------------


def resolver(*addresses: str) -> Callable[[str], Sequence[str]]:
    """A look-up that returns these addresses for every name."""
    return lambda _host: addresses


def assert_blocked(fault_server: FaultServer, host: str, **how: Any) -> None:
    """Nothing connects to the host on the server's port, because its address is not public."""
    result = deliver(f"http://{host}:{fault_server.port}/", may_connect=is_public, **how)
    assert not fault_server.has_connection(0.05)
    assert result.outcome is DeliveryOutcome.FAILED
    assert "may be connected to" in result.detail


@pytest.mark.parametrize(
    "host", [LOOPBACK, "[::ffff:127.0.0.1]", "127.1", "2130706433", "0x7f000001", "localhost"]
)
def test_private_address_in_any_notation_is_blocked(host: str) -> None:
    with FaultServer(send_and_keep_open(OK)) as fault_server:
        assert_blocked(fault_server, host)


@pytest.mark.parametrize("addresses", [(LOOPBACK,), ("::ffff:127.0.0.1",), ("10.0.0.1", LOOPBACK, "::1")])
def test_name_resolving_to_private_address_is_blocked(addresses: tuple[str, ...]) -> None:
    with FaultServer(send_and_keep_open(OK)) as fault_server:
        assert_blocked(fault_server, "shop.example", resolve_host=resolver(*addresses))
        allowed = deliver(f"http://shop.example:{fault_server.port}/", resolve_host=resolver(*addresses))
        assert allowed.outcome is DeliveryOutcome.DELIVERED, "allowed by the setting"


def allow_only(address: str) -> Any:
    return lambda candidate: candidate == address


def test_only_allowed_addresses_are_tried() -> None:
    with FaultServer(send_and_keep_open(OK)) as fault_server:
        url, either = f"http://shop.example:{fault_server.port}/", resolver("127.0.0.2", LOOPBACK)
        blocked = deliver(url, may_connect=allow_only("127.0.0.2"), resolve_host=either)
        assert blocked.outcome is DeliveryOutcome.FAILED
        assert not fault_server.has_connection(0.05)
        allowed = deliver(url, may_connect=allow_only(LOOPBACK), resolve_host=either)
        assert allowed.outcome is DeliveryOutcome.DELIVERED


def test_dns_rebinding_is_blocked() -> None:
    """127.0.0.2 plays a public address where no server listens, 127.0.0.1 a private one."""
    addresses_in_turn = iter([("127.0.0.2",), (LOOPBACK,), ("127.0.0.2",), (LOOPBACK,)])
    lookups: list[str] = []

    def rebound(host: str) -> Sequence[str]:
        lookups.append(host)
        return next(addresses_in_turn)

    with FaultServer(send_and_keep_open(OK)) as inside:
        url = f"http://shop.example:{inside.port}/"
        with notifier(url, may_connect=allow_only("127.0.0.2"), resolve_host=rebound) as one:
            result = [one.deliver(MESSAGE) for _ in range(4)]
        assert not inside.has_connection(0.05)
    assert {delivery.outcome for delivery in result} == {DeliveryOutcome.FAILED}
    assert ["refused" in delivery.detail for delivery in result] == [True, False] * 2, (
        "the address that was checked is the one that is called"
    )
    assert len(lookups) == 4, "one look-up for each attempt"


def test_hanging_name_lookup_times_out() -> None:
    over = threading.Event()

    def hanging(_host: str) -> Sequence[str]:
        over.wait(10)
        return (LOOPBACK,)

    result = deliver("http://slow.example", timeout_seconds=SHORT_SECONDS, resolve_host=hanging)
    over.set()
    assert result.outcome is DeliveryOutcome.FAILED


def test_certificate_must_match_host(tmp_path: Path) -> None:
    pem = certificate(tmp_path)  # for 127.0.0.1
    with FaultServer(send_and_keep_open(OK), tls=server_context(pem)) as fault_server:
        trusting = {"trusted_certificates": pem}
        assert deliver(fault_server.url).outcome is DeliveryOutcome.FAILED, "no trusted authority signed it"
        assert deliver(fault_server.url, **trusting).outcome is DeliveryOutcome.DELIVERED
        name = f"https://shop.example:{fault_server.port}"
        result = deliver(name, resolve_host=resolver(LOOPBACK), **trusting)
        assert result.outcome is DeliveryOutcome.FAILED, "the name counts, not the address that it leads to"
        assert len(fault_server.requests) == 1


def test_environment_proxies_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    with FaultServer(send_and_keep_open(OK)) as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        result = deliver("http://10.1.2.3/", may_connect=is_public)
        assert result.outcome is DeliveryOutcome.FAILED
        assert proxy.connections == 0
