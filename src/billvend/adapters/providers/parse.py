"""Parse what providers write: numbers as text, "N/A" for a missing value, tokens with words around them.

Every function takes any JSON value and never raises. A value that cannot be parsed is None.
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from billvend.domain.errors import InvalidAmount, UnsupportedCurrency
from billvend.domain.money import parse_amount

MISSING_VALUES: Final = frozenset({"", "n/a", "null", "none", "nil"})
"""What providers write for a missing value, in lower case."""
MAX_TEXT_CHARACTERS: Final = 500
"""A longer value is cut to this."""
MIN_TOKEN_DIGITS: Final = 10
"""Fewer digits are no token, not even a malformed one. Every real token has 20."""
STS_TOKEN_COUNT: Final = 2**66
"""A token is 20 decimal digits that encode 66 bits (STS, IEC 62055-41)."""
_TOKEN_LABEL = re.compile(r"^\s*tokens?\s*:\s*", re.IGNORECASE)
_NUMBER = re.compile(
    r"(?<![\d.,eE+-])-?(?:[0-9]{1,3}(?:,[0-9]{3}){1,4}|[0-9]{1,15})(?:\.[0-9]{1,9})?(?!\d|[.,]\d|[eE][+-]?\d)"
)


def to_mapping(value: object) -> Mapping[str, Any]:
    """The value if it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}


def to_text(value: object) -> str | None:
    """A value as text without blanks at its ends; None for a missing value, a list or an object."""
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        return None
    if isinstance(value, Decimal):
        value_text = (
            f"{value:f}" if abs(value.adjusted()) < 30 else ""
        )  # 1E+1000000 would be a million digits
    else:
        value_text = value.strip() if isinstance(value, str) else str(value)
    return None if value_text.lower() in MISSING_VALUES else value_text[:MAX_TEXT_CHARACTERS]


def first_text(source: Mapping[str, Any], *names: str) -> str | None:
    """The first of these fields that has a value."""
    return next((text for name in names if (text := to_text(source.get(name))) is not None), None)


def to_number(value: object) -> str | None:
    """The first plain decimal number in a value ("79.9 kWh", "1,234.50", 13.7) as a decimal string.

    None if it is ambiguous ("1234,50", "1.2.3", "12,34").
    """
    match = _NUMBER.search(to_text(value) or "")
    return match.group().replace(",", "") if match else None


def to_minor(value: object, currency: str) -> int | None:
    """An amount in major units, as text or number, in minor units. None if it is negative or not exact."""
    plain = to_number(value)
    if plain is None:
        return None
    try:
        exact = plain.rstrip("0").rstrip(".") if "." in plain else plain
        return 0 if Decimal(plain) == 0 else parse_amount(exact, currency).amount_minor
    except (InvalidAmount, UnsupportedCurrency):
        return None


def to_token(value: object) -> str | None:
    """A token as the customer types it: digits only, without "Token :", blanks and hyphens.

    A malformed token is kept as it came: it never turns a delivery into a failure.
    """
    # 1.2E+19 has lost digits. Written out, it would look like a token.
    text = str(value)[:MAX_TEXT_CHARACTERS] if isinstance(value, Decimal) else to_text(value)
    if text is None:
        return None
    text = _TOKEN_LABEL.sub("", text).strip()
    digits = text.replace(" ", "").replace("-", "")
    return (digits if digits.isascii() and digits.isdigit() else text) or None


def to_valid_token(value: object) -> str | None:
    """A token with enough digits to be one. A word like "pending", or a 0, is None."""
    text = to_token(value)
    return text if len(re.findall("[0-9]", text or "")) >= MIN_TOKEN_DIGITS else None


def is_sts_token(digits: str) -> bool:
    """Whether the token is well formed: 20 digits below 2**66."""
    return len(digits) == 20 and digits.isascii() and digits.isdigit() and int(digits) < STS_TOKEN_COUNT
