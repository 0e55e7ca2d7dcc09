"""A payment: one order, its attempts at providers, and its status. Only `transitions.evolve` changes one."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from billvend.domain.enums import Proof, Status, VendType
from billvend.domain.errors import InvalidTransition
from billvend.domain.journal import codec
from billvend.domain.journal.events import (
    IncidentRaised,
    PaymentCompleted,
    PaymentReversed,
    RequeryRequested,
    ReversalDecided,
    StreamKey,
)
from billvend.domain.money import Money
from billvend.domain.outcome import Answer, Declined, Delivered, Unknown, knows_reference

PAY_OPERATION = "pay"
"""The operation of a payment. Two orders with the same user, operation and idempotency key are one."""
TERMINAL_STATUSES = frozenset({Status.COMPLETED, Status.REVERSED})
MAX_CLOCK_SKEW_SECONDS = 60
"""How far ahead the clock of another machine may be. Times of a clock further ahead are taken for errors."""


def is_far_ahead(at: datetime, now: datetime) -> bool:
    """Whether a time can only come from a clock that was wrong."""
    return at > now + timedelta(seconds=MAX_CLOCK_SKEW_SECONDS)


@dataclass(frozen=True, slots=True)
class _Call:
    """One request about a reference. A worker makes it, under a lease that excludes other workers."""

    number: int
    """1, 2, 3 ... among the sends, or among the requeries, of the attempt."""
    started_at: datetime
    lease_until: datetime
    _: KW_ONLY
    answer: Answer | None = None
    answered_at: datetime | None = None

    @property
    def observed_at(self) -> datetime:
        """When it was answered; when it began, if it was not."""
        return self.answered_at or self.started_at

    def holds_lease(self, now: datetime) -> bool:
        """Whether it excludes other workers: its lease has not expired, and its clock was not far ahead of ours."""
        return self.lease_until > now and not is_far_ahead(self.started_at, now)


@dataclass(frozen=True, slots=True)
class Send(_Call):
    """One request that sent a reference, or may have sent it."""

    send_before: datetime
    answer_by: datetime
    lease_expired: bool = False
    """True when its lease expired without an answer: the send may have happened."""

    @property
    def is_open(self) -> bool:
        """Whether its worker may still get the answer."""
        return self.answer is None and not self.lease_expired

    @property
    def is_ambiguous(self) -> bool:
        """Whether it may have bought electricity without our knowledge."""
        return isinstance(self.answer, Unknown) or (self.lease_expired and self.answer is None)


@dataclass(frozen=True, slots=True)
class Requery(_Call):
    """One request that asked the provider about a reference."""

    scheduled_seconds: float = 0.0
    credited_seconds: float = 0.0
    on_request: bool = False
    """True when a requery request led to it, not the schedule."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One reference at one provider account. It may be sent several times. A prior reference is only requeried."""

    number: int
    reference: str
    provider: str
    account_id: str
    started_at: datetime
    valid_until: datetime | None
    sends: tuple[Send, ...] = ()
    requeries: tuple[Requery, ...] = ()

    def send(self, number: int) -> Send:
        """The send of that number; raises InvalidTransition if there is none."""
        return _numbered(self.sends, number, f"send of attempt {self.reference}")

    def requery(self, number: int) -> Requery:
        """The requery of that number; raises InvalidTransition if there is none."""
        return _numbered(self.requeries, number, f"requery of attempt {self.reference}")

    @property
    def answers(self) -> tuple[Answer, ...]:
        """All answers of the provider: first those to sends, then those to requeries."""
        calls: tuple[Send | Requery, ...] = (*self.sends, *self.requeries)
        return tuple(call.answer for call in calls if call.answer is not None)

    @property
    def delivery(self) -> Delivered | None:
        """The delivery that its answers prove, if any."""
        return next((answer for answer in self.answers if isinstance(answer, Delivered)), None)

    @property
    def failure(self) -> Declined | None:
        """The last statement of the provider that the transaction failed or was reversed, if any."""
        failures = [each for each in self.answers if isinstance(each, Declined) and each.about_transaction]
        return failures[-1] if failures else None

    @property
    def is_known_to_provider(self) -> bool:
        """Whether the provider ever showed that it knows the reference, without an end of the transaction."""
        return any(knows_reference(answer) for answer in self.answers)

    @property
    def was_sent(self) -> bool:
        """Whether it was sent: by the record of this journal, or because the provider knows it.

        In the second case the record of the send was lost, for example by a restored backup.
        """
        return bool(self.sends or self.delivery or self.failure) or self.is_known_to_provider

    @property
    def is_known_prior(self) -> bool:
        """Whether this ledger never sent the reference, and the provider knows it."""
        return not self.sends and self.is_known_to_provider

    @property
    def last_requery_answer(self) -> Answer | None:
        """The answer to the last requery; None if it has none yet, or if there is no requery."""
        return self.requeries[-1].answer if self.requeries else None

    @property
    def open_call(self) -> Send | Requery | None:
        """The send or requery whose answer a worker may still get."""
        if self.sends and self.sends[-1].is_open:
            return self.sends[-1]
        return self.requeries[-1] if self.requeries and self.last_requery_answer is None else None


@dataclass(frozen=True, slots=True)
class Payment:
    """The state of an order, folded from its events."""

    user_id: str
    transaction_id: str
    amount: Money
    meter: str
    biller: str
    vend_type: VendType
    phone: str | None
    key: str | None
    status: Status
    accepted_at: datetime
    updated_at: datetime
    verified: bool = False
    """Whether the provider was asked about the meter before the money was held."""
    attempts: tuple[Attempt, ...] = ()
    requery_request: RequeryRequested | None = None
    """A requery request that no requery has followed yet."""
    in_doubt_since: datetime | None = None
    review_reason: str | None = None
    completion: PaymentCompleted | None = None
    reversal: ReversalDecided | PaymentReversed | None = None
    ended_at: datetime | None = None
    incidents: tuple[IncidentRaised, ...] = ()
    incidents_acknowledged: int = 0
    """How many of the incidents, counted from the first, a person has acknowledged."""

    @property
    def stream_key(self) -> StreamKey:
        """The stream of its events."""
        return StreamKey(self.user_id, self.transaction_id)

    @property
    def proof(self) -> Proof | None:
        """Why the money goes back or went back; None without a reversal."""
        return self.reversal.proof if self.reversal else None

    @property
    def token(self) -> str | None:
        """What the customer types into the meter. None until it is delivered, and for postpaid."""
        return self.completion.token if self.completion else None

    @property
    def units(self) -> str | None:
        """Kilowatt hours, as a decimal string; None until delivered."""
        return self.completion.units if self.completion else None

    @property
    def has_ended(self) -> bool:
        """Whether it is completed or reversed: the customer's side does not change any more."""
        return self.status in TERMINAL_STATUSES

    @property
    def open_incidents(self) -> tuple[IncidentRaised, ...]:
        """The incidents that no person has acknowledged yet."""
        return self.incidents[self.incidents_acknowledged :]

    @property
    def needs_token(self) -> bool:
        """Whether a delivery must have a token to count."""
        return self.vend_type is VendType.PREPAID

    @property
    def reference_number(self) -> int:
        """The number of this payment's next reference. Attempts that were not sent do not count."""
        return 1 + sum(1 for attempt in self.attempts if attempt.was_sent)

    @property
    def reference_seed(self) -> str:
        """What the references of its attempts are made from: a hash of user, operation and idempotency key.

        Not of the transaction id. A journal that lost this payment gives a repeated request another id, and only the
        same reference shows the provider that it was sold already. A payment without a key uses its transaction id as
        the key.
        """
        return codec.digest(self.user_id, PAY_OPERATION, self.key or self.transaction_id)

    def attempt(self, number: int) -> Attempt:
        """The attempt of that number; raises InvalidTransition if there is none."""
        return _numbered(self.attempts, number, f"attempt of payment {self.transaction_id}")


Item = TypeVar("Item")


def _numbered(items: Sequence[Item], number: int, what: str) -> Item:
    if not 1 <= number <= len(items):
        raise InvalidTransition(f"there is no {what} with the number {number}")
    return items[number - 1]
