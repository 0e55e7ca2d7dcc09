"""The metrics port: counts events, for monitoring.

Metrics are recorded on the money path, often before a provider's answer is stored. So no method may raise.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from billvend.domain.enums import Status
from billvend.domain.money import Money
from billvend.domain.notifications import Channel
from billvend.domain.outcome import Answer
from billvend.domain.payment.state import Payment
from billvend.ports.notifier import DeliveryOutcome
from billvend.ports.queue import QueueName

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
"""The HTTP content type of an exposition."""


@dataclass(frozen=True, slots=True)
class BacklogGauges:
    """Open work, as the database shows it."""

    payments: Mapping[Status, int]
    """The number of payments in each status that is not final; no such status is left out."""
    amounts: Mapping[tuple[Status, str], Money]
    """Their sums, by status and currency."""
    due: int
    """The number of payments that wait for a worker."""
    oldest_due_seconds: float
    """How long the oldest of them has been due; 0 if none is due."""
    open_incidents: int
    """Payments with incidents that no person has acknowledged."""
    disabled_endpoints: int
    """Webhook endpoints that refuse further webhooks."""
    unconfigured: int
    """Provider accounts that have payments in doubt but are no longer configured, so that no requery is possible."""


@dataclass(frozen=True, slots=True)
class AccountGauges:
    """The state of one configured provider account."""

    provider: str
    is_selling: bool
    in_doubt: Money
    """The money in doubt or in review there."""
    float_: Money | None
    """Our last known balance there; None if it is unknown."""


@dataclass(frozen=True, slots=True)
class Gauges:
    """The current state. Every process reads the same values."""

    backlog: BacklogGauges | None
    """None while the database is unavailable; `accounts` is empty then."""
    accounts: Sequence[AccountGauges]
    depth: Mapping[QueueName, int] | None
    """The number of waiting hints, by queue; None while the queue is unavailable."""


class Metrics(Protocol):
    """Counts what this process does. Used from any thread. Only `exposition` may raise."""

    def accepted(self, payment: Payment) -> None:
        """The money for a payment is held."""

    def put_in_doubt(self, payment: Payment) -> None:
        """A payment is now in doubt."""

    def ended(self, payment: Payment) -> None:
        """A payment is completed or reversed."""

    def rejected(self, code: str) -> None:
        """The API rejected a request with this stable code."""

    def answered(self, provider: str, answer: Answer, seconds: float, *, is_requery: bool) -> None:
        """A call to a provider gave this answer after this many seconds."""

    def funded(self, source: str, amount: Money) -> None:
        """A wallet was funded."""

    def swept(self, due: int, enqueued: int) -> None:
        """A sweep found `due` payments, and put hints for `enqueued` of them into the queue."""

    def batch(self, size: int) -> None:
        """One transaction committed this many commands."""

    def delivered(self, channel: Channel, outcome: DeliveryOutcome, *, given_up: bool) -> None:
        """A delivery attempt had this outcome. `given_up`: it was the last attempt, and it failed."""

    def exposition(self, gauges: Gauges) -> str:
        """All counters and the gauges as text for Prometheus, format 0.0.4."""
        ...


class NullMetrics:
    """Counts nothing."""

    def accepted(self, payment: Payment) -> None:
        """See the port."""

    def put_in_doubt(self, payment: Payment) -> None:
        """See the port."""

    def ended(self, payment: Payment) -> None:
        """See the port."""

    def rejected(self, code: str) -> None:
        """See the port."""

    def answered(self, provider: str, answer: Answer, seconds: float, *, is_requery: bool) -> None:
        """See the port."""

    def funded(self, source: str, amount: Money) -> None:
        """See the port."""

    def swept(self, due: int, enqueued: int) -> None:
        """See the port."""

    def batch(self, size: int) -> None:
        """See the port."""

    def delivered(self, channel: Channel, outcome: DeliveryOutcome, *, given_up: bool) -> None:
        """See the port."""

    def exposition(self, gauges: Gauges) -> str:
        """See the port."""
        return ""
