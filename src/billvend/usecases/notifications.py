"""Notifications: deliver the messages that the journal wrote, at least once.

A worker leases a message for a minute, delivers it with no transaction open, and stores the outcome. If it dies in
between, another worker delivers the message. Then it may arrive twice, with the same id.
"""

import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from billvend.domain.delivery_retry import next_attempt_at
from billvend.domain.errors import ResourceNotFound, ValidationFailed
from billvend.domain.ids import is_email, parse_email, parse_user_id
from billvend.domain.notifications import Channel
from billvend.domain.safe_text import safe_repr
from billvend.ports.notifier import DeliveryOutcome, DeliveryResult, Notifier
from billvend.ports.repositories import DeliveryAttempt, DisabledEndpoint, FinalStatus, Message
from billvend.ports.telemetry import DeliveryAttempted
from billvend.usecases.dependencies import Dependencies

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


def deliver_due(deps: Dependencies) -> int:
    """Deliver up to 16 due messages of each channel, all at once. Returns how many. Raises `Unavailable`.

    Messages for a disabled endpoint wait until it is enabled again.
    """
    if not deps.notifiers:
        return 0
    disabled, now = _disabled_endpoints(deps), deps.clock.now()
    messages = [
        message
        for channel, notifier in deps.notifiers.items()
        if notifier.endpoint not in disabled
        for message in deps.outbox.take(
            channel, now, limit=MAX_MESSAGES_PER_CHANNEL, lease_seconds=DELIVERY_LEASE_SECONDS
        )
    ]
    if messages:
        with ThreadPoolExecutor(len(messages), "billvend-notification-delivery") as pool:
            deliveries = [
                pool.submit(_deliver, deps, deps.notifiers[message.channel], message) for message in messages
            ]
        for delivery in deliveries:
            delivery.result()  # raises `Unavailable`, but only after all attempts have ended
    return len(messages)


def history(
    deps: Dependencies,
    *,
    limit: int,
    channel: str | None = None,
    failed: bool = False,
    message_id: str | None = None,
) -> list[Message]:
    """Messages with their delivery attempts, the newest first. Raises `ValidationFailed`, `Unavailable`."""
    return deps.outbox.history(
        limit=limit, channel=_parse_channel(channel), failed=failed, message_id=message_id
    )


def replay(deps: Dependencies, message_id: str) -> Message:
    """Deliver a message again, with the same id.

    It is delivered now if its channel is configured here, else by a worker. Raises `ResourceNotFound`, `Unavailable`.
    """
    now = deps.clock.now()
    if not deps.outbox.replay(message_id, now):
        raise ResourceNotFound(f"There is no message {safe_repr(message_id)}. See: billvend webhooks list")
    message = _load(deps, message_id)
    notifier = deps.notifiers.get(message.channel)
    if notifier is None or notifier.endpoint in _disabled_endpoints(deps):
        return message
    for due in deps.outbox.take(
        message.channel, now, limit=1, lease_seconds=DELIVERY_LEASE_SECONDS, message_id=message_id
    ):
        _deliver(deps, notifier, due)
    return _load(deps, message_id)


def set_email(deps: Dependencies, user_id: str, email: str) -> None:
    """Set the address for mail about a user's wallets, tokens included. It replaces any earlier address.

    Raises `ValidationFailed`, also if the user id is an e-mail address, because mail goes there; `Unavailable`.
    """
    user_id, email = parse_user_id(user_id), parse_email(email)
    if is_email(user_id):
        reason = "is an e-mail address, and mail goes there"
        raise ValidationFailed(f"The user id {reason}. Nothing was done.", fields={"userId": reason})
    deps.outbox.set_email(user_id, email, deps.clock.now(), replace=True)
    logger.info("E-mail address of a wallet set", extra={"context": {"userId": user_id}})


def _load(deps: Dependencies, message_id: str) -> Message:
    (message,) = deps.outbox.history(limit=1, message_id=message_id)
    return message


def _disabled_endpoints(deps: Dependencies) -> set[str | None]:
    """The endpoints to which no messages are sent."""
    return {disabled.endpoint for disabled in deps.outbox.disabled()}


def _parse_channel(name: str | None) -> Channel | None:
    if name is None or name in list(Channel):
        return None if name is None else Channel(name)
    reason = f"must be one of {', '.join(Channel)}"
    raise ValidationFailed(f"The channel is not accepted: it {reason}.", fields={"channel": reason})


def _deliver(deps: Dependencies, notifier: Notifier, message: Message) -> None:
    started_at_seconds = deps.clock.elapsed_seconds()
    try:
        delivery = notifier.deliver(message)
    except Exception as error:  # noqa: BLE001  an adapter's bug, or no database to find an address in
        delivery = DeliveryResult(
            DeliveryOutcome.FAILED, "", f"the delivery attempt failed: {type(error).__name__}"
        )
    at = deps.clock.now()
    latency_ms = round((deps.clock.elapsed_seconds() - started_at_seconds) * 1000)
    attempt = DeliveryAttempt(at, delivery.target, delivery.http_status, latency_ms, delivery.detail)
    if delivery.outcome is DeliveryOutcome.GONE and notifier.endpoint is not None:
        deps.outbox.disable(DisabledEndpoint(notifier.endpoint, delivery.target, at, delivery.detail))
    next_at, ended = _schedule_or_end(message, delivery, at)
    deps.outbox.record_attempt(message, attempt, next_at=next_at, final_status=ended)
    _log(message, delivery, ended)
    deps.metrics.observe(DeliveryAttempted(message.channel, delivery.outcome, ended is FinalStatus.GAVE_UP))


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


def _log(message: Message, delivery: DeliveryResult, ended: FinalStatus | None) -> None:
    level, text = logging.DEBUG, f"Message {delivery.outcome}"
    if delivery.outcome is DeliveryOutcome.GONE:
        level, text = (
            logging.ERROR,
            "The webhook endpoint answered 410: no webhooks are sent there until it is enabled again",
        )
    elif ended is FinalStatus.GAVE_UP:
        level, text = logging.WARNING, "A message could not be delivered, and is not retried"
    if logger.isEnabledFor(level):
        context = {
            "messageId": message.message_id,
            "userId": message.user_id,
            "transactionId": message.transaction_id,
            "kind": message.kind,
            "channel": message.channel.value,
            "detail": delivery.detail,
        }
        logger.log(level, text, extra={"context": context})
