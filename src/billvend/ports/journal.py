"""The journal port: the only way to change the ledger."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from billvend.domain.decisions.commands import Command
from billvend.domain.decisions.decider import CommandOutcome
from billvend.domain.enums import Status
from billvend.domain.policy.accounts import Mode


@dataclass(frozen=True, slots=True)
class DuePayment:
    """A payment with work due now."""

    user_id: str
    transaction_id: str
    status: Status


class Journal(Protocol):
    """Locks what the commands name, decides them in memory, and writes the results, in one transaction."""

    def execute(self, commands: Sequence[Command]) -> list[CommandOutcome]:
        """Execute the commands. Each gets its own result or error, in order, and is durable when this returns.

        Raises `Unavailable` if the database is unavailable and nothing was done. If a commit was interrupted and the
        database is still unavailable, the command's outcome is `OutcomeUnknown`. It is safe to repeat it.
        """

    def take_due_payments(self, now: datetime, limit: int, hint_interval_seconds: float) -> list[DuePayment]:
        """At most `limit` due payments without a hint in the last `hint_interval_seconds`. Records that they get one
        now. Raises `Unavailable`."""

    def release_due(self, due: Sequence[DuePayment]) -> None:
        """Forget the hints of these payments, because the queue did not accept them. The next sweep finds the payments at
        once. Raises `Unavailable`."""

    def bind_environment(self, mode: Mode) -> Mode:
        """Mark the ledger as test or live, once and for ever. Returns its mark. Raises `Unavailable`."""

    def mode(self) -> Mode | None:
        """The mark of the ledger; None if it has none yet. Raises `Unavailable`."""

    def close(self) -> None:
        """Close the connections."""
