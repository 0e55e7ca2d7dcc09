"""Names that come from outside: user ids, idempotency keys, transaction ids, phone numbers, e-mail addresses, hosts.

All of them are opaque and compared exactly. Error messages do not repeat the value, because they are logged and the
value may be private.
"""

import re
from functools import lru_cache
from ipaddress import ip_address
from typing import NoReturn

from billvend.domain.errors import TransactionNotFound, ValidationFailed
from billvend.domain.safe_text import safe_repr

MAX_USER_ID_CHARACTERS = 64
MAX_KEY_CHARACTERS = 255
MAX_EMAIL_CHARACTERS = 254

_KEY = re.compile("[!-~]([ -~]*[!-~])?")
_EMAIL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")
_PHONE = re.compile(r"\+?[0-9]{7,15}")


def parse_user_id(value: object) -> str:
    """A wallet's user: 1 to 64 printable characters of any script, no blank at either end. Raises `ValidationFailed`.

    Not printable is what can't be seen, typed again or stored: controls, NUL, lone surrogates, line and direction
    marks, and every blank but the plain space. U+FFFD is rejected too: it replaces text that arrived broken. Case and
    composition count: two spellings are two users.
    """
    text = _text(value, "userId", "user id", MAX_USER_ID_CHARACTERS)
    if not text.isprintable() or text != text.strip() or "\ufffd" in text:
        _reject("userId", "user id", "must be printable characters, without a blank at either end")
    return text


def parse_key(value: object) -> str:
    """An idempotency key: 1 to 255 printable ASCII characters, no blank at either end. Raises `ValidationFailed`.

    An HTTP header would lose a blank at an end, and the key would be a different one there.
    """
    text = _text(value, "idempotencyKey", "idempotency key", MAX_KEY_CHARACTERS)
    if not _KEY.fullmatch(text):
        _reject("idempotencyKey", "idempotency key", "must be printable ASCII, without a blank at either end")
    return text


@lru_cache(maxsize=64)  # checked on each request
def is_loopback_host(host: str) -> bool:
    """Whether a host's name or address is this machine's own: `localhost`, or a loopback address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def parse_transaction_id(value: object) -> str:
    """The id of a transaction: text of 1 to 64 printable characters. Raises `TransactionNotFound`."""
    if isinstance(value, str) and 1 <= len(value) <= MAX_USER_ID_CHARACTERS and value.isprintable():
        return value
    raise TransactionNotFound(f"There is no transaction {safe_repr(value)}.")


def parse_phone(value: object) -> str | None:
    """A phone number: 7 to 15 digits, with or without a plus in front; None stays None. Raises `ValidationFailed`."""
    if value is None:
        return None
    if not isinstance(value, str) or not _PHONE.fullmatch(value):
        _reject("phone", "phone number", "must be 7 to 15 digits as text, with or without a + in front")
    return value


def parse_email(value: object) -> str:
    """An e-mail address: ASCII, one @, a domain with a dot. Only the form is checked. Raises `ValidationFailed`."""
    text = _text(value, "email", "e-mail address", MAX_EMAIL_CHARACTERS)
    if not is_email(text):
        _reject("email", "e-mail address", "must be an address such as ada@example.com")
    return text


def is_email(value: object) -> bool:
    """Whether `parse_email` accepts it."""
    return (
        isinstance(value, str) and len(value) <= MAX_EMAIL_CHARACTERS and _EMAIL.fullmatch(value) is not None
    )


def _text(value: object, field: str, name: str, max_characters: int) -> str:
    if not isinstance(value, str):
        _reject(field, name, "must be text")
    if not 1 <= len(value) <= max_characters:
        _reject(field, name, f"must have 1 to {max_characters} characters")
    return value


def _reject(field: str, name: str, reason: str) -> NoReturn:
    raise ValidationFailed(f"The {name} is not accepted: it {reason}.", fields={field: reason})
