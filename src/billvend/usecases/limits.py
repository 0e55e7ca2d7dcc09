"""The limits of amounts, from the settings."""

from dataclasses import dataclass
from decimal import Decimal
from functools import cache

from billvend.domain.money import Money, parse_amount


@dataclass(frozen=True, slots=True)
class Limits:
    """The smallest and largest amount of a payment or funding, both inclusive, in major units of any currency."""

    min_payment_major: str
    max_amount_major: str
    max_in_doubt_major: str = "0"
    """A provider account with more than this amount in doubt is suspended; 0: no limit."""
    min_float_major: str = "0"
    """A provider account with a smaller float is suspended; 0: no limit."""
    max_not_found: int = 0
    """A provider account is suspended when this many attempts of the last ten minutes, and more than half of them, were
    not found; 0: no limit."""

    def min_payment(self, currency: str) -> Money:
        """The smallest payment."""
        return _parse_limit(self.min_payment_major, currency)

    def max_amount(self, currency: str) -> Money:
        """The largest payment, and the largest funding."""
        return _parse_limit(self.max_amount_major, currency)

    def max_in_doubt(self, currency: str) -> Money | None:
        """The largest amount in doubt at a provider account; None: no limit."""
        return (
            None if Decimal(self.max_in_doubt_major) == 0 else _parse_limit(self.max_in_doubt_major, currency)
        )

    def min_float(self, currency: str) -> Money | None:
        """The smallest float at a provider account; None: no limit."""
        return None if Decimal(self.min_float_major) == 0 else _parse_limit(self.min_float_major, currency)


@cache  # every payment needs them, and there are few
def _parse_limit(amount: str, currency: str) -> Money:
    return parse_amount(amount, currency)
