"""The measures port: what happens is counted, for whoever watches from outside.

A measure is told after the fact, often with a provider's answer still in hand: no method may raise.
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
"""What an exposition is, over HTTP."""


@dataclass(frozen=True, slots=True)
class BacklogGauges:
    """What is still to be done, as the books say."""

    payments: Mapping[Status, int]
    """How many payments stand in each status that is not an end; none is left out."""
    amounts: Mapping[tuple[Status, str], Money]
    """Their sums, by status and currency."""
    due: int
    """How many payments wait for a worker."""
    oldest_due_seconds: float
    """For how long the oldest of them has been due; 0 where none is."""
    open_incidents: int
    """Payments with incidents that nobody has dealt with."""
    disabled_endpoints: int
    """Endpoints of webhooks that want no more."""
    unconfigured: int
    """Provider accounts that hold payments in doubt, and that nobody can ask any more."""


@dataclass(frozen=True, slots=True)
class AccountGauges:
    """How one configured provider account is."""

    provider: str
    is_selling: bool
    in_doubt: Money
    """In doubt or in review there."""
    float_: Money | None
    """Our balance there when it was last asked about; None where nobody knows."""


@dataclass(frozen=True, slots=True)
class Gauges:
    """How things stand at a moment: the same, whichever process looks."""

    backlog: BacklogGauges | None
    """None while the database is away, and then there are no accounts either."""
    accounts: Sequence[AccountGauges]
    depth: Mapping[QueueName, int] | None
    """How many hints wait, by queue; None while the queue is away."""


class Metrics(Protocol):
    """Counts what this process does. Used from any thread; no method raises, but for the last."""

    def accepted(self, payment: Payment) -> None:
        """The money for a payment is held."""

    def put_in_doubt(self, payment: Payment) -> None:
        """A payment is in doubt from now on."""

    def ended(self, payment: Payment) -> None:
        """A payment is completed or reversed."""

    def rejected(self, code: str) -> None:
        """A door turned a request away, with this stable code."""

    def answered(self, provider: str, answer: Answer, seconds: float, *, is_requery: bool) -> None:
        """A provider was called, and this came of it after so long."""

    def funded(self, source: str, amount: Money) -> None:
        """Money came in."""

    def swept(self, due: int, enqueued: int) -> None:
        """A sweep found so much due, and handed so much of it to the queue."""

    def batch(self, size: int) -> None:
        """So many commands were written down in one transaction."""

    def delivered(self, channel: Channel, outcome: DeliveryOutcome, *, given_up: bool) -> None:
        """The outside was told, or that was tried in vain; for the last time, if it is given up."""

    def exposition(self, gauges: Gauges) -> str:
        """All of it as text for Prometheus, format 0.0.4, with how things stand."""
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
