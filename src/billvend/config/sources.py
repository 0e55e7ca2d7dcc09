"""Where settings are written down: the environment, and a `.env` file in the working directory.

pydantic-settings' own sources let a malformed line and a misspelt name pass in silence, so these are ours.
"""

import difflib
import io
import os
from collections.abc import Collection
from pathlib import Path

from dotenv.parser import parse_stream

from billvend.config.setting_errors import invalid_setting, unknown_setting
from billvend.domain.errors import ConfigurationError

_OWN_PREFIXES = ("BILL_PROVIDER", "VTPASS_", "BUYPOWER_", "REQUERY_", "BREAKER_", "NOT_FOUND_")
"""No other software uses these prefixes: an unknown environment variable that starts so is refused."""

_SHARED_PREFIXES = ("VERIFY_", "WEBHOOK_", "SANDBOX_", "QUEUE_", "SWEEP_", "LEASE_", "PAYSTACK_")
"""Other software does use these: refused is only what looks like a misspelt setting of ours."""

_MIN_SIMILARITY = 0.75
"""From what likeness on (difflib, of what follows the prefix) such a name is taken for a slip:
QUEUE_CONCURENCY has 0.95, SANDBOX_ROOT (for SANDBOX_BOOK) 0.5, WEBHOOK_PORT 0.29."""


def read_environment() -> dict[str, str]:
    """The process's variables, empty ones left out: an empty setting is one that is not given."""
    return {name: value for name, value in os.environ.items() if value}


def read_dotenv(path: Path) -> dict[str, str]:
    """The settings in a file, empty ones left out; nothing where there is no file. Nothing is expanded.

    Raises `ConfigurationError` for a file that can't be read, for a line that is not NAME=value, for a name with two
    values, and for `${...}`, which other readers of such files expand.
    """
    try:
        text = path.read_text("utf-8")
    except (FileNotFoundError, IsADirectoryError):  # a folder called .env is somebody's virtual environment
        return {}
    except UnicodeDecodeError:
        raise ConfigurationError("The file .env can't be read: it is not UTF-8.") from None
    except OSError as error:
        raise ConfigurationError(f"The file .env can't be read: {error.strerror}.") from None
    values: dict[str, str] = {}
    for entry in parse_stream(io.StringIO(text)):
        if entry.key is None and not entry.error:  # a comment
            continue
        blank = entry.original.string.removesuffix(entry.original.string.lstrip())
        where = "Line {} of .env".format(entry.original.line + blank.count("\n"))
        if entry.key is None or entry.value is None:
            raise ConfigurationError(f"{where} is not accepted: it must be NAME=value.")
        if values.get(entry.key, entry.value) != entry.value:
            raise ConfigurationError(f"{where} contradicts an earlier one: give one of the two.")
        if "${" in entry.value:
            raise ConfigurationError(f"{where} is not accepted: nothing expands ${{...}} there.")
        values[entry.key] = entry.value
    return {name: value for name, value in values.items() if value}


def merge_sources(
    file_values: dict[str, str], environment_values: dict[str, str], known: Collection[str]
) -> dict[str, str]:
    """What both say under known names; the environment wins.

    Raises `ConfigurationError` for any other name in the file, for one in the environment that can only be meant for
    us, and for a value with a line break or another character that can't be printed, which none needs.
    """
    for name in file_values:
        if name not in known:
            raise unknown_setting(name, known, ".env")
    for name in environment_values:
        if name not in known and _is_ours(name, known):
            raise unknown_setting(name, known, "the environment")
    values = {name: value for name, value in (file_values | environment_values).items() if name in known}
    for name, value in values.items():
        if not value.isprintable():
            raise invalid_setting(
                name, "must be text without line breaks and other characters that can't be printed"
            )
    return values


def _is_ours(name: str, known: Collection[str]) -> bool:
    upper_name = name.upper()
    if upper_name.startswith(_OWN_PREFIXES):
        return True
    for prefix in _SHARED_PREFIXES:
        if upper_name.startswith(prefix):
            own_suffixes = [setting.removeprefix(prefix) for setting in known if setting.startswith(prefix)]
            return bool(
                difflib.get_close_matches(upper_name.removeprefix(prefix), own_suffixes, 1, _MIN_SIMILARITY)
            )
    return False
