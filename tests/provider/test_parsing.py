"""Parsing values of providers: unambiguous values are parsed, all others are dropped, and nothing raises."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billvend.adapters.providers.parse import (
    MAX_TEXT_CHARACTERS,
    first_text,
    is_sts_token,
    to_mapping,
    to_minor,
    to_number,
    to_text,
    to_token,
)

EMPTY_VALUES: tuple[object, ...] = (None, "", "  ", "N/A", "n/a", "null", "None", "NIL", [], {}, True, False)
ANY_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(ANY_JSON, st.text() | st.sampled_from(["NGN", "JPY", "KWD", "ngn"]))
def test_parsing_never_raises(value: Any, currency: str) -> None:
    assert isinstance(to_mapping(value), dict)
    for read in (to_text(value), to_number(value), to_token(value), first_text({"a": value}, "a", "b")):
        assert read != ""
    read_minor = to_minor(value, currency)
    assert read_minor is None or read_minor >= 0


@pytest.mark.parametrize(
    ("value", "read"),
    [
        *((nothing, None) for nothing in EMPTY_VALUES),
        (" EKEDC ", "EKEDC"),
        (0, "0"),
        (17_000_000_000_000_000_000_000_001, "17000000000000000000000001"),
        (Decimal("13.70"), "13.70"),
        (Decimal("1E+1000000"), None),
        (Decimal("1E-1000000"), None),
        ("x" * 9999, "x" * MAX_TEXT_CHARACTERS),
    ],
)  # fmt: skip
def test_text_is_normalised(value: object, read: str | None) -> None:
    assert to_text(value) == read


@given(st.sampled_from(EMPTY_VALUES), st.sampled_from(EMPTY_VALUES))
def test_first_text_skips_empty_values(one: object, two: object) -> None:
    assert (
        first_text({"a": one, "b": two, "c": " said ", "d": "too late"}, "a", "missing", "b", "c", "d")
        == "said"
    )


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("79.9 kWh", "79.9"),
        ("Rate: 23.28/kWh", "23.28"),
        ("N1,234.50", "1234.50"),
        ("1,234,567.89", "1234567.89"),
        ("NGN 500", "500"),
        (Decimal("13.7"), "13.7"),
        (7, "7"),
        ("-5", "-5"),
        ("ends with 5.", "5"),
        ("5, and more", "5"),
        *((two_ways, None) for two_ways in ("1234,50", "12,34", "1,23", "1.234,50", "1.2.3", "1,234,56", "1234,567")),
        *((no_number, None) for no_number in ("1e5", "1E+5", "e5", "--", "", "N/A", "+-5", "\u0661\u0662")),
        ("1234567890123456", None),
        ("0.1234567890", None),
        (True, None),
        ({"n": 5}, None),
    ],
)  # fmt: skip
def test_number_is_extracted(value: object, read: str | None) -> None:
    assert to_number(value) == read


@pytest.mark.parametrize(
    ("value", "currency", "read"),
    [
        ("1,234.50", "NGN", 1_234_50),
        ("500", "NGN", 500_00),
        (500, "NGN", 500_00),
        (Decimal("1970.5"), "NGN", 1970_50),
        ("1970.5000", "NGN", 1970_50),
        ("0", "NGN", 0),
        ("0.00", "NGN", 0),
        ("-0", "NGN", 0),
        ("0.005", "NGN", None),
        ("-5", "NGN", None),
        ("99999999999999", "NGN", None),
        ("1234,50", "NGN", None),
        ("100", "JPY", 100),
        ("100.0", "JPY", 100),
        ("100.5", "JPY", None),
        ("1.234", "KWD", 1_234),
        ("5", "XXX", None),
        ("N/A", "NGN", None),
    ],
)
def test_minor_units_are_exact(value: object, currency: str, read: int | None) -> None:
    assert to_minor(value, currency) == read


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("12345678901234567890", "12345678901234567890"),
        ("1234-5678-9012-3456-7890", "12345678901234567890"),
        (" 1234 5678 9012 3456 7890 ", "12345678901234567890"),
        ("Token : 12345678901234567890", "12345678901234567890"),
        ("TOKENS:1234", "1234"),
        (12345678901234567890, "12345678901234567890"),
        # Other forms are kept unchanged, so that no delivery is lost.
        ("Token : 1234 Bonus Token : 5678", "1234 Bonus Token : 5678"),
        ("\u0661\u0662", "\u0661\u0662"),
        (Decimal("1.2345678901234568E+19"), "1.2345678901234568E+19"),
        *((nothing, None) for nothing in (*EMPTY_VALUES, "Token :")),
    ],
)
def test_token_is_extracted(value: object, read: str | None) -> None:
    assert to_token(value) == read


@pytest.mark.parametrize(
    ("digits", "well_formed"),
    [
        ("00000000000000000000", True),
        (str(2**66 - 1), True),
        (str(2**66), False),
        ("1" * 19, False),
        ("1" * 21, False),
        ("1234567890123456789x", False),
        ("\u0661" * 20, False),
        ("", False),
    ],
)
def test_sts_token_has_20_digits_and_66_bits(digits: str, well_formed: bool) -> None:
    assert is_sts_token(digits) is well_formed


def test_mapping_returns_object_or_empty() -> None:
    assert to_mapping({"a": 1}) == {"a": 1}
    assert to_mapping([]) == to_mapping("x") == to_mapping(None) == {}
