"""The error messages of settings: one line that names the setting. A value is repeated only if it can't be a secret."""

import difflib
import re
from collections.abc import Iterable

from billvend.domain.errors import ConfigurationError
from billvend.domain.safe_text import safe_repr

_MIN_SIMILARITY = 0.7
"""The similarity (difflib) from which a known name is suggested."""


def invalid_setting(name: str, reason: str, value: str | None = None) -> ConfigurationError:
    """The error for an invalid setting. `reason` follows "it". Pass `value` only if it is not a secret."""
    value_text = "" if value is None else f" {safe_repr(value)}"
    return ConfigurationError(
        f"The setting {name}{value_text} is not accepted: it {reason}.", fields={name: reason}
    )


def missing_setting(name: str, condition: str) -> ConfigurationError:
    """The error for a setting that is not set. `condition` follows "is required"."""
    return ConfigurationError(
        f"The setting {name} is required {condition}.", fields={name: f"is required {condition}"}
    )


def unknown_setting(name: str, known: Iterable[str], where: str) -> ConfigurationError:
    """The error for a name that is not a setting.

    Text that does not look like a name may be part of a secret on its own line. It is not repeated.
    """
    hint = did_you_mean(name.upper(), known)
    if not hint and not re.fullmatch("[A-Z][A-Z0-9_]*", name):
        return ConfigurationError(f"Something in {where} is not the name of any setting.")
    return ConfigurationError(
        f"The setting {safe_repr(name)[1:-1]} in {where} is unknown{hint}.", fields={name: "is unknown"}
    )


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The most similar known name, as the end of a sentence; empty if no name is similar."""
    matches = difflib.get_close_matches(name, list(known), 1, _MIN_SIMILARITY)
    return f" (did you mean {matches[0]}?)" if matches else ""
