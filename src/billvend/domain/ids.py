"""Values that come from outside as text: user ids, keys, transaction ids, meters, phone numbers, e-mail addresses, hosts.

All of them are opaque and compared exactly. Error messages do not repeat a value that may be private, because they are
logged.
"""

import re
from functools import lru_cache
from ipaddress import ip_address
from typing import NoReturn

from billvend.domain.enums import VendType
from billvend.domain.errors import InvalidInput, InvalidMeter, TransactionNotFound, ValidationFailed
from billvend.domain.safe_text import safe_repr

MAX_USER_ID_CHARACTERS = 64
MAX_KEY_CHARACTERS = 255
MAX_EMAIL_CHARACTERS = 254

_KEY = re.compile("[!-~]([ -~]*[!-~])?")
_EMAIL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")
_PHONE = re.compile(r"\+?[0-9]{7,15}")
_METER = re.compile("[0-9]{10,16}")


def reject(what: str, field: str, reason: str, kind: type[InvalidInput] = ValidationFailed) -> NoReturn:
    """Raise an error of this kind: what is not accepted, the name of its field, and the reason: "must be ..."."""
    raise kind(f"The {what} is not accepted: it {reason}.", fields={field: reason})


def parse_user_id(value: object) -> str:
    """A wallet's user: 1 to 64 printable characters of any script, no blank at either end. Raises `ValidationFailed`.

    Not printable is what can't be seen, typed again or stored: controls, NUL, lone surrogates, line and direction
    marks, and every blank but the plain space. U+FFFD is rejected too: it replaces text that arrived broken. Case and
    composition count: two spellings are two users.
    """
    text = _parse_text(value, "user id", "userId", MAX_USER_ID_CHARACTERS)
    if not text.isprintable() or text != text.strip() or "\ufffd" in text:
        reject("user id", "userId", "must be printable characters, without a blank at either end")
    return text


def parse_key(value: object) -> str:
    """An idempotency key: 1 to 255 printable ASCII characters, no blank at either end. Raises `ValidationFailed`.

    An HTTP header would lose a blank at an end, and the key would be a different one there.
    """
    text = _parse_text(value, "idempotency key", "idempotencyKey", MAX_KEY_CHARACTERS)
    if not _KEY.fullmatch(text):
        reject("idempotency key", "idempotencyKey", "must be printable ASCII, without a blank at either end")
    return text


def parse_transaction_id(value: object) -> str:
    """The id of a transaction: text of 1 to 64 printable characters. Raises `TransactionNotFound`."""
    if isinstance(value, str) and 1 <= len(value) <= MAX_USER_ID_CHARACTERS and value.isprintable():
        return value
    raise TransactionNotFound(f"There is no transaction {safe_repr(value)}.")


def parse_meter(value: object) -> str:
    """A meter number: text of 10 to 16 ASCII digits, leading zeros kept. Raises `InvalidMeter`."""
    if isinstance(value, str) and _METER.fullmatch(value):
        return value
    is_text = isinstance(value, str)
    reason = "must be 10 to 16 digits" if is_text else "must be text, so that leading zeros are kept"
    reject(f"meter number {safe_repr(value)}", "meterNumber", reason, InvalidMeter)


def parse_vend_type(value: object) -> VendType:
    """`prepaid` or `postpaid`, in any case. Raises `ValidationFailed`."""
    for vend_type in VendType:
        if isinstance(value, str) and value.lower() == vend_type:
            return vend_type
    reject(f"vend type {safe_repr(value)}", "vendType", f"must be {' or '.join(VendType)}")


def parse_phone(value: object) -> str | None:
    """A phone number: 7 to 15 digits, with or without a plus in front; None stays None. Raises `ValidationFailed`."""
    if value is None or (isinstance(value, str) and _PHONE.fullmatch(value)):
        return value
    reject("phone number", "phone", "must be 7 to 15 digits as text, with or without a + in front")


def parse_email(value: object) -> str:
    """An e-mail address: ASCII, one @, a domain with a dot. Only the form is checked. Raises `ValidationFailed`."""
    text = _parse_text(value, "e-mail address", "email", MAX_EMAIL_CHARACTERS)
    if not is_email(text):
        reject("e-mail address", "email", "must be an address such as ada@example.com")
    return text


def is_email(value: object) -> bool:
    """Whether `parse_email` accepts it."""
    is_short = isinstance(value, str) and len(value) <= MAX_EMAIL_CHARACTERS
    return is_short and _EMAIL.fullmatch(str(value)) is not None


@lru_cache(maxsize=64)  # checked on each request
def is_loopback_host(host: str) -> bool:
    """Whether a host's name or address is this machine's own: `localhost`, or a loopback address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _parse_text(value: object, what: str, field: str, max_characters: int) -> str:
    if not isinstance(value, str):
        reject(what, field, "must be text")
    if not 1 <= len(value) <= max_characters:
        reject(what, field, f"must have 1 to {max_characters} characters")
    return value
