"""The notifier port: one channel for notifications. It makes one delivery attempt and returns the result."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from billvend.ports.repositories import Message


class DeliveryOutcome(StrEnum):
    """The outcome of one delivery attempt."""

    DELIVERED = "delivered"
    """The receiver accepted the message."""
    FAILED = "failed"
    """The attempt failed, or its outcome is unknown. It is retried later."""
    REJECTED = "rejected"
    """The receiver will never accept the message. It is not retried."""
    NO_RECIPIENT = "no_recipient"
    """There is no address to send it to."""
    GONE = "gone"
    """The receiver refuses further messages. The endpoint is disabled, and the message waits."""


@dataclass(frozen=True, slots=True)
class DeliveryResult:
    """The result of one delivery attempt."""

    outcome: DeliveryOutcome
    target: str
    """The destination, safe to show: a URL without possible secrets, or a mail address."""
    detail: str
    """The outcome in a few words. It contains nothing of the message's content."""
    http_status: int | None = None
    retry_after_seconds: float | None = None
    """How long the receiver asks us to wait before the next attempt."""


class Notifier(Protocol):
    """One configured channel."""

    @property
    def endpoint(self) -> str | None:
        """The id under which the endpoint can be disabled; None for a channel that can't be disabled.

        Each address has its own id. The id is not a secret.
        """

    def deliver(self, message: Message) -> DeliveryResult:
        """Make one delivery attempt, with its own deadline. Nothing that the receiver does raises an error."""

    def close(self) -> None:
        """Close the connections."""
