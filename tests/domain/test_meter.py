"""Meter numbers and vend types."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billvend.domain.enums import VendType
from billvend.domain.errors import InvalidMeter, ValidationFailed
from billvend.domain.ids import parse_meter, parse_vend_type


@pytest.mark.parametrize(
    "number",
    ["1234567890", "12345678901", "0000000000000", "1234567890123456"],
    ids=["10", "11", "zeros", "16"],
)
def test_meter_of_ten_to_sixteen_digits_is_accepted(number: str) -> None:
    assert parse_meter(number) == number


INVALID = {
    "empty": "",
    "nine": "123456789",
    "seventeen": "12345678901234567",
    "alphabetic": "1234567890A",
    "blank before": " 12345678901",
    "newline after": "12345678901\n",
    "dashes": "1234-5678-901",
    "minus": "-12345678901",
    "arabic digits": "١٢٣٤٥٦٧٨٩٠١",
    "fullwidth digits": "１２３４５６７８９０１",
    "nul": "12345678901\0",
    "lone surrogate": "\ud800" * 11,
    "long": "1" * 100_000,
    "int": 12345678901,
    "float": 12345678901.0,
    "bool": True,
    "bytes": b"12345678901",
    "none": None,
    "list": ["12345678901"],
}


@pytest.mark.parametrize("value", INVALID.values(), ids=INVALID)
def test_invalid_meter_is_rejected(value: Any) -> None:
    with pytest.raises(InvalidMeter) as caught:
        parse_meter(value)
    assert caught.value.code == "invalid_meter"
    assert list(caught.value.fields) == ["meterNumber"]
    assert str(caught.value).isascii()
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 200


def test_meter_as_int_is_rejected_for_leading_zeros() -> None:
    with pytest.raises(InvalidMeter, match="leading zeros"):
        parse_meter(12345678901)


@given(st.text() | st.text("0123456789", min_size=8, max_size=18))
def test_meter_parser_accepts_exactly_ascii_digits_of_valid_length(text: str) -> None:
    is_meter = 10 <= len(text) <= 16 and set(text) <= set("0123456789")
    try:
        assert parse_meter(text) == text
        assert is_meter
    except InvalidMeter:
        assert not is_meter


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("prepaid", VendType.PREPAID),
        ("PREPAID", VendType.PREPAID),
        ("Postpaid", VendType.POSTPAID),
        (VendType.POSTPAID, VendType.POSTPAID),
    ],
)
def test_vend_type_is_case_insensitive(text: str, kind: VendType) -> None:
    assert parse_vend_type(text) is kind


@pytest.mark.parametrize(
    "value", ["", "pre-paid", " prepaid", "prepaid\n", "PREPAİD", "token", "\0", 1, True, None, []]
)
def test_unknown_vend_type_is_rejected(value: Any) -> None:
    with pytest.raises(ValidationFailed, match="must be prepaid or postpaid") as caught:
        parse_vend_type(value)
    assert caught.value.fields == {"vendType": "must be prepaid or postpaid"}
    assert str(caught.value).isascii()
    assert str(caught.value).isprintable()
