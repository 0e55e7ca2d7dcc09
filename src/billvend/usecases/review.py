"""Review: what waits for a person."""

from dataclasses import dataclass

from billvend.domain.payment import Payment
from billvend.domain.words import Status
from billvend.ports.intents import Intent
from billvend.usecases.parts import Parts

MOST_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class Waiting:
    """What a person should look at, the oldest first."""

    payments: list[Payment]
    """In review: the money is held, and the provider goes on being asked."""
    with_incidents: list[Payment]
    """Ended, and then something turned up that nobody has dealt with."""
    fundings: list[Intent]
    """Money came from outside that is not what was announced, and was not credited."""


def review(parts: Parts, limit: int = MOST_AT_ONCE) -> Waiting:
    """What waits for a person. Raises `Unavailable`."""
    found = parts.books.waiting_for_people(limit)
    in_review = [payment for payment in found if payment.status is Status.IN_REVIEW]
    with_incidents = [payment for payment in found if payment.open_incidents]
    return Waiting(in_review, with_incidents, parts.intents.with_problems(limit))
