"""The gateway port: where customers pay money in, such as Paystack.

What a gateway tells us by itself, in a hook, is only a reason to ask it: money is credited on the answer to a question
of ours, about a reference of ours.
"""

from dataclasses import dataclass
from typing import Protocol

from billvend.domain.money import Money
from billvend.domain.policy.accounts import Mode


@dataclass(frozen=True, slots=True)
class DepositInitialised:
    """The gateway waits for the customer."""

    authorization_url: str
    """Where the customer pays."""


@dataclass(frozen=True, slots=True)
class DepositRejected:
    """The gateway takes no payment of this kind. `reason` is in a few words, and may be shown."""

    reason: str


@dataclass(frozen=True, slots=True)
class GatewayMisconfigured:
    """The gateway refuses our key: an operator has to mend it."""

    reason: str


@dataclass(frozen=True, slots=True)
class GatewayUnknown:
    """Nothing came back, or nothing that can be read. Whether it was done is unknown."""

    reason: str


@dataclass(frozen=True, slots=True)
class DepositPaid:
    """The customer has paid this, before the gateway's fee."""

    amount_minor: int | None
    """None where no sum can be read."""
    currency: str | None
    """As the gateway writes it; None where it can't be read."""


@dataclass(frozen=True, slots=True)
class DepositUnpaid:
    """The customer has not paid; that may change later, whatever the status."""

    status: str
    """In the gateway's words."""


@dataclass(frozen=True, slots=True)
class DepositRefunded:
    """The customer had paid, and got the money back from the gateway."""


InitialiseAnswer = DepositInitialised | DepositRejected | GatewayMisconfigured | GatewayUnknown
VerifyAnswer = DepositPaid | DepositUnpaid | DepositRefunded | GatewayMisconfigured | GatewayUnknown


class Gateway(Protocol):
    """One account at a gateway. Used from any thread; each call has a deadline; nothing raises."""

    @property
    def name(self) -> str:
        """The source of its fundings: `paystack`."""

    @property
    def mode(self) -> Mode:
        """Whether it takes real money."""

    @property
    def currencies(self) -> tuple[str, ...]:
        """What can be paid in there."""

    @property
    def max_call_seconds(self) -> float:
        """The deadline of a call."""

    def initialise(self, reference: str, amount: Money, email: str) -> InitialiseAnswer:
        """Announce a payment, once for each reference."""

    def verify(self, reference: str) -> VerifyAnswer:
        """Ask what became of a payment."""

    def has_valid_signature(self, body: bytes, signature: str | None) -> bool:
        """Whether a hook is the gateway's own: its signature is that of these very bytes."""

    def parse_reference(self, body: bytes) -> str | None:
        """Which payment a hook is about; None where it names none that could be ours."""

    def close(self) -> None:
        """Give back connections."""
