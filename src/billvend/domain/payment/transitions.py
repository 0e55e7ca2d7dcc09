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
from typing import Any, TypeVar

from billvend.domain.enums import OperatorDecision, Status
from billvend.domain.errors import InvalidTransition
from billvend.domain.journal import events
from billvend.domain.journal.events import PaymentEvent, StreamKey
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
    if isinstance(event, events.PaymentAccepted):
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
        case events.PriorAttemptRegistered():
            return _add_attempt(_transition(payment, Status.PROCESSING), event, at)
        case events.SendStarted():
            payment = _transition(payment, Status.PROCESSING)
            if event.attempt > len(payment.attempts):
                payment = _add_attempt(payment, event, at)
            attempt = payment.attempt(event.attempt)
            send = Send(event.send, at, event.lease_until, event.send_before, event.answer_by)
            return _put_attempt(payment, replace(attempt, sends=_add(payment, attempt.sends, send)))
        case events.SendAnswered():
            attempt = payment.attempt(event.attempt)
            send = replace(attempt.send(event.send), answer=event.answer, answered_at=at)
            return _put_attempt(payment, replace(attempt, sends=_put(attempt.sends, send)))
        case events.SendLeaseExpired():
            attempt = payment.attempt(event.attempt)
            send = replace(attempt.send(event.send), lease_expired=True)
            return _put_attempt(payment, replace(attempt, sends=_put(attempt.sends, send)))
        case events.RequeryStarted():
            attempt = payment.attempt(event.attempt)
            requery = Requery(
                event.requery, at, event.lease_until, event.scheduled_seconds, on_request=event.on_request
            )
            return _put_attempt(
                payment, replace(attempt, requeries=_add(payment, attempt.requeries, requery))
            )
        case events.RequeryAnswered():
            attempt = payment.attempt(event.attempt)
            requery = replace(
                attempt.requery(event.requery),
                answer=event.answer, answered_at=at, credited_seconds=event.credited_seconds,
            )  # fmt: skip
            attempt = replace(attempt, requeries=_put(attempt.requeries, requery))
            request = payment.requery_request
            if request and request.attempt == attempt.number and request.after_requery < requery.number:
                request = None
            return _put_attempt(replace(payment, requery_request=request), attempt)
        case events.RequeryRequested():
            return replace(payment, requery_request=event)
        case events.PaymentPutInDoubt():
            return _transition(payment, Status.IN_DOUBT, in_doubt_since=at)
        case events.ReviewRequested():
            return _transition(payment, Status.IN_REVIEW, review_reason=event.reason, reversal=None)
        case events.PaymentCompleted():
            # A customer's request is answered by the end. An operator's or a provider's may be about a later reversal.
            request = payment.requery_request
            if request and request.source == "customer":
                request = None
            return _transition(
                payment,
                Status.COMPLETED,
                completion=event,
                reversal=None,
                ended_at=at,
                requery_request=request,
            )
        case events.ReversalDecided():
            return _transition(payment, Status.REVERSING, reversal=event)
        case events.PaymentReversed():
            return _transition(payment, Status.REVERSED, reversal=event, ended_at=at)
        case events.CostRecorded():
            if payment.completion is None or payment.completion.cost_minor is not None:
                raise InvalidTransition(f"payment {payment.transaction_id} has no cost that is still unknown")
            return replace(payment, completion=replace(payment.completion, cost_minor=event.cost_minor))
        case events.IncidentRaised():
            return replace(payment, incidents=(*payment.incidents, event))
        case events.OperatorDecided() if event.decision is OperatorDecision.ACKNOWLEDGED:
            return replace(payment, incidents_acknowledged=len(payment.incidents))
        case events.OperatorDecided():
            return payment


def _transition(payment: Payment, to: Status, **changes: Any) -> Payment:
    if to not in TRANSITIONS[payment.status]:
        raise InvalidTransition(f"payment {payment.transaction_id} can't go from {payment.status} to {to}")
    return replace(payment, status=to, **changes)


def _add_attempt(
    payment: Payment, event: events.SendStarted | events.PriorAttemptRegistered, at: datetime
) -> Payment:
    attempt = Attempt(event.attempt, event.reference, event.provider, event.account_id, at, event.valid_until)
    return replace(payment, attempts=_add(payment, payment.attempts, attempt))


def _put_attempt(payment: Payment, attempt: Attempt) -> Payment:
    return replace(payment, attempts=_put(payment.attempts, attempt))


Item = TypeVar("Item", bound=Attempt | Send | Requery)


def _add(payment: Payment, items: tuple[Item, ...], item: Item) -> tuple[Item, ...]:
    """The items and the next one. Raises InvalidTransition if its number is not the next."""
    if item.number != len(items) + 1:
        what = type(item).__name__.lower()
        raise InvalidTransition(
            f"payment {payment.transaction_id} got {what} {item.number} after number {len(items)}"
        )
    return (*items, item)


def _put(items: tuple[Item, ...], item: Item) -> tuple[Item, ...]:
    """The items with this one in place of the one that has its number."""
    return (*items[: item.number - 1], item, *items[item.number :])
