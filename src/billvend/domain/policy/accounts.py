"""What a provider declares about itself: the reversal policy reasons with nothing else."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from enum import StrEnum

from billvend.domain.enums import VendType
from billvend.domain.money import Money


class Mode(StrEnum):
    """Whether money is real at this provider account. A database takes one of the two for its whole life."""

    TEST = "test"
    LIVE = "live"


@dataclass(frozen=True, slots=True)
class Biller:
    """An electricity company: its code on our doors (EKEDC), its name for people, what it sells."""

    code: str
    name: str
    vend_types: tuple[VendType, ...] = (VendType.PREPAID, VendType.POSTPAID)


@dataclass(frozen=True, slots=True)
class ProviderAccount:
    """One provider account as the core sees it."""

    provider: str
    """Its name: `sandbox`, `vtpass`."""
    account_id: str
    """A fingerprint of host and key id: an attempt is requeried only at the account that it was sent to."""
    mode: Mode
    billers: tuple[Biller, ...]
    currency: str
    make_reference: Callable[[str, int, date], str]
    """The reference for (`Payment.reference_seed`, attempt number, the day in the provider's time zone): a pure function,
    so that a ledger that was restored from a backup derives the same one again."""
    utc_offset: timedelta = timedelta(0)
    """Of the provider's time zone, where the day above is counted."""
    reference_lasts_a_day: bool = False
    """True when a reference may be sent only on its own day (VTpass)."""
    reports_not_found: bool = True
    """False when "not found" on a requery proves nothing however often it is seen."""
    max_processing_seconds: int = 600
    """The longest that a request which it received may still take effect."""
    whole_units_only: bool = False
    """True when it takes no kobo."""
    needs_phone: bool = False
    """True when it wants a phone number with every order, and has none of its own to send."""

    def day(self, at: datetime) -> date:
        """The provider's day at a moment."""
        return at.astimezone(timezone(self.utc_offset)).date()

    def valid_until(self, day: date) -> datetime | None:
        """When a reference made on `day` may no longer be sent; None for never."""
        if not self.reference_lasts_a_day:
            return None
        midnight = datetime(day.year, day.month, day.day, tzinfo=timezone(self.utc_offset))
        return midnight + timedelta(days=1)

    def supports(self, biller: str, vend_type: VendType) -> bool:
        """Whether it sells this kind of vend for this electricity company."""
        return any(known.code == biller and vend_type in known.vend_types for known in self.billers)

    def accepts_amount(self, amount: Money) -> bool:
        """Whether it can be paid this amount exactly."""
        return amount.currency == self.currency and not (self.whole_units_only and amount.major % 1)
