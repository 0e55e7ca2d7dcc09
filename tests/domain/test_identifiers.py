"""User ids, idempotency keys and phone numbers."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billvend.domain.errors import ValidationFailed
from billvend.domain.ids import (
    MAX_KEY_CHARACTERS,
    MAX_USER_ID_CHARACTERS,
    parse_key,
    parse_phone,
    parse_user_id,
)

PARSERS: dict[str, tuple[Callable[[object], str | None], int]] = {
    "userId": (parse_user_id, MAX_USER_ID_CHARACTERS),
    "idempotencyKey": (parse_key, MAX_KEY_CHARACTERS),
    "phone": (parse_phone, 16),
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
]

INVALID: list[tuple[str, Any]] = [
    *(
        ("userId", value)
        for value in ("", " ", " ada", "ada ", "a\tb", "ada\n", "a\0b", "a\x1b[31mb", "a\x7fb")
    ),
    *(
        ("userId", value)
        for value in (
            "a\u202eb",
            "a\u200bb",
            "a\u00a0b",
            "a\u2028b",
            "\ud800",
            "\ufeffada",
            "a\ufffd",
            "x" * 65,
        )
    ),
    *(("userId", value) for value in (None, 5, True, b"ada", ["ada"], "x" * 100_000)),
    *(
        ("idempotencyKey", value)
        for value in ("", " ", " k", "k ", "k\n", "a\tb", "k\0", "é", "\x7f", "x" * 256)
    ),
    *(("idempotencyKey", value) for value in ("１", "\ud800", None, 5, True, b"k", "x" * 100_000)),
    *(
        ("phone", value)
        for value in ("", "123456", "1234567890123456", "+123456", "++1234567", "12 34567", "١٢٣٤٥٦٧٨")
    ),
    *(
        ("phone", value)
        for value in ("0801-234-5678", "1234567\n", "1234567+", "\0", 8012345678, True, b"1234567")
    ),
]


@pytest.mark.parametrize(("parse", "value"), VALID)
def test_valid_identifier_is_returned_unchanged(
    parse: Callable[[object], str | None], value: str | None
) -> None:
    assert parse(value) == value


@pytest.mark.parametrize(
    ("field", "value"),
    INVALID,
    ids=[f"{field} {ascii(value)[:20]} {len(repr(value))}" for field, value in INVALID],
)
def test_invalid_identifier_is_rejected(field: str, value: Any) -> None:
    with pytest.raises(ValidationFailed) as caught:
        PARSERS[field][0](value)
    assert list(caught.value.fields) == [field]
    assert str(caught.value).isascii()
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("field", PARSERS)
@given(text=st.text() | st.text(st.characters(max_codepoint=127)) | st.text("+0123456789", max_size=18))
def test_accepted_identifier_is_printable_and_storable(field: str, text: str) -> None:
    parse, longest = PARSERS[field]
    try:
        assert parse(text) == text
    except ValidationFailed as error:
        assert list(error.fields) == [field]
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
