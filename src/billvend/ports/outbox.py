"""The outbox port: what is to be told to the outside, and what became of it.

The journal writes a message in the same transaction as the event that it tells of, so that neither is there without the
other. From then on it is delivered at least once: whoever delivers takes it for a while first, and a taker who dies
leaves it to the next one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from billvend.domain.notifications import Channel


class FinalStatus(StrEnum):
    """How it ended with a message. Replayed, it begins anew."""

    DELIVERED = "delivered"
    GAVE_UP = "gave_up"
    """Tried ten times in vain, or refused for good."""
    SKIPPED = "skipped"
    """There was nobody to tell."""


@dataclass(frozen=True, slots=True)
class Message:
    """Something to be told on one channel."""

    message_id: str
    """The same on every try."""
    user_id: str
    channel: Channel
    transaction_id: str
    kind: str
    data: str
    """JSON, as it was written with the event; see `billvend.domain.notifications`."""
    at: datetime
    """When what it tells of happened."""
    attempt_count: int = 0
    """How often it was tried, since it was written or replayed."""
    next_at: datetime | None = None
    """When it is due; None when it has ended. While somebody is at it, when their time is up."""
    lease_until: datetime | None = None
    """Set while somebody is at it."""
    final_status: FinalStatus | None = None
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class DeliveryAttempt:
    """One line of the log of deliveries."""

    at: datetime
    target: str
    http_status: int | None
    latency_ms: int
    detail: str
    number: int = 0
    """1, 2, 3 ... within the message, counted on over replays; given when it is written down."""


@dataclass(frozen=True, slots=True)
class MessageHistory:
    """A message with what was tried, for showing."""

    message: Message
    attempts: tuple[DeliveryAttempt, ...] = ()


@dataclass(frozen=True, slots=True)
class DisabledEndpoint:
    """A place to which nothing is sent any more, because it said so."""

    endpoint: str
    target: str
    """Fit for showing."""
    disabled_at: datetime
    reason: str


class Outbox(Protocol):
    """Keeps the messages. Every method raises `Unavailable` when the database is away."""

    def take(self, channel: Channel, now: datetime, *, limit: int, lease_seconds: float) -> list[Message]:
        """At most `limit` messages of a channel that are due, the oldest first; nobody else gets them before the lease
        runs out."""

    def take_one(self, message_id: str, now: datetime, *, lease_seconds: float) -> Message | None:
        """One message, due or not, unless it has ended or somebody is at it."""

    def record_attempt(
        self,
        message: Message,
        attempt: DeliveryAttempt,
        *,
        next_at: datetime | None,
        final_status: FinalStatus | None,
    ) -> None:
        """Write down a try of a message that was taken, and when it is due again or how it ended.

        The try is written down in any case. Of somebody whose lease has run out, only a delivery counts for more.
        """

    def history(
        self,
        *,
        limit: int,
        channel: Channel | None = None,
        failed: bool = False,
        message_id: str | None = None,
    ) -> list[MessageHistory]:
        """Messages, the newest first. `failed`: only those of which some try failed, and that were not delivered."""

    def replay(self, message_id: str, now: datetime) -> bool:
        """Let a message be due now, as if it had never been tried; False where there is none."""

    def disable(self, disabled: DisabledEndpoint) -> None:
        """Note that nothing is to be sent to an endpoint."""

    def enable(self, endpoint: str | None = None) -> int:
        """Forget that an endpoint, or any of them, was disabled; returns how many were."""

    def disabled(self) -> Sequence[DisabledEndpoint]:
        """The endpoints to which nothing is sent."""

    def email_of(self, user_id: str, transaction_id: str) -> str | None:
        """Where mail about a transaction goes: the address of the user's wallets; None where there is none.

        A deposit is acknowledged to the address that was given with it where the wallets have none.
        """

    def set_email_if_absent(self, user_id: str, email: str, at: datetime) -> None:
        """Let this be the address of a user's wallets, unless they have one."""

    def set_email(self, user_id: str, email: str, at: datetime) -> None:
        """Let this be the address of a user's wallets, in place of any other."""
