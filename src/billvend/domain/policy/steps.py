"""The next steps of a payment, as a closed set. The rules choose one, and the decisions carry it out."""

from dataclasses import dataclass
from datetime import date, datetime

from billvend.domain.enums import Proof
from billvend.domain.outcome import Delivered
from billvend.domain.payment.state import Attempt
from billvend.domain.policy.accounts import ProviderAccount


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """What all steps have."""

    at: datetime | None
    """When the step is due; None for never. The payment is decided on again then."""

    def is_due(self, now: datetime) -> bool:
        """Whether the step is to be made now."""
        return self.at is not None and self.at <= now


@dataclass(frozen=True, slots=True)
class Complete(_Step):
    """Capture the hold."""

    attempt: Attempt
    delivered: Delivered


@dataclass(frozen=True, slots=True)
class Reverse(_Step):
    """Give the money back, on this proof."""

    proof: Proof
    reason: str
    attempt: Attempt | None


@dataclass(frozen=True, slots=True)
class StartAttempt(_Step):
    """Send a new attempt, with a new reference, to this provider account."""

    account: ProviderAccount


@dataclass(frozen=True, slots=True)
class CheckPriorReference(_Step):
    """Requery the reference that the next attempt would have had on an earlier day, before anything is sent."""

    account: ProviderAccount
    day: date


@dataclass(frozen=True, slots=True)
class RetrySend(_Step):
    """Send the same reference once more: no send of it was executed."""

    attempt: Attempt


@dataclass(frozen=True, slots=True)
class PutInDoubt(_Step):
    """Record that the outcome of the latest attempt is unknown: nothing is sent from here on."""


@dataclass(frozen=True, slots=True)
class StartRequery(_Step):
    """Requery this attempt."""

    attempt: Attempt
    on_request: bool = False
    """True when a requery request brings it forward."""


@dataclass(frozen=True, slots=True)
class Review(_Step):
    """Ask a person to decide. Requeries go on."""

    reason: str


@dataclass(frozen=True, slots=True)
class Wait(_Step):
    """Do nothing until then: another worker may still get the answer, or only time can help. None: nothing is left to do."""


Step = (
    Complete | Reverse | StartAttempt | CheckPriorReference | RetrySend | PutInDoubt | StartRequery | Review | Wait
)  # fmt: skip
