"""What a plug-in is: a function that opens one provider account, found by its entry point.

An installed package offers it in the entry point group `billvend.providers`; the entry point's name is what
`BILL_PROVIDER` names. How to write one, and how to prove it: docs/adapters.md.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias

from billvend.ports.provider import Provider


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderSetup:
    """What the settings say of one provider account. What was not given is None. Its repr shows no key."""

    name: str
    """The name of the entry point, which `ProviderAccount.provider` repeats."""
    api_url: str | None = None
    """https://, or http:// on loopback, without user, query or fragment. None: the provider's own sandbox."""
    api_key: str | None = field(default=None, repr=False)
    public_key: str | None = field(default=None, repr=False)
    secret_key: str | None = field(default=None, repr=False)
    timeout_seconds: float
    """The total deadline of one call, body included."""
    verify_timeout_seconds: float = 5.0
    """The same for a verification, for which a buyer waits."""
    phone: str | None = None
    """Sent where an order has no phone number of its own."""
    max_processing_seconds: int
    """The longest that a request which was received may still take effect, as configured. An adapter that knows better
    declares a longer time, never a shorter one."""
    currency: str
    """The currency of the wallets, for a provider that sells in any."""
    now: Callable[[], datetime]
    """The time, with its zone."""
    sleep: Callable[[float], None]
    """Waits for so many seconds."""


ProviderPlugin: TypeAlias = Callable[[ProviderSetup], Provider]
"""An entry point. Connects to nothing; raises `ConfigurationError` (billvend.domain.errors) where a setting is missing."""
