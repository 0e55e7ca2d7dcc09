"""A payment: one order, its attempts at providers, and where it stands.

    pending ──> processing ──> completed
       │            │  └─────> in_doubt ──> in_review        in doubt or in review, a clear answer leads to
       └────────────┴────────────> reversing ──> reversed    completed or reversing; until the money is back, new
                                                             evidence may still complete it or call for a review

A payment that is asked about before it is sent, because lost books may have sent it, goes from processing to in_review
when the provider doesn't say.

A payment is nothing but the fold of its events: `evolve` is the only way to change one, and it refuses, by name, every
change of status that the picture does not show.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from billvend.domain.enums import OperatorDecision, Proof, Status, VendType
from billvend.domain.errors import InvalidTransition
from billvend.domain.journal import codec
from billvend.domain.journal.events import (
    CostRecorded,
    IncidentRaised,
    OperatorDecided,
    PaymentAccepted,
    PaymentCompleted,
    PaymentEvent,
    PaymentReversed,
    PriorAttemptRegistered,
    RequeryAnswered,
    RequeryRequested,
    RequeryStarted,
    ReversalDecided,
    ReviewRequested,
    SendAnswered,
    SendLeaseExpired,
    SendStarted,
    StreamKey,
)
from billvend.domain.money import Money
from billvend.domain.outcome import Answer, Declined, Delivered, Pending, Unknown

TRANSITIONS: Mapping[Status, frozenset[Status]] = {
    Status.PENDING: frozenset({Status.PROCESSING, Status.REVERSING}),
    Status.PROCESSING: frozenset(
        {Status.PROCESSING, Status.IN_DOUBT, Status.IN_REVIEW, Status.COMPLETED, Status.REVERSING}
    ),
    Status.IN_DOUBT: frozenset({Status.IN_REVIEW, Status.COMPLETED, Status.REVERSING}),
    Status.IN_REVIEW: frozenset({Status.COMPLETED, Status.REVERSING}),
    Status.REVERSING: frozenset({Status.REVERSED, Status.COMPLETED, Status.IN_REVIEW}),
    Status.COMPLETED: frozenset(),
    Status.REVERSED: frozenset(),
}
"""Every legal change of status."""

MAX_CLOCK_SKEW_SECONDS = 60
"""How far ahead another machine's clock may be before what it claimed is taken for a mistake."""
PAY_OPERATION = "pay"
"""The operation of a payment: with user and idempotency key, what makes two orders the same one."""
TERMINAL_STATUSES = frozenset({Status.COMPLETED, Status.REVERSED})


@dataclass(frozen=True, slots=True)
class Send:
    """One time that a reference was, or may have been, sent."""

    number: int
    started_at: datetime
    lease_until: datetime
    send_before: datetime
    answer_by: datetime
    answer: Answer | None = None
    answered_at: datetime | None = None
    lease_expired: bool = False
    """True when its worker let the lease run out: the send may have happened."""

    @property
    def is_open(self) -> bool:
        """Whether its worker may still be at it."""
        return self.answer is None and not self.lease_expired

    @property
    def is_ambiguous(self) -> bool:
        """Whether it may have sold electricity without our knowing."""
        return isinstance(self.answer, Unknown) or (self.lease_expired and self.answer is None)


@dataclass(frozen=True, slots=True)
class Requery:
    """One time that the provider was asked about a reference."""

    number: int
    started_at: datetime
    lease_until: datetime
    scheduled_seconds: float = 0.0
    answer: Answer | None = None
    answered_at: datetime | None = None
    credited_seconds: float = 0.0
    on_request: bool = False
    """True when somebody's hint brought it about, not the schedule."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One reference at one provider account. It may be sent more than once, or, recalled, not at all."""

    number: int
    reference: str
    provider: str
    account_id: str
    started_at: datetime
    valid_until: datetime | None
    sends: tuple[Send, ...] = ()
    requeries: tuple[Requery, ...] = ()

    def send(self, number: int) -> Send:
        """The send of that number; raises InvalidTransition where there is none."""
        if not 1 <= number <= len(self.sends):
            raise InvalidTransition(f"attempt {self.reference} has no send {number}")
        return self.sends[number - 1]

    def requery(self, number: int) -> Requery:
        """The requery of that number; raises InvalidTransition where there is none."""
        if not 1 <= number <= len(self.requeries):
            raise InvalidTransition(f"attempt {self.reference} has no requery {number}")
        return self.requeries[number - 1]

    @property
    def answers(self) -> tuple[Answer, ...]:
        """All that the provider ever said of it: to the sends first, then to the requeries."""
        calls: tuple[Send | Requery, ...] = (*self.sends, *self.requeries)
        return tuple(call.answer for call in calls if call.answer is not None)

    @property
    def was_sent(self) -> bool:
        """Whether it was sent, by these books or, as the provider shows, by others that were lost since."""
        return bool(self.sends) or any(
            knows_reference(answer)
            or isinstance(answer, Delivered)
            or (isinstance(answer, Declined) and answer.about_transaction)
            for answer in self.answers
        )

    @property
    def open_call(self) -> Send | Requery | None:
        """The send or requery that a worker may still be at."""
        last_requery = self.requeries[-1] if self.requeries else None
        if self.sends and self.sends[-1].is_open:
            return self.sends[-1]
        return last_requery if last_requery is not None and last_requery.answer is None else None


@dataclass(frozen=True, slots=True)
class Payment:
    """Where an order stands, as folded from its events."""

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
    """A hint at news that no requery has followed up yet."""
    in_doubt_since: datetime | None = None
    review_reason: str | None = None
    completion: PaymentCompleted | None = None
    reversal: ReversalDecided | PaymentReversed | None = None
    ended_at: datetime | None = None
    incidents: tuple[IncidentRaised, ...] = ()
    incidents_acknowledged: int = 0
    """How many of them, the first ones, a person has dealt with."""

    @property
    def stream_key(self) -> StreamKey:
        """The stream its events stand in."""
        return StreamKey(self.user_id, self.transaction_id)

    @property
    def proof(self) -> Proof | None:
        """Why the money went, or is going, back."""
        return self.reversal.proof if self.reversal else None

    @property
    def token(self) -> str | None:
        """What the customer types into the meter; None until it is delivered, and for postpaid."""
        return self.completion.token if self.completion else None

    @property
    def units(self) -> str | None:
        """Kilowatt hours, as a decimal string; None until delivered."""
        return self.completion.units if self.completion else None

    @property
    def has_ended(self) -> bool:
        """Whether it is completed or reversed: the customer's side will not change any more."""
        return self.status in TERMINAL_STATUSES

    @property
    def open_incidents(self) -> tuple[IncidentRaised, ...]:
        """What a person still has to look at."""
        return self.incidents[self.incidents_acknowledged :]

    @property
    def needs_token(self) -> bool:
        """Whether a delivery without a token is no delivery."""
        return self.vend_type is VendType.PREPAID

    @property
    def reference_number(self) -> int:
        """Which of this payment's references the next new one is: those that were recalled in vain don't count."""
        return 1 + sum(1 for attempt in self.attempts if attempt.was_sent)

    @property
    def reference_seed(self) -> str:
        """What the references of its attempts are made from: a hash of user, operation and idempotency key.

        Not of the transaction id. A ledger that lost this payment gives the same key another id when it comes again, and
        only the same reference lets the provider see that it was sold already. A payment without a key has its
        transaction id as its key.
        """
        return codec.digest(self.user_id, PAY_OPERATION, self.key or self.transaction_id)

    def attempt(self, number: int) -> Attempt:
        """The attempt of that number; raises InvalidTransition where there is none."""
        if not 1 <= number <= len(self.attempts):
            raise InvalidTransition(f"payment {self.transaction_id} has no attempt {number}")
        return self.attempts[number - 1]


def evolve(payment: Payment | None, key: StreamKey, event: PaymentEvent, at: datetime) -> Payment:
    """The payment after an event; raises InvalidTransition for one that can't follow."""
    if isinstance(event, PaymentAccepted):
        if payment is not None:
            raise InvalidTransition(f"payment {key.stream} was accepted before")
        amount = Money(event.amount_minor, event.currency)
        return Payment(
            key.user_id, key.stream, amount, event.meter, event.biller, event.vend_type, event.phone, event.key,
            Status.PENDING, accepted_at=at, updated_at=at, verified=event.verified,
        )  # fmt: skip
    if payment is None:
        raise InvalidTransition(f"payment {key.stream} was never accepted")
    payment = replace(payment, updated_at=at)
    match event:
        case PriorAttemptRegistered():
            return _prior_attempt_registered(_transition(payment, Status.PROCESSING), event, at)
        case SendStarted():
            return _send_started(_transition(payment, Status.PROCESSING), event, at)
        case SendAnswered():
            return _send_answered(payment, event, at)
        case SendLeaseExpired():
            attempt = payment.attempt(event.attempt)
            send = replace(attempt.send(event.send), lease_expired=True)
            return _mark_in_doubt(_replace_attempt(payment, _replace_send(attempt, send)), at)
        case RequeryStarted():
            attempt = payment.attempt(event.attempt)
            if event.requery != len(attempt.requeries) + 1:
                raise InvalidTransition(f"payment {payment.transaction_id} skipped a requery")
            requery = Requery(
                event.requery, at, event.lease_until, event.scheduled_seconds, on_request=event.on_request
            )
            return _replace_attempt(payment, replace(attempt, requeries=(*attempt.requeries, requery)))
        case RequeryAnswered():
            attempt = payment.attempt(event.attempt)
            answered = replace(
                attempt.requery(event.requery),
                answer=event.answer, answered_at=at, credited_seconds=event.credited_seconds,
            )  # fmt: skip
            payment = _replace_attempt(payment, _replace_requery(attempt, answered))
            requery_request = payment.requery_request
            if (
                requery_request
                and requery_request.attempt == attempt.number
                and requery_request.after_requery < answered.number
            ):
                payment = replace(payment, requery_request=None)
            # A reference that was only recalled, and that the provider turns out to know, may have been sold.
            prior_is_known = not attempt.sends and knows_reference(event.answer)
            return _mark_in_doubt(payment, at) if prior_is_known else payment
        case RequeryRequested():
            return replace(payment, requery_request=event)
        case ReviewRequested():
            return _transition(payment, Status.IN_REVIEW, review_reason=event.reason, reversal=None)
        case PaymentCompleted():
            # A customer who looked wanted to know how it ends; anybody else may know that it has ended otherwise.
            requery_request = (
                payment.requery_request
                if payment.requery_request and payment.requery_request.source != "customer"
                else None
            )
            return _transition(
                payment,
                Status.COMPLETED,
                completion=event,
                reversal=None,
                ended_at=at,
                requery_request=requery_request,
            )
        case ReversalDecided():
            return _transition(payment, Status.REVERSING, reversal=event)
        case PaymentReversed():
            return _transition(payment, Status.REVERSED, reversal=event, ended_at=at)
        case CostRecorded():
            if payment.completion is None or payment.completion.cost_minor is not None:
                raise InvalidTransition(f"payment {payment.transaction_id} has no cost to be learnt")
            return replace(payment, completion=replace(payment.completion, cost_minor=event.cost_minor))
        case IncidentRaised():
            return replace(payment, incidents=(*payment.incidents, event))
        case OperatorDecided():
            acknowledged = (
                len(payment.incidents)
                if event.decision is OperatorDecision.ACKNOWLEDGED
                else payment.incidents_acknowledged
            )
            return replace(payment, incidents_acknowledged=acknowledged)


def _transition(payment: Payment, to: Status, **changes: Any) -> Payment:
    if to not in TRANSITIONS[payment.status]:
        raise InvalidTransition(f"payment {payment.transaction_id} can't go from {payment.status} to {to}")
    return replace(payment, status=to, **changes)


def _mark_in_doubt(payment: Payment, at: datetime) -> Payment:
    """In doubt from now on, unless it already is, waits for a person, or has ended."""
    if payment.status is not Status.PROCESSING:
        return payment
    return _transition(payment, Status.IN_DOUBT, in_doubt_since=at)


def knows_reference(answer: Answer) -> bool:
    """Whether an answer shows that the provider knows the reference."""
    return isinstance(answer, Pending) or (isinstance(answer, Unknown) and answer.known_to_provider)


def _prior_attempt_registered(payment: Payment, event: PriorAttemptRegistered, at: datetime) -> Payment:
    if event.attempt != len(payment.attempts) + 1:
        raise InvalidTransition(f"payment {payment.transaction_id} skipped an attempt")
    attempt = Attempt(event.attempt, event.reference, event.provider, event.account_id, at, event.valid_until)
    return replace(payment, attempts=(*payment.attempts, attempt))


def _send_started(payment: Payment, event: SendStarted, at: datetime) -> Payment:
    send = Send(event.send, at, event.lease_until, event.send_before, event.answer_by)
    if event.attempt > len(payment.attempts):
        if event.attempt != len(payment.attempts) + 1 or event.send != 1:
            raise InvalidTransition(f"payment {payment.transaction_id} skipped an attempt or a send")
        attempt = Attempt(
            event.attempt, event.reference, event.provider, event.account_id, at, event.valid_until, (send,)
        )
        return replace(payment, attempts=(*payment.attempts, attempt))
    attempt = payment.attempt(event.attempt)
    if event.send != len(attempt.sends) + 1:
        raise InvalidTransition(f"payment {payment.transaction_id} skipped a send")
    return _replace_attempt(payment, replace(attempt, sends=(*attempt.sends, send)))


def _send_answered(payment: Payment, event: SendAnswered, at: datetime) -> Payment:
    attempt = payment.attempt(event.attempt)
    send = replace(attempt.send(event.send), answer=event.answer, answered_at=at)
    payment = _replace_attempt(payment, _replace_send(attempt, send))
    ours_is_latest = event.attempt == len(payment.attempts)
    in_doubt = isinstance(event.answer, Unknown) and ours_is_latest
    return _mark_in_doubt(payment, at) if in_doubt else payment


def _replace_attempt(payment: Payment, attempt: Attempt) -> Payment:
    attempts = payment.attempts
    return replace(payment, attempts=(*attempts[: attempt.number - 1], attempt, *attempts[attempt.number :]))


def _replace_send(attempt: Attempt, send: Send) -> Attempt:
    sends = attempt.sends
    return replace(attempt, sends=(*sends[: send.number - 1], send, *sends[send.number :]))


def _replace_requery(attempt: Attempt, requery: Requery) -> Attempt:
    requeries = attempt.requeries
    return replace(
        attempt, requeries=(*requeries[: requery.number - 1], requery, *requeries[requery.number :])
    )


def holds_lease(call: Send | Requery, now: datetime) -> bool:
    """Whether a call excludes others: its lease runs, and was not taken by a clock that is far ahead of ours."""
    return call.lease_until > now and not is_far_ahead(call.started_at, now)


def is_far_ahead(at: datetime, now: datetime) -> bool:
    """Whether a moment can only come from a clock that was wrong."""
    return at > now + timedelta(seconds=MAX_CLOCK_SKEW_SECONDS)


def find_delivery(attempt: Attempt) -> Delivered | None:
    """The delivery that an attempt's answers prove, if any."""
    return next((answer for answer in attempt.answers if isinstance(answer, Delivered)), None)
