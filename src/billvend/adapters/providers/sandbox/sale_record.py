"""What the sandbox knows and did under one reference: a row of the sales store."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from billvend.domain.enums import VendType
from billvend.domain.money import Money


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
    """A row of the sales store."""

    reference: str
    account: str
    """The fingerprint of the sales store, as in `ProviderAccount.account_id`."""
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
