"""One reference at the sandbox: its record, and what a sale gives. Pure arithmetic: a reference always gets the same token.

All amounts are whole numbers of minor units, so no decimal context and no binary float affects them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from typing import Final, NamedTuple

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
_FIRST_NAMES: Final = ("ADA", "BOLA", "CHIDI", "DAYO", "EFE", "FATIMA", "GARBA", "HALIMA", "IFE", "KUNLE")
_LAST_NAMES: Final = ("SANDBOX", "EXAMPLE", "SPECIMEN", "SAMPLE", "PRACTICE", "FICTION", "MODEL", "TRIAL")
_STREETS: Final = ("EXAMPLE ROAD", "SANDBOX CLOSE", "SPECIMEN AVENUE", "PRACTICE STREET", "MODEL CRESCENT")


class SaleStatus(StrEnum):
    """What became of a reference at the sandbox."""

    REFUSED = "refused"
    """Every request so far was refused or lost. The reference is not known, and may be sent again."""
    RECEIVED = "received"
    """Arrived, but not processed. A requery does not find it yet."""
    PENDING = "pending"
    VENDED = "vended"
    DECLINED = "declined"
    TAKEN_BACK = "taken_back"
    """Vended, then reversed. The money is back in our float at the provider. The record keeps the token."""


@dataclass(frozen=True, slots=True)
class SaleRecord:
    """What the sandbox knows and did under one reference: a row of the sales store."""

    reference: str
    meter: str
    biller: str
    vend_type: VendType
    amount_minor: int
    currency: str
    received_at: datetime
    status: SaleStatus
    code: str = ""
    """Why it was refused or declined: `no_such_meter`, `low_float`. `reason` is the same for people."""
    reason: str = ""
    token: str | None = None
    """The issued token, even if no answer ever had it. None if postpaid or not vended."""
    units: str | None = None
    cost_minor: int | None = None
    receipt: Mapping[str, str] = field(default_factory=dict)
    provider_reference: str | None = None
    vended_at: datetime | None = None
    vends: int = 0
    """How often it was really sold. More than one is a bug of the sandbox."""
    sends: int = 0
    """Requests to sell under this reference, including refused and repeated ones."""
    requeries: int = 0
    """Requeries since the first send."""
    fault: str = ""
    """The name of the fault that struck the send. Empty if the meter behaved as usual."""
    fault_requeries: int | None = None

    @property
    def amount(self) -> Money:
        """The ordered amount."""
        return Money(self.amount_minor, self.currency)

    def sold(self, at: datetime, *, has_key_change: bool = False) -> "SaleRecord":
        """The record after a sale of its positive amount. A postpaid account pays off a bill: no token and no units.

        `has_key_change` adds two tokens that change the meter's key. They cost nothing.
        """
        net = Money(_half_up(self.amount_minor * 1000, 1000 + VAT_PER_MILLE), self.currency)
        receipt = {
            "receiptNumber": f"R{_number('receipt', self.reference, 10**12):012d}",
            "netAmount": str(net),
            "tax": str(self.amount - net),
        }
        token = units = None
        if self.vend_type is VendType.PREPAID:
            token, units = token_of(self.reference), _kilowatt_hours(net.amount_minor)
            receipt |= {"tariff": str(Money(TARIFF_MINOR, self.currency)), "units": units}
            if has_key_change:
                receipt |= {name: token_of(f"{name}|{self.reference}") for name in ("kct1", "kct2")}
        return replace(
            self,
            status=SaleStatus.VENDED,
            token=token,
            units=units,
            cost_minor=cost_minor_of(self.amount_minor),
            receipt=receipt,
            provider_reference=f"{_number('sale', self.reference, 10**16):016d}",
            vended_at=at,
            vends=self.vends + 1,
        )


class Customer(NamedTuple):
    """The owner of a meter."""

    name: str
    address: str


def customer_of(meter: str) -> Customer:
    """The invented owner of a meter, always the same."""
    first, last, street, house = sha256(f"customer|{meter}".encode()).digest()[:4]
    name = f"{_FIRST_NAMES[first % len(_FIRST_NAMES)]} {_LAST_NAMES[last % len(_LAST_NAMES)]}"
    return Customer(name, f"{house % 99 + 1} {_STREETS[street % len(_STREETS)]}")


def token_of(reference: str) -> str:
    """The token for a reference: 20 digits, below 2**66."""
    return f"{_number('token', reference, TOKEN_COUNT):020d}"


def cost_minor_of(amount_minor: int) -> int:
    """Our cost of a sale: the amount less the commission."""
    return amount_minor - amount_minor * COMMISSION_PER_MILLE // 1000


def _kilowatt_hours(net_minor: int) -> str:
    whole, hundredths = divmod(_half_up(net_minor * 100, TARIFF_MINOR), 100)
    return f"{whole}.{hundredths:02d}"


def _half_up(dividend: int, divisor: int) -> int:
    return (2 * dividend + divisor) // (2 * divisor)


def _number(purpose: str, reference: str, below: int) -> int:
    return int.from_bytes(sha256(f"{purpose}|{reference}".encode()).digest()) % below
