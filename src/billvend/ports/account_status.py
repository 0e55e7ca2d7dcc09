"""The account status port: the status of each provider account, shared by all processes.

It is a few rows beside the journal, not derived from events. Losing them costs one more check, never money.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class AccountStatus:
    """The known status of one provider account."""

    provider: str
    account_id: str
    suspended_reason: str | None = None
    """Why sales there are suspended, in words for people; None: it sells."""
    suspended_at: datetime | None = None
    not_found_ignored: bool = False
    """True after too many "not found" answers. While it is true, "not found" reverses no payment."""
    float_minor: int | None = None
    """Our last known balance there; None if it is unknown."""
    float_checked_at: datetime | None = None
    """When the balance was last requested, also without an answer."""


class AccountStatuses(Protocol):
    """Stores the statuses. Every method raises `Unavailable` when the database is unavailable."""

    def all(self) -> list[AccountStatus]:
        """All stored statuses."""

    def save(self, status: AccountStatus) -> None:
        """Replace the status of one account."""


@dataclass(frozen=True, slots=True)
class Exposure:
    """The open risk at one account, as the database shows it."""

    provider: str
    account_id: str
    in_doubt_minor: int
    """Money in doubt or in review there, in minor units of the account's currency."""
    recent_attempts: int
    """Attempts started since the given time."""
    recent_not_found: int
    """Those of them whose latest answer is "not found"."""


def by_account(statuses: Sequence[AccountStatus]) -> dict[tuple[str, str], AccountStatus]:
    """The statuses by (provider, account)."""
    return {(status.provider, status.account_id): status for status in statuses}
