"""The breaker port: how each provider account is, as all processes should know it.

Soft: a few rows, kept beside the books and not folded from events. Losing them costs one more look, never money.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class AccountStatus:
    """What is known of one provider account."""

    provider: str
    account_id: str
    suspended_reason: str | None = None
    """Why nothing is sold there now, for people; None: it sells."""
    suspended_at: datetime | None = None
    not_found_ignored: bool = False
    """True when too many of its answers were "not found": nothing is reversed on that meanwhile."""
    float_minor: int | None = None
    """Our balance there when it was last asked about; None where nobody knows."""
    float_checked_at: datetime | None = None
    """When that was tried last."""


class AccountStatuses(Protocol):
    """Keeps the statuses. Every method raises `Unavailable` when the database is away."""

    def all(self) -> list[AccountStatus]:
        """All that is known."""

    def save(self, status: AccountStatus) -> None:
        """Replace what is known of one account."""


@dataclass(frozen=True, slots=True)
class Exposure:
    """What the books say of one account."""

    provider: str
    account_id: str
    in_doubt_minor: int
    """Money in doubt or in review there, in the account's currency."""
    recent_attempts: int
    """Attempts begun since the moment that was asked for."""
    recent_not_found: int
    """Those of them about which the latest word is "not found"."""


def by_account(statuses: Sequence[AccountStatus]) -> dict[tuple[str, str], AccountStatus]:
    """The statuses by (provider, account)."""
    return {(status.provider, status.account_id): status for status in statuses}
