"""Mail to customers, taken by a real server."""

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
from billvend.ports.outbox import Message
from tests.notify.mailbox import LOOPBACK, PASSWORD, Mailbox, mailbox
from tests.provider.sockets import certificate, closed_port, server_context, silent_port

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
    said = json.dumps(SOLD | {"reversal": {"proof": "declined", "reason": "no such meter"}} | data)
    return Message("msg_5f0c", user, Channel.MAIL, "T1", kind, said, AT)


def nobody(_user_id: str, _transaction_id: str) -> None:
    """Nobody ever gave an address."""


def notifier(
    port: int, *, scheme: str = "smtp", login: str = "", host: str = LOOPBACK, **how: Any
) -> EmailNotifier:
    made: dict[str, Any] = {
        "sender": "shop@example.com",
        "find_address": nobody,
        "timeout_seconds": 10.0,
    } | how
    return EmailNotifier(url=f"{scheme}://{login}{host}:{port}", **made)


def sent(box: Mailbox, told: Message, **how: Any) -> str:
    """The text that arrived."""
    said = notifier(box.port, **how).deliver(told)
    assert said.outcome is DeliveryOutcome.DELIVERED, said
    return "\n".join(str(box.letters[-1].get_content()).splitlines())


@pytest.fixture
def box() -> Iterator[Mailbox]:
    with mailbox() as box:
        yield box


# --- what customers read ----------------------------------------------------------------------------------------------


def test_a_sale_with_its_token_in_full(box: Mailbox) -> None:
    text = sent(box, message())
    (letter,) = box.letters
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
    assert letter["Subject"] == "Your electricity: NGN 1,500.00 for meter 12345678901"
    assert (letter["From"], letter["To"]) == ("shop@example.com", ADA)
    assert letter["Date"].datetime == AT
    assert letter["Message-ID"] == "<msg_5f0c@example.com>"
    assert letter["Auto-Submitted"] == "auto-generated"
    assert box.envelopes == [("shop@example.com", [ADA])]


def test_a_second_try_is_the_same_letter(box: Mailbox) -> None:
    for _ in range(2):
        sent(box, message())
    assert box.raw[0] == box.raw[1]


def test_tokens_that_change_the_key_come_first_and_in_order(box: Mailbox) -> None:
    text = sent(box, message(receipt={"kct2": KCT2, "kct1": KCT1, "bonusToken": "9" * 20}))
    typed = re.findall(r"^  (\d)\. ([\d-]{24})$", text, re.MULTILINE)
    assert [(place, token.replace("-", "")) for place, token in typed] == [
        ("1", KCT1),
        ("2", KCT2),
        ("3", TOKEN),
    ]
    assert "in this order" in text
    assert text.count("-".join(["1111"] * 5)) == 1
    assert "Bonus token: 9999-9999-9999-9999-9999" in text


def test_postpaid_has_no_token(box: Mailbox) -> None:
    text = sent(box, message(token=None, units=None, receipt={}))
    assert "There is no token to type in" in text
    assert "None" not in text


@pytest.mark.parametrize(
    ("proof", "has_reason"),
    [("declined", True), ("not_found", False), ("operator", False), ("not_sent", False)],
)
def test_a_reversal_says_that_the_money_is_back(box: Mailbox, proof: str, has_reason: bool) -> None:
    text = sent(
        box, message(NotificationKind.PAYMENT_REVERSED, reversal={"proof": proof, "reason": "no such meter"})
    )
    assert "your money is back" in text
    assert ("no such meter" in text) is has_reason, "what operators write is not for customers"
    assert box.letters[0]["Subject"] == "Your money is back: NGN 1,500.00"


def test_money_that_came_in(box: Mailbox) -> None:
    assert "NGN 1,500.00 came into your wallet" in sent(box, message(NotificationKind.WALLET_FUNDED))


@pytest.mark.parametrize(
    "text", ["two\r\nBcc: eve@example.com", "₦ Ọ̀rọ̀", "x" * 3_000, "\x1b[31m", ".\r\n.\r\nQUIT"]
)
def test_whatever_a_provider_writes_stays_in_its_line(box: Mailbox, text: str) -> None:
    arrived = sent(box, message(receipt={"description": text}))
    (line,) = [line for line in arrived.splitlines() if line.startswith("description: ")]
    assert line == "description: " + "".join(sign if sign.isprintable() else " " for sign in text)
    assert box.envelopes == [("shop@example.com", [ADA])]
    assert box.letters[0]["Bcc"] is None


# --- to whom ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("user", "given", "to"),
    [
        ("ada@example.com", None, "ada@example.com"),
        ("ada@example.com", "other@example.com", "ada@example.com"),
        ("user123", "ada@example.com", "ada@example.com"),
        ("@ada", "ada@example.com", "ada@example.com"),
    ],
)
def test_to_whom(box: Mailbox, user: str, given: str | None, to: str) -> None:
    sent(box, message(user=user), find_address=lambda *asked: given if asked == (user, "T1") else None)
    assert box.envelopes == [("shop@example.com", [to])]


@pytest.mark.parametrize(
    "given",
    [
        None, "", "user123", "ada@", "@example.com", "ada@example.com\r\nBcc: eve@example.com",
        "ada@example.com, eve@example.com", "ada@example.com>", "<ada@example.com>", "Ada <ada@example.com>",
        "a da@example.com", "ada@example.com\0", '"a b"@example.com', "ad\u00e0@example.com",
    ],
)  # fmt: skip
def test_to_nobody_whose_address_is_none(box: Mailbox, given: str | None) -> None:
    for user, found in (("user123", given), (given or "user123", None)):
        said = notifier(box.port, find_address=lambda *_, found=found: found).deliver(message(user=user))
        assert said == DeliveryResult(
            DeliveryOutcome.NO_RECIPIENT, "", "no mail address of this user is known"
        )
    assert box.letters == []


def test_without_the_database_nobody_knows_the_address(box: Mailbox) -> None:
    def away(_user_id: str, _transaction_id: str) -> str:
        raise Unavailable("The database does not answer.")

    with pytest.raises(Unavailable):  # which counts as a try in vain
        notifier(box.port, find_address=away).deliver(message(user="user123"))


# --- what the server says ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("recipient", "letter", "outcome", "detail"),
    [
        ("550 5.1.1 nobody here", "250 OK", DeliveryOutcome.REJECTED, "SMTP 550 5.1.1 nobody here"),
        ("450 4.2.0 greylisted", "250 OK", DeliveryOutcome.FAILED, "SMTP 450 4.2.0 greylisted"),
        ("250 OK", f"554 spam: {TOKEN}", DeliveryOutcome.REJECTED, "SMTP 554 about the letter"),
        ("250 OK", "451 later", DeliveryOutcome.FAILED, "SMTP 451 about the letter"),
    ],
)
def test_what_the_server_says(
    box: Mailbox, recipient: str, letter: str, outcome: DeliveryOutcome, detail: str
) -> None:
    box.says_of_recipient, box.says_of_letter = recipient, letter
    assert notifier(box.port).deliver(message()) == DeliveryResult(outcome, ADA, detail)
    assert box.letters == []


def test_nobody_there() -> None:
    said = notifier(closed_port()).deliver(message())
    assert (said.outcome, said.target) == (DeliveryOutcome.FAILED, ADA)
    assert "refused" in said.detail


def test_a_name_that_is_none() -> None:
    assert notifier(25, host="nobody.invalid").deliver(message()).outcome is DeliveryOutcome.FAILED


@contextmanager
def talking(talk: Callable[[socket.socket], None]) -> Iterator[int]:
    """A port with somebody who says what he likes."""

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


def drips(connection: socket.socket) -> None:
    """A greeting that never ends."""
    connection.sendall(b"220-")
    for _ in range(100):
        connection.sendall(b"x")
        time.sleep(0.05)


def test_a_server_that_keeps_silent_or_drips_is_left_in_time() -> None:
    for port in (silent_port(), talking(drips)):
        began = time.monotonic()
        with port as number:
            said = notifier(number, timeout_seconds=SHORT_SECONDS).deliver(message())
            assert time.monotonic() - began < SHORT_SECONDS + SLACK_SECONDS
        assert said.outcome is DeliveryOutcome.FAILED


@pytest.mark.parametrize("greeting", [b"554 go away\r\n", b"nonsense\r\n", b"\xff" * 20_000 + b"\r\n", b""])
def test_a_server_that_is_none(greeting: bytes) -> None:
    with talking(lambda connection: connection.sendall(greeting)) as port:
        assert notifier(port).deliver(message()).outcome is DeliveryOutcome.FAILED


# --- TLS, and passwords -----------------------------------------------------------------------------------------------

# What the server warns of is what these tests are about.
wants_login = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning")
LOGIN = f"shop:{quote(PASSWORD, safe='')}@"


def test_tls_from_the_start(tmp_path: Path) -> None:
    pem = certificate(tmp_path)
    with mailbox(tls=server_context(pem)) as box:
        assert notifier(box.port, scheme="smtps").deliver(message()).outcome is DeliveryOutcome.FAILED, (
            "nobody trusts it"
        )
        sent(box, message(), scheme="smtps", trusted_certificates=pem)
        assert len(box.letters) == 1


@wants_login
def test_a_login(tmp_path: Path) -> None:
    with mailbox(wants_login=True) as box:
        sent(box, message(), login=LOGIN)
        assert box.logins == [(b"shop", PASSWORD.encode())]
        assert notifier(box.port).deliver(message()).outcome is DeliveryOutcome.FAILED
        said = notifier(box.port, login="shop:wrong@").deliver(message())
        assert said.outcome is DeliveryOutcome.FAILED, "our set-up is at fault, and may be mended"
        assert "535" in said.detail
        assert "wrong" not in said.detail
        assert len(box.letters) == 1


@contextmanager
def elsewhere(box: Mailbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of another machine, which leads here."""
    real = socket.getaddrinfo

    def look_up(host: Any, *arguments: Any, **more: Any) -> Any:
        return real(LOOPBACK if host == "mail.example" else host, *arguments, **more)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    yield "mail.example"


@wants_login
def test_a_password_never_goes_over_the_network_without_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    with mailbox(wants_login=True) as box, elsewhere(box, monkeypatch) as host:
        said = notifier(box.port, host=host, login=LOGIN).deliver(message())
        assert said.outcome is DeliveryOutcome.FAILED
        assert "no TLS" in said.detail
        assert box.logins == []


def test_tls_is_used_where_it_is_offered_and_verified_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pem = certificate(tmp_path)  # for 127.0.0.1
    with mailbox(starttls=server_context(pem)) as box, elsewhere(box, monkeypatch) as host:
        said = notifier(box.port, host=host, trusted_certificates=pem).deliver(message())
        assert said.outcome is DeliveryOutcome.FAILED, "it is the certificate of another name"
        assert "certificate" in said.detail.lower()
        sent(box, message(), trusted_certificates=pem)  # this machine's own: no TLS
        assert len(box.letters) == 1


def test_a_password_goes_where_tls_is_offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority, pem = trustme.CA(), tmp_path / "mail.pem"
    made = authority.issue_cert("mail.example")
    pem.write_bytes(made.private_key_and_cert_chain_pem.bytes() + authority.cert_pem.bytes())
    with mailbox(starttls=server_context(pem), wants_login=True) as box, elsewhere(box, monkeypatch) as host:
        sent(box, message(), host=host, login=LOGIN, trusted_certificates=pem)
        assert box.logins == [(b"shop", PASSWORD.encode())]
