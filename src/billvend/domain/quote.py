"""What somebody typed or said, made safe to repeat in one line."""

from decimal import Decimal

LONGEST = 40
"""Characters of a foreign value that a message may repeat, the ellipsis included."""


def quoted(value: object) -> str:
    """The value as a short piece of printable ASCII: text in quotes and escaped, a number as it is, else its type.

    Never longer than `LONGEST`, and never more work than the value is long. Raises nothing.
    """
    match value:
        case str():
            text = ascii(value[:LONGEST])
        case bool():
            text = str(value)
        case int() if value.bit_length() > 4 * LONGEST:
            text = "a very large number"  # str() of one is slow, and in the end refused by Python
        case int() | Decimal():
            text = str(value)
        case _:
            text = f"<{type(value).__name__[:LONGEST]}>".encode("ascii", "backslashreplace").decode()
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."


def in_one_line(said: str) -> str:
    """The text with a blank for everything that can't be printed, ends of lines among it; as long as it was."""
    return "".join(sign if sign.isprintable() else " " for sign in said)
