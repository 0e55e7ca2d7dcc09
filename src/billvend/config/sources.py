"""The sources of settings: the environment, a `.env` file in the working directory, and files of secrets.

pydantic-settings' own sources accept a malformed line and a misspelt name silently, so these are ours.
"""

import difflib
import io
import os
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from dotenv.parser import parse_stream

from billvend.config.provider_settings import plugin_setting_names
from billvend.config.setting_errors import invalid_setting, unknown_setting
from billvend.domain.errors import ConfigurationError

_OWN_PREFIXES = ("BILL_PROVIDER", "VTPASS_", "BUYPOWER_", "REQUERY_", "BREAKER_", "NOT_FOUND_")
"""No other software uses these prefixes. An unknown environment variable with one of them is rejected."""

_SHARED_PREFIXES = ("VERIFY_", "WEBHOOK_", "SANDBOX_", "QUEUE_", "SWEEP_", "LEASE_", "PAYSTACK_")
"""Other software uses these prefixes too. Only a name that looks like a misspelt setting of ours is rejected."""

_MIN_SIMILARITY = 0.75
"""The similarity (difflib, of the part after the prefix) from which such a name counts as misspelt.
QUEUE_CONCURENCY has 0.95, SANDBOX_ROOT (for SANDBOX_BOOK) 0.5, WEBHOOK_PORT 0.29."""


def read_sources(names: Collection[str], secret_names: Collection[str]) -> dict[str, Any]:
    """The settings with these names, by attribute, and those of the chosen plug-ins as `plugin_settings`.

    The environment wins over `.env`. An empty setting is not set. Each secret NAME may be in the file that NAME_FILE
    names instead. Raises `ConfigurationError` for an unknown name in `.env`, for an unknown name in the environment that
    can only be meant for billvend, and for a value with a line break or another unprintable character, which no setting
    needs.
    """
    in_file, in_environment = _read_dotenv(Path(".env")), {k: v for k, v in os.environ.items() if v}
    values = in_file | in_environment
    chosen = f"{values.get('BILL_PROVIDERS', '')},{values.get('BILL_PROVIDER', '')}".split(",")
    plugin_names = plugin_setting_names(chosen) - set(names)
    file_names = {
        f"{name}_FILE": name
        for name in (*secret_names, *(name for name in plugin_names if not name.endswith("_URL")))
    }
    known = {*names, *plugin_names, *file_names}
    for name in in_file:
        if name not in known:
            raise unknown_setting(name, known, ".env")
    for name in in_environment:
        if name not in known and _is_ours(name, known):
            raise unknown_setting(name, known, "the environment")
    values = {name: value for name, value in values.items() if name in known}
    for file_name, name in file_names.items():
        if file_name in values:
            if name in values:
                raise invalid_setting(file_name, f"contradicts {name}: set only one of the two")
            values[name] = _read_secret(file_name, values.pop(file_name))
    for name, value in values.items():
        if not value.isprintable():
            raise invalid_setting(name, "must be text without line breaks and other unprintable characters")
    plugin_settings = {name: values.pop(name) for name in sorted(plugin_names) if name in values}
    return {name.lower(): value for name, value in values.items()} | {"plugin_settings": plugin_settings}


def _read_secret(file_name: str, path: str) -> str:
    """The secret in a file, without the line break at its end. The path is not repeated: it may be a secret itself."""
    secret, cause = "", None
    try:
        secret = Path(path).read_text("utf-8").removesuffix("\n")
    except OSError as error:
        cause = error.strerror
    except ValueError:
        cause = "it is not UTF-8"
    if cause is not None:  # not raised above: the context of the error would have the path
        raise invalid_setting(file_name, f"names a file that can't be read: {cause}")
    if not secret:
        raise invalid_setting(file_name, "names an empty file")
    return secret


def _read_dotenv(path: Path) -> dict[str, str]:
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


def _is_ours(name: str, known: Iterable[str]) -> bool:
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
