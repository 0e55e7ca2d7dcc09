"""Who may do what over HTTP: keys, and the scopes that they open."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from billvend.domain.errors import ValidationFailed
from billvend.domain.safe_text import safe_repr

MAX_NAME_CHARACTERS = 64


class Scope(StrEnum):
    """What a key may be used for. Each stands for itself: none includes another, and a key may have several."""

    READ = "read"
    """Look at anything: balances, transactions with their tokens, health."""
    PAY = "pay"
    """Buy electricity, and ask whose meter it is."""
    FUND = "fund"
    """Add money to wallets, and start fundings from outside."""
    OPERATE = "operate"
    """What only an operator does."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key of the HTTP API, without its secret, which nobody keeps."""

    key_id: str
    """Its public part: stands in the secret, and may be shown anywhere."""
    name: str
    """What people call it; unique among the keys that are not revoked."""
    scopes: frozenset[Scope]
    created_at: datetime
    revoked_at: datetime | None = None
    """From then on it opens nothing; None while it is in force."""
    last_used_at: datetime | None = None
    """When it was used last, give or take a minute; None for never."""


def parse_scopes(values: Iterable[object]) -> frozenset[Scope]:
    """The scopes that somebody names, at least one. Raises `ValidationFailed`."""
    known = ", ".join(Scope)
    scopes = set()
    for value in values:
        try:
            scopes.add(Scope(str(value)))
        except ValueError:
            raise ValidationFailed(
                f"The scope {safe_repr(value)} is not accepted: it must be one of {known}.",
                fields={"scopes": f"must be among {known}"},
            ) from None
    if not scopes:
        raise ValidationFailed(f"A key needs a scope: {known}.", fields={"scopes": "must name at least one"})
    return frozenset(scopes)


def parse_key_name(value: object) -> str:
    """The name of a key: 1 to 64 printable characters, no blank at either end. Raises `ValidationFailed`."""
    is_name = isinstance(value, str) and 1 <= len(value) <= MAX_NAME_CHARACTERS and value.isprintable()
    if isinstance(value, str) and is_name and value == value.strip():
        return value
    reason = f"must be 1 to {MAX_NAME_CHARACTERS} printable characters, without a blank at either end"
    raise ValidationFailed(f"The name of the key is not accepted: it {reason}.", fields={"name": reason})
