"""The gateway port: where customers pay money in, such as Paystack.

What a gateway tells us by itself, in a hook, is only a reason to ask it: money is credited on the answer to a question
of ours, about a reference of ours.
"""

from dataclasses import dataclass
from typing import Protocol

from billvend.domain.abilities import Mode
from billvend.domain.money import Money


@dataclass(frozen=True, slots=True)
class Opened:
    """The gateway waits for the customer."""

    authorization_url: str
    """Where the customer pays."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The gateway takes no payment of this kind. `why` is in a few words, and may be shown."""

    why: str


@dataclass(frozen=True, slots=True)
class Misconfigured:
    """The gateway refuses our key: an operator has to mend it."""

    why: str


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """Nothing came back, or nothing that can be read. Whether it was done is unknown."""

    why: str


@dataclass(frozen=True, slots=True)
class Paid:
    """The customer has paid this, before the gateway's fee."""

    amount_minor: int | None
    """None where no sum can be read."""
    currency: str | None
    """As the gateway writes it; None where it can't be read."""


@dataclass(frozen=True, slots=True)
class NotPaid:
    """The customer has not paid; that may change later, whatever the status."""

    status: str
    """In the gateway's words."""


@dataclass(frozen=True, slots=True)
class TakenBack:
    """The customer had paid, and got the money back from the gateway."""


Opening = Opened | Refused | Misconfigured | NoAnswer
Verified = Paid | NotPaid | TakenBack | Misconfigured | NoAnswer


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
    def longest_call_seconds(self) -> float:
        """The deadline of a call."""

    def initialise(self, reference: str, amount: Money, email: str) -> Opening:
        """Announce a payment, once for each reference."""

    def verify(self, reference: str) -> Verified:
        """Ask what became of a payment."""

    def is_genuine(self, body: bytes, signature: str | None) -> bool:
        """Whether a hook is the gateway's own: its signature is that of these very bytes."""

    def reference_in(self, body: bytes) -> str | None:
        """Which payment a hook is about; None where it names none that could be ours."""

    def close(self) -> None:
        """Give back connections."""
