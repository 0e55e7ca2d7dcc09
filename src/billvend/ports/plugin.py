"""A plug-in: a function that opens one provider account, found by its entry point.

An installed package offers it in the entry point group `billvend.providers`. `BILL_PROVIDER` names the entry point.
docs/adapters.md shows how to write one and how to test it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias

from billvend.ports.provider import Provider


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderSetup:
    """The settings of one provider account. A setting without a value is None. The repr shows no key."""

    name: str
    """The name of the entry point; `ProviderAccount.provider` must be the same."""
    api_url: str | None = None
    """https://, or http:// on loopback, without user, query or fragment. None: use the provider's own sandbox."""
    api_key: str | None = field(default=None, repr=False)
    public_key: str | None = field(default=None, repr=False)
    secret_key: str | None = field(default=None, repr=False)
    timeout_seconds: float
    """The total deadline of one call, body included."""
    verify_timeout_seconds: float = 5.0
    """The total deadline of a meter verification. It is short because a buyer waits."""
    phone: str | None = None
    """Sent with orders that have no phone number of their own."""
    max_processing_seconds: int
    """The configured longest time after which a received request may still take effect. An adapter may declare a
    longer time, never a shorter one."""
    currency: str
    """The currency of the wallets, for a provider that sells in any currency."""
    now: Callable[[], datetime]
    """The time, with its zone."""
    sleep: Callable[[float], None]
    """Waits for so many seconds."""


ProviderPlugin: TypeAlias = Callable[[ProviderSetup], Provider]
"""An entry point. It opens no connection. It raises `ConfigurationError` (billvend.domain.errors) if a setting is missing."""
