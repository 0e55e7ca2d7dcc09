"""The journal on SQLite and PostgreSQL: read under locks, decide in memory, write in a few statements, commit once."""

import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError, IntegrityError

from billvend.adapters.storage import rows
from billvend.adapters.storage.database import (
    Database,
    TableRows,
    first_line,
    is_conflict,
    is_unavailable,
    make_storable,
    unavailable,
)
from billvend.adapters.storage.streams import load_payments, load_results
from billvend.adapters.storage.tables import (
    INSTANT,
    attempts,
    environment,
    events,
    outbox_messages,
    resolutions,
    transactions,
    transfers,
    wallets,
)
from billvend.adapters.storage.tables import (
    commands as commands_table,
)
from billvend.domain.decisions.commands import Command, Fund, Pay
from billvend.domain.decisions.customer import DUPLICATE_WINDOW_SECONDS
from billvend.domain.decisions.decider import (
    CommandOutcome,
    DuplicateFingerprint,
    Snapshot,
    StreamHead,
    WriteSet,
    decide,
    token_of,
)
from billvend.domain.decisions.worker import needs_wallet
from billvend.domain.enums import Status
from billvend.domain.errors import BillvendError, DependencyError, OutcomeUnknown, Unavailable
from billvend.domain.journal.events import StreamKey, WalletFunded
from billvend.domain.ledger.wallet import Wallet, wallet_stream
from billvend.domain.money import Money
from billvend.domain.notifications import Channel, NotificationRenderer
from billvend.domain.policy.accounts import Mode
from billvend.ports.journal import DuePayment

MAX_CONFLICT_TRIES = 8
"""How often work that conflicts with other transactions is tried before the caller gets `Unavailable`."""
MAX_UNIQUE_TRIES = 3
"""How often a command that breaks a unique constraint is tried in all."""
RECONNECT_TIMEOUT_SECONDS = 5.0
"""How long a command whose commit was interrupted waits for the database to come back."""


class SqlJournal:
    """See `billvend.ports.journal.Journal`."""

    def __init__(
        self,
        database: Database,
        *,
        channels: Sequence[Channel] = (),
        render_notification: NotificationRenderer = lambda _stored, _payment: None,
        reconnect_timeout_seconds: float = RECONNECT_TIMEOUT_SECONDS,
    ) -> None:
        """Notifications are written for each of `channels`. Without channels, none are written."""
        self._database = database
        self._channels = channels
        self._render_notification = render_notification
        self._reconnect_timeout_seconds = reconnect_timeout_seconds
        self._environment: Mode | None = None
        self._statements = _Statements(database)

    def execute(self, commands: Sequence[Command]) -> list[CommandOutcome]:
        """Carry out the commands in one transaction; see the port."""
        if not commands:
            return []
        try:
            return self._execute_until_known(commands)
        except DependencyError:
            raise
        except Exception as error:  # noqa: BLE001  any error rolled the transaction back: nothing was done
            # Nothing of the list is committed. Each command is tried alone, so that only the faulty one fails.
            if len(commands) == 1:
                return [_internal_error(error)]
            return [self._execute_one(command) for command in commands]

    def _execute_one(self, command: Command) -> CommandOutcome:
        try:
            return self.execute([command])[0]
        except DependencyError as error:
            return error

    def _execute_until_known(self, commands: Sequence[Command]) -> list[CommandOutcome]:
        """Run until the outcome is known. An interrupted commit is looked up by the keys of its commands."""
        deadline: float | None = None
        for wait_seconds in _backoff(0.05, max_seconds=1.0):
            try:
                return self._retry_conflicts(commands)
            except _CommitOutcomeUnknown:
                deadline = deadline or time.monotonic() + self._reconnect_timeout_seconds
            except Unavailable:
                if deadline is None:
                    raise
            if time.monotonic() + wait_seconds > deadline:
                break
            time.sleep(wait_seconds)
        return [_outcome_unknown(command) for command in commands]

    def _retry_conflicts(self, commands: Sequence[Command]) -> list[CommandOutcome]:
        """Run until no other transaction conflicts. Raises `Unavailable` after too many conflicts."""
        conflict_count = unique_error_count = 0
        for wait_seconds in _backoff(0.005, max_seconds=0.5):
            try:
                return self._commit_once(commands)
            except IntegrityError:
                # Another command has committed the same unique value meanwhile. The next try reads it. A command that
                # breaks a constraint on every try is faulty itself.
                unique_error_count += 1
                if len(commands) > 1 or unique_error_count == MAX_UNIQUE_TRIES:
                    raise
            except DBAPIError as error:
                conflict_count += 1
                if not is_conflict(error):
                    raise
                if conflict_count == MAX_CONFLICT_TRIES:
                    raise unavailable(error) from error
            time.sleep(wait_seconds)
        raise AssertionError  # `_backoff` never ends

    def _commit_once(self, commands: Sequence[Command]) -> list[CommandOutcome]:
        committing = False
        try:
            with self._database.write_transaction() as connection:
                snapshot = self._read_snapshot(connection, commands)
                changes, results = decide(snapshot, commands)
                if changes.events:
                    self._write(connection, snapshot, changes)
                self._postpone(connection, changes)
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

    # --- reading under locks ------------------------------------------------------------------------------------------

    def _read_snapshot(self, connection: Connection, commands: Sequence[Command]) -> Snapshot:
        """Lock and read what the commands need: payments in order, then wallets in order, then the rest."""
        command_counts = Counter(
            (c.user_id, c.transaction_id) for c in commands if not isinstance(c, (Fund, Pay))
        )
        payments = load_payments(
            connection, self._database, self._lock_payments(connection, sorted(command_counts))
        )
        wallet_keys = {(c.user_id, c.amount.currency) for c in commands if isinstance(c, (Fund, Pay))}
        for command in commands:
            known = payments.get(StreamKey(command.user_id, command.transaction_id))
            # An earlier command of the list can change the payment so that a later one has to release its money.
            shared = command_counts[command.user_id, command.transaction_id] > 1
            if known is not None and (shared or needs_wallet(known[0], command)):
                wallet_keys.add((command.user_id, known[0].amount.currency))
        return Snapshot(
            wallets=self._lock_wallets(connection, sorted(wallet_keys)),
            payments=payments,
            stored_results=load_results(connection, self._database, [c.command_key for c in commands]),
            recent_by_fingerprint=self._find_recent(connection, [c for c in commands if isinstance(c, Pay)]),
            token_owners=self._find_token_owners(connection, [t for c in commands if (t := token_of(c))]),
        )

    def _lock_payments(self, connection: Connection, keys: list[tuple[str, str]]) -> list[tuple[str, str]]:
        if not keys:
            return []
        found = connection.execute(self._statements.payments, self._database.key_parameters(keys))
        return [(row.user_id, row.transaction_id) for row in found]

    def _lock_wallets(
        self, connection: Connection, keys: list[tuple[str, str]]
    ) -> dict[StreamKey, tuple[Wallet, StreamHead]]:
        if not keys:
            return {}
        found = connection.execute(self._statements.wallets, self._database.key_parameters(keys))
        return {
            wallet_stream(user_id, currency): (
                Wallet(user_id, Money(balance, currency)),
                StreamHead(seq, hash_),
            )
            for user_id, currency, balance, seq, hash_ in found
        }

    def _find_recent(self, connection: Connection, pays: list[Pay]) -> dict[DuplicateFingerprint, datetime]:
        """When equal bills were last paid, for payments that could be double clicks."""
        guarded = [pay for pay in pays if not (pay.has_caller_key or pay.allow_duplicate)]
        if not guarded:
            return {}
        since = min(pay.at for pay in guarded) - timedelta(seconds=DUPLICATE_WINDOW_SECONDS)
        keys = self._database.key_parameters([(pay.user_id, pay.meter) for pay in guarded])
        found = connection.execute(self._statements.recent, {"since": since, **keys})
        return {
            DuplicateFingerprint(
                row.user_id, row.meter, row.biller, row.amount_minor, row.currency
            ): row.created_at
            for row in found
        }

    def _find_token_owners(self, connection: Connection, tokens: list[str]) -> dict[str, StreamKey]:
        """The payment that was first completed with each token. Most often there is none."""
        if not tokens:
            return {}
        keys = self._database.key_parameters([(make_storable(token),) for token in tokens])
        found = connection.execute(self._statements.token_owners, keys)
        owners: dict[str, StreamKey] = {}
        for row in found:
            owners.setdefault(row.token, StreamKey(row.user_id, row.transaction_id))
        return owners

    # --- writing ------------------------------------------------------------------------------------------------------

    def _write(self, connection: Connection, snapshot: Snapshot, changes: WriteSet) -> None:
        database = self._database
        currencies = {key: wallet.balance.currency for key, (wallet, _) in changes.wallets.items()}
        currencies |= {key: payment.amount.currency for key, (payment, _) in changes.payments.items()}
        by_table: dict[sa.Table, list[rows.RowDict]] = defaultdict(list)
        latest = {stored.key: stored.at for stored in changes.events}
        fundings: list[rows.RowDict] = []
        for stored in changes.events:
            by_table[events].append(rows.event_row(stored))
            by_table[transfers] += rows.transfer_rows(stored, currencies[stored.key])
            if isinstance(stored.event, WalletFunded):
                fundings.append(rows.funding_row(stored, stored.event, currencies[stored.key]))
            if self._channels:
                payment_now, _ = changes.payments.get(stored.key, (None, None))
                by_table[outbox_messages] += rows.outbox_message_rows(
                    stored, payment_now, self._channels, self._render_notification
                )
        for key, (payment, head) in changes.payments.items():
            schedule = {"next_check_at": changes.next_at[key], "last_hint_at": None}
            by_table[transactions].append(rows.payment_row(payment, head) | schedule)
            by_table[attempts] += rows.attempt_rows(payment)
            before = snapshot.payments.get(key)
            if before is None or not before[0].has_ended:
                by_table[resolutions] += rows.resolution_rows(payment)
        for key, (wallet, head) in changes.wallets.items():
            by_table[wallets].append(rows.wallet_row(wallet, head) | {"updated_at": latest[key]})
        for command, reply in changes.results.values():
            by_table[commands_table].append(rows.command_row(command, reply))
        database.write(
            connection,
            [
                TableRows(events, by_table[events]),
                TableRows(transactions, fundings),
                *(
                    TableRows(table, by_table[table], is_upsert=True)
                    for table in (transactions, attempts, wallets)
                ),
                *(
                    TableRows(table, by_table[table])
                    for table in (transfers, resolutions, commands_table, outbox_messages)
                ),
            ],
        )

    def _postpone(self, connection: Connection, changes: WriteSet) -> None:
        """Store when payments are next due that the commands read and did not change."""
        postponed = [
            {"for_user": key.user_id, "for_payment": key.stream, "due": changes.next_at[key]}
            for key in changes.next_at.keys() - changes.payments.keys()
        ]
        if postponed:
            connection.execute(self._statements.postpone, postponed)

    # --- other than commands ------------------------------------------------------------------------------------------

    def take_due_payments(self, now: datetime, limit: int, hint_interval_seconds: float) -> list[DuePayment]:
        """Due payments without a recent hint; see the port."""
        table = transactions.c
        quiet_since = now - timedelta(seconds=hint_interval_seconds)
        due = (
            sa.select(table.user_id, table.transaction_id, table.status)
            .where(
                # A wrong clock can leave a lease or a hint in the far future. It must not hide the payment.
                sa.or_(
                    table.next_check_at <= now,
                    table.lease_until > now + timedelta(seconds=hint_interval_seconds * 2),
                ),
                sa.or_(
                    table.last_hint_at.is_(None), table.last_hint_at <= quiet_since, table.last_hint_at > now
                ),
            )
            .order_by(table.next_check_at)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        try:
            with self._database.write_transaction() as connection:
                found = connection.execute(due).all()
                keys = [(row.user_id, row.transaction_id) for row in found]
                if keys:
                    connection.execute(
                        sa.update(transactions)
                        .where(self._database.in_keys(table.user_id, table.transaction_id))
                        .values(last_hint_at=sa.bindparam("hint_at", now, type_=INSTANT)),
                        self._database.key_parameters(keys),
                    )
        except DBAPIError as error:
            raise unavailable(error) from error
        return [DuePayment(row.user_id, row.transaction_id, Status(row.status)) for row in found]

    def release_due(self, due: Sequence[DuePayment]) -> None:
        """Forget the hints of these payments; see the port."""
        if not due:
            return
        forget = (
            sa.update(transactions)
            .where(self._database.in_keys(transactions.c.user_id, transactions.c.transaction_id))
            .values(last_hint_at=None)
        )
        keys = self._database.key_parameters([(found.user_id, found.transaction_id) for found in due])
        try:
            with self._database.write_transaction() as connection:
                connection.execute(forget, keys)
        except DBAPIError as error:
            raise unavailable(error) from error

    def bind_environment(self, mode: Mode) -> Mode:
        """Mark the ledger as test or live; see the port. The mark never changes, so it is read once."""
        if self._environment is None:
            self._environment = self._bind_environment(mode)
        return self._environment

    def mode(self) -> Mode | None:
        """The ledger's mark; see the port. Read until there is one, because it never changes after that."""
        if self._environment is None:
            try:
                with self._database.read_transaction() as connection:
                    stored = connection.scalar(sa.select(environment.c.mode))
            except DBAPIError as error:
                raise unavailable(error) from error
            if stored is not None:
                self._environment = Mode(stored)
        return self._environment

    def _bind_environment(self, mode: Mode) -> Mode:
        try:
            with self._database.write_transaction() as connection:
                stored = connection.scalar(sa.select(environment.c.mode))
                if stored is None:
                    connection.execute(sa.insert(environment), {"id": 1, "mode": mode.value})
                    stored = mode.value
        except IntegrityError:
            return self._bind_environment(mode)  # another process was first
        except DBAPIError as error:
            raise unavailable(error) from error
        return Mode(stored)

    def close(self) -> None:
        """Close the connections."""
        self._database.close()


class _Statements:
    """The statements that read what a list of commands needs, built once."""

    def __init__(self, database: Database) -> None:
        in_keys = database.in_keys
        table = transactions.c
        self.payments = (
            sa.select(table.user_id, table.transaction_id)
            .where(in_keys(table.user_id, table.transaction_id), table.type == "payment")
            .order_by(table.user_id, table.transaction_id)
            .with_for_update()
        )
        self.wallets = (
            sa.select(*(wallets.c[name] for name in ("user_id", "currency", "balance_minor", "seq", "hash")))
            .where(in_keys(wallets.c.user_id, wallets.c.currency))
            .order_by(wallets.c.user_id, wallets.c.currency)
            .with_for_update()
        )
        self.token_owners = (
            sa.select(table.token, table.user_id, table.transaction_id)
            .where(in_keys(table.token))
            .order_by(table.updated_at)
        )
        due: sa.BindParameter[datetime] = sa.bindparam("due", type_=INSTANT)
        self.postpone = (
            sa.update(transactions)
            .where(
                table.user_id == sa.bindparam("for_user"),
                table.transaction_id == sa.bindparam("for_payment"),
                table.next_check_at.is_distinct_from(due),
            )
            .values(next_check_at=due)
        )
        self.recent = (
            sa.select(
                table.user_id, table.meter, table.biller, table.amount_minor, table.currency, table.created_at
            )
            .where(
                in_keys(table.user_id, table.meter),
                table.created_at > sa.bindparam("since", type_=INSTANT),
                table.status != "reversed",
            )
            .order_by(table.created_at)
        )


class _CommitOutcomeUnknown(Exception):
    """The connection broke around COMMIT: it may or may not have happened."""


def _backoff(initial_seconds: float, *, max_seconds: float) -> Iterator[float]:
    """Waits that double, each with a random part, so that two conflicting callers do not meet again."""
    wait_seconds = initial_seconds
    while True:
        yield wait_seconds * random.uniform(1.0, 1.5)  # noqa: S311  it protects no secret
        wait_seconds = min(2 * wait_seconds, max_seconds)


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
