"""Shows settings without their secrets."""

import re
from decimal import Decimal
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from billvend.config.setting_types import RateLimit
from billvend.config.settings import SETTING_NAMES, Settings

REDACTED: Final = "***"


def redact_settings(settings: Settings) -> dict[str, object]:
    """The settings in force, by name, safe to show and for JSON. Secrets are `***`, in URLs too.

    Amounts are text, and times are numbers of seconds. Lists and the rate limit are as written. None means not set.
    """
    values = {name: getattr(settings, name.lower()) for name in SETTING_NAMES} | settings.plugin_settings
    redacted = {name: _redact_value(name, value) for name, value in values.items()}
    if settings.bill_providers:
        redacted["BILL_PROVIDER"] = None
    if settings.rate_limit is None:
        redacted["RATE_LIMIT"] = "0"
    return redacted


def _redact_value(name: str, value: object) -> object:
    match value:
        case SecretStr():
            return _redact_secret(name, value.get_secret_value())
        case RateLimit() | Path():
            return str(value)
        case Decimal():
            return f"{value:f}"
        case float():
            return int(value) if value.is_integer() else value
        case tuple():
            return ",".join(str(_redact_value(name, entry)) for entry in value) or None
        case _:
            return value


def _redact_secret(name: str, value: str) -> str:
    if name.endswith("_API_URL") or (name == "DATABASE_URL" and value.startswith("sqlite:")):
        return value
    if name == "DATABASE_URL":
        return redact_url(value, with_user=True, with_path=True)
    if name.endswith("_URL"):
        return redact_url(value, with_path=name == "REDIS_URL")
    return REDACTED


_HOST = r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._%-]*)(?::[0-9]{1,5})?"
_SIMPLE_URL = re.compile(
    r"(?P<scheme>[a-z]+)://((?P<user>[^:/?#@\s]*)(?P<password>:[^/?#@\s]*)?@)?"
    rf"(?P<hosts>{_HOST}(?:,{_HOST})*)(?P<path>/[^?#@\s]*)?(\?(?P<query>[^#@\s]*))?"
)
"""A URL without parts that could belong to a password: it has at most one @, and no stray special characters."""

_SAFE_OPTION = re.compile(
    r"(host|hostaddr|port|dbname|db|user|sslmode|connect_timeout|application_name|target_session_attrs)=[\w.,:/%-]*"
)


def redact_url(url: str, *, with_user: bool = False, with_path: bool = False) -> str:
    """The parts of a URL that are surely not secret. Of an odd URL (a raw @, / or ? in its password) only the scheme.

    `with_user` is for databases: in other URLs the user may be a key. The path may be a secret too, as in webhook URLs.
    """
    match = _SIMPLE_URL.fullmatch(url)
    if match is None:
        return f"{url.partition('://')[0]}://{REDACTED}"
    login, path = "", match["path"] or ""
    if match["user"] is not None:
        login = f"{match['user']}:{REDACTED}@" if match["password"] else f"{match['user']}@"
        login = login if with_user else f"{REDACTED}@"
    if not with_path and path.strip("/"):
        path = f"/{REDACTED}"
    options = [option for option in (match["query"] or "").split("&") if option]
    query = "&".join(option if _SAFE_OPTION.fullmatch(option) else REDACTED for option in options)
    return f"{match['scheme']}://{login}{match['hosts']}{path}" + (f"?{query}" if query else "")
