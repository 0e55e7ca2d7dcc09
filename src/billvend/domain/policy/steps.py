"""The next steps of a payment, as a closed set. The rules choose one, and the decisions carry it out."""

from dataclasses import dataclass
from datetime import date, datetime

from billvend.domain.enums import Proof
from billvend.domain.outcome import Delivered
from billvend.domain.payment.state import Attempt
from billvend.domain.policy.accounts import ProviderAccount


@dataclass(frozen=True, slots=True)
class Complete:
    """Capture the hold."""

    attempt: Attempt
    delivered: Delivered


@dataclass(frozen=True, slots=True)
class Reverse:
    """Give the money back, on this proof."""

    proof: Proof
    reason: str
    attempt: Attempt | None


@dataclass(frozen=True, slots=True)
class StartAttempt:
    """Send a new attempt, with a new reference, to this provider account."""

    account: ProviderAccount
    at: datetime


@dataclass(frozen=True, slots=True)
class CheckPriorReference:
    """Requery the reference that the next attempt would have had on an earlier day, before anything is sent."""

    account: ProviderAccount
    day: date
    at: datetime


@dataclass(frozen=True, slots=True)
class RetrySend:
    """Send the same reference once more: no send of it was executed."""

    attempt: Attempt
    at: datetime


@dataclass(frozen=True, slots=True)
class PutInDoubt:
    """Record that the outcome of the latest attempt is unknown: nothing is sent from here on."""


@dataclass(frozen=True, slots=True)
class StartRequery:
    """Requery this attempt."""

    attempt: Attempt
    at: datetime
    on_request: bool = False
    """True when a requery request brings it forward."""


@dataclass(frozen=True, slots=True)
class Review:
    """Ask a person to decide. Requeries go on."""

    reason: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Wait:
    """Decide again at this time: another worker may still get the answer, or only time can help."""

    until: datetime


@dataclass(frozen=True, slots=True)
class NoAction:
    """Nothing is left to do."""


Step = (
    Complete
    | Reverse
    | StartAttempt
    | CheckPriorReference
    | RetrySend
    | PutInDoubt
    | StartRequery
    | Review
    | Wait
    | NoAction
)


def due_at(step: Step, now: datetime) -> datetime | None:
    """When the payment is to be decided on again; None for never."""
    match step:
        case Reverse() | Complete() | PutInDoubt():
            return now
        case Wait(until):
            return until
        case NoAction():
            return None
        case _:
            return step.at
