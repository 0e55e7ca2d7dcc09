"""The deposits port: deposits at a payment gateway, each with our own reference."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from billvend.domain.money import Money


@dataclass(frozen=True, slots=True)
class Deposit:
    """A payment that a customer is going to make at the gateway. The ledger says whether the money was credited."""

    user_id: str
    reference: str
    """Our reference at the gateway. It is never used twice."""
    key: str | None
    """The caller's idempotency key, while it belongs to this deposit."""
    source: str
    """The gateway."""
    amount: Money
    email: str
    created_at: datetime
    authorization_url: str | None = None
    """Where the customer pays; None until the gateway has returned it."""
    problem: str | None = None
    """What a person must check, such as a paid amount that differs from the deposit."""
    acknowledged_at: datetime | None = None
    """When a person acknowledged the problem."""
    email_may_get_tokens: bool = False
    """Whether tokens may be mailed to `email` after the deposit is credited. True if the caller may read tokens anyway."""


class Deposits(Protocol):
    """Stores the deposits. Every method raises `Unavailable` when the database is unavailable."""

    def add(self, deposit: Deposit) -> Deposit:
        """Store a new deposit, unless its key belongs to an earlier one. Returns the stored deposit with that key."""

    def find(self, reference: str) -> Deposit | None:
        """The deposit with this reference, of any user."""

    def set_authorization_url(self, deposit: Deposit, authorization_url: str) -> bool:
        """Store where the customer pays. Returns False, and does nothing, if the deposit's key was released meanwhile."""

    def release_key(self, deposit: Deposit) -> None:
        """Free the key of a deposit that has no payment URL. Does nothing if the deposit can be paid."""

    def set_problem(self, deposit: Deposit, problem: str | None) -> bool:
        """Store what a person must check, or None. Returns False if the same was stored already.

        A new problem is not acknowledged.
        """

    def acknowledge(self, deposit: Deposit, at: datetime) -> None:
        """Record that a person acknowledged the problem."""

    def unpaid(self, spans: Sequence[tuple[datetime, datetime]]) -> list[Deposit]:
        """Unpaid deposits that were created in one of the spans (after its start, up to its end).

        The oldest first. Deposits without a payment URL, and deposits that wait for a person, are left out.
        """

    def newest(self, limit: int) -> list[tuple[Deposit, str | None]]:
        """The newest deposits of all users, newest first, each with the transaction that credited it, if one did."""

    def with_problems(self, limit: int) -> list[Deposit]:
        """Deposits with a problem that no person has acknowledged. The oldest first."""
