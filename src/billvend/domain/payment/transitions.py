"""The fold of a payment: how each event changes it, and which changes of status are legal.

    pending ──> processing ──> completed
       │            │  └─────> in_doubt ──> in_review        in doubt or in review, a clear answer leads to
       └────────────┴────────────> reversing ──> reversed    completed or reversing; until the money is back, new
                                                             evidence may still complete it or call for a review

If a reference of an earlier day is checked before a payment is sent, and the provider does not answer, the payment goes
from processing to in_review. A fold decides nothing: every change of status is an event that a decision recorded.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from billvend.domain.enums import OperatorDecision, Status
from billvend.domain.errors import InvalidTransition
from billvend.domain.journal.events import (
    CostRecorded,
    IncidentRaised,
    OperatorDecided,
    PaymentAccepted,
    PaymentCompleted,
    PaymentEvent,
    PaymentPutInDoubt,
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
from billvend.domain.payment.state import Attempt, Payment, Requery, Send

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
            return _replace_attempt(payment, _replace_send(attempt, send))
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
            return payment
        case PaymentPutInDoubt():
            return _transition(payment, Status.IN_DOUBT, in_doubt_since=at)
        case RequeryRequested():
            return replace(payment, requery_request=event)
        case ReviewRequested():
            return _transition(payment, Status.IN_REVIEW, review_reason=event.reason, reversal=None)
        case PaymentCompleted():
            # A customer's request is answered by the end. An operator's or a provider's may be about a later reversal.
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
                raise InvalidTransition(f"payment {payment.transaction_id} has no cost that is still unknown")
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
    return _replace_attempt(payment, _replace_send(attempt, send))


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
