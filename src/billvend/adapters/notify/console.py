"""The console: without an SMTP server, a notification is a line in the log. The token is not in it."""

import json
import logging

from billvend.adapters.notify.email_templates import render
from billvend.ports.notifier import DeliveryOutcome, DeliveryResult
from billvend.ports.repositories import Message

REDACTED = "***"

logger = logging.getLogger("billvend.notifications")


class ConsoleNotifier:
    """See `billvend.ports.notifier.Notifier`."""

    endpoint = None  # this channel cannot be disabled

    def deliver(self, message: Message) -> DeliveryResult:
        """Log the message, without its token."""
        data = json.loads(message.data)
        context = {name: data[name] for name in ("userId", "transactionId", "amount", "currency")}
        context |= {"messageId": message.message_id, "kind": message.kind}
        context |= {"token": REDACTED} if data.get("token") else {}
        subject, _text_with_token = render(message)
        logger.info("Notification: %s", subject, extra={"context": context})
        return DeliveryResult(DeliveryOutcome.DELIVERED, "log", "written")

    def close(self) -> None:
        """Nothing to close."""
