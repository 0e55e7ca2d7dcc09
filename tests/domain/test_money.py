"""Money is exact, and invalid amounts raise named errors."""

import decimal
import math
import pickle
import re
import time
from dataclasses import FrozenInstanceError
from decimal import Decimal
from fractions import Fraction
from functools import reduce
from operator import add, ge, gt, le, lt, sub
from typing import Any

import pytest
from babel import Locale
from babel.numbers import get_currency_precision
from hypothesis import given
from hypothesis import strategies as st

from billvend.domain.errors import BillvendError, InvalidAmount, UnsupportedCurrency
from billvend.domain.money import (
    CURRENCIES,
    DEFAULT_CURRENCY,
    MAX_AMOUNT_CHARACTERS,
    MAX_AMOUNT_MINOR,
    CurrencyMismatch,
    InvalidAmountType,
    Money,
    decimals,
    parse_amount,
)
from billvend.domain.safe_text import MAX_REPR_CHARACTERS

currencies = st.sampled_from(sorted(CURRENCIES))
sums = st.builds(Money, st.integers(), currencies)
amounts = st.builds(Money, st.integers(1, MAX_AMOUNT_MINOR), currencies)


def naira(kobo: int) -> Money:
    return Money(kobo, "NGN")


# ---------------------------------------------------------------- currencies


def test_currency_table_has_0_2_and_3_decimals_as_babel_has() -> None:
    for code, places in CURRENCIES.items():
        assert code in Locale("en").currencies  # babel answers 2 for a code that it does not know
        assert places == get_currency_precision(code)
    assert set(CURRENCIES.values()) == {0, 2, 3}
    assert DEFAULT_CURRENCY in CURRENCIES
    with pytest.raises(TypeError):
        CURRENCIES["XXX"] = 2  # type: ignore[index]


def test_currencies_with_disputed_decimals_are_not_supported() -> None:
    disputed = "AFN ALL IQD IRR KPW LAK LBP MGA MMK RSD SOS SYP YER"  # 2 or 3 in ISO 4217 of 2026, 0 in CLDR
    assert CURRENCIES.keys().isdisjoint(disputed.split())
    assert {get_currency_precision(code) for code in disputed.split()} == {0}


@pytest.mark.parametrize(
    "code", ["", "ngn", "NG", "XXX", "NGN ", "NGN\n", "₦", "A" * 10_000, None, 566, ["NGN"], {}]
)
def test_unknown_currency_is_rejected_everywhere(code: Any) -> None:
    for operation in (lambda: decimals(code), lambda: Money(1, code), lambda: parse_amount("1", code)):
        with pytest.raises(UnsupportedCurrency) as caught:
            operation()
        assert_readable(caught.value, "currency")


# ---------------------------------------------------------------- Money


@pytest.mark.parametrize(
    ("minor", "currency", "text", "display"),
    [
        (50_000, "NGN", "500.00", "NGN 500.00"),
        (100_000_000, "NGN", "1000000.00", "NGN 1,000,000.00"),
        (1, "NGN", "0.01", "NGN 0.01"),
        (0, "NGN", "0.00", "NGN 0.00"),
        (-5, "NGN", "-0.05", "NGN -0.05"),
        (-123_456, "NGN", "-1234.56", "NGN -1,234.56"),
        (50_000, "JPY", "50000", "JPY 50,000"),
        (0, "JPY", "0", "JPY 0"),
        (50_000, "KWD", "50.000", "KWD 50.000"),
        (1, "KWD", "0.001", "KWD 0.001"),
        (10**30 + 1, "NGN", f"1{'0' * 27}0.01", f"NGN 10{',000' * 9}.01"),
    ],
)
def test_money_is_formatted_with_its_currency_decimals(
    minor: int, currency: str, text: str, display: str
) -> None:
    money = Money(minor, currency)
    assert str(money) == text
    assert money.display == display
    assert str(money.major) == text


@pytest.mark.parametrize(
    "minor", [1.0, math.nan, True, False, "1", Decimal(1), Fraction(1), None, b"1", [1]], ids=repr
)
def test_money_holds_only_ints(minor: Any) -> None:
    with pytest.raises(TypeError, match="amount_minor must be an int"):
        Money(minor, "NGN")


def test_money_is_a_frozen_slotted_value() -> None:
    money = naira(5)
    with pytest.raises(FrozenInstanceError):
        money.amount_minor = 6  # type: ignore[misc]
    assert not hasattr(money, "__dict__")
    assert {money: 1}[naira(5)] == 1
    assert pickle.loads(pickle.dumps(money)) == money  # noqa: S301  our own bytes


@pytest.mark.parametrize("operation", [add, sub, lt, le, gt, ge])
def test_arithmetic_with_other_currencies_and_types_raises(operation: Any) -> None:
    with pytest.raises(CurrencyMismatch, match="NGN and KES"):
        operation(naira(5), Money(5, "KES"))
    assert issubclass(CurrencyMismatch, TypeError)
    assert not issubclass(CurrencyMismatch, BillvendError)
    for other in (5, 5.0, "5", Decimal(5), None):
        with pytest.raises(TypeError):
            operation(naira(5), other)
        with pytest.raises(TypeError):
            operation(other, naira(5))


def test_equality_includes_the_currency() -> None:
    assert naira(5) == naira(5)
    assert naira(5) != Money(5, "KES")
    assert naira(5) != object()


@given(st.integers(), st.integers(), currencies)
def test_arithmetic_and_order_match_minor_units(one: int, other: int, currency: str) -> None:
    a, b = Money(one, currency), Money(other, currency)
    assert a + b == Money(one + other, currency)
    assert a - b == Money(one - other, currency)
    assert (a < b, a <= b, a > b, a >= b) == (one < other, one <= other, one > other, one >= other)


@given(st.lists(st.integers(), min_size=1), currencies)
def test_major_of_a_sum_is_the_sum_of_majors(parts: list[int], currency: str) -> None:
    whole = reduce(add, (Money(part, currency) for part in parts))
    assert Fraction(whole.major) == sum(Fraction(Money(part, currency).major) for part in parts)


@given(sums)
def test_money_text_is_plain_and_exact(money: Money) -> None:
    places = CURRENCIES[money.currency]
    assert re.fullmatch(rf"-?[0-9]+\.[0-9]{{{places}}}" if places else "-?[0-9]+", str(money))
    assert Fraction(str(money)) == Fraction(money.amount_minor, 10**places)
    assert money.display.replace(",", "") == f"{money.currency} {money}"


# ---------------------------------------------------------------- parse_amount: accepted


ACCEPTED: list[tuple[str, dict[Any, int]]] = [
    ("NGN", {"1000": 100_000, "1000.00": 100_000, "1000.5": 100_050, "0.1": 10, "0.01": 1, "0500": 50_000}),
    ("NGN", {1000: 100_000, Decimal("0.10"): 10, Decimal("1E+3"): 100_000, naira(5): 5}),
    ("NGN", {"10000000000.00": MAX_AMOUNT_MINOR, Decimal("1E+10"): MAX_AMOUNT_MINOR}),
    ("NGN", {"0" * (MAX_AMOUNT_CHARACTERS - 1) + "1": 100}),
    ("JPY", {1: 1, Decimal(7): 7, "7": 7, 10**12: MAX_AMOUNT_MINOR}),
    ("KWD", {1: 1000, "1.000": 1000, "1.5": 1500, Decimal("0.001"): 1, Money(5, "KWD"): 5}),
]


@pytest.mark.parametrize(("currency", "values"), ACCEPTED)
def test_exact_positive_amounts_are_accepted(currency: str, values: dict[Any, int]) -> None:
    for value, minor in values.items():
        assert parse_amount(value, currency) == Money(minor, currency), value


def test_default_currency_is_naira() -> None:
    assert parse_amount("1") == naira(100)


@given(amounts)
def test_money_text_is_parsed_back(money: Money) -> None:
    for form in (str(money), money.major, money):
        assert parse_amount(form, money.currency) == money


@given(
    st.decimals()
    | st.decimals(0, MAX_AMOUNT_MINOR, places=2)
    | st.integers()
    | st.text("0123456789.-e", max_size=20)
)
def test_accepted_amount_equals_the_exact_value(value: Any) -> None:
    for currency in ("JPY", "NGN", "KWD"):
        try:
            money = parse_amount(value, currency)
        except InvalidAmount:
            continue
        assert 0 < money.amount_minor <= MAX_AMOUNT_MINOR
        assert Fraction(money.amount_minor, 10 ** CURRENCIES[currency]) == Fraction(value)


@given(st.integers(-10, 3 * MAX_AMOUNT_MINOR), st.integers(0, 4), currencies)
def test_only_representable_amounts_are_accepted(digits: int, written: int, currency: str) -> None:
    value = Decimal((int(digits < 0), tuple(map(int, str(abs(digits)))), -written))
    minor = Fraction(value) * 10 ** CURRENCIES[currency]
    if 0 < minor <= MAX_AMOUNT_MINOR and written <= CURRENCIES[currency]:
        assert parse_amount(value, currency).amount_minor == minor
        assert parse_amount(f"{value:f}", currency).amount_minor == minor
    else:
        for form in (value, f"{value:f}"):
            with pytest.raises(InvalidAmount):
                parse_amount(form, currency)


def test_decimal_context_of_the_caller_has_no_effect() -> None:
    with decimal.localcontext() as context:
        context.prec, context.Emax, context.Emin = 2, 2, -2
        context.traps[decimal.Inexact] = context.traps[decimal.Rounded] = False
        assert parse_amount("123456.78") == parse_amount(Decimal("123456.78")) == naira(12_345_678)
        money = naira(12_345_678)
        assert (str(money), money.display) == ("123456.78", "NGN 123,456.78")
        assert money.major.as_tuple().digits == (1, 2, 3, 4, 5, 6, 7, 8)


# ---------------------------------------------------------------- parse_amount: rejected

PLAIN = "plain number such as 1000.00"
POSITIVE = "more than zero"
AT_MOST = "at most NGN 10,000,000,000.00"
DECIMALS = "no more decimals than NGN, which has 2"
FINITE = "finite"

INVALID_TEXTS: dict[str, list[str]] = {
    PLAIN: [
        *(
            "",
            " ",
            " 5 ",
            "5\n",
            "five",
            "NaN",
            "Infinity",
            "١٢",
            "５００",
            "5²",
            "₦500",
            "1_000",
            "1,000",
            "1000,50",
        ),
        *("1.000.00", "+5", "--5", "0x10", ".5", "5.", "1e3", "1e-7", "1e15", "1e400", "1e999999999"),
        *("5\0", "\x1b[31m5", "\ud800"),
    ],
    POSITIVE: ["0", "0.00", "-0", "-5"],
    DECIMALS: ["0.001", "1000.005", "1.000"],
    AT_MOST: ["10000000000.01", "9" * MAX_AMOUNT_CHARACTERS],
    "at most 40 characters": ["0" * MAX_AMOUNT_CHARACTERS + "1", "9" * 10_000],
}
INVALID_NUMBERS: dict[str, list[int | Decimal | Money]] = {
    POSITIVE: [
        *(0, -5, -(10**10_000), naira(0), naira(-1)),
        *map(Decimal, ("0", "-0.00", "0E+999999999", "-0.01", "-1e999999999")),
    ],
    AT_MOST: [
        *(10**10 + 1, 10**15, 10**10_000, naira(MAX_AMOUNT_MINOR + 1), naira(10**10_000)),
        *map(Decimal, ("10000000000.01", "1e15", "1e400", "1e999999999", "9" * 10_000)),
    ],
    FINITE: list(map(Decimal, ("NaN", "sNaN123", "Infinity", "-Infinity"))),
    DECIMALS: list(map(Decimal, ("1000.005", "1.000", "1e-7", "1e-999999999", "1." + "0" * 9_999 + "1"))),
    "is in KES, and NGN is asked for": [Money(5, "KES")],
}
WRONG_TYPES = [
    *(500.0, math.nan, True, False, None, b"500", ["500"], {"amount": "500"}, 5 + 0j, Fraction(5)),
    type("Ü" * 500, (), {})(),
]


def assert_readable(error: BillvendError, field: str) -> None:
    """One printable ASCII line of bounded length that names the field."""
    assert list(error.fields) == [field]
    assert error.fields[field] in str(error)
    assert re.fullmatch("[ -~]{1,250}", str(error))


INVALID_YEN = {
    "plain number such as 1000,": ["five"],
    "no more decimals than JPY, which has none": ["1.0", Decimal("0.5")],
}
INVALID_DINARS = {
    "plain number such as 1000.000,": ["five"],
    "no more decimals than KWD, which has 3": ["1.0000"],
    "at most KWD 1,000,000,000.000": ["1000000001"],
}


@pytest.mark.parametrize(
    ("currency", "invalid"),
    [("NGN", INVALID_TEXTS), ("NGN", INVALID_NUMBERS), ("JPY", INVALID_YEN), ("KWD", INVALID_DINARS)],
)
def test_invalid_amount_is_rejected_fast_and_with_its_reason(
    currency: str, invalid: dict[str, list[Any]]
) -> None:
    for why, value in ((why, value) for why, values in invalid.items() for value in values):
        before = time.process_time()
        with pytest.raises(InvalidAmount, match=re.escape(why)) as caught:
            parse_amount(value, currency)
        # Milliseconds. The largest exponents would take minutes as digits.
        assert time.process_time() - before < 0.2
        assert caught.type is InvalidAmount  # not a TypeError: the type was right
        assert caught.value.code == "invalid_amount"
        assert_readable(caught.value, "amount")


@pytest.mark.parametrize("value", WRONG_TYPES, ids=lambda value: type(value).__name__[:9])
def test_wrong_amount_type_is_type_error_and_invalid_amount(value: Any) -> None:
    with pytest.raises(TypeError, match="must be a string, an int or a Decimal") as caught:
        parse_amount(value)
    assert isinstance(caught.value, InvalidAmountType)
    assert caught.value.code == "invalid_amount"
    assert_readable(caught.value, "amount")


@pytest.mark.parametrize("form", [str, lambda m: m.major, lambda m: m], ids=["text", "Decimal", "Money"])
def test_limits_are_inclusive(form: Any) -> None:
    def read(kobo: int) -> Money:
        return parse_amount(form(naira(kobo)), minimum=naira(10_000), maximum=naira(20_000))

    for kobo in (10_000, 15_000, 20_000):
        assert read(kobo) == naira(kobo)
    with pytest.raises(InvalidAmount, match=re.escape("at least NGN 100.00")):
        read(9_999)
    for kobo in (20_001, 10**40):
        with pytest.raises(InvalidAmount, match="at most"):
            read(kobo)


def test_maximum_above_the_ceiling_does_not_raise_it() -> None:
    with pytest.raises(InvalidAmount, match=re.escape(AT_MOST)):
        parse_amount(naira(MAX_AMOUNT_MINOR + 1), maximum=naira(10 * MAX_AMOUNT_MINOR))


def test_amount_error_names_the_limit_even_for_huge_amounts() -> None:
    with pytest.raises(InvalidAmount, match=re.escape("at most NGN 200.00")):
        parse_amount(Decimal("1e400"), maximum=naira(20_000))


def test_limit_in_another_currency_raises_currency_mismatch() -> None:
    with pytest.raises(CurrencyMismatch):
        parse_amount("500", minimum=Money(1, "KES"))
    with pytest.raises(CurrencyMismatch):
        parse_amount("500", maximum=Money(10**9, "KES"))


def test_ceiling_allows_sums_of_many_amounts() -> None:
    assert 9_000 * MAX_AMOUNT_MINOR < 2**53
    assert 9_000_000 * MAX_AMOUNT_MINOR < 2**63 - 1


NUMBERS = st.decimals() | st.integers() | st.floats() | st.booleans()
TEXTS = st.text() | st.text("0123456789.,-+eE_ \u0661\uff15\0", max_size=50)


@given(TEXTS | NUMBERS | st.none() | st.binary() | st.lists(st.text()))
def test_arbitrary_values_raise_nothing_but_invalid_amount(value: Any) -> None:
    is_right_type = isinstance(value, str | int | Decimal) and not isinstance(value, bool)
    for currency in ("JPY", "NGN", "KWD"):
        try:
            parse_amount(value, currency)
        except InvalidAmount as error:
            assert isinstance(error, TypeError) is not is_right_type
            assert_readable(error, "amount")


@pytest.mark.parametrize(
    "value", ["x" * 39, "\U0001f600" * 40, "\x1b" * 40, Decimal("1e999999999"), 10**38, -(10**60)]
)
def test_amount_error_quotes_at_most_forty_characters(value: Any) -> None:
    with pytest.raises(InvalidAmount) as caught:
        parse_amount(value)
    shown = str(caught.value).removeprefix("The amount ").split(" is not accepted")[0]
    assert len(shown) <= MAX_REPR_CHARACTERS == 40
