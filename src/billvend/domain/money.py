"""Money: a whole number of minor units (kobo) and a currency. Also the parser for requested amounts.

No amount passes through a binary float, and none is rounded. An amount that can't be kept exactly is rejected.
"""

import re
from dataclasses import dataclass
from decimal import Decimal
from functools import total_ordering
from types import MappingProxyType
from typing import Final, TypeAlias

from billvend.domain.errors import InvalidAmount, UnsupportedCurrency
from billvend.domain.ids import reject
from billvend.domain.safe_text import safe_repr

CURRENCIES: Final = MappingProxyType({"GHS": 2, "JPY": 0, "KES": 2, "KWD": 3, "NGN": 2, "USD": 2, "ZAR": 2})
"""The currencies that billvend keeps wallets in, each with its decimals.

NGN, in which electricity is sold, what payment gateways take besides, and one currency each with 0 and with 3 decimals.
Only currencies on which ISO 4217 and CLDR (babel) agree may be added. Else two systems could read the same number of
minor units as sums a hundred or a thousand times apart.
"""

DEFAULT_CURRENCY: Final = "NGN"

MAX_AMOUNT_MINOR: Final = 10**12
"""The largest single amount, in minor units, whatever the configured limits: ten billion naira.

9,000 such amounts add up to less than 2**53, which is where JSON readers with binary floats start to lose units, and
nine million to less than 2**63, which is where a database's BIGINT ends.
"""

MAX_AMOUNT_CHARACTERS: Final = 40
"""A longer text is rejected before it is parsed."""

_PLAIN_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")  # a minus is read, so that the error can name it


class CurrencyMismatch(TypeError):
    """Two currencies were added, subtracted or compared. A bug of the caller, never a user's mistake."""


class InvalidAmountType(InvalidAmount, TypeError):
    """A value of a type that carries no exact amount, such as a float or a bool.

    A program that calls the library may catch it as a `TypeError`. The API and the CLI show it as `invalid_amount`.
    """


def decimals(currency: object) -> int:
    """How many decimals a currency has: 2 for NGN. Raises `UnsupportedCurrency`; codes are upper case."""
    if not isinstance(currency, str) or currency not in CURRENCIES:
        reason = f"must be one of {', '.join(CURRENCIES)}"
        reject(f"currency {safe_repr(currency)}", "currency", reason, UnsupportedCurrency)
    return CURRENCIES[currency]


@total_ordering
@dataclass(frozen=True, slots=True)
class Money:
    """A sum in one currency. It may be zero or negative, as balances and differences are.

    `parse_amount` has the rules for requested amounts.

    Raises `TypeError` for anything but an `int` of minor units, `UnsupportedCurrency` for an unknown currency.
    Adding, subtracting and ordering (not `==`) across currencies raises `CurrencyMismatch`.
    """

    amount_minor: int
    """In the currency's smallest unit: 50000 is NGN 500.00, JPY 50,000 and KWD 50.000."""
    currency: str
    """The ISO 4217 code, upper case."""

    def __post_init__(self) -> None:
        if type(self.amount_minor) is not int:  # isinstance() accepts a bool
            raise TypeError(f"amount_minor must be an int of minor units, not {safe_repr(self.amount_minor)}")
        decimals(self.currency)

    @property
    def major(self) -> Decimal:
        """In major units (naira), exact under any decimal context."""
        sign, digits, _ = Decimal(self.amount_minor).as_tuple()
        return Decimal((sign, digits, -decimals(self.currency)))

    @property
    def display(self) -> str:
        """For people, in plain ASCII so that any terminal shows it: `NGN 1,000.00`."""
        return f"{self.currency} {self.major:,f}"

    def __str__(self) -> str:
        """In major units with the currency's decimals, as in the API: `1000.00`. `parse_amount` reads it back."""
        return f"{self.major:f}"

    def __add__(self, other: "Money") -> "Money":
        return Money(self.amount_minor + self._require_same_currency(other).amount_minor, self.currency)

    def __sub__(self, other: "Money") -> "Money":
        return Money(self.amount_minor - self._require_same_currency(other).amount_minor, self.currency)

    def __lt__(self, other: "Money") -> bool:
        return self.amount_minor < self._require_same_currency(other).amount_minor

    def _require_same_currency(self, other: "Money") -> "Money":
        if not isinstance(other, Money):
            raise TypeError(f"Money goes with Money, not with {safe_repr(other)}")
        if self.currency != other.currency:
            raise CurrencyMismatch(f"{self.currency} and {other.currency} can't be added or compared")
        return other


AmountLike: TypeAlias = str | int | Decimal | Money
"""What the library accepts as an amount: major units (naira), or `Money`."""


def parse_amount(
    value: AmountLike,
    currency: str = DEFAULT_CURRENCY,
    *,
    minimum: Money | None = None,
    maximum: Money | None = None,
) -> Money:
    """A requested amount: positive, exact, and within the limits, both inclusive.

    Text is digits with at most one point between them: no sign, space, comma or exponent. A `Decimal` may have a
    positive exponent (a JSON `1e3`). More decimals than the currency has are rejected even if they are zeros, because
    "1.000" is a thousand in much of the world. No input costs more work than reading it.

    Raises `InvalidAmount` (with `fields["amount"]`). For a float, a bool or another foreign type it is
    `InvalidAmountType`, which is also a `TypeError`. Raises `UnsupportedCurrency`, and `CurrencyMismatch` when a limit
    is in another currency.
    """
    decimal_places, ceiling = decimals(currency), Money(MAX_AMOUNT_MINOR, currency)
    limit = ceiling if maximum is None else min(maximum, ceiling)
    what = f"amount {safe_repr(value.major if isinstance(value, Money) else value)}"
    match value:
        case Money() if value.currency != currency:
            reject(what, "amount", f"is in {value.currency}, and {currency} is asked for", InvalidAmount)
        case Money():
            number = value.major
        case str() if len(value) > MAX_AMOUNT_CHARACTERS:
            reject(what, "amount", f"must have at most {MAX_AMOUNT_CHARACTERS} characters", InvalidAmount)
        case str() if not _PLAIN_NUMBER.fullmatch(value):
            rule = f"must be a plain number such as {Money(1000 * 10**decimal_places, currency)}"
            reject(what, "amount", f"{rule}, without signs, spaces, commas or exponents", InvalidAmount)
        case str() | int() | Decimal() if not isinstance(value, bool):
            number = Decimal(value)
        case _:
            rule = "must be a string, an int or a Decimal (a float can't hold kobo exactly)"
            reject(what, "amount", rule, InvalidAmountType)
    if not number.is_finite():
        reject(what, "amount", "must be a finite number", InvalidAmount)
    if number <= 0:
        reject(what, "amount", "must be more than zero", InvalidAmount)
    if number.adjusted() > len(str(MAX_AMOUNT_MINOR)):  # before any power of ten is computed
        reject(what, "amount", f"must be at most {limit.display}", InvalidAmount)
    if -int(number.as_tuple().exponent) > decimal_places:
        rule = f"must have no more decimals than {currency}, which has {decimal_places or 'none'}"
        reject(what, "amount", rule, InvalidAmount)
    numerator, denominator = number.as_integer_ratio()
    amount = Money(numerator * 10**decimal_places // denominator, currency)  # exact: no decimals are left
    if amount > limit:
        reject(what, "amount", f"must be at most {limit.display}", InvalidAmount)
    if minimum is not None and amount < minimum:
        reject(what, "amount", f"must be at least {minimum.display}", InvalidAmount)
    return amount
