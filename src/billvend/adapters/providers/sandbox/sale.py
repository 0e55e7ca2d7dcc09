"""Token, units, cost and receipt of a sale. Pure arithmetic: the same reference always gives the same token.

All amounts are whole numbers of minor units, so no decimal context and no binary float affects them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from billvend.domain.enums import VendType
from billvend.domain.money import Money

TOKEN_COUNT: Final = 2**66
"""A token encodes 66 bits (STS, IEC 62055-41) and is written with 20 decimal digits."""

TARIFF_MINOR: Final = 209_50
"""The price of a kilowatt hour before tax, in minor units. It is invented, and the same for every company."""

VAT_PER_MILLE: Final = 75
"""7.5 % on energy in Nigeria since 1 February 2020. The amount that the customer pays includes it."""

COMMISSION_PER_MILLE: Final = 15
"""1.5 %, as VTpass's sandbox pays on Ikeja Electric. It is rounded down, so that our cost is never understated."""


@dataclass(frozen=True, slots=True)
class Sale:
    """What the customer gets, and our cost. The fields are those of `SaleRecord` and `Delivered`."""

    token: str | None
    units: str | None
    cost_minor: int
    receipt: Mapping[str, str]
    provider_reference: str


def token_of(reference: str) -> str:
    """The token for a reference: 20 digits, below 2**66."""
    return f"{_number('token', reference, TOKEN_COUNT):020d}"


def sale_of(reference: str, amount: Money, vend_type: VendType) -> Sale:
    """What a positive amount buys. A postpaid account pays off a bill, so it gets no token and no units."""
    net = Money(_half_up(amount.amount_minor * 1000, 1000 + VAT_PER_MILLE), amount.currency)
    receipt = {
        "receiptNumber": f"R{_number('receipt', reference, 10**12):012d}",
        "netAmount": str(net),
        "tax": str(amount - net),
    }
    token = units = None
    if vend_type is VendType.PREPAID:
        token, units = token_of(reference), _kilowatt_hours(net.amount_minor)
        receipt |= {"tariff": str(Money(TARIFF_MINOR, amount.currency)), "units": units}
    return Sale(
        token=token,
        units=units,
        cost_minor=amount.amount_minor - amount.amount_minor * COMMISSION_PER_MILLE // 1000,
        receipt=receipt,
        provider_reference=f"{_number('sale', reference, 10**16):016d}",
    )


def key_change_of(reference: str) -> Mapping[str, str]:
    """The two tokens that change a meter's key, for the receipt. They cost nothing."""
    return {name: token_of(f"{name}|{reference}") for name in ("kct1", "kct2")}


def _kilowatt_hours(net_minor: int) -> str:
    whole, hundredths = divmod(_half_up(net_minor * 100, TARIFF_MINOR), 100)
    return f"{whole}.{hundredths:02d}"


def _half_up(dividend: int, divisor: int) -> int:
    return (2 * dividend + divisor) // (2 * divisor)


def _number(purpose: str, reference: str, below: int) -> int:
    return int.from_bytes(sha256(f"{purpose}|{reference}".encode()).digest()) % below
