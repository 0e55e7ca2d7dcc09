"""The journal port: the only way to change the books."""

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
    """A payment that somebody should look at now."""

    user_id: str
    transaction_id: str
    status: Status


class Journal(Protocol):
    """Locks what the commands name, decides them in memory, and writes what came out, in one transaction."""

    def execute(self, commands: Sequence[Command]) -> list[CommandOutcome]:
        """Carry out the commands; each gets its own reply or refusal, in order, and is durable when this returns.

        Raises `Unavailable` when the database is away and nothing was done. A command whose commit was cut off, with
        the database away ever since, gets `OutcomeUnknown` in its place: repeating it is safe.
        """

    def dry_run(self, commands: Sequence[Command]) -> list[CommandOutcome]:
        """What the commands would get now, on the books as they stand. Nothing is locked, written or remembered.

        Raises `Unavailable`.
        """

    def take_due_payments(self, now: datetime, limit: int, hint_interval_seconds: float) -> list[DuePayment]:
        """At most `limit` payments that are due and were not pointed out in the last `hint_interval_seconds`; notes that they
        now were. Raises `Unavailable`."""

    def release_due(self, due: Sequence[DuePayment]) -> None:
        """Forget that these were pointed out: nobody took the hint, and the next sweep is to find them at once.
        Raises `Unavailable`."""

    def bind_environment(self, mode: Mode) -> Mode:
        """Mark these books as test or live, once and for ever; returns what they are marked as. Raises `Unavailable`."""

    def mode(self) -> Mode | None:
        """What these books are marked as; None while they have no mark. Raises `Unavailable`."""

    def close(self) -> None:
        """Give back the connections."""
