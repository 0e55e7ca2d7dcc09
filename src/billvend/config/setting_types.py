"""The types of settings: how each value is parsed.

A description completes "it must be" in the error message. The value of a setting with `repr=False` is never repeated: it
is a secret, or a URL that may contain one.
"""

import re
from decimal import Decimal
from functools import partial
from typing import Annotated, Any, Final, Literal, NamedTuple

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from billvend.config import urls
from billvend.domain.errors import ValidationFailed
from billvend.domain.ids import parse_phone
from billvend.domain.money import CURRENCIES

MAX_SECONDS: Final = 366 * 24 * 3600
"""The longest time that a setting accepts, in seconds: a year. More is a mistake."""


class RateLimit(NamedTuple):
    """The number of requests that an API key or address may make in a window."""

    requests: int
    window: str
    """`second`, `minute`, `hour` or `day`."""

    def __str__(self) -> str:
        """The text of the setting: `600/minute`."""
        return f"{self.requests}/{self.window}"


def _parse_decimal(value: object) -> Decimal:
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
    match = re.fullmatch(r"\s*([1-9][0-9]{0,8})\s*/\s*(second|minute|hour|day)\s*", value)
    if not match:
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


def _integer(minimum: int, maximum: int) -> Any:
    return Field(ge=minimum, le=maximum, description=f"a whole number from {minimum} to {maximum}")


def _url(*schemes: str, needs_host: bool) -> AfterValidator:
    return AfterValidator(partial(urls.check_url, schemes=schemes, needs_host=needs_host))


_lower = BeforeValidator(lambda value: value.lower() if isinstance(value, str) else value)
_split_commas = BeforeValidator(
    lambda value: [entry.strip() for entry in value.split(",")] if isinstance(value, str) else value
)

Bool = Annotated[bool, Field(description="true or false")]
Seconds = Annotated[
    float,
    Field(
        gt=0,
        le=MAX_SECONDS,
        description=f"a number of seconds, more than 0 and at most {MAX_SECONDS}",
    ),
]
Schedule = Annotated[
    tuple[Annotated[float, Field(gt=0, le=MAX_SECONDS)], ...],
    _split_commas,
    Field(
        min_length=1,
        max_length=100,
        description="1 to 100 numbers of seconds with commas between, each more than 0, such as 20,60,120",
    ),
]
Naira = Annotated[
    Decimal,
    BeforeValidator(_parse_decimal),
    Field(
        ge=0,
        le=10**15,
        description="a plain number such as 1000 or 1000.50, without signs, commas or exponents",
    ),
]
Count = Annotated[int, _integer(0, 10**9)]
Threads = Annotated[int, _integer(1, 256)]
ProxyCount = Annotated[int, _integer(0, 100)]
ListenPort = Annotated[int, _integer(0, 65535)]
ServerPort = Annotated[int | None, _integer(1, 65535)]
Host = Annotated[str, Field(pattern=r"^[A-Za-z0-9._:%-]+$", description="an address or a host name")]
Text = Annotated[str | None, Field(min_length=1, description="text that is not empty")]
Phone = Annotated[
    str | None,
    AfterValidator(_parse_phone),
    Field(description="7 to 15 digits, with or without a + in front", repr=False),
]
Currency = Annotated[
    str, AfterValidator(_check_currency), Field(description=f"one of {', '.join(sorted(CURRENCIES))}")
]
Rate = Annotated[
    RateLimit | None,
    BeforeValidator(_parse_rate),
    Field(
        description="a number and a window (second, minute, hour or day) such as 600/minute, or 0 for none"
    ),
]
Environment = Annotated[Literal["development", "production"], _lower]
LogLevel = Annotated[Literal["debug", "info", "warning", "error", "critical"], _lower]
LogFormat = Annotated[Literal["json", "console"] | None, _lower]
UnreachablePolicy = Annotated[Literal["refuse", "allow"], _lower]
Provider = Annotated[str, Field(description="the name of a provider")]
Providers = Annotated[
    tuple[str, ...],
    _split_commas,
    Field(description="names of providers with commas between, such as vtpass,buypower"),
]
MailSender = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9.-]{1,190}$",
        description="a mail address such as shop@example.com",
    ),
]

Secret = Annotated[SecretStr | None, Field(min_length=1, description="text that is not empty", repr=False)]
ApiUrl = Annotated[
    str | None,
    AfterValidator(urls.check_api_url),
    Field(description="an https:// URL, or an http:// one on loopback", repr=False),
]
DatabaseUrl = Annotated[
    SecretStr,
    Field(validate_default=True, description="a sqlite:///path or postgresql:// URL", repr=False),
]
RedisUrl = Annotated[
    SecretStr | None,
    _url("redis", "rediss", "unix", needs_host=False),
    Field(validate_default=True, description="a redis://, rediss:// or unix:// URL", repr=False),
]
WebhookUrl = Annotated[
    SecretStr | None,
    _url("https", "http", needs_host=True),
    Field(description="an https:// or http:// URL with a host", repr=False),
]
SmtpUrl = Annotated[
    SecretStr | None,
    _url("smtp", "smtps", needs_host=True),
    Field(description="an smtp:// or smtps:// URL with a host", repr=False),
]
