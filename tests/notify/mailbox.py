"""A mail server on loopback that keeps what it gets, or refuses it as a test says."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword

LOOPBACK = "127.0.0.1"
PASSWORD = "p@ss:w/rd"


class Mailbox:
    """What came in, and what is said to those who bring it."""

    def __init__(self) -> None:
        self.letters: list[EmailMessage] = []
        self.raw: list[bytes] = []
        self.envelopes: list[tuple[str | None, list[str]]] = []
        self.logins: list[tuple[bytes, bytes]] = []
        self.says_of_recipient = "250 OK"
        self.says_of_letter = "250 OK"
        self.port = 0

    async def handle_RCPT(  # noqa: N802  aiosmtpd calls it so
        self, server: Any, session: Any, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self.says_of_recipient.startswith("2"):
            envelope.rcpt_tos.append(address)
        return self.says_of_recipient

    async def handle_DATA(self, server: Any, session: Any, envelope: Envelope) -> str:  # noqa: N802  as above
        if self.says_of_letter.startswith("2"):
            assert isinstance(envelope.content, bytes)
            letter = message_from_bytes(envelope.content, policy=default)
            assert isinstance(letter, EmailMessage)
            self.letters.append(letter)
            self.raw.append(envelope.content)
            self.envelopes.append((envelope.mail_from, envelope.rcpt_tos))
        return self.says_of_letter

    def authenticate(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        self.logins.append((data.login, data.password))
        return AuthResult(success=data.password == PASSWORD.encode(), handled=False)


class _OnAnyPort(Controller):
    """aiosmtpd wants to know its port before it listens; so it is asked for when it does."""

    def _trigger_server(self) -> None:
        server: Any = self.server
        self.port = server.sockets[0].getsockname()[1]
        super()._trigger_server()  # type: ignore[no-untyped-call]  # theirs


@contextmanager
def mailbox(
    *, tls: ssl.SSLContext | None = None, starttls: ssl.SSLContext | None = None, wants_login: bool = False
) -> Iterator[Mailbox]:
    """Run the server: in TLS from the start with `tls`, or offering it with `starttls`."""
    box = Mailbox()
    how: dict[str, Any] = {"tls_context": starttls} if starttls else {}
    if wants_login:
        how |= {
            "authenticator": box.authenticate,
            "auth_required": True,
            "auth_require_tls": starttls is not None,
        }
    controller = _OnAnyPort(box, hostname=LOOPBACK, port=0, ssl_context=tls, **how)
    controller.start()
    try:
        box.port = controller.port
        yield box
    finally:
        controller.stop()
