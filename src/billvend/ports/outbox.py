"""The outbox port: notification messages and their delivery attempts.

The journal writes a message in the same transaction as its event, so that neither exists without the other. The message
is then delivered at least once. A worker leases it before it delivers. If the worker dies, the lease expires and
another worker takes the message.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from billvend.domain.notifications import Channel


class FinalStatus(StrEnum):
    """The final status of a message. A replay clears it."""

    DELIVERED = "delivered"
    GAVE_UP = "gave_up"
    """Ten attempts failed, or the receiver rejected it permanently."""
    SKIPPED = "skipped"
    """There was no address to send it to."""


@dataclass(frozen=True, slots=True)
class Message:
    """A notification for one channel."""

    message_id: str
    """The same in every delivery attempt."""
    user_id: str
    channel: Channel
    transaction_id: str
    kind: str
    data: str
    """JSON, as written with the event; see `billvend.domain.notifications`."""
    at: datetime
    """When the event happened."""
    attempt_count: int = 0
    """Delivery attempts since it was written or replayed."""
    next_at: datetime | None = None
    """When it is due; None when it has ended. While it is leased, the end of the lease."""
    lease_until: datetime | None = None
    """Set while a worker delivers it."""
    final_status: FinalStatus | None = None
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class DeliveryAttempt:
    """One delivery attempt, as logged."""

    at: datetime
    target: str
    http_status: int | None
    latency_ms: int
    detail: str
    number: int = 0
    """1, 2, 3 ... within the message. A replay does not reset it. The outbox assigns it."""


@dataclass(frozen=True, slots=True)
class MessageHistory:
    """A message with its delivery attempts, for display."""

    message: Message
    attempts: tuple[DeliveryAttempt, ...] = ()


@dataclass(frozen=True, slots=True)
class DisabledEndpoint:
    """An endpoint that refused further messages. Nothing is sent there."""

    endpoint: str
    target: str
    """Safe to show."""
    disabled_at: datetime
    reason: str


class Outbox(Protocol):
    """Stores the messages. Every method raises `Unavailable` when the database is unavailable."""

    def take(self, channel: Channel, now: datetime, *, limit: int, lease_seconds: float) -> list[Message]:
        """Lease at most `limit` due messages of a channel, the oldest first. No other worker gets them before the lease
        expires."""

    def take_one(self, message_id: str, now: datetime, *, lease_seconds: float) -> Message | None:
        """Lease one message, due or not; None if it has ended or another worker has a lease on it."""

    def record_attempt(
        self,
        message: Message,
        attempt: DeliveryAttempt,
        *,
        next_at: datetime | None,
        final_status: FinalStatus | None,
    ) -> None:
        """Log a delivery attempt of a leased message, and store when it is due again or its final status.

        The attempt is always logged. If the lease has expired, only a successful delivery changes the message.
        """

    def history(
        self,
        *,
        limit: int,
        channel: Channel | None = None,
        failed: bool = False,
        message_id: str | None = None,
    ) -> list[MessageHistory]:
        """Messages, the newest first. `failed`: only those with a failed attempt that were not delivered."""

    def replay(self, message_id: str, now: datetime) -> bool:
        """Make a message due now, with no attempts counted. Returns False if it does not exist."""

    def disable(self, disabled: DisabledEndpoint) -> None:
        """Stop sending to an endpoint."""

    def enable(self, endpoint: str | None = None) -> int:
        """Send again to an endpoint, or to all (None). Returns how many were disabled."""

    def disabled(self) -> Sequence[DisabledEndpoint]:
        """The disabled endpoints."""

    def email_of(self, user_id: str, transaction_id: str) -> str | None:
        """The address for mail about a transaction, which is that of the user's wallets; None if there is none.

        If the wallets have no address, the receipt of a deposit goes to the deposit's own address.
        """

    def set_email_if_absent(self, user_id: str, email: str, at: datetime) -> None:
        """Set the e-mail address of a user's wallets, unless they have one."""

    def set_email(self, user_id: str, email: str, at: datetime) -> None:
        """Set the e-mail address of a user's wallets. It replaces any other."""
