"""How a setting is refused: one line that names it. A value is repeated only where it can't be a secret."""

import difflib
import re
from collections.abc import Iterable

from billvend.domain.errors import ConfigurationError
from billvend.domain.safe_text import safe_repr

_MIN_SIMILARITY = 0.7
"""The likeness (difflib) from which on a known name is worth mentioning."""


def invalid_setting(name: str, reason: str, value: str | None = None) -> ConfigurationError:
    """The refusal of one setting. `reason` follows "it"; `value` is given only where it is no secret."""
    value_text = "" if value is None else f" {safe_repr(value)}"
    return ConfigurationError(
        f"The setting {name}{value_text} is not accepted: it {reason}.", fields={name: reason}
    )


def unknown_setting(name: str, known: Iterable[str], where: str) -> ConfigurationError:
    """The refusal of a name that no setting has.

    What doesn't look like a name may be a piece of a secret on a line of its own, and isn't repeated.
    """
    hint = did_you_mean(name.upper(), known)
    if not hint and not re.fullmatch("[A-Z][A-Z0-9_]*", name):
        return ConfigurationError(f"Something in {where} is not the name of any setting.")
    return ConfigurationError(
        f"There is no setting {safe_repr(name)[1:-1]}, which stands in {where}{hint}.",
        fields={name: "is not known"},
    )


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The closest known name as the end of a sentence, or nothing."""
    matches = difflib.get_close_matches(name, list(known), 1, _MIN_SIMILARITY)
    return f" (did you mean {matches[0]}?)" if matches else ""
