"""The gateway port: a payment gateway where customers make deposits, such as Paystack.

A webhook from the gateway is only a reason to query it. Money is credited on the gateway's answer to our own query
about our own reference.
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
    """The gateway rejects this payment. `reason` has a few words, and may be shown."""

    reason: str


@dataclass(frozen=True, slots=True)
class GatewayMisconfigured:
    """The gateway rejects our key. An operator must correct it."""

    reason: str


@dataclass(frozen=True, slots=True)
class GatewayUnknown:
    """There was no answer, or no readable one. It is unknown whether the request was carried out."""

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
    """The customer has not paid. That may still change, with any status."""

    status: str
    """In the gateway's words."""


@dataclass(frozen=True, slots=True)
class DepositRefunded:
    """The customer paid, and the gateway refunded the money."""


InitialiseAnswer = DepositInitialised | DepositRejected | GatewayMisconfigured | GatewayUnknown
VerifyAnswer = DepositPaid | DepositUnpaid | DepositRefunded | GatewayMisconfigured | GatewayUnknown


class Gateway(Protocol):
    """One account at a gateway. Used from any thread. Each call has a deadline. No method raises."""

    @property
    def name(self) -> str:
        """The source of its deposits: `paystack`."""

    @property
    def mode(self) -> Mode:
        """Whether it takes real money."""

    @property
    def currencies(self) -> tuple[str, ...]:
        """The currencies that it accepts."""

    @property
    def max_call_seconds(self) -> float:
        """The deadline of a call."""

    def initialise(self, reference: str, amount: Money, email: str) -> InitialiseAnswer:
        """Create a payment at the gateway, once for each reference."""

    def verify(self, reference: str) -> VerifyAnswer:
        """Query the state of a payment."""

    def has_valid_signature(self, body: bytes, signature: str | None) -> bool:
        """Whether the gateway signed exactly these bytes."""

    def parse_reference(self, body: bytes) -> str | None:
        """The payment that a webhook is about; None if it names none that could be ours."""

    def close(self) -> None:
        """Close the connections."""
