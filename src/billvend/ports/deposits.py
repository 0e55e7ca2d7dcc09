"""The deposits port: fundings that were announced to a payment gateway, each under a reference of ours."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from billvend.domain.money import Money


@dataclass(frozen=True, slots=True)
class Deposit:
    """A funding that a customer is going to make. Whether the money came stands in the books, not here."""

    user_id: str
    reference: str
    """Ours, and never used twice: what the gateway knows the payment by."""
    key: str | None
    """The caller's idempotency key, while it stands for this deposit."""
    source: str
    """The gateway."""
    amount: Money
    email: str
    created_at: datetime
    authorization_url: str | None = None
    """Where the customer pays; None as long as the gateway has not told it."""
    problem: str | None = None
    """What a person has to see: what came is not what was asked for, and was not credited."""
    acknowledged_at: datetime | None = None
    """When somebody had seen to the problem."""
    email_may_get_tokens: bool = False
    """Whether tokens may be mailed to `email` once the deposit is credited: the caller may read tokens anyway."""


class Deposits(Protocol):
    """Keeps the deposits. Every method raises `Unavailable` when the database is away."""

    def add(self, deposit: Deposit) -> Deposit:
        """Keep a new deposit, unless its key stands for one already; returns the one that is kept now."""

    def find(self, reference: str) -> Deposit | None:
        """The deposit with this reference, whoever's it is."""

    def set_authorization_url(self, deposit: Deposit, authorization_url: str) -> bool:
        """Keep where the customer pays; False where the deposit's key was freed meanwhile, and nothing was done."""

    def release_key(self, deposit: Deposit) -> None:
        """The key of an deposit that nobody can pay stands for it no longer; nothing, where it can be paid."""

    def set_problem(self, deposit: Deposit, problem: str | None) -> bool:
        """Keep what a person has to see, or that there is nothing; False where that was known.

        A new problem is one that nobody has seen to.
        """

    def acknowledge(self, deposit: Deposit, at: datetime) -> None:
        """Somebody has seen to the problem."""

    def unpaid(self, spans: Sequence[tuple[datetime, datetime]]) -> list[Deposit]:
        """Those of which no money has come, announced in one of the spans (after its first moment, up to its last).

        The oldest first; without those that nobody can pay, or that wait for a person.
        """

    def newest(self, limit: int) -> list[tuple[Deposit, str | None]]:
        """The newest deposits of all users, newest first, each with the transaction that credited it, if one did."""

    def with_problems(self, limit: int) -> list[Deposit]:
        """Those with a problem that nobody has seen to, the oldest first."""
