"""How a setting is refused: one line that names it. A value is repeated only where it can't be a secret."""

import difflib
import re
from collections.abc import Iterable

from billvend.domain.errors import BadSetting
from billvend.domain.quote import quoted

_MIN_SIMILARITY = 0.7
"""The likeness (difflib) from which on a known name is worth mentioning."""


def invalid_setting(name: str, reason: str, value: str | None = None) -> BadSetting:
    """The refusal of one setting. `reason` follows "it"; `value` is given only where it is no secret."""
    value_text = "" if value is None else f" {quoted(value)}"
    return BadSetting(f"The setting {name}{value_text} is not accepted: it {reason}.", fields={name: reason})


def unknown_setting(name: str, known: Iterable[str], where: str) -> BadSetting:
    """The refusal of a name that no setting has.

    What doesn't look like a name may be a piece of a secret on a line of its own, and isn't repeated.
    """
    hint = did_you_mean(name.upper(), known)
    if not hint and not re.fullmatch("[A-Z][A-Z0-9_]*", name):
        return BadSetting(f"Something in {where} is not the name of any setting.")
    return BadSetting(
        f"There is no setting {quoted(name)[1:-1]}, which stands in {where}{hint}.",
        fields={name: "is not known"},
    )


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The closest known name as the end of a sentence, or nothing."""
    matches = difflib.get_close_matches(name, list(known), 1, _MIN_SIMILARITY)
    return f" (did you mean {matches[0]}?)" if matches else ""
