"""What a provider declares about itself. The reversal policy knows nothing else about a provider."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from enum import StrEnum

from billvend.domain.enums import VendType
from billvend.domain.money import Money
from billvend.domain.payment.state import Payment


class Mode(StrEnum):
    """Whether money is real at this provider account. A database keeps one of the two for ever."""

    TEST = "test"
    LIVE = "live"


@dataclass(frozen=True, slots=True)
class Biller:
    """An electricity company: its code in the API and the CLI (EKEDC), its name for people, what it sells."""

    code: str
    name: str
    vend_types: tuple[VendType, ...] = (VendType.PREPAID, VendType.POSTPAID)


@dataclass(frozen=True, slots=True)
class ProviderAccount:
    """One provider account as the core sees it."""

    provider: str
    """Its name: `sandbox`, `vtpass`."""
    account_id: str
    """A fingerprint of host and key id. An attempt is requeried only at the account that it was sent to."""
    mode: Mode
    billers: tuple[Biller, ...]
    currency: str
    make_reference: Callable[[str, int, date], str]
    """The reference for `Payment.reference_seed`, the number of the reference and the day in the provider's time zone.

    A pure function, so that a journal that was restored from a backup derives the same reference again.
    """
    utc_offset: timedelta = timedelta(0)
    """The offset of the provider's time zone, in which that day is counted."""
    reference_lasts_a_day: bool = False
    """True when a reference may be sent only on its own day (VTpass)."""
    reports_not_found: bool = True
    """False when "not found" to a requery proves nothing, however often it is repeated."""
    max_processing_seconds: int = 600
    """How long, at most, a request that the provider received may still take effect."""
    whole_units_only: bool = False
    """True when it accepts no kobo."""
    needs_phone: bool = False
    """True when every order needs a phone number and the account has none of its own to send."""

    @property
    def key(self) -> tuple[str, str]:
        """What identifies it: provider and account id."""
        return self.provider, self.account_id

    def day(self, at: datetime) -> date:
        """The day in the provider's time zone."""
        return at.astimezone(timezone(self.utc_offset)).date()

    def reference_for(self, payment: Payment, day: date) -> str:
        """The next reference of a payment, if it is made on that day."""
        return self.make_reference(payment.reference_seed, payment.reference_number, day)

    def valid_until(self, day: date) -> datetime | None:
        """When a reference of `day` may no longer be sent; None for never."""
        if not self.reference_lasts_a_day:
            return None
        midnight = datetime(day.year, day.month, day.day, tzinfo=timezone(self.utc_offset))
        return midnight + timedelta(days=1)

    def supports(self, biller: str, vend_type: VendType) -> bool:
        """Whether it sells this kind of vend for this electricity company."""
        return any(known.code == biller and vend_type in known.vend_types for known in self.billers)

    def accepts_amount(self, amount: Money) -> bool:
        """Whether it can be sent exactly this amount."""
        return amount.currency == self.currency and not (self.whole_units_only and amount.major % 1)
