"""The notifier port: one way to the outside. It makes one try, and says what came of it."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from billvend.ports.outbox import Message


class DeliveryOutcome(StrEnum):
    """What came of one try."""

    DELIVERED = "delivered"
    """It was taken."""
    FAILED = "failed"
    """It was not, or nobody knows: it is tried again later."""
    REJECTED = "rejected"
    """It never will be taken: it is not tried again."""
    NO_RECIPIENT = "no_recipient"
    """There is nobody to tell."""
    GONE = "gone"
    """The other side wants no more of these: the endpoint is disabled, and the message waits."""


@dataclass(frozen=True, slots=True)
class DeliveryResult:
    """One try, as its channel saw it."""

    outcome: DeliveryOutcome
    target: str
    """Where it went, fit for showing: a URL without what may be a secret, a mail address."""
    detail: str
    """What came of it, in a few words. Nothing of a message's content is in it."""
    http_status: int | None = None
    retry_after_seconds: float | None = None
    """How long the other side asks us to stay away."""


class Notifier(Protocol):
    """One channel, set up."""

    @property
    def endpoint(self) -> str | None:
        """The name under which this way out can be disabled; None for a channel that nobody disables.

        It is another one for another address, and is no secret.
        """

    def deliver(self, message: Message) -> DeliveryResult:
        """Make one try, with a deadline of its own. Raises nothing for what the other side does."""

    def close(self) -> None:
        """Give back connections."""
