"""A mail server on loopback that records emails, or rejects them as the test sets it."""

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


class RecordingSmtpServer:
    """The recorded emails, and the replies to clients."""

    def __init__(self) -> None:
        self.emails: list[EmailMessage] = []
        self.raw: list[bytes] = []
        self.envelopes: list[tuple[str | None, list[str]]] = []
        self.logins: list[tuple[bytes, bytes]] = []
        self.recipient_reply = "250 OK"
        self.message_reply = "250 OK"
        self.port = 0

    async def handle_RCPT(  # noqa: N802  the name is aiosmtpd's
        self, server: Any, session: Any, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self.recipient_reply.startswith("2"):
            envelope.rcpt_tos.append(address)
        return self.recipient_reply

    async def handle_DATA(self, server: Any, session: Any, envelope: Envelope) -> str:  # noqa: N802  as above
        if self.message_reply.startswith("2"):
            assert isinstance(envelope.content, bytes)
            email = message_from_bytes(envelope.content, policy=default)
            assert isinstance(email, EmailMessage)
            self.emails.append(email)
            self.raw.append(envelope.content)
            self.envelopes.append((envelope.mail_from, envelope.rcpt_tos))
        return self.message_reply

    def authenticate(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        self.logins.append((data.login, data.password))
        return AuthResult(success=data.password == PASSWORD.encode(), handled=False)


class _FreePortController(Controller):
    """aiosmtpd needs the port before it listens. This sets the real one once it listens on port 0."""

    def _trigger_server(self) -> None:
        server: Any = self.server
        self.port = server.sockets[0].getsockname()[1]
        super()._trigger_server()  # type: ignore[no-untyped-call]  # untyped in aiosmtpd


@contextmanager
def run_smtp_server(
    *, tls: ssl.SSLContext | None = None, starttls: ssl.SSLContext | None = None, requires_login: bool = False
) -> Iterator[RecordingSmtpServer]:
    """Run the server. `tls`: TLS from the first byte. `starttls`: TLS on request of the client."""
    smtp = RecordingSmtpServer()
    options: dict[str, Any] = {"tls_context": starttls} if starttls else {}
    if requires_login:
        options |= {
            "authenticator": smtp.authenticate,
            "auth_required": True,
            "auth_require_tls": starttls is not None,
        }
    controller = _FreePortController(smtp, hostname=LOOPBACK, port=0, ssl_context=tls, **options)
    controller.start()
    try:
        smtp.port = controller.port
        yield smtp
    finally:
        controller.stop()
