"""Review: what waits for a person."""

from dataclasses import dataclass

from billvend.domain.enums import Status
from billvend.domain.payment.state import Payment
from billvend.ports.deposits import Deposit
from billvend.usecases.dependencies import Dependencies

MAX_REVIEW_ITEMS = 1_000


@dataclass(frozen=True, slots=True)
class ReviewList:
    """What a person should look at, the oldest first."""

    payments_in_review: list[Payment]
    """In review: the money is held, and the provider goes on being asked."""
    payments_with_incidents: list[Payment]
    """Ended, and then something turned up that nobody has dealt with."""
    deposits_with_problems: list[Deposit]
    """Money came from outside that is not what was announced, and was not credited."""


def review(deps: Dependencies, limit: int = MAX_REVIEW_ITEMS) -> ReviewList:
    """What waits for a person. Raises `Unavailable`."""
    payments = deps.queries.needing_review(limit)
    in_review = [payment for payment in payments if payment.status is Status.IN_REVIEW]
    payments_with_incidents = [payment for payment in payments if payment.open_incidents]
    return ReviewList(in_review, payments_with_incidents, deps.deposits.with_problems(limit))
