"""The breaker port: how each provider account is, as all processes should know it.

Soft: a few rows, kept beside the books and not folded from events. Losing them costs one more look, never money.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class AccountState:
    """What is known of one provider account."""

    provider: str
    account: str
    closed_because: str | None = None
    """Why nothing is sold there now, for people; None: it sells."""
    closed_at: datetime | None = None
    distrusted: bool = False
    """True when too many of its answers were "not found": nothing is reversed on that meanwhile."""
    float_minor: int | None = None
    """Our balance there when it was last asked about; None where nobody knows."""
    asked_at: datetime | None = None
    """When that was tried last."""


class Breaker(Protocol):
    """Keeps the states. Every method raises `Unavailable` when the database is away."""

    def states(self) -> list[AccountState]:
        """All that is known."""

    def write(self, state: AccountState) -> None:
        """Replace what is known of one account."""


@dataclass(frozen=True, slots=True)
class Risk:
    """What the books say of one account."""

    provider: str
    account: str
    in_doubt_minor: int
    """Money in doubt or in review there, in the account's currency."""
    lately: int
    """Attempts begun since the moment that was asked for."""
    lately_not_found: int
    """Those of them about which the latest word is "not found"."""


def by_account(states: Sequence[AccountState]) -> dict[tuple[str, str], AccountState]:
    """The states by (provider, account)."""
    return {(state.provider, state.account): state for state in states}
