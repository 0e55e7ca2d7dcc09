"""Incidents: what turns up after a payment's end.

The customer's money does not move. An incident is booked between our own accounts, and a person acknowledges it.
"""

from collections.abc import Iterator
from datetime import datetime

from billvend.domain.enums import IncidentKind, Status
from billvend.domain.journal.events import CostRecorded, IncidentRaised, PaymentEvent, StreamKey
from billvend.domain.outcome import Answer, Declined, Delivered
from billvend.domain.payment.state import Attempt, Payment


def incidents_after_settlement(payment: Payment, attempt: Attempt, answer: Answer) -> Iterator[PaymentEvent]:
    """The events of an answer about an attempt of a payment that has ended.

    Each kind of incident moves money once an attempt. `attempt` is as it was before the answer.
    """
    completed, face = payment.completion, payment.amount.amount_minor
    booked = {(incident.kind, incident.attempt) for incident in payment.incidents}
    taken_back = (IncidentKind.TAKEN_BACK, attempt.number) in booked
    by_this = completed is not None and completed.attempt == attempt.number
    known_tokens = {each.token for each in attempt.answers if isinstance(each, Delivered)}

    def incident(kind: IncidentKind, amount_minor: int, detail: str) -> IncidentRaised:
        first = (kind, attempt.number) not in booked
        return IncidentRaised(kind, attempt.number, attempt.provider, amount_minor if first else 0, detail)

    match answer:
        case Delivered(token, cost_minor=cost) if by_this and completed and completed.token == token:
            if completed.cost_minor is None and cost is not None and not taken_back:
                yield CostRecorded(attempt.number, attempt.provider, completed.amount_minor, cost)
        case Delivered(token, cost_minor=cost) if token not in known_tokens:
            loss = face if cost is None else cost
            declined = [each for each in attempt.answers if isinstance(each, Declined)]
            if payment.status is Status.REVERSED and any(each.provider_reversed for each in declined):
                detail = f"token {token} arrived after the provider had taken it back"
                yield incident(IncidentKind.DELIVERED_AFTER_REVERSAL, 0, detail)
            elif payment.status is Status.REVERSED:
                yield incident(
                    IncidentKind.DELIVERED_AFTER_REVERSAL, loss, f"token {token} arrived after the reversal"
                )
            elif by_this:
                yield incident(IncidentKind.ANOTHER_TOKEN, 0, f"another token, {token}, for the same attempt")
            else:
                yield incident(
                    IncidentKind.DELIVERED_TWICE, loss, f"a second attempt delivered token {token}"
                )
        case Declined(reason, about_transaction=True) if completed and by_this and not taken_back:
            recovered = face if completed.cost_minor is None else completed.cost_minor
            yield incident(IncidentKind.TAKEN_BACK, recovered, f"the provider says now: {reason}")


def duplicate_token_incident(
    payment: Payment, owner: StreamKey | None, now: datetime
) -> Iterator[PaymentEvent]:
    """An incident if the token of this completion was delivered for another payment before.

    A token is made for one meter and one sale, so a person must look at it. `owner` is the payment that the token
    completed before, if any.
    """
    completed = payment.completion
    if completed is None or payment.ended_at != now or not completed.token:
        return
    if owner is not None and owner != payment.stream_key:
        detail = f"its token was given to payment {owner.stream} before"
        kind = IncidentKind.TOKEN_OF_ANOTHER
        yield IncidentRaised(kind, completed.attempt, completed.provider, 0, detail)
