"""Text from outside, made safe to repeat in one line."""

from decimal import Decimal

MAX_REPR_CHARACTERS = 40
"""How many characters of a foreign value a message may repeat, including the ellipsis."""


def safe_repr(value: object) -> str:
    """The value as short printable ASCII: text quoted and escaped, a number as it is, any other value as its type.

    Never longer than `MAX_REPR_CHARACTERS`. The work never exceeds the length of the value. Raises nothing.
    """
    match value:
        case str():
            text = ascii(value[:MAX_REPR_CHARACTERS])
        case bool():
            text = str(value)
        case int() if value.bit_length() > 4 * MAX_REPR_CHARACTERS:
            text = "a very large number"  # str() of one is slow, and Python rejects it from some length on
        case int() | Decimal():
            text = str(value)
        case _:
            text = f"<{type(value).__name__[:MAX_REPR_CHARACTERS]}>".encode(
                "ascii", "backslashreplace"
            ).decode()
    return text if len(text) <= MAX_REPR_CHARACTERS else text[: MAX_REPR_CHARACTERS - 3] + "..."


def single_line(text: str) -> str:
    """The text with a blank for each character that can't be printed, line ends included. The length stays the same."""
    return "".join(character if character.isprintable() else " " for character in text)
