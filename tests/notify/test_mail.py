"""Emails to customers, received by a real server."""

import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import trustme

from billvend import Unavailable
from billvend.adapters.notify.email import EmailNotifier
from billvend.domain.notifications import Channel, NotificationKind
from billvend.ports.notifier import DeliveryOutcome, DeliveryResult
from billvend.ports.repositories import Message
from tests.notify.smtp_server import LOOPBACK, PASSWORD, RecordingSmtpServer, run_smtp_server
from tests.provider.sockets import certificate, closed_port, server_context, unanswering_port

AT = datetime(2026, 11, 22, 12, tzinfo=UTC)
ADA = "ada@example.com"
TOKEN, GROUPED = "12345678901234567890", "1234-5678-9012-3456-7890"
KCT1, KCT2 = "1" * 20, "2" * 20
SHORT_SECONDS = 0.4
SLACK_SECONDS = 2.0
BILL = {
    "transactionId": "T1",
    "userId": ADA,
    "amount": "1500.00",
    "currency": "NGN",
    "meterNumber": "12345678901",
    "provider": "EKEDC",
}
SOLD = BILL | {"token": TOKEN, "units": "12.5", "receipt": {"tax": "34.88", "units": "12.5"}}


def message(
    kind: NotificationKind = NotificationKind.PAYMENT_COMPLETED, user: str = ADA, **data: object
) -> Message:
    data_json = json.dumps(SOLD | {"reversal": {"proof": "declined", "reason": "no such meter"}} | data)
    return Message("msg_5f0c", user, Channel.MAIL, "T1", kind, data_json, AT)


def notifier(
    port: int, *, scheme: str = "smtp", login: str = "", host: str = LOOPBACK, **options: Any
) -> EmailNotifier:
    how: dict[str, Any] = {"find_address": lambda *_: None, "timeout_seconds": 10.0} | options
    return EmailNotifier(url=f"{scheme}://{login}{host}:{port}", sender="shop@example.com", **how)


def deliver_and_read(smtp: RecordingSmtpServer, message: Message, **options: Any) -> str:
    """Deliver a message. Returns the text that arrived."""
    result = notifier(smtp.port, **options).deliver(message)
    assert result.outcome is DeliveryOutcome.DELIVERED, result
    return "\n".join(str(smtp.emails[-1].get_content()).splitlines())


@pytest.fixture
def smtp() -> Iterator[RecordingSmtpServer]:
    with run_smtp_server() as smtp:
        yield smtp


# --- content of the emails --------------------------------------------------------------------------------------------


def test_payment_email_shows_token(smtp: RecordingSmtpServer) -> None:
    text = deliver_and_read(smtp, message())
    (email,) = smtp.emails
    assert text.splitlines() == [
        "You paid NGN 1,500.00 to EKEDC for meter 12345678901.",
        "",
        f"Your token: {GROUPED}",
        "Type it into your meter.",
        "Units: 12.5 kWh",
        "Tax: 34.88",
        "",
        "Transaction: T1",
    ]
    assert email["Subject"] == "Your electricity: NGN 1,500.00 for meter 12345678901"
    assert (email["From"], email["To"]) == ("shop@example.com", ADA)
    assert email["Date"].datetime == AT
    assert email["Message-ID"] == "<msg_5f0c@example.com>"
    assert email["Auto-Submitted"] == "auto-generated"
    assert smtp.envelopes == [("shop@example.com", [ADA])]


def test_retry_sends_identical_email(smtp: RecordingSmtpServer) -> None:
    for _ in range(2):
        deliver_and_read(smtp, message())
    assert smtp.raw[0] == smtp.raw[1]


def test_key_change_tokens_come_first_in_order(smtp: RecordingSmtpServer) -> None:
    text = deliver_and_read(smtp, message(receipt={"kct2": KCT2, "kct1": KCT1, "bonusToken": "9" * 20}))
    typed = re.findall(r"^  (\d)\. ([\d-]{24})$", text, re.MULTILINE)
    expected = [("1", KCT1), ("2", KCT2), ("3", TOKEN)]
    assert [(place, token.replace("-", "")) for place, token in typed] == expected
    assert "in this order" in text
    assert text.count("-".join(["1111"] * 5)) == 1
    assert "Bonus token: 9999-9999-9999-9999-9999" in text


def test_postpaid_email_has_no_token(smtp: RecordingSmtpServer) -> None:
    text = deliver_and_read(smtp, message(token=None, units=None, receipt={}))
    assert "There is no token to type in" in text
    assert "None" not in text


@pytest.mark.parametrize(
    ("proof", "has_reason"),
    [("declined", True), ("not_found", False), ("operator", False), ("not_sent", False)],
)
def test_reversal_email_says_money_is_back(smtp: RecordingSmtpServer, proof: str, has_reason: bool) -> None:
    text = deliver_and_read(
        smtp, message(NotificationKind.PAYMENT_REVERSED, reversal={"proof": proof, "reason": "no such meter"})
    )
    assert "your money is back" in text
    assert ("no such meter" in text) is has_reason, "what operators write is not for customers"
    assert smtp.emails[0]["Subject"] == "Your money is back: NGN 1,500.00"


def test_deposit_email_shows_amount(smtp: RecordingSmtpServer) -> None:
    text = deliver_and_read(smtp, message(NotificationKind.WALLET_FUNDED))
    assert "NGN 1,500.00 came into your wallet" in text


@pytest.mark.parametrize(
    "text", ["two\r\nBcc: eve@example.com", "₦ Ọ̀rọ̀", "x" * 3_000, "\x1b[31m", ".\r\n.\r\nQUIT"]
)
def test_provider_text_cannot_inject_lines(smtp: RecordingSmtpServer, text: str) -> None:
    arrived = deliver_and_read(smtp, message(receipt={"description": text}))
    (line,) = [line for line in arrived.splitlines() if line.startswith("description: ")]
    assert line == "description: " + "".join(sign if sign.isprintable() else " " for sign in text)
    assert smtp.envelopes == [("shop@example.com", [ADA])]
    assert smtp.emails[0]["Bcc"] is None


# --- recipients -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("user", "stored", "to"),
    [
        ("ada@example.com", None, "ada@example.com"),
        ("ada@example.com", "other@example.com", "ada@example.com"),
        ("user123", "ada@example.com", "ada@example.com"),
        ("@ada", "ada@example.com", "ada@example.com"),
    ],
)
def test_recipient_is_user_id_or_stored_address(
    smtp: RecordingSmtpServer, user: str, stored: str | None, to: str
) -> None:
    deliver_and_read(
        smtp,
        message(user=user),
        find_address=lambda *arguments: stored if arguments == (user, "T1") else None,
    )
    assert smtp.envelopes == [("shop@example.com", [to])]


@pytest.mark.parametrize(
    "stored",
    [
        None, "", "user123", "ada@", "@example.com", "ada@example.com\r\nBcc: eve@example.com",
        "ada@example.com, eve@example.com", "ada@example.com>", "<ada@example.com>", "Ada <ada@example.com>",
        "a da@example.com", "ada@example.com\0", '"a b"@example.com', "ad\u00e0@example.com",
    ],
)  # fmt: skip
def test_invalid_address_has_no_recipient(smtp: RecordingSmtpServer, stored: str | None) -> None:
    for user, address in (("user123", stored), (stored or "user123", None)):
        found = notifier(smtp.port, find_address=lambda *_, address=address: address)
        nothing = DeliveryResult(DeliveryOutcome.NO_RECIPIENT, "", "no mail address of this user is known")
        assert found.deliver(message(user=user)) == nothing
    assert smtp.emails == []


def test_address_lookup_failure_is_raised(smtp: RecordingSmtpServer) -> None:
    def database_down(_user_id: str, _transaction_id: str) -> str:
        raise Unavailable("The database does not answer.")

    with pytest.raises(Unavailable):  # counts as a failed delivery attempt
        notifier(smtp.port, find_address=database_down).deliver(message(user="user123"))


# --- replies of the server --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("recipient", "email", "outcome", "detail"),
    [
        ("550 5.1.1 no such user", "250 OK", DeliveryOutcome.REJECTED, "SMTP 550 5.1.1 no such user"),
        ("450 4.2.0 greylisted", "250 OK", DeliveryOutcome.FAILED, "SMTP 450 4.2.0 greylisted"),
        ("250 OK", f"554 spam: {TOKEN}", DeliveryOutcome.REJECTED, "SMTP 554 for the message"),
        ("250 OK", "451 later", DeliveryOutcome.FAILED, "SMTP 451 for the message"),
    ],
)
def test_smtp_reply_decides_outcome(
    smtp: RecordingSmtpServer, recipient: str, email: str, outcome: DeliveryOutcome, detail: str
) -> None:
    smtp.recipient_reply, smtp.message_reply = recipient, email
    assert notifier(smtp.port).deliver(message()) == DeliveryResult(outcome, ADA, detail)
    assert smtp.emails == []


def test_unreachable_server_is_retried() -> None:
    result = notifier(closed_port()).deliver(message())
    assert (result.outcome, result.target) == (DeliveryOutcome.FAILED, ADA)
    assert "refused" in result.detail
    assert notifier(25, host="unknown.invalid").deliver(message()).outcome is DeliveryOutcome.FAILED


@contextmanager
def scripted_server(talk: Callable[[socket.socket], None]) -> Iterator[int]:
    """A port where `talk` handles the first connection."""

    def accept() -> None:
        with suppress(OSError):
            connection, _ = server.accept()
            connection.settimeout(5.0)
            with connection:
                talk(connection)

    with socket.create_server((LOOPBACK, 0)) as server:
        server.settimeout(5.0)
        thread = threading.Thread(target=accept)
        thread.start()
        yield server.getsockname()[1]
        thread.join()


def endless_greeting(connection: socket.socket) -> None:
    """A greeting that never ends."""
    connection.sendall(b"220-")
    for _ in range(100):
        connection.sendall(b"x")
        time.sleep(0.05)


def test_slow_server_times_out() -> None:
    for port in (unanswering_port(), scripted_server(endless_greeting)):
        began = time.monotonic()
        with port as number:
            result = notifier(number, timeout_seconds=SHORT_SECONDS).deliver(message())
            while any(thread.name == "billvend-email" for thread in threading.enumerate()):
                assert time.monotonic() - began < SHORT_SECONDS + SLACK_SECONDS, "the connection is closed"
                time.sleep(0.01)
        assert result.outcome is DeliveryOutcome.FAILED


@pytest.mark.parametrize(
    "greeting", [b"554 no service\r\n", b"nonsense\r\n", b"\xff" * 20_000 + b"\r\n", b""]
)
def test_invalid_greeting_is_retried(greeting: bytes) -> None:
    with scripted_server(lambda connection: connection.sendall(greeting)) as port:
        assert notifier(port).deliver(message()).outcome is DeliveryOutcome.FAILED


# --- TLS and passwords ------------------------------------------------------------------------------------------------

# The server warns about insecure set-ups, which these tests need.
allows_login_without_tls = pytest.mark.filterwarnings(
    "ignore:Requiring AUTH while not requiring TLS:UserWarning"
)
LOGIN = f"shop:{quote(PASSWORD, safe='')}@"


def test_smtps_verifies_certificate(tmp_path: Path) -> None:
    pem = certificate(tmp_path)
    with run_smtp_server(tls=server_context(pem)) as smtp:
        unsigned = notifier(smtp.port, scheme="smtps").deliver(message())
        assert unsigned.outcome is DeliveryOutcome.FAILED, "no trusted authority signed it"
        deliver_and_read(smtp, message(), scheme="smtps", trusted_certificates=pem)
        assert len(smtp.emails) == 1


@allows_login_without_tls
def test_login_is_required_and_checked(tmp_path: Path) -> None:
    with run_smtp_server(requires_login=True) as smtp:
        deliver_and_read(smtp, message(), login=LOGIN)
        assert smtp.logins == [(b"shop", PASSWORD.encode())]
        assert notifier(smtp.port).deliver(message()).outcome is DeliveryOutcome.FAILED
        result = notifier(smtp.port, login="shop:wrong@").deliver(message())
        assert result.outcome is DeliveryOutcome.FAILED, "our settings are wrong, an operator can fix them"
        assert "535" in result.detail
        assert "wrong" not in result.detail
        assert len(smtp.emails) == 1


@contextmanager
def remote_host(smtp: RecordingSmtpServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A host name that is not loopback but resolves to it."""
    real = socket.getaddrinfo

    def look_up(host: Any, *arguments: Any, **more: Any) -> Any:
        return real(LOOPBACK if host == "mail.example" else host, *arguments, **more)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    yield "mail.example"


@allows_login_without_tls
def test_password_is_not_sent_without_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    with run_smtp_server(requires_login=True) as smtp, remote_host(smtp, monkeypatch) as host:
        result = notifier(smtp.port, host=host, login=LOGIN).deliver(message())
        assert result.outcome is DeliveryOutcome.FAILED
        assert "no TLS" in result.detail
        assert smtp.logins == []


def test_starttls_is_used_and_verifies_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pem = certificate(tmp_path)  # for 127.0.0.1
    with run_smtp_server(starttls=server_context(pem)) as smtp, remote_host(smtp, monkeypatch) as host:
        result = notifier(smtp.port, host=host, trusted_certificates=pem).deliver(message())
        assert result.outcome is DeliveryOutcome.FAILED, "the certificate is for another name"
        assert "certificate" in result.detail.lower()
        deliver_and_read(smtp, message(), trusted_certificates=pem)  # loopback needs no TLS
        assert len(smtp.emails) == 1


def test_password_is_sent_over_starttls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority, pem = trustme.CA(), tmp_path / "mail.pem"
    arguments = authority.issue_cert("mail.example")
    pem.write_bytes(arguments.private_key_and_cert_chain_pem.bytes() + authority.cert_pem.bytes())
    with (
        run_smtp_server(starttls=server_context(pem), requires_login=True) as smtp,
        remote_host(smtp, monkeypatch) as host,
    ):
        deliver_and_read(smtp, message(), host=host, login=LOGIN, trusted_certificates=pem)
        assert smtp.logins == [(b"shop", PASSWORD.encode())]
