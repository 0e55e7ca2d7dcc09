"""Email to customers, over SMTP."""

import smtplib
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.utils import format_datetime
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Final
from urllib.parse import unquote, urlsplit

from billvend.adapters.notify.email_templates import render
from billvend.domain.ids import is_email, is_loopback_host
from billvend.domain.safe_text import single_line
from billvend.ports.notifier import DeliveryOutcome, DeliveryResult
from billvend.ports.repositories import Message

TIMEOUT_SECONDS: Final = 15.0
"""The deadline of one attempt, from the name look-up to the server's answer about the message."""
PORTS: Final = {"smtps": 465, "smtp": 25}
SUBMISSION_PORT: Final = 587
"""The default port of a server that requires a login."""


class EmailNotifier:
    """See `billvend.ports.notifier.Notifier`. One server, as `smtp://user:password@host:port` or `smtps://...`.

    `smtp://` uses STARTTLS if the server offers it, and never sends a password without TLS. A server on this machine is
    used without TLS. `find_address` returns the address for a user id that is not an address, and a transaction id. It
    may raise `Unavailable`. `trusted_certificates` is a PEM file of authorities to trust instead of the usual ones.
    """

    endpoint = None  # this channel cannot be disabled

    def __init__(
        self,
        *,
        url: str,
        sender: str,
        find_address: Callable[[str, str], str | None],
        timeout_seconds: float = TIMEOUT_SECONDS,
        trusted_certificates: Path | None = None,
    ) -> None:
        parts = urlsplit(url)
        self._is_tls = parts.scheme == "smtps"
        self._host = parts.hostname or ""
        self._user, self._password = unquote(parts.username or ""), unquote(parts.password or "")
        default_port = SUBMISSION_PORT if self._user and not self._is_tls else PORTS[parts.scheme]
        self._port = parts.port or default_port
        self._sender = sender
        self._lookup_address = find_address
        self._timeout_seconds = timeout_seconds
        self._tls = ssl.create_default_context(cafile=trusted_certificates)

    def deliver(self, message: Message) -> DeliveryResult:
        """Send the email to the server once. A message that the server rejects for good is not tried again."""
        to = self._find_address(message)
        if to is None:
            return DeliveryResult(DeliveryOutcome.NO_RECIPIENT, "", "no mail address of this user is known")
        email = self._build_message(message, to)
        server, deadline_seconds = self._unconnected_server(), time.monotonic() + self._timeout_seconds
        # smtplib has a timeout for each line, and none for all of them. So a thread sends, and this one waits.
        results: SimpleQueue[DeliveryResult] = SimpleQueue()
        threading.Thread(
            target=lambda: results.put(self._send(server, email, to, deadline_seconds)),
            name="billvend-email",
            daemon=True,
        ).start()
        try:
            return results.get(timeout=self._timeout_seconds)
        except Empty:
            if server.sock is not None:
                with suppress(OSError):  # it is closed already
                    server.sock.shutdown(socket.SHUT_RDWR)
            return DeliveryResult(DeliveryOutcome.FAILED, to, f"no end within {self._timeout_seconds:g} s")

    def close(self) -> None:
        """Nothing is kept open."""

    def _find_address(self, message: Message) -> str | None:
        if is_email(message.user_id):
            return message.user_id
        found = self._lookup_address(message.user_id, message.transaction_id)
        return found if is_email(found) else None

    def _build_message(self, message: Message, to: str) -> EmailMessage:
        subject, text = render(message)
        email = EmailMessage(policy=SMTP_POLICY)
        email["From"] = self._sender
        email["To"] = to
        email["Subject"] = subject
        email["Date"] = format_datetime(message.at)
        email["Message-ID"] = f"<{message.message_id}@{self._sender.rpartition('@')[2]}>"
        email["Auto-Submitted"] = "auto-generated"
        email.set_content(text)
        return email

    def _unconnected_server(self) -> smtplib.SMTP:
        hostname = socket.gethostname()  # the default asks the network for it, without a deadline
        server = (
            smtplib.SMTP_SSL(local_hostname=hostname, timeout=self._timeout_seconds, context=self._tls)
            if self._is_tls
            else smtplib.SMTP(local_hostname=hostname, timeout=self._timeout_seconds)
        )
        # The name that TLS verifies. smtplib sets it only if the constructor connects.
        server._host = self._host  # type: ignore[attr-defined]
        return server

    def _send(
        self, server: smtplib.SMTP, email: EmailMessage, to: str, deadline_seconds: float
    ) -> DeliveryResult:
        try:
            code, _ = server.connect(self._host, self._port)
            if code != 220:
                raise smtplib.SMTPConnectError(code, "no welcome")
            if time.monotonic() >= deadline_seconds:
                raise TimeoutError("the deadline has passed")
            self._secure(server)
            server.send_message(email, self._sender, [to])
            with suppress(OSError, smtplib.SMTPException):  # the message is accepted already
                server.quit()
        except smtplib.SMTPRecipientsRefused as error:
            code, response = error.recipients[to]
            return _rejected(code, to, f"SMTP {code} {_single_line(response)}")
        except smtplib.SMTPDataError as error:
            return _rejected(error.smtp_code, to, f"SMTP {error.smtp_code} for the message")
        except smtplib.SMTPResponseException as error:
            # Our settings are wrong, or the server has a problem: a later attempt can succeed.
            detail = f"{type(error).__name__}: SMTP {error.smtp_code}"
            return DeliveryResult(DeliveryOutcome.FAILED, to, detail)
        except (OSError, smtplib.SMTPException, UnicodeError) as error:
            detail = f"{type(error).__name__}: {_single_line(str(error).encode())}"
            return DeliveryResult(DeliveryOutcome.FAILED, to, detail)
        finally:
            server.close()
        return DeliveryResult(DeliveryOutcome.DELIVERED, to, "accepted by the mail server")

    def _secure(self, server: smtplib.SMTP) -> None:
        server.ehlo_or_helo_if_needed()
        is_safe = self._is_tls or is_loopback_host(self._host)
        if not is_safe and server.has_extn("starttls"):
            server.starttls(context=self._tls)
            server.ehlo()
            is_safe = True
        if self._user:
            if not is_safe:
                raise smtplib.SMTPNotSupportedError("the server offers no TLS, and gets no password without")
            server.login(self._user, self._password)


def _rejected(code: int, to: str, detail: str) -> DeliveryResult:
    """The result of a rejected message: 5xx is final, 4xx is tried again."""
    outcome = DeliveryOutcome.REJECTED if 500 <= code < 600 else DeliveryOutcome.FAILED
    return DeliveryResult(outcome, to, detail)


def _single_line(response: bytes) -> str:
    return single_line(response.decode("ascii", errors="replace"))[:200]
