"""The types of settings: how each value is parsed, and the description of valid values for error messages."""

import re
from base64 import b64decode
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Final, Literal, NamedTuple

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from billvend.config.urls import check_api_url
from billvend.domain.errors import ValidationFailed
from billvend.domain.ids import parse_phone
from billvend.domain.money import CURRENCIES

WEBHOOK_SECRETS_FORMAT: Final = (
    "one secret or several with spaces between, each whsec_ and 24 to 64 bytes in base64"
)
MAX_SECONDS: Final = 366 * 24 * 3600
"""The longest time that a setting accepts, in seconds: a year. More is a mistake."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """The valid values of a setting."""

    description: str
    """Words that follow "must be"."""
    is_secret: bool = False
    """True if the value is never repeated: a secret, or a URL that may contain one."""


class RateLimit(NamedTuple):
    """The number of requests that an API key or address may make in a window."""

    requests: int
    window: str
    """`second`, `minute`, `hour` or `day`."""

    def __str__(self) -> str:
        """The text of the setting: `600/minute`."""
        return f"{self.requests}/{self.window}"


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _split_commas(value: object) -> object:
    return [entry.strip() for entry in value.split(",")] if isinstance(value, str) else value


def _decimal(value: object) -> object:
    """An amount as a Decimal. A binary float is invalid, and so are 1e3 and 1_000, which may be mistakes."""
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,20}(\.[0-9]{1,10})?", value.strip()):
        return Decimal(value.strip())
    if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
        return Decimal(value)
    raise ValueError


def _parse_rate(value: object) -> object:
    if not isinstance(value, str):
        return value
    if value.strip() == "0":
        return None
    match = re.fullmatch(r"\s*([0-9]{1,9})\s*/\s*(second|minute|hour|day)\s*", value)
    if not match or int(match[1]) == 0:
        raise ValueError
    return RateLimit(int(match[1]), match[2])


def _parse_phone(value: str | None) -> str | None:
    try:
        return parse_phone(value)
    except ValidationFailed:
        raise ValueError from None


def _check_currency(value: str) -> str:
    if value not in CURRENCIES:
        raise ValueError
    return value


def _require_scheme(*schemes: str) -> AfterValidator:
    def check(value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            scheme, _, rest = value.get_secret_value().partition("://")
            if scheme not in schemes or not rest:
                raise ValueError
        return value

    return AfterValidator(check)


def is_webhook_secret(text: str) -> bool:
    """Whether it can sign webhooks: 24 to 64 bytes in base64, as Standard Webhooks requires."""
    encoded = text.removeprefix("whsec_").rstrip("=")
    try:
        return 24 <= len(b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)) <= 64
    except ValueError:
        return False


def _one_of(*values: str) -> Allowed:
    return Allowed(f"{', '.join(values[:-1])} or {values[-1]}")


def _integer(minimum: int, maximum: int) -> Allowed:
    return Allowed(f"a whole number from {minimum} to {maximum}")


Bool = Annotated[bool, Allowed("true or false")]
Seconds = Annotated[
    float,
    Field(gt=0, le=MAX_SECONDS),
    Allowed(f"a number of seconds, more than 0 and at most {MAX_SECONDS}"),
]
Schedule = Annotated[
    tuple[Seconds, ...],
    BeforeValidator(_split_commas),
    Field(min_length=1, max_length=100),
    Allowed("1 to 100 numbers of seconds with commas between, each more than 0, such as 20,60,120"),
]
Naira = Annotated[
    Decimal,
    BeforeValidator(_decimal),
    Field(ge=0, le=10**15),
    Allowed("a plain number such as 1000 or 1000.50, without signs, commas or exponents"),
]
Count = Annotated[int, Field(ge=0, le=10**9), _integer(0, 10**9)]
Threads = Annotated[int, Field(ge=1, le=256), _integer(1, 256)]
ProxyCount = Annotated[int, Field(ge=0, le=100), _integer(0, 100)]
ListenPort = Annotated[int, Field(ge=0, le=65535), _integer(0, 65535)]
ServerPort = Annotated[int | None, Field(ge=1, le=65535), _integer(1, 65535)]
Host = Annotated[str, Field(pattern=r"^[A-Za-z0-9._:%-]+$"), Allowed("an address or a host name")]
Text = Annotated[str | None, Field(min_length=1), Allowed("text that is not empty")]
Phone = Annotated[
    str | None,
    AfterValidator(_parse_phone),
    Allowed("7 to 15 digits, with or without a + in front", is_secret=True),
]
Currency = Annotated[str, AfterValidator(_check_currency), Allowed(f"one of {', '.join(sorted(CURRENCIES))}")]
Rate = Annotated[
    RateLimit | None,
    BeforeValidator(_parse_rate),
    Allowed("a number and a window (second, minute, hour or day) such as 600/minute, or 0 for none"),
]
Environment = Annotated[
    Literal["development", "production"], BeforeValidator(_lower), _one_of("development", "production")
]
LogLevel = Annotated[
    Literal["debug", "info", "warning", "error", "critical"],
    BeforeValidator(_lower),
    _one_of("debug", "info", "warning", "error", "critical"),
]
LogFormat = Annotated[Literal["json", "console"] | None, BeforeValidator(_lower), _one_of("json", "console")]
UnreachablePolicy = Annotated[Literal["refuse", "allow"], BeforeValidator(_lower), _one_of("refuse", "allow")]
Provider = Annotated[str, Allowed("the name of a provider")]
Providers = Annotated[
    tuple[str, ...],
    BeforeValidator(_split_commas),
    Allowed("names of providers with commas between, such as vtpass,buypower"),
]

Secret = Annotated[SecretStr | None, Field(min_length=1), Allowed("text that is not empty", is_secret=True)]
ApiUrl = Annotated[
    str | None,
    AfterValidator(check_api_url),
    Allowed("an https:// URL, or an http:// one on loopback", is_secret=True),
]
DatabaseUrl = Annotated[
    SecretStr,
    Field(validate_default=True),
    Allowed("a sqlite:///path or postgresql:// URL", is_secret=True),
]
RedisUrl = Annotated[
    SecretStr | None,
    Field(validate_default=True),
    _require_scheme("redis", "rediss", "unix"),
    Allowed("a redis://, rediss:// or unix:// URL", is_secret=True),
]
WebhookUrl = Annotated[
    SecretStr | None, _require_scheme("https", "http"), Allowed("an https:// or http:// URL", is_secret=True)
]
SmtpUrl = Annotated[
    SecretStr | None, _require_scheme("smtp", "smtps"), Allowed("an smtp:// or smtps:// URL", is_secret=True)
]
MailSender = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9.-]{1,190}$"),
    Allowed("a mail address such as shop@example.com"),
]
