"""URLs: which are valid, and how one is built from its parts.

The checks raise `ValueError` with the words that follow "it". They are empty if the description of the type says enough.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from pydantic import SecretStr

from billvend.config.setting_errors import invalid_setting, missing_setting
from billvend.domain.ids import is_loopback_host


def check_url(value: SecretStr | None, *, schemes: Sequence[str], needs_host: bool) -> SecretStr | None:
    """Check the scheme of a URL, and with `needs_host` that it has a host, a valid port, and no spaces or backslashes."""
    if value is not None:
        url = value.get_secret_value()
        scheme, _, rest = url.partition("://")
        if scheme not in schemes or not rest:
            raise ValueError
        if needs_host and not _has_host(url):
            raise ValueError
    return value


def _has_host(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0 and not re.search(r"[\s\\]", url)
    except ValueError:
        return False


def check_api_url(value: str | None) -> str | None:
    """Check the URL of a provider: https://, or http:// on loopback, with a host, a port and a path only."""
    if value is None:
        return None
    if re.search(r"[\s\\]", value):
        raise ValueError("must be a URL without spaces or backslashes")
    try:
        url = urlsplit(value)
        host, _ = url.hostname or "", url.port
    except ValueError:
        raise ValueError from None
    if url.scheme not in ("http", "https") or not host:
        raise ValueError
    if "@" in url.netloc or "?" in value or "#" in value:
        raise ValueError(
            "must be a URL without a user, a query or a fragment: keys have settings of their own"
        )
    if url.scheme == "http" and not is_loopback_host(host):
        raise ValueError("must be an https:// URL: http:// is accepted only on loopback")
    return value


def check_database_url(url: str) -> None:
    """Check a database URL: a SQLite file or memory, or any URL for libpq."""
    scheme, separator, rest = url.partition("://")
    if scheme in ("postgresql", "postgres") and separator:
        return
    if scheme != "sqlite" or not separator:
        raise ValueError(
            "must be sqlite:///path, sqlite:////absolute/path, sqlite:// (in memory) or a postgresql:// URL"
        )
    if rest and not rest.startswith("/"):
        raise ValueError(
            "must have three slashes before a relative path (sqlite:///shop.db), and four before an absolute one"
        )
    if rest == "/":
        raise ValueError("must name a file (sqlite:///shop.db), or be sqlite:// for a database in memory")
    if "?" in rest:
        raise ValueError("must not have ?options, because the database is SQLite")


def build_database_url(parts: Mapping[str, Any]) -> str:
    """The URL of the DATABASE_* parts, by attribute name. Raises `ConfigurationError` if one is missing."""
    needed = ["database_host", "database_name"]
    if "database_password" in parts:
        needed.append("database_username")
    for name in needed:
        if name not in parts:
            raise missing_setting(name.upper(), f"with {', '.join(part.upper() for part in parts)}")
    login = quote(parts.get("database_username", ""), safe="")
    if "database_password" in parts:
        login += ":" + quote(parts["database_password"].get_secret_value(), safe="")
    login = f"{login}@" if login else ""
    host, port = parts["database_host"], parts.get("database_port", 5432)
    name = quote(parts["database_name"], safe="")
    if host.startswith("/"):
        return f"postgresql://{login}/{name}?host={quote(host, safe='')}&port={port}"
    return f"postgresql://{login}{_url_host(host)}:{port}/{name}"


def build_redis_url(parts: Mapping[str, Any]) -> str:
    """The URL of the REDIS_* parts, by attribute name. Raises `ConfigurationError` without a host."""
    if "redis_host" not in parts:
        raise missing_setting("REDIS_HOST", "with REDIS_PORT")
    return f"redis://{_url_host(parts['redis_host'])}:{parts.get('redis_port', 6379)}"


def _url_host(host: str) -> str:
    return f"[{host}]" if ":" in host else quote(host, safe="")


def check_parts_agree(name: str, url: str, parts: Mapping[str, Any], *, default_port: int) -> None:
    """Check that a URL and its parts are the same, if both are set. Raises `ConfigurationError` if they differ."""
    url_parts = _split_url(url, default_port)
    for part, value in parts.items():
        text = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        if url_parts.get(part.partition("_")[2]) != text:
            raise invalid_setting(part.upper(), f"contradicts {name}: set only one of the two")


def _split_url(url: str, default_port: int) -> dict[str, str]:
    try:
        split = urlsplit(url)
        port = split.port
    except ValueError:  # for example several hosts, with which a single part can't agree
        return {}
    url_parts = {
        "host": unquote(split.netloc.rpartition("@")[2].removesuffix(f":{port}").strip("[]")),
        "port": str(port or default_port),
        "username": unquote(split.username or ""),
        "password": unquote(split.password or ""),
        "name": unquote(split.path.removeprefix("/")),
    }
    options = {"user": "username", "dbname": "name"}
    return url_parts | {options.get(key, key): value for key, value in parse_qsl(split.query)}
