from datetime import UTC, datetime
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from billvend.adapters.providers.sandbox.sale import SaleRecord, SaleStatus, token_of
from billvend.domain.enums import VendType
from billvend.domain.money import MAX_AMOUNT_MINOR

references = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=32)
amounts = st.integers(1, MAX_AMOUNT_MINOR)
AT = datetime(2026, 11, 22, tzinfo=UTC)


def sale_of(
    amount_minor: int, vend_type: VendType = VendType.PREPAID, reference: str = "R", currency: str = "NGN"
) -> SaleRecord:
    record = SaleRecord(
        reference,
        "12345678901",
        "EKEDC",
        vend_type,
        amount_minor,
        currency,
        AT,
        SaleStatus.RECEIVED,
    )
    return record.sold(AT)


@given(references)
def test_token_is_deterministic_20_digits_in_66_bits(reference: str) -> None:
    token = token_of(reference)
    assert len(token) == 20
    assert token.isascii()
    assert token.isdigit()
    assert int(token) < 2**66
    assert token_of(reference) == token


def test_tokens_use_66_bits_with_leading_zeros() -> None:
    tokens = {token_of(f"R{number}") for number in range(20_000)}
    assert len(tokens) == 20_000
    assert max(int(token) for token in tokens) > 0.99 * 2**66
    assert any(token.startswith("000") for token in tokens)


def test_sale_numbers_never_change() -> None:
    """Sales that an earlier version stored must stay the same."""
    sale = sale_of(2000_00, reference="20261122ABC")
    assert sale.token == "27274097368035882188"
    assert sale.provider_reference == "3754071260409101"
    assert sale.cost_minor == 1970_00
    assert sale.units == "8.88"
    assert dict(sale.receipt) == {
        "receiptNumber": "R952948785021",
        "netAmount": "1860.47",
        "tax": "139.53",
        "tariff": "209.50",
        "units": "8.88",
    }


@given(amounts, st.sampled_from(VendType))
def test_net_and_tax_add_up_to_amount(amount_minor: int, vend_type: VendType) -> None:
    receipt = sale_of(amount_minor, vend_type).receipt
    net, tax = Decimal(receipt["netAmount"]), Decimal(receipt["tax"])
    assert net + tax == Decimal(amount_minor) / 100
    assert abs(net * Decimal("1.075") - Decimal(amount_minor) / 100) <= Decimal("0.005") * Decimal("1.075")
    assert tax >= 0


@given(amounts)
def test_units_are_net_amount_by_tariff(amount_minor: int) -> None:
    sale = sale_of(amount_minor)
    assert sale.units is not None
    assert sale.units == sale.receipt["units"]
    exact = Decimal(sale.receipt["netAmount"]) / Decimal(sale.receipt["tariff"])
    assert abs(Decimal(sale.units) - exact) <= Decimal("0.005")
    assert Decimal(sale.units).as_tuple().exponent == -2


@given(amounts)
def test_cost_is_amount_less_commission_rounded_down(amount_minor: int) -> None:
    cost_minor = sale_of(amount_minor).cost_minor
    assert cost_minor is not None
    commission = amount_minor - cost_minor
    assert commission <= Decimal(amount_minor) * Decimal("0.015") < commission + 1


def test_postpaid_sale_has_no_token_or_units() -> None:
    sale = sale_of(1000_00, VendType.POSTPAID)
    assert (sale.token, sale.units) == (None, None)
    assert set(sale.receipt) == {"receiptNumber", "netAmount", "tax"}
    assert sale.cost_minor == 985_00


def test_currency_without_minor_units_is_formatted() -> None:
    receipt = sale_of(1075, currency="JPY").receipt
    assert (receipt["netAmount"], receipt["tax"]) == ("1000", "75")
