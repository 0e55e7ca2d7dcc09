"""The kinds of values that settings take: how each is read, and the words in which a wrong one is refused."""

import re
from base64 import b64decode
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Final, Literal, NamedTuple

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from billvend.config.urls import check_api_url
from billvend.domain.errors import ValidationFailed
from billvend.domain.money import CURRENCIES
from billvend.domain.names import parse_phone

WEBHOOK_SECRETS: Final = "one secret or several with blanks between, each whsec_ and 24 to 64 bytes in base64"
LONGEST_SECONDS: Final = 366 * 24 * 3600
"""The longest time that a setting takes, in seconds: a year. More is a slip."""


@dataclass(frozen=True, slots=True)
class Accepts:
    """What a setting takes, in words that follow "must be"."""

    text: str
    private: bool = False
    """True where the value is never repeated: a secret, or a URL that may hold one."""


class RateLimit(NamedTuple):
    """How many requests a key or address may make in a window."""

    requests: int
    per: str
    """`second`, `minute`, `hour` or `day`."""

    def __str__(self) -> str:
        """As the setting is written: `600/minute`."""
        return f"{self.requests}/{self.per}"


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _entries(value: object) -> object:
    return [entry.strip() for entry in value.split(",")] if isinstance(value, str) else value


def _exact(value: object) -> object:
    """A sum as a Decimal: no binary float, and none of the spellings (1e3, 1_000) that may be slips."""
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,20}(\.[0-9]{1,10})?", value.strip()):
        return Decimal(value.strip())
    if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
        return Decimal(value)
    raise ValueError


def _rate(value: object) -> object:
    if not isinstance(value, str):
        return value
    if value.strip() == "0":
        return None
    given = re.fullmatch(r"\s*([0-9]{1,9})\s*/\s*(second|minute|hour|day)\s*", value)
    if not given or int(given[1]) == 0:
        raise ValueError
    return RateLimit(int(given[1]), given[2])


def _phone(value: str | None) -> str | None:
    try:
        return parse_phone(value)
    except ValidationFailed:
        raise ValueError from None


def _currency(value: str) -> str:
    if value not in CURRENCIES:
        raise ValueError
    return value


def _scheme(*schemes: str) -> AfterValidator:
    def check(value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            scheme, _, rest = value.get_secret_value().partition("://")
            if scheme not in schemes or not rest:
                raise ValueError
        return value

    return AfterValidator(check)


def is_webhook_secret(text: str) -> bool:
    """Whether webhooks can be signed with it: 24 to 64 bytes in base64, by Standard Webhooks."""
    coded = text.removeprefix("whsec_").rstrip("=")
    try:
        return 24 <= len(b64decode(coded + "=" * (-len(coded) % 4), validate=True)) <= 64
    except ValueError:
        return False


def _one_of(*words: str) -> Accepts:
    return Accepts(f"{', '.join(words[:-1])} or {words[-1]}")


def _whole(least: int, most: int) -> Accepts:
    return Accepts(f"a whole number from {least} to {most}")


Flag = Annotated[bool, Accepts("true or false")]
Seconds = Annotated[
    float,
    Field(gt=0, le=LONGEST_SECONDS),
    Accepts(f"a number of seconds, more than 0 and at most {LONGEST_SECONDS}"),
]
Schedule = Annotated[
    tuple[Seconds, ...],
    BeforeValidator(_entries),
    Field(min_length=1, max_length=100),
    Accepts("1 to 100 numbers of seconds with commas between, each more than 0, such as 20,60,120"),
]
Naira = Annotated[
    Decimal,
    BeforeValidator(_exact),
    Field(ge=0, le=10**15),
    Accepts("a plain number such as 1000 or 1000.50, without signs, commas or exponents"),
]
Count = Annotated[int, Field(ge=0, le=10**9), _whole(0, 10**9)]
Threads = Annotated[int, Field(ge=1, le=256), _whole(1, 256)]
Hops = Annotated[int, Field(ge=0, le=100), _whole(0, 100)]
ListenPort = Annotated[int, Field(ge=0, le=65535), _whole(0, 65535)]
ServerPort = Annotated[int | None, Field(ge=1, le=65535), _whole(1, 65535)]
Host = Annotated[str, Field(pattern=r"^[A-Za-z0-9._:%-]+$"), Accepts("an address or a host name")]
Text = Annotated[str | None, Field(min_length=1), Accepts("text that is not empty")]
Phone = Annotated[
    str | None, AfterValidator(_phone), Accepts("7 to 15 digits, with or without a + in front", private=True)
]
Currency = Annotated[str, AfterValidator(_currency), Accepts(f"one of {', '.join(sorted(CURRENCIES))}")]
Rate = Annotated[
    RateLimit | None,
    BeforeValidator(_rate),
    Accepts("a number and a window (second, minute, hour or day) such as 600/minute, or 0 for none"),
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
Unreachable = Annotated[Literal["refuse", "allow"], BeforeValidator(_lower), _one_of("refuse", "allow")]
Provider = Annotated[str, Accepts("the name of a provider")]
Providers = Annotated[
    tuple[str, ...],
    BeforeValidator(_entries),
    Accepts("names of providers with commas between, such as vtpass,buypower"),
]

Secret = Annotated[SecretStr | None, Field(min_length=1), Accepts("text that is not empty", private=True)]
ApiUrl = Annotated[
    str | None,
    AfterValidator(check_api_url),
    Accepts("an https:// URL, or an http:// one on loopback", private=True),
]
DatabaseUrl = Annotated[
    SecretStr,
    Field(validate_default=True),
    Accepts("a sqlite:///path or postgresql:// URL", private=True),
]
RedisUrl = Annotated[
    SecretStr | None,
    Field(validate_default=True),
    _scheme("redis", "rediss", "unix"),
    Accepts("a redis://, rediss:// or unix:// URL", private=True),
]
WebhookUrl = Annotated[
    SecretStr | None, _scheme("https", "http"), Accepts("an https:// or http:// URL", private=True)
]
SmtpUrl = Annotated[
    SecretStr | None, _scheme("smtp", "smtps"), Accepts("an smtp:// or smtps:// URL", private=True)
]
MailSender = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9.-]{1,190}$"),
    Accepts("a mail address such as shop@example.com"),
]
