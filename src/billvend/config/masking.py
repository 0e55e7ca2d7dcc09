"""Settings shown without their secrets."""

import re
from decimal import Decimal
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from billvend.config.kinds import RateLimit
from billvend.config.settings import ATTRIBUTES, Settings

HIDDEN: Final = "***"


def masked(settings: Settings) -> dict[str, object]:
    """What is in force, by the setting's name, fit for showing and for JSON: secrets are `***`, in URLs too.

    Sums are text, times numbers of seconds, lists and the rate limit as they are written; None is not given.
    """
    shown = {name: _shown(name, getattr(settings, attribute)) for name, attribute in ATTRIBUTES.items()}
    shown |= {name: _shown(name, value) for name, value in settings.plug_in_accounts.items()}
    if settings.bill_providers:
        shown["BILL_PROVIDER"] = None
    if settings.rate_limit is None:
        shown["RATE_LIMIT"] = "0"
    return shown


def _shown(name: str, value: object) -> object:
    match value:
        case SecretStr():
            return _shown_secret(name, value.get_secret_value())
        case RateLimit() | Path():
            return str(value)
        case Decimal():
            return f"{value:f}"
        case float():
            return int(value) if value.is_integer() else value
        case tuple():
            return ",".join(str(_shown(name, entry)) for entry in value) or None
        case _:
            return value


def _shown_secret(name: str, value: str) -> str:
    if name.endswith("_API_URL") or (name == "DATABASE_URL" and value.startswith("sqlite:")):
        return value
    if name == "DATABASE_URL":
        return masked_url(value, with_user=True, with_path=True)
    if name.endswith("_URL"):
        return masked_url(value, with_path=name == "REDIS_URL")
    return HIDDEN


_HOST = r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._%-]*)(?::[0-9]{1,5})?"
_PLAIN_URL = re.compile(
    r"(?P<scheme>[a-z]+)://((?P<user>[^:/?#@\s]*)(?P<password>:[^/?#@\s]*)?@)?"
    rf"(?P<hosts>{_HOST}(?:,{_HOST})*)(?P<path>/[^?#@\s]*)?(\?(?P<query>[^#@\s]*))?"
)
"""A URL in which nothing can be a piece of a password: one @ at most, and no stray sign."""

_SHOWN_OPTION = re.compile(
    r"(host|hostaddr|port|dbname|db|user|sslmode|connect_timeout|application_name|target_session_attrs)=[\w.,:/%-]*"
)


def masked_url(url: str, *, with_user: bool = False, with_path: bool = False) -> str:
    """Only what is surely no secret; of an odd URL (a raw @, / or ? in its password) the scheme alone.

    The user is shown for databases: for others it may be a key. So may the path be, a webhook's above all.
    """
    plain = _PLAIN_URL.fullmatch(url)
    if plain is None:
        return f"{url.partition('://')[0]}://{HIDDEN}"
    login, path = "", plain["path"] or ""
    if plain["user"] is not None:
        login = f"{plain['user']}:{HIDDEN}@" if plain["password"] else f"{plain['user']}@"
        login = login if with_user else f"{HIDDEN}@"
    if not with_path and path.strip("/"):
        path = f"/{HIDDEN}"
    options = [option for option in (plain["query"] or "").split("&") if option]
    shown = "&".join(option if _SHOWN_OPTION.fullmatch(option) else HIDDEN for option in options)
    return f"{plain['scheme']}://{login}{plain['hosts']}{path}" + (f"?{shown}" if shown else "")
