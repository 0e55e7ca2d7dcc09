"""The console: where no mail is set up, a line in the log stands for the letter. The token is not in it."""

import json
import logging

from billvend.adapters.notify.email_templates import render_subject
from billvend.ports.notifier import DeliveryOutcome, DeliveryResult
from billvend.ports.outbox import Message

REDACTED = "***"

logger = logging.getLogger("billvend.notifications")


class ConsoleNotifier:
    """See `billvend.ports.notifier.Notifier`."""

    @property
    def endpoint(self) -> None:
        """Nobody disables it."""
        return

    def deliver(self, message: Message) -> DeliveryResult:
        """Log it."""
        data = json.loads(message.data)
        context = {name: data[name] for name in ("userId", "transactionId", "amount", "currency")}
        context |= {"messageId": message.message_id, "kind": message.kind}
        context |= {"token": REDACTED} if data.get("token") else {}
        logger.info("Notification: %s", render_subject(message), extra={"context": context})
        return DeliveryResult(DeliveryOutcome.DELIVERED, "log", "written")

    def close(self) -> None:
        """Nothing is to be given back."""
