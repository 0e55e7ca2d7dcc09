"""The intents port: fundings that were announced to a payment gateway, each under a reference of ours."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from billvend.domain.money import Money


@dataclass(frozen=True, slots=True)
class Intent:
    """A funding that a customer is going to make. Whether the money came stands in the books, not here."""

    user_id: str
    reference: str
    """Ours, and never used twice: what the gateway knows the payment by."""
    key: str | None
    """The caller's idempotency key, while it stands for this intent."""
    source: str
    """The gateway."""
    amount: Money
    email: str
    created_at: datetime
    authorization_url: str | None = None
    """Where the customer pays; None as long as the gateway has not told it."""
    problem: str | None = None
    """What a person has to see: what came is not what was asked for, and was not credited."""
    seen_at: datetime | None = None
    """When somebody had seen to the problem."""
    email_may_get_tokens: bool = False
    """Whether tokens may be mailed to `email` once the deposit is credited: the caller may read tokens anyway."""


class Intents(Protocol):
    """Keeps the intents. Every method raises `Unavailable` when the database is away."""

    def keep(self, intent: Intent) -> Intent:
        """Keep a new intent, unless its key stands for one already; returns the one that is kept now."""

    def find(self, reference: str) -> Intent | None:
        """The intent with this reference, whoever's it is."""

    def note_url(self, intent: Intent, authorization_url: str) -> bool:
        """Keep where the customer pays; False where the intent's key was freed meanwhile, and nothing was done."""

    def free_key(self, intent: Intent) -> None:
        """The key of an intent that nobody can pay stands for it no longer; nothing, where it can be paid."""

    def note_problem(self, intent: Intent, problem: str | None) -> bool:
        """Keep what a person has to see, or that there is nothing; False where that was known.

        A new problem is one that nobody has seen to.
        """

    def note_seen(self, intent: Intent, at: datetime) -> None:
        """Somebody has seen to the problem."""

    def unpaid(self, spans: Sequence[tuple[datetime, datetime]]) -> list[Intent]:
        """Those of which no money has come, announced in one of the spans (after its first moment, up to its last).

        The oldest first; without those that nobody can pay, or that wait for a person.
        """

    def with_problems(self, limit: int) -> list[Intent]:
        """Those with a problem that nobody has seen to, the oldest first."""
