"""Webhooks by the specification Standard Webhooks: a message is signed with its id and the time of the attempt, and posted."""

import hashlib
from collections.abc import Callable, Sequence
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from standardwebhooks import Webhook

from billvend.adapters.notify.public_ip import is_public
from billvend.adapters.providers.http_client import HttpClient, Response, host_and_port, resolve_host
from billvend.domain.notifications import webhook_body
from billvend.domain.outcome import NotSent, Unknown
from billvend.ports.notifier import DeliveryOutcome, DeliveryResult
from billvend.ports.repositories import Message

TIMEOUT_SECONDS: Final = 15.0
"""The deadline of one attempt, from the name look-up to the last byte of the answer."""
HTTP_GONE: Final = 410
RETRY_AFTER_STATUSES: Final = (429, 503)


class WebhookNotifier:
    """See `billvend.ports.notifier.Notifier`. One endpoint.

    Several `secrets` give several signatures, so that the receiver can change its secret at any time. `resolve_host`
    returns the addresses of a name. `may_connect` says whether an address may be connected to. `trusted_certificates` is
    a PEM file of authorities to trust instead of the usual ones.
    """

    def __init__(
        self,
        *,
        url: str,
        secrets: Sequence[str],
        now: Callable[[], datetime],
        timeout_seconds: float = TIMEOUT_SECONDS,
        may_connect: Callable[[str], bool] = is_public,
        resolve_host: Callable[[str], Sequence[str]] = resolve_host,
        trusted_certificates: Path | None = None,
    ) -> None:
        self._url = url
        self._signers = [Webhook(secret) for secret in secrets]
        self._now = now
        self._http_client = HttpClient(
            timeout_seconds=timeout_seconds,
            resolve_host=resolve_host,
            may_connect=may_connect,
            trusted_certificates=trusted_certificates,
        )
        self._target = f"{urlsplit(url).scheme}://{host_and_port(url)}"  # the rest of the URL can be a secret
        self.endpoint: str = hashlib.sha256(url.encode()).hexdigest()[:32]

    def deliver(self, message: Message) -> DeliveryResult:
        """Post the message once. 2xx is a delivery, 410 disables the endpoint, and everything else is a failure."""
        body, at = webhook_body(message.kind, message.at, message.data), self._now()
        headers = {
            "Content-Type": "application/json",
            "Connection": "close",  # so that no attempt fails on a connection that the receiver has just closed
            "webhook-id": message.message_id,
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": " ".join(
                signer.sign(message.message_id, at, body.decode("ascii")) for signer in self._signers
            ),
        }
        match self._http_client.call("POST", self._url, headers=headers, content=body):
            case Response() as answer:
                return self._to_result(answer, at)
            case NotSent(why) | Unknown(why):
                return DeliveryResult(DeliveryOutcome.FAILED, self._target, why.removeprefix("the provider "))

    def close(self) -> None:
        """Close the connections."""
        self._http_client.close()

    def _to_result(self, answer: Response, at: datetime) -> DeliveryResult:
        status, summary, wait_seconds = answer.status, answer.summary, None
        if 300 <= status < 400:
            summary += "; redirects are not followed"
        if status in RETRY_AFTER_STATUSES:
            wait_seconds = _retry_after_seconds(answer.headers.get("retry-after", ""), at)
        outcome = DeliveryOutcome.GONE if status == HTTP_GONE else DeliveryOutcome.FAILED
        if 200 <= status < 300:
            outcome = DeliveryOutcome.DELIVERED
        return DeliveryResult(outcome, self._target, summary, status, wait_seconds)


def _retry_after_seconds(retry_after: str, now: datetime) -> float | None:
    """The wait in seconds that a Retry-After header asks for, as a number or as a date. None for any other text."""
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        return (parsedate_to_datetime(text) - now).total_seconds()
    except (ValueError, TypeError):  # TypeError: a date without a zone
        return None
