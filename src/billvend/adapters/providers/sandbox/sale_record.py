"""One line of the sandbox's book: what it knows and what it did under one reference."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from billvend.domain.enums import VendType
from billvend.domain.money import Money


class SaleStatus(StrEnum):
    """What became of a reference at the sandbox."""

    REFUSED = "refused"
    """Only refused or lost requests so far. The reference is not known, and may be sent again."""
    RECEIVED = "received"
    """On its way to the till. A requery does not find it yet."""
    PENDING = "pending"
    VENDED = "vended"
    DECLINED = "declined"
    TAKEN_BACK = "taken_back"
    """Vended, then reversed with the money back at the provider. The token stays on record."""


@dataclass(frozen=True, slots=True)
class SaleRecord:
    """What is in the book under one reference."""

    reference: str
    account: str
    """The fingerprint of the book, as `ProviderAccount.account_id`."""
    meter: str
    biller: str
    vend_type: VendType
    amount_minor: int
    currency: str
    received_at: datetime
    status: SaleStatus
    code: str = ""
    """A word for why it was refused or declined: `no_such_meter`, `low_float`. `reason` is the same for people."""
    reason: str = ""
    token: str | None = None
    """Issued, whether or not the customer ever hears of it. None for postpaid and for what was not vended."""
    units: str | None = None
    cost_minor: int | None = None
    receipt: Mapping[str, str] = field(default_factory=dict)
    provider_reference: str | None = None
    vended_at: datetime | None = None
    vends: int = 0
    """How often it was really sold. More than one would be a bug of the sandbox."""
    sends: int = 0
    """Requests to sell that arrived under this reference, refused and repeated ones included."""
    requeries: int = 0
    """Since the reference first came in."""
    fault: str = ""
    """The fault that struck when it was sent, by name; empty where the meter behaved as it always does."""
    fault_requeries: int | None = None

    @property
    def amount(self) -> Money:
        """What was asked for."""
        return Money(self.amount_minor, self.currency)
