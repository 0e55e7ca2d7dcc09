"""The gateway port: a payment gateway where customers make deposits, such as Paystack.

A webhook from the gateway is only a reason to query it. Money is credited on the gateway's answer to our own query
about our own reference.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from billvend.domain.money import Money
from billvend.domain.outcome import Misconfigured, Unknown
from billvend.domain.policy.accounts import Mode


@dataclass(frozen=True, slots=True)
class GatewayInfo:
    """What is known of a gateway account without a call."""

    name: str
    """The source of its deposits: `paystack`."""
    mode: Mode
    """Whether it takes real money."""
    currencies: tuple[str, ...]
    """The currencies that it accepts."""
    max_call_seconds: float
    """The deadline of a call."""

    @property
    def title(self) -> str:
        """Its name for people."""
        return self.name.capitalize()


@dataclass(frozen=True, slots=True)
class DepositRejected:
    """The gateway rejects this payment. `reason` has a few words, and may be shown."""

    reason: str


@dataclass(frozen=True, slots=True)
class DepositPaid:
    """The customer paid this amount, before the gateway's fee."""

    amount_minor: int | None
    """In minor units; None if no amount can be read."""
    currency: str | None
    """As the gateway writes it; None if it can't be read."""


@dataclass(frozen=True, slots=True)
class DepositUnpaid:
    """The customer has not paid, or got the money back. An unpaid deposit may still be paid, with any status."""

    status: str
    """In the gateway's words."""
    is_refunded: bool = False
    """True when the customer paid, and the gateway refunded the money."""


GatewayFailure = Misconfigured | Unknown
"""It rejects our key, which an operator must correct; or there was no readable answer, and nothing is known."""


class Gateway(Protocol):
    """One account at a gateway. Used from any thread. Each call has a deadline. No method raises."""

    @property
    def info(self) -> GatewayInfo:
        """What is known without a call."""

    def initialise(self, reference: str, amount: Money, email: str) -> str | DepositRejected | GatewayFailure:
        """Create a payment at the gateway, once for each reference. Returns the URL where the customer pays."""

    def verify(self, reference: str) -> DepositPaid | DepositUnpaid | GatewayFailure:
        """Query the state of a payment."""

    def parse_webhook(self, body: bytes, signature: str | None) -> Sequence[str] | None:
        """The references that a webhook is about; none if it names none that could be ours.

        None if the gateway did not sign exactly these bytes.
        """

    def close(self) -> None:
        """Close the connections."""
