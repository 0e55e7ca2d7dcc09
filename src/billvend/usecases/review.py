"""Review: payments and deposits that wait for a person."""

from dataclasses import dataclass

from billvend.domain.enums import Status
from billvend.domain.payment.state import Payment
from billvend.ports.repositories import Deposit
from billvend.usecases.dependencies import Dependencies

MAX_REVIEW_ITEMS = 1_000


@dataclass(frozen=True, slots=True)
class ReviewList:
    """Payments and deposits that wait for a person, the oldest first."""

    payments_in_review: list[Payment]
    """In review. The money stays held, and requeries go on."""
    payments_with_incidents: list[Payment]
    """Ended, with an incident that no person has acknowledged."""
    deposits_with_problems: list[Deposit]
    """Their payment differs from the deposit, or was refunded after the credit."""


def review(deps: Dependencies, limit: int = MAX_REVIEW_ITEMS) -> ReviewList:
    """At most `limit` payments, and at most `limit` deposits, that wait for a person. Raises `Unavailable`."""
    payments = deps.queries.needing_review(limit)
    in_review = [payment for payment in payments if payment.status is Status.IN_REVIEW]
    payments_with_incidents = [payment for payment in payments if payment.open_incidents]
    return ReviewList(in_review, payments_with_incidents, deps.deposits.with_problems(limit))
