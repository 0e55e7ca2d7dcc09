"""User ids, idempotency keys, phone numbers, meters and vend types."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billvend.domain.enums import VendType
from billvend.domain.errors import InvalidMeter, ValidationFailed
from billvend.domain.ids import (
    MAX_KEY_CHARACTERS,
    MAX_USER_ID_CHARACTERS,
    parse_key,
    parse_meter,
    parse_phone,
    parse_user_id,
    parse_vend_type,
)

PARSERS: dict[str, tuple[Callable[[object], str | None], int]] = {
    "userId": (parse_user_id, MAX_USER_ID_CHARACTERS),
    "idempotencyKey": (parse_key, MAX_KEY_CHARACTERS),
    "phone": (parse_phone, 16),
    "meterNumber": (parse_meter, 16),
    "vendType": (parse_vend_type, 8),
}

VALID = [
    (parse_user_id, "user123"),
    (parse_user_id, "u"),
    (parse_user_id, "Ada Ọbi"),
    (parse_user_id, "用户"),
    (parse_user_id, "ada+shop@example.test/7"),
    (parse_user_id, "x" * 64),
    (parse_user_id, "\U0001f600" * 64),
    (parse_key, "order-42"),
    (parse_key, "k"),
    (parse_key, "a key with blanks"),
    (parse_key, "!~" + "x" * 253),
    (parse_phone, "08012345678"),
    (parse_phone, "+2348012345678"),
    (parse_phone, "1234567"),
    (parse_phone, "+123456789012345"),
    (parse_phone, None),
    *((parse_meter, "1" * length) for length in (10, 11, 13, 16)),
    (parse_meter, "0000000000000"),
]

INVALID: dict[str, list[Any]] = {
    "userId": [
        *("", " ", " ada", "ada ", "a\tb", "ada\n", "a\0b", "a\x1b[31mb", "a\x7fb", "a\u202eb", "a\u200bb"),
        *("a\u00a0b", "a\u2028b", "\ud800", "\ufeffada", "a\ufffd", "x" * 65, "x" * 100_000),
        *(None, 5, True, b"ada", ["ada"]),
    ],
    "idempotencyKey": [
        *("", " ", " k", "k ", "k\n", "a\tb", "k\0", "é", "\x7f", "１", "\ud800", "x" * 256, "x" * 100_000),
        *(None, 5, True, b"k"),
    ],
    "phone": [
        *("", "123456", "1234567890123456", "+123456", "++1234567", "12 34567", "١٢٣٤٥٦٧٨", "0801-234-5678"),
        *("1234567\n", "1234567+", "\0", 8012345678, True, b"1234567"),
    ],
    "meterNumber": [
        *(
            "",
            "123456789",
            "12345678901234567",
            "1234567890A",
            " 12345678901",
            "12345678901\n",
            "1234-5678-901",
        ),
        *(
            "-12345678901",
            "١٢٣٤٥٦٧٨٩٠١",
            "１２３４５６７８９０１",
            "12345678901\0",
            "\ud800" * 11,
            "1" * 100_000,
        ),
        *(12345678901, 12345678901.0, True, b"12345678901", None, ["12345678901"]),
    ],
    "vendType": ["", "pre-paid", " prepaid", "prepaid\n", "PREPAİD", "token", "\0", 1, True, None, []],
}


@pytest.mark.parametrize(("parse", "value"), VALID)
def test_valid_identifier_is_returned_unchanged(
    parse: Callable[[object], str | None], value: str | None
) -> None:
    assert parse(value) == value


@pytest.mark.parametrize("field", INVALID)
def test_invalid_identifier_is_rejected(field: str) -> None:
    for value in INVALID[field]:
        with pytest.raises(InvalidMeter if field == "meterNumber" else ValidationFailed) as caught:
            PARSERS[field][0](value)
        assert list(caught.value.fields) == [field]
        assert re.fullmatch("[ -~]{1,199}", str(caught.value))


@pytest.mark.parametrize("field", [name for name in PARSERS if name != "vendType"])
@given(text=st.text() | st.text(st.characters(max_codepoint=127)) | st.text("+0123456789", max_size=18))
def test_accepted_identifier_is_printable_and_storable(field: str, text: str) -> None:
    parse, longest = PARSERS[field]
    try:
        assert parse(text) == text
    except (ValidationFailed, InvalidMeter) as error:
        assert list(error.fields) == [field]
        assert not (field == "meterNumber" and re.fullmatch("[0-9]{10,16}", text))
        return
    assert 1 <= len(text) <= longest
    assert text == text.strip()
    assert text.isprintable()
    assert text.encode().decode() == text
    assert field == "userId" or text.isascii()


def test_identifier_error_does_not_quote_private_values() -> None:
    for parse, value in ((parse_phone, "0801-234-5678"), (parse_key, " s3cret"), (parse_user_id, " s3cret")):
        with pytest.raises(ValidationFailed) as caught:
            parse(value)
        assert value.strip() not in str(caught.value)


def test_meter_as_int_is_rejected_for_leading_zeros() -> None:
    with pytest.raises(InvalidMeter, match="leading zeros"):
        parse_meter(12345678901)


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


def test_vend_type_error_names_both_types() -> None:
    with pytest.raises(ValidationFailed) as caught:
        parse_vend_type("token")
    assert caught.value.fields == {"vendType": "must be prepaid or postpaid"}
