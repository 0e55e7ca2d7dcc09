"""The decision of an operator about a payment, and the request of an earlier requery."""

from billvend.domain.decisions.commands import RequestRequery, Resolve
from billvend.domain.decisions.decision import Decision, release_hold
from billvend.domain.enums import OperatorDecision, Proof, Status
from billvend.domain.errors import NotInReview, ValidationFailed
from billvend.domain.journal import events
from billvend.domain.journal.events import StreamKey
from billvend.domain.payment.incidents import duplicate_token_incident
from billvend.domain.payment.state import Attempt, Payment
from billvend.domain.policy.rules import next_step
from billvend.domain.policy.timing import earliest_requested_requery_at

OPERATOR = "operator"
"""The source of a requery request to which the shortest interval does not apply."""


def resolve(decision: Decision, command: Resolve, owner: StreamKey | None) -> None:
    """Carry out a person's decision. Raises `NotInReview`, `ValidationFailed`."""
    payment = decision.payment
    decided = events.OperatorDecided(command.operator, command.decision, command.reason)
    if command.decision is OperatorDecision.ACKNOWLEDGED:
        if not payment.open_incidents:
            raise NotInReview("The payment has no open incident to acknowledge. Nothing was changed.")
        decision.add(decided)
        decision.finish(next_step(decision.payment, command.policy, command.at).at)
        return
    if payment.status not in (Status.IN_DOUBT, Status.IN_REVIEW):
        raise NotInReview(
            f"The payment is {payment.status}: only what is in doubt or in review can be resolved. Nothing was changed."
        )
    attempt = payment.attempts[-1]
    if command.decision is OperatorDecision.REVERSE:
        reason = f"{command.operator}: {command.reason}"
        decision.add(decided, events.ReversalDecided(Proof.OPERATOR, reason, attempt.number))
        release_hold(decision, Proof.OPERATOR, reason, command.policy)
        return
    if payment.needs_token and not command.token:
        reason = "is needed: the meter is prepaid"
        raise ValidationFailed(f"The token {reason}. Nothing was changed.", fields={"token": reason})
    amount_minor = payment.amount.amount_minor
    completed = events.PaymentCompleted(
        attempt.number, attempt.provider, amount_minor, None, command.token, None
    )
    decision.add(decided, completed)
    decision.add(*duplicate_token_incident(decision.payment, owner, command.at))
    decision.finish()


def request_requery(decision: Decision, command: RequestRequery) -> None:
    """Bring the next requery forward. For an operator it is due at once.

    For others it is made at most once an interval, and not before the provider's advice is over.
    """
    policy, now = command.policy, command.at
    if (attempt := requested_attempt(decision.payment, command)) is not None:
        is_operator = command.source == OPERATOR
        not_before = now if is_operator else earliest_requested_requery_at(attempt, policy, now)
        decision.add(
            events.RequeryRequested(command.source, not_before, attempt.number, len(attempt.requeries))
        )
    decision.finish(next_step(decision.payment, policy, now).at)


def requested_attempt(payment: Payment, command: RequestRequery) -> Attempt | None:
    """The attempt to requery. None if nothing was sent, its account is removed, or a request as good is open."""
    latest = payment.attempts[-1] if payment.attempts else None
    attempt = next((each for each in payment.attempts if each.reference == command.reference), latest)
    if attempt is None or command.policy.account_of(attempt) is None:
        return None
    open_request = payment.requery_request
    is_sooner = open_request and command.source == OPERATOR and open_request.not_before > command.at
    return attempt if not open_request or open_request.attempt != attempt.number or is_sooner else None
