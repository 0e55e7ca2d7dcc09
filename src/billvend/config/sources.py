"""Where settings are written down: the environment, and a `.env` file in the working directory.

pydantic-settings' own sources let a malformed line and a misspelt name pass in silence, so these are ours.
"""

import difflib
import io
import os
from collections.abc import Collection
from pathlib import Path

from dotenv.parser import parse_stream

from billvend.config.refusals import bad, unknown
from billvend.domain.errors import BadSetting

_OURS = ("BILL_PROVIDER", "VTPASS_", "BUYPOWER_", "REQUERY_", "BREAKER_", "NOT_FOUND_")
"""No other software uses these prefixes: an unknown environment variable that starts so is refused."""

_SHARED = ("VERIFY_", "WEBHOOK_", "SANDBOX_", "QUEUE_", "SWEEP_", "LEASE_", "PAYSTACK_")
"""Other software does use these: refused is only what looks like a misspelt setting of ours."""

_LOOKS_ALIKE = 0.75
"""From what likeness on (difflib, of what follows the prefix) such a name is taken for a slip:
QUEUE_CONCURENCY has 0.95, SANDBOX_ROOT (for SANDBOX_BOOK) 0.5, WEBHOOK_PORT 0.29."""


def read_environment() -> dict[str, str]:
    """The process's variables, empty ones left out: an empty setting is one that is not given."""
    return {name: value for name, value in os.environ.items() if value}


def read_dotenv(path: Path) -> dict[str, str]:
    """The settings in a file, empty ones left out; nothing where there is no file. Nothing is expanded.

    Raises `BadSetting` for a file that can't be read, for a line that is not NAME=value, for a name with two
    values, and for `${...}`, which other readers of such files expand.
    """
    try:
        text = path.read_text("utf-8")
    except (FileNotFoundError, IsADirectoryError):  # a folder called .env is somebody's virtual environment
        return {}
    except UnicodeDecodeError:
        raise BadSetting("The file .env can't be read: it is not UTF-8.") from None
    except OSError as error:
        raise BadSetting(f"The file .env can't be read: {error.strerror}.") from None
    found: dict[str, str] = {}
    for entry in parse_stream(io.StringIO(text)):
        if entry.key is None and not entry.error:  # a comment
            continue
        blank = entry.original.string.removesuffix(entry.original.string.lstrip())
        where = "Line {} of .env".format(entry.original.line + blank.count("\n"))
        if entry.key is None or entry.value is None:
            raise BadSetting(f"{where} is not accepted: it must be NAME=value.")
        if found.get(entry.key, entry.value) != entry.value:
            raise BadSetting(f"{where} contradicts an earlier one: give one of the two.")
        if "${" in entry.value:
            raise BadSetting(f"{where} is not accepted: nothing expands ${{...}} there.")
        found[entry.key] = entry.value
    return {name: value for name, value in found.items() if value}


def settings_of(
    in_file: dict[str, str], in_environment: dict[str, str], known: Collection[str]
) -> dict[str, str]:
    """What both say under known names; the environment wins.

    Raises `BadSetting` for any other name in the file, for one in the environment that can only be meant for
    us, and for a value with a line break or another character that can't be printed, which none needs.
    """
    for name in in_file:
        if name not in known:
            raise unknown(name, known, ".env")
    for name in in_environment:
        if name not in known and _is_meant_for_us(name, known):
            raise unknown(name, known, "the environment")
    given = {name: value for name, value in (in_file | in_environment).items() if name in known}
    for name, value in given.items():
        if not value.isprintable():
            raise bad(name, "must be text without line breaks and other characters that can't be printed")
    return given


def _is_meant_for_us(name: str, known: Collection[str]) -> bool:
    capitals = name.upper()
    if capitals.startswith(_OURS):
        return True
    for prefix in _SHARED:
        if capitals.startswith(prefix):
            ours = [setting.removeprefix(prefix) for setting in known if setting.startswith(prefix)]
            return bool(difflib.get_close_matches(capitals.removeprefix(prefix), ours, 1, _LOOKS_ALIKE))
    return False
