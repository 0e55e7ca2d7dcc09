"""Notifications: deliver the messages that the journal wrote, at least once.

A worker leases a message for a minute, delivers it with no transaction open, and stores the outcome. If it dies in
between, another worker delivers the message. Then it may arrive twice, with the same id.
"""

import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

from billvend.domain.delivery_retry import next_attempt_at
from billvend.domain.errors import ResourceNotFound, ValidationFailed
from billvend.domain.ids import is_email, parse_email, parse_user_id
from billvend.domain.notifications import Channel
from billvend.domain.safe_text import safe_repr
from billvend.ports.clock import Clock
from billvend.ports.notifier import DeliveryOutcome, DeliveryResult, Notifier
from billvend.ports.repositories import DeliveryAttempt, DisabledEndpoint, FinalStatus, Message, Outbox
from billvend.ports.telemetry import DeliveryAttempted, Metrics

MAX_MESSAGES_PER_CHANNEL = 16
"""Messages of a channel that are delivered at the same time. A slow one delays the pass of all channels, but no longer
than its deadline. A channel with many messages does not block another."""
DELIVERY_LEASE_SECONDS = 60.0
"""Longer than the deadline of any delivery attempt."""

_END_OF_OUTCOME = {
    DeliveryOutcome.DELIVERED: FinalStatus.DELIVERED,
    DeliveryOutcome.REJECTED: FinalStatus.GAVE_UP,
    DeliveryOutcome.NO_RECIPIENT: FinalStatus.SKIPPED,
}

logger = logging.getLogger("billvend.notifications")


@dataclass(frozen=True, slots=True)
class Notifications:
    """Delivers messages, and shows and replays them."""

    outbox: Outbox
    notifiers: Mapping[Channel, Notifier]
    """The configured channels."""
    clock: Clock
    metrics: Metrics

    def deliver_due(self) -> int:
        """Deliver up to 16 due messages of each channel, all at once. Returns how many. Raises `Unavailable`.

        Messages for a disabled endpoint wait until it is enabled again.
        """
        if not self.notifiers:
            return 0
        messages = [
            message
            for channel in self._enabled_channels()
            for message in self._take(channel, limit=MAX_MESSAGES_PER_CHANNEL)
        ]
        if messages:
            with ThreadPoolExecutor(len(messages), "billvend-notification-delivery") as pool:
                deliveries = [pool.submit(self._deliver, message) for message in messages]
            for delivery in deliveries:
                delivery.result()  # raises `Unavailable`, but only after all attempts have ended
        return len(messages)

    def history(
        self, *, limit: int, channel: str | None = None, failed: bool = False, message_id: str | None = None
    ) -> list[Message]:
        """Messages with their delivery attempts, the newest first. Raises `ValidationFailed`, `Unavailable`."""
        if channel is not None and channel not in list(Channel):
            reason = f"must be one of {', '.join(Channel)}"
            raise ValidationFailed(f"The channel is not accepted: it {reason}.", fields={"channel": reason})
        parsed = None if channel is None else Channel(channel)
        return self.outbox.history(limit=limit, channel=parsed, failed=failed, message_id=message_id)

    def replay(self, message_id: str) -> Message:
        """Deliver a message again, with the same id.

        It is delivered now if its channel is configured here, else by a worker. Raises `ResourceNotFound`, `Unavailable`.
        """
        if not self.outbox.replay(message_id, self.clock.now()):
            raise ResourceNotFound(
                f"There is no message {safe_repr(message_id)}. See: billvend webhooks list"
            )
        (message,) = self.outbox.history(limit=1, message_id=message_id)
        if message.channel in self._enabled_channels():
            for leased in self._take(message.channel, limit=1, message_id=message_id):
                self._deliver(leased)
            (message,) = self.outbox.history(limit=1, message_id=message_id)
        return message

    def set_email(self, user_id: str, email: str) -> None:
        """Set the address for mail about a user's wallets, tokens included. It replaces any earlier address.

        Raises `ValidationFailed`, also if the user id is an e-mail address, because mail goes there; `Unavailable`.
        """
        user_id, email = parse_user_id(user_id), parse_email(email)
        if is_email(user_id):
            reason = "is an e-mail address, and mail goes there"
            raise ValidationFailed(f"The user id {reason}. Nothing was done.", fields={"userId": reason})
        self.outbox.set_email(user_id, email, self.clock.now(), replace=True)
        logger.info("E-mail address of a wallet set", extra={"context": {"userId": user_id}})

    def _take(self, channel: Channel, *, limit: int, message_id: str | None = None) -> list[Message]:
        now = self.clock.now()
        return self.outbox.take(
            channel, now, limit=limit, lease_seconds=DELIVERY_LEASE_SECONDS, message_id=message_id
        )

    def _enabled_channels(self) -> list[Channel]:
        """The configured channels, without those whose endpoint is disabled."""
        disabled = {each.endpoint for each in self.outbox.disabled()}
        return [channel for channel, notifier in self.notifiers.items() if notifier.endpoint not in disabled]

    def _deliver(self, message: Message) -> None:
        notifier, started_at_seconds = self.notifiers[message.channel], self.clock.elapsed_seconds()
        try:
            delivery = notifier.deliver(message)
        except Exception as error:  # noqa: BLE001  an adapter's bug, or no database to find an address in
            detail = f"the delivery attempt failed: {type(error).__name__}"
            delivery = DeliveryResult(DeliveryOutcome.FAILED, "", detail)
        at = self.clock.now()
        latency_ms = round((self.clock.elapsed_seconds() - started_at_seconds) * 1000)
        attempt = DeliveryAttempt(at, delivery.target, delivery.http_status, latency_ms, delivery.detail)
        if delivery.outcome is DeliveryOutcome.GONE and notifier.endpoint is not None:
            self.outbox.disable(DisabledEndpoint(notifier.endpoint, delivery.target, at, delivery.detail))
        next_at, final_status = _schedule_or_end(message, delivery, at)
        self.outbox.record_attempt(message, attempt, next_at=next_at, final_status=final_status)
        _log(message, delivery, final_status)
        self.metrics.observe(
            DeliveryAttempted(message.channel, delivery.outcome, final_status is FinalStatus.GAVE_UP)
        )


def _schedule_or_end(
    message: Message, delivery: DeliveryResult, at: datetime
) -> tuple[datetime | None, FinalStatus | None]:
    """When the message is due again, or its final status."""
    if delivery.outcome in _END_OF_OUTCOME:
        return None, _END_OF_OUTCOME[delivery.outcome]
    if delivery.outcome is DeliveryOutcome.GONE:
        return at, None  # due at once when the endpoint is enabled
    next_at = next_attempt_at(message.message_id, message.attempt_count + 1, at, delivery.retry_after_seconds)
    return next_at, FinalStatus.GAVE_UP if next_at is None else None


def _log(message: Message, delivery: DeliveryResult, final_status: FinalStatus | None) -> None:
    level, text = logging.DEBUG, f"Message {delivery.outcome}"
    if delivery.outcome is DeliveryOutcome.GONE:
        level = logging.ERROR
        text = "The webhook endpoint answered 410: no webhooks are sent there until it is enabled again"
    elif final_status is FinalStatus.GAVE_UP:
        level, text = logging.WARNING, "A message could not be delivered, and is not retried"
    context = {
        "messageId": message.message_id,
        "userId": message.user_id,
        "transactionId": message.transaction_id,
        "kind": message.kind,
        "channel": message.channel.value,
        "detail": delivery.detail,
    }
    logger.log(level, text, extra={"context": context})
