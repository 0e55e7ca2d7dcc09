"""Who may do what over HTTP: API keys and their scopes."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from billvend.domain.errors import ValidationFailed
from billvend.domain.ids import reject
from billvend.domain.safe_text import safe_repr

MAX_NAME_CHARACTERS = 64


class Scope(StrEnum):
    """What a key may be used for. No scope includes another. A key may have several."""

    READ = "read"
    """Read everything: balances, transactions with their tokens, health."""
    PAY = "pay"
    """Buy electricity, and look up the owner of a meter."""
    FUND = "fund"
    """Add money to wallets, and create deposits."""
    OPERATE = "operate"
    """Do what only an operator does."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key of the HTTP API, without its secret. The secret is not stored, only a digest that gives no access."""

    key_id: str
    """Its public part. The secret contains it, and it may be shown anywhere."""
    name: str
    """Its name for people. Unique among the keys that are not revoked."""
    scopes: frozenset[Scope]
    created_at: datetime
    digest: str = field(repr=False)
    """The SHA-256 of the secret, in hex digits."""
    revoked_at: datetime | None = None
    """The key is rejected from then on. None while it is valid."""
    last_used_at: datetime | None = None
    """When it was last used, to within a minute. None for never."""


def parse_scopes(values: Iterable[object]) -> frozenset[Scope]:
    """The scopes of these names, at least one. Raises `ValidationFailed`."""
    names, known = [str(value) for value in values], ", ".join(Scope)
    for name in names:
        if name not in list(Scope):
            reject(f"scope {safe_repr(name)}", "scopes", f"must be one of {known}")
    if not names:
        raise ValidationFailed(f"A key needs a scope: {known}.", fields={"scopes": "must name at least one"})
    return frozenset(map(Scope, names))


def parse_key_name(value: object) -> str:
    """The name of a key: 1 to 64 printable characters, no blank at either end. Raises `ValidationFailed`."""
    is_text = isinstance(value, str) and value.isprintable() and value == value.strip()
    if not isinstance(value, str) or not is_text or not 1 <= len(value) <= MAX_NAME_CHARACTERS:
        limits = f"1 to {MAX_NAME_CHARACTERS} printable characters"
        reject("name of the key", "name", f"must be {limits}, without a blank at either end")
    return value
