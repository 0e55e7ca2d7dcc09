"""What somebody typed or said, made safe to repeat in one line."""

from decimal import Decimal

MAX_REPR_CHARACTERS = 40
"""Characters of a foreign value that a message may repeat, the ellipsis included."""


def safe_repr(value: object) -> str:
    """The value as a short piece of printable ASCII: text in quotes and escaped, a number as it is, else its type.

    Never longer than `MAX_REPR_CHARACTERS`, and never more work than the value is long. Raises nothing.
    """
    match value:
        case str():
            text = ascii(value[:MAX_REPR_CHARACTERS])
        case bool():
            text = str(value)
        case int() if value.bit_length() > 4 * MAX_REPR_CHARACTERS:
            text = "a very large number"  # str() of one is slow, and in the end refused by Python
        case int() | Decimal():
            text = str(value)
        case _:
            text = f"<{type(value).__name__[:MAX_REPR_CHARACTERS]}>".encode(
                "ascii", "backslashreplace"
            ).decode()
    return text if len(text) <= MAX_REPR_CHARACTERS else text[: MAX_REPR_CHARACTERS - 3] + "..."


def single_line(text: str) -> str:
    """The text with a blank for everything that can't be printed, ends of lines among it; as long as it was."""
    return "".join(character if character.isprintable() else " " for character in text)
