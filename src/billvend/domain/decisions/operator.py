"""The decision of an operator about a payment, and the request of an earlier requery."""

from billvend.domain.decisions.commands import RequestRequery, Resolve
from billvend.domain.decisions.recorder import Decision, EventRecorder, release_hold
from billvend.domain.enums import OperatorDecision, Proof, Status
from billvend.domain.errors import NotInReview, ValidationFailed
from billvend.domain.journal.events import (
    OperatorDecided,
    PaymentCompleted,
    RequeryRequested,
    ReversalDecided,
    StreamKey,
)
from billvend.domain.ledger.wallet import Wallet
from billvend.domain.payment.incidents import duplicate_token_incident
from billvend.domain.payment.state import Payment
from billvend.domain.policy.rules import next_step
from billvend.domain.policy.steps import due_at
from billvend.domain.policy.timing import earliest_requested_requery_at

OPERATOR = "operator"
"""The source of a requery request to which the shortest interval does not apply."""


def resolve(wallet: Wallet | None, payment: Payment, command: Resolve, owner: StreamKey | None) -> Decision:
    """Carry out a person's decision. Raises `NotInReview`, `ValidationFailed`."""
    recorder, decision = EventRecorder(payment, command.at), command.decision
    decided = OperatorDecided(command.operator, decision, command.reason)
    if decision is OperatorDecision.ACKNOWLEDGED:
        if not payment.open_incidents:
            raise NotInReview("The payment has no open incident to acknowledge. Nothing was changed.")
        recorder.add(decided)
        return recorder.finish(due_at(next_step(recorder.payment, command.policy, command.at), command.at))
    if payment.status not in (Status.IN_DOUBT, Status.IN_REVIEW):
        raise NotInReview(
            f"The payment is {payment.status}: only what is in doubt or in review can be resolved. Nothing was changed."
        )
    recorder.add(decided)
    attempt = payment.attempts[-1]
    if decision is OperatorDecision.DELIVERED:
        if payment.needs_token and not command.token:
            reason = "is needed: the meter is prepaid"
            raise ValidationFailed(f"The token {reason}. Nothing was changed.", fields={"token": reason})
        amount_minor = payment.amount.amount_minor
        recorder.add(
            PaymentCompleted(attempt.number, attempt.provider, amount_minor, None, command.token, None)
        )
        recorder.add_all(duplicate_token_incident(recorder.payment, owner, command.at))
        return recorder.finish(None)
    reason = f"{command.operator}: {command.reason}"
    recorder.add(ReversalDecided(Proof.OPERATOR, reason, attempt.number))
    return release_hold(wallet, recorder, Proof.OPERATOR, reason, command.policy)


def request_requery(payment: Payment, command: RequestRequery) -> Decision:
    """Bring the next requery forward. For an operator it is due at once.

    For others it is made at most once an interval, and not before the provider's advice is over.
    """
    recorder, policy, now = EventRecorder(payment, command.at), command.policy, command.at
    is_operator, open_request = command.source == OPERATOR, payment.requery_request
    latest = payment.attempts[-1] if payment.attempts else None
    attempt = next((a for a in payment.attempts if a.reference == command.reference), latest)
    if (
        attempt is not None
        and policy.account_of(attempt) is not None
        and (
            open_request is None
            or open_request.attempt != attempt.number
            or policy.account_of(payment.attempt(open_request.attempt)) is None
            or (is_operator and open_request.not_before > now)
        )
    ):
        not_before = now if is_operator else earliest_requested_requery_at(attempt, policy, now)
        recorder.add(RequeryRequested(command.source, not_before, attempt.number, len(attempt.requeries)))
    return recorder.finish(due_at(next_step(recorder.payment, policy, now), now))
