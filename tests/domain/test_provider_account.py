"""What a provider declares about itself, in use: its day, its billers, its meters and amounts."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from billvend.domain.enums import VendType
from billvend.domain.money import Money
from billvend.domain.policy.accounts import Biller
from tests.domain.model_ledger import provider

LAGOS = provider(utc_offset=timedelta(hours=1), reference_lasts_a_day=True)


@pytest.mark.parametrize(
    ("at", "day"),
    [
        (datetime(2026, 11, 22, 22, 59, 59, tzinfo=UTC), date(2026, 11, 22)),
        (datetime(2026, 11, 22, 23, 0, tzinfo=UTC), date(2026, 11, 23)),
        (datetime(2026, 12, 31, 23, 0, tzinfo=UTC), date(2027, 1, 1)),
    ],
)
def test_provider_day_uses_provider_utc_offset(at: datetime, day: date) -> None:
    assert LAGOS.day(at) == day
    assert provider().day(at) == at.date()


def test_daily_reference_is_valid_until_provider_midnight() -> None:
    assert LAGOS.valid_until(date(2026, 11, 22)) == datetime(2026, 11, 22, 23, 0, tzinfo=UTC)
    assert provider().valid_until(date(2026, 11, 22)) is None


def test_daily_reference_is_valid_at_any_time_of_its_day() -> None:
    for minutes in range(0, 2 * 24 * 60, 7):
        at = datetime(2026, 11, 22, tzinfo=UTC) + timedelta(minutes=minutes)
        until = LAGOS.valid_until(LAGOS.day(at))
        assert until is not None
        assert timedelta(0) < until - at <= timedelta(days=1)


def test_account_supports_only_declared_billers_and_vend_types() -> None:
    account = replace(
        provider(), billers=(Biller("EKEDC", "Eko"), Biller("IKEDC", "Ikeja", (VendType.PREPAID,)))
    )
    assert account.supports("EKEDC", VendType.PREPAID)
    assert account.supports("EKEDC", VendType.POSTPAID)
    assert account.supports("IKEDC", VendType.PREPAID)
    assert not account.supports("IKEDC", VendType.POSTPAID)
    assert not account.supports("AEDC", VendType.PREPAID)
    assert not account.supports("ekedc", VendType.PREPAID)


@pytest.mark.parametrize(
    ("minor", "currency", "any_amount", "whole_units"),
    [
        (30000, "NGN", True, True),
        (30050, "NGN", True, False),
        (30001, "NGN", True, False),
        (30000, "KES", False, False),
    ],
)
def test_account_accepts_only_its_currency_and_whole_units(
    minor: int, currency: str, any_amount: bool, whole_units: bool
) -> None:
    assert provider().accepts_amount(Money(minor, currency)) is any_amount
    assert provider(whole_units_only=True).accepts_amount(Money(minor, currency)) is whole_units
