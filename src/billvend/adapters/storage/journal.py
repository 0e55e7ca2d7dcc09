"""The journal on SQLite and PostgreSQL: read under locks, decide in memory, write in a few statements, commit once."""

import random
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError

from billvend.adapters.storage import due_payments
from billvend.adapters.storage.database import Database, first_line, is_conflict, is_unavailable, unavailable
from billvend.adapters.storage.group_commit import GroupCommit
from billvend.adapters.storage.rows import changed_rows
from billvend.adapters.storage.snapshot import SnapshotReader
from billvend.adapters.storage.tables import environment
from billvend.domain.decisions.commands import Command
from billvend.domain.decisions.decider import CommandOutcome, decide
from billvend.domain.errors import BillvendError, DependencyError, OutcomeUnknown, Unavailable
from billvend.domain.notifications import Channel, NotificationRenderer
from billvend.domain.policy.accounts import Mode
from billvend.ports.journal import DuePayment
from billvend.ports.telemetry import Metrics

MAX_CONFLICT_TRIES = 8
"""How often work that conflicts with other transactions is tried before the caller gets `Unavailable`."""
MAX_UNIQUE_TRIES = 3
"""How often a command that breaks a unique constraint is tried in all."""
RECONNECT_TIMEOUT_SECONDS = 5.0
"""How long a command whose commit was interrupted waits for the database to come back."""
INITIAL_RETRY_SECONDS = 0.005
MAX_RETRY_SECONDS = 0.5


class SqlJournal:
    """See `billvend.ports.journal.Journal`."""

    def __init__(
        self,
        database: Database,
        *,
        channels: Sequence[Channel] = (),
        render_notification: NotificationRenderer | None = None,
        metrics: Metrics | None = None,
        reconnect_timeout_seconds: float = RECONNECT_TIMEOUT_SECONDS,
    ) -> None:
        """`render_notification` writes the notifications for each of `channels`. Without channels, none are written."""
        if channels and render_notification is None:
            raise TypeError("channels need render_notification: without it every notification would be lost")
        self._database = database
        self._channels = channels
        self._render_notification = render_notification
        self._reconnect_timeout_seconds = reconnect_timeout_seconds
        self._group_commit = GroupCommit(self.commit, metrics=metrics)
        self._environment: Mode | None = None
        self._snapshots = SnapshotReader(database)

    def execute(self, commands: Sequence[Command]) -> list[CommandOutcome]:
        """Execute the commands, together with those of other callers; see the port."""
        return self._group_commit.execute(commands)

    def commit(self, commands: Sequence[Command]) -> list[CommandOutcome]:
        """Execute the commands in one transaction. Otherwise as `execute`."""
        if not commands:
            return []
        try:
            return self._commit_until_known(commands)
        except DependencyError:
            raise
        except Exception as error:  # noqa: BLE001  any error rolled the transaction back: nothing was done
            # Nothing of the list is committed. Each command is tried alone, so that only the faulty one fails.
            if len(commands) == 1:
                return [_internal_error(error)]
            return [self._commit_alone(command) for command in commands]

    def _commit_alone(self, command: Command) -> CommandOutcome:
        try:
            return self.commit([command])[0]
        except DependencyError as error:
            return error

    def _commit_until_known(self, commands: Sequence[Command]) -> list[CommandOutcome]:
        """Try until the outcome is known. An interrupted commit is looked up by the keys of its commands.

        Raises `Unavailable` if nothing was done: the database is down, or there are too many conflicts.
        """
        unique_error_count = conflict_count = 0
        deadline: float | None = (
            None  # set once a commit was interrupted: then "nothing was done" may be wrong
        )
        for wait_seconds in _backoff():
            try:
                return self._commit_once(commands)
            except IntegrityError:
                # Another command has committed the same unique value meanwhile. The next try reads it. A command that
                # breaks a constraint on every try is faulty itself.
                unique_error_count += 1
                if len(commands) > 1 or unique_error_count == MAX_UNIQUE_TRIES:
                    raise
            except DBAPIError as error:
                if not is_conflict(error):
                    raise
                conflict_count += 1
                if deadline is None and conflict_count == MAX_CONFLICT_TRIES:
                    raise unavailable(error) from error
            except _CommitOutcomeUnknown:
                deadline = deadline or time.monotonic() + self._reconnect_timeout_seconds
            except Unavailable:
                if deadline is None:
                    raise
            if deadline is not None and time.monotonic() + wait_seconds > deadline:
                break
            time.sleep(wait_seconds)
        return [_outcome_unknown(command) for command in commands]

    def _commit_once(self, commands: Sequence[Command]) -> list[CommandOutcome]:
        committing = False
        try:
            with self._database.write_transaction(translate=False) as connection:
                snapshot = self._snapshots.read(connection, commands)
                changes, results = decide(snapshot, commands)
                if changes.events:
                    self._database.write(
                        connection, changed_rows(snapshot, changes, self._channels, self._render_notification)
                    )
                unchanged = changes.next_at.keys() - changes.payments.keys()
                due_payments.postpone(connection, {key: changes.next_at[key] for key in unchanged})
                committing = bool(changes.events)
        except IntegrityError:
            raise
        except DBAPIError as error:
            if is_conflict(error):
                raise
            if committing:
                raise _CommitOutcomeUnknown from error
            if is_unavailable(error):
                raise unavailable(error) from error
            raise
        return results

    def take_due_payments(self, now: datetime, limit: int, hint_interval_seconds: float) -> list[DuePayment]:
        """Due payments without a recent hint; see the port."""
        return due_payments.take(self._database, now, limit, hint_interval_seconds)

    def release_due(self, due: Sequence[DuePayment]) -> None:
        """Forget the hints of these payments; see the port."""
        due_payments.release(self._database, due)

    def bind_environment(self, mode: Mode) -> Mode:
        """Mark the ledger as test or live; see the port."""
        while (bound := self.mode()) is None:
            # If another process is first, its mark counts.
            with suppress(IntegrityError), self._database.write_transaction() as connection:
                connection.execute(sa.insert(environment), {"id": 1, "mode": mode.value})
        return bound

    def mode(self) -> Mode | None:
        """The ledger's mark; see the port. Read until there is one, because it never changes after that."""
        if self._environment is None:
            with self._database.read_transaction() as connection:
                stored = connection.scalar(sa.select(environment.c.mode))
            self._environment = None if stored is None else Mode(stored)
        return self._environment

    def close(self) -> None:
        """Close the connections."""
        self._database.close()


class _CommitOutcomeUnknown(Exception):
    """The connection broke around COMMIT: it may or may not have happened."""


def _backoff() -> Iterator[float]:
    """Waits that double, each with a random part, so that two conflicting callers do not meet again."""
    wait_seconds = INITIAL_RETRY_SECONDS
    while True:
        yield wait_seconds * random.uniform(1.0, 1.5)  # noqa: S311  it protects no secret
        wait_seconds = min(2 * wait_seconds, MAX_RETRY_SECONDS)


def _internal_error(error: Exception) -> BillvendError:
    if isinstance(error, BillvendError):
        return error
    reason = first_line(error.orig if isinstance(error, DBAPIError) else error)
    internal_error = BillvendError(f"The ledger can't store this ({reason}). Nothing was done.")
    internal_error.__cause__ = error
    return internal_error


def _outcome_unknown(command: Command) -> OutcomeUnknown:
    return OutcomeUnknown(
        "The connection to the database broke during the commit, and the database is still down. This may or may not "
        f"have been done. Repeat it with the key {command.key}: it is done at most once.",
        transaction_id=command.transaction_id,
        idempotency_key=command.key,
    )
