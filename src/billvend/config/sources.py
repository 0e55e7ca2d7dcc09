"""The sources of settings: the environment, and a `.env` file in the working directory.

pydantic-settings' own sources accept a malformed line and a misspelt name silently, so these are ours.
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
"""No other software uses these prefixes. An unknown environment variable with one of them is rejected."""

_SHARED_PREFIXES = ("VERIFY_", "WEBHOOK_", "SANDBOX_", "QUEUE_", "SWEEP_", "LEASE_", "PAYSTACK_")
"""Other software uses these prefixes too. Only a name that looks like a misspelt setting of ours is rejected."""

_MIN_SIMILARITY = 0.75
"""The similarity (difflib, of the part after the prefix) from which such a name counts as misspelt.
QUEUE_CONCURENCY has 0.95, SANDBOX_ROOT (for SANDBOX_BOOK) 0.5, WEBHOOK_PORT 0.29."""


def read_environment() -> dict[str, str]:
    """The variables of the process. Empty ones are left out: an empty setting is not set."""
    return {name: value for name, value in os.environ.items() if value}


def read_dotenv(path: Path) -> dict[str, str]:
    """The settings in a file, without empty ones. There are none if the file does not exist. Nothing is expanded.

    Raises `ConfigurationError` for a file that can't be read, for a line that is not NAME=value, for a name with two
    values, and for `${...}`, because other programs expand it in such files.
    """
    try:
        text = path.read_text("utf-8")
    except (FileNotFoundError, IsADirectoryError):  # a folder called .env is a virtual environment
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
            raise ConfigurationError(f"{where} contradicts an earlier line: keep one of the two.")
        if "${" in entry.value:
            raise ConfigurationError(f"{where} is not accepted: ${{...}} is not expanded there.")
        values[entry.key] = entry.value
    return {name: value for name, value in values.items() if value}


def merge_sources(
    file_values: dict[str, str], environment_values: dict[str, str], known: Collection[str]
) -> dict[str, str]:
    """The known settings of both sources. The environment wins.

    Raises `ConfigurationError` for an unknown name in the file, for an unknown name in the environment that can only be
    meant for billvend, and for a value with a line break or another unprintable character, which no setting needs.
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
            raise invalid_setting(name, "must be text without line breaks and other unprintable characters")
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
