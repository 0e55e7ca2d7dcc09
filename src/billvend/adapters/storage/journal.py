"""The journal on SQLite and PostgreSQL: read under lock, decide in memory, write in a few statements, commit once."""

import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError, IntegrityError

from billvend.adapters.storage import rows
from billvend.adapters.storage.database import (
    Database,
    Rows,
    first_line,
    is_away,
    is_conflict,
    storable,
    unavailable,
)
from billvend.adapters.storage.read import payments_of
from billvend.adapters.storage.tables import (
    INSTANT,
    attempts,
    events,
    outbox,
    resolutions,
    stamp,
    transactions,
    transfers,
    wallets,
)
from billvend.adapters.storage.tables import (
    commands as commands_table,
)
from billvend.domain import codec
from billvend.domain.abilities import Mode
from billvend.domain.announcements import Channel
from billvend.domain.commands import Command, CommandKey, Fund, Pay, Reply
from billvend.domain.decide import (
    Changes,
    Head,
    Likeness,
    Remembered,
    Result,
    Snapshot,
    decide,
    token_of,
)
from billvend.domain.decisions import DOUBLE_CLICK_SECONDS, wallet_needed
from billvend.domain.errors import BillvendError, OutcomeUnknown, Unavailable, Unreachable
from billvend.domain.events import StreamKey, WalletFunded
from billvend.domain.money import Money
from billvend.domain.wallet import Wallet, wallet_stream
from billvend.domain.words import Status
from billvend.ports.journal import Due

TRIES = 8
"""How often work that collided with somebody else's is done again before the caller is told to."""
UNIQUE_TRIES = 3
"""How often a command that broke a unique constraint is tried in all."""
RECONNECT_SECONDS = 5.0
"""How long a command whose commit was cut off waits for the database to come back."""


class SqlJournal:
    """See `billvend.ports.journal.Journal`."""

    def __init__(
        self,
        database: Database,
        *,
        channels: Sequence[Channel] = (),
        reconnect_seconds: float = RECONNECT_SECONDS,
    ) -> None:
        """`channels` are those on which the outside is told what happens; without any, nothing is written for it."""
        self._database = database
        self._channels = channels
        self._reconnect_seconds = reconnect_seconds
        self._stamped: Mode | None = None
        self._locking = _Statements(database, lock=True)
        self._looking = _Statements(database, lock=False)

    def execute(self, commands: Sequence[Command]) -> list[Result]:
        """Carry out the commands in one transaction; see the port."""
        if not commands:
            return []
        try:
            return self._settled(commands)
        except Unreachable:
            raise
        except Exception as error:  # noqa: BLE001  whatever it was: it broke the transaction, and nothing was done
            # Nothing of the list stands: each alone, that only the culprit fails.
            if len(commands) == 1:
                return [_poisoned(error)]
            return [self._alone(command) for command in commands]

    def _alone(self, command: Command) -> Result:
        try:
            return self.execute([command])[0]
        except Unreachable as error:
            return error

    def _settled(self, commands: Sequence[Command]) -> list[Result]:
        """Run until it is known how it ended: a commit that was cut off is looked up by the keys of its commands."""
        give_up_at: float | None = None
        for wait_seconds in _growing(0.05, most_seconds=1.0):
            try:
                return self._repeated(commands)
            except _CommitCutOff:
                give_up_at = give_up_at or time.monotonic() + self._reconnect_seconds
            except Unavailable:
                if give_up_at is None:
                    raise
            if time.monotonic() + wait_seconds > give_up_at:
                break
            time.sleep(wait_seconds)
        return [_unknown(command) for command in commands]

    def _repeated(self, commands: Sequence[Command]) -> list[Result]:
        """Run until it collides with nobody. Raises `Unavailable` when it does so time and again."""
        collided = broke_unique = 0
        for wait_seconds in _growing(0.005, most_seconds=0.5):
            try:
                return self._once(commands)
            except IntegrityError:
                # A single command that broke a unique constraint met another one at the same place, which has been
                # committed: read again, it is seen. What breaks one time and again is at fault itself.
                broke_unique += 1
                if len(commands) > 1 or broke_unique == UNIQUE_TRIES:
                    raise
            except DBAPIError as error:
                collided += 1
                if not is_conflict(error):
                    raise
                if collided == TRIES:
                    raise unavailable(error) from error
            time.sleep(wait_seconds)
        raise AssertionError  # waits never end

    def _once(self, commands: Sequence[Command]) -> list[Result]:
        committing = False
        try:
            with self._database.writing() as connection:
                snapshot = self._read(connection, commands, self._locking)
                changes, results = decide(snapshot, commands)
                if changes.events:
                    self._write(connection, snapshot, changes)
                self._put_off(connection, changes)
                committing = bool(changes.events)
        except IntegrityError:
            raise
        except DBAPIError as error:
            if is_conflict(error):
                raise
            if committing:
                raise _CommitCutOff from error
            if is_away(error):
                raise unavailable(error) from error
            raise
        return results

    def rehearse(self, commands: Sequence[Command]) -> list[Result]:
        """Decide on a reading that locks nobody out, and forget it; see the port."""
        if not commands:
            return []
        try:
            with self._database.reading() as connection:
                return decide(self._read(connection, commands, self._looking), commands)[1]
        except DBAPIError as error:
            raise unavailable(error) from error

    # --- reading under lock -------------------------------------------------------------------------------------------

    def _read(
        self, connection: Connection, commands: Sequence[Command], statements: "_Statements"
    ) -> Snapshot:
        """Lock and read what the commands name: payments in order, then wallets in order, then the rest."""
        named = Counter((c.user_id, c.transaction_id) for c in commands if not isinstance(c, (Fund, Pay)))
        payments = payments_of(
            connection, self._database, self._lock_payments(connection, statements, sorted(named))
        )
        wallet_keys = {(c.user_id, c.amount.currency) for c in commands if isinstance(c, (Fund, Pay))}
        for command in commands:
            known = payments.get(StreamKey(command.user_id, command.transaction_id))
            # What an earlier command of the list makes of the payment, a later one may have to give back.
            shared = named[command.user_id, command.transaction_id] > 1
            if known is not None and (shared or wallet_needed(known[0], command)):
                wallet_keys.add((command.user_id, known[0].amount.currency))
        return Snapshot(
            wallets=self._lock_wallets(connection, statements, sorted(wallet_keys)),
            payments=payments,
            remembered=self._remembered(connection, statements, commands),
            recent=self._recent(connection, statements, [c for c in commands if isinstance(c, Pay)]),
            token_owners=self._token_owners(
                connection, statements, [t for c in commands if (t := token_of(c))]
            ),
        )

    def _lock_payments(
        self, connection: Connection, statements: "_Statements", keys: list[tuple[str, str]]
    ) -> list[tuple[str, str]]:
        if not keys:
            return []
        found = connection.execute(statements.payments, self._database.keys(keys))
        return [(row.user_id, row.transaction_id) for row in found]

    def _lock_wallets(
        self, connection: Connection, statements: "_Statements", keys: list[tuple[str, str]]
    ) -> dict[StreamKey, tuple[Wallet, Head]]:
        if not keys:
            return {}
        found = connection.execute(statements.wallets, self._database.keys(keys))
        return {
            wallet_stream(user_id, currency): (Wallet(user_id, Money(balance, currency)), Head(seq, hash_))
            for user_id, currency, balance, seq, hash_ in found
        }

    def _remembered(
        self, connection: Connection, statements: "_Statements", commands: Sequence[Command]
    ) -> dict[CommandKey, Remembered]:
        keys = [(c.user_id, c.operation, c.key) for c in commands]
        found = connection.execute(statements.remembered, self._database.keys(keys))
        return {
            CommandKey(row.user_id, row.operation, row.key): Remembered(
                row.request_hash, codec.loads(Reply, row.reply)
            )
            for row in found
        }

    def _recent(
        self, connection: Connection, statements: "_Statements", pays: list[Pay]
    ) -> dict[Likeness, datetime]:
        """When bills like these were last paid, for those that could be double clicks."""
        guarded = [pay for pay in pays if not (pay.key_is_given or pay.allow_duplicate)]
        if not guarded:
            return {}
        since = min(pay.at for pay in guarded) - timedelta(seconds=DOUBLE_CLICK_SECONDS)
        keys = self._database.keys([(pay.user_id, pay.meter) for pay in guarded])
        found = connection.execute(statements.recent, {"since": since, **keys})
        return {
            Likeness(row.user_id, row.meter, row.biller, row.amount_minor, row.currency): row.created_at
            for row in found
        }

    def _token_owners(
        self, connection: Connection, statements: "_Statements", tokens: list[str]
    ) -> dict[str, StreamKey]:
        """Which payment was completed first with each token; most often none."""
        if not tokens:
            return {}
        keys = self._database.keys([(storable(token),) for token in tokens])
        found = connection.execute(statements.owners, keys)
        owners: dict[str, StreamKey] = {}
        for row in found:
            owners.setdefault(row.token, StreamKey(row.user_id, row.transaction_id))
        return owners

    # --- writing ------------------------------------------------------------------------------------------------------

    def _write(self, connection: Connection, snapshot: Snapshot, changes: Changes) -> None:
        database = self._database
        currencies = {key: wallet.balance.currency for key, (wallet, _) in changes.wallets.items()}
        currencies |= {key: payment.amount.currency for key, (payment, _) in changes.payments.items()}
        by_table: dict[sa.Table, list[rows.Row]] = defaultdict(list)
        latest = {recorded.key: recorded.at for recorded in changes.events}
        fundings: list[rows.Row] = []
        for recorded in changes.events:
            by_table[events].append(rows.event_row(recorded))
            by_table[transfers] += rows.transfer_rows(recorded, currencies[recorded.key])
            if isinstance(recorded.event, WalletFunded):
                fundings.append(rows.funding_row(recorded, recorded.event, currencies[recorded.key]))
            if self._channels:
                payment_now, _ = changes.payments.get(recorded.key, (None, None))
                by_table[outbox] += rows.outbox_rows(recorded, payment_now, self._channels)
        for key, (payment, head) in changes.payments.items():
            soft = {"next_at": changes.next_at[key], "hinted_at": None}
            by_table[transactions].append(rows.payment_row(payment, head) | soft)
            by_table[attempts] += rows.attempt_rows(payment)
            before = snapshot.payments.get(key)
            if before is None or not before[0].has_ended:
                by_table[resolutions] += rows.resolution_rows(payment)
        for key, (wallet, head) in changes.wallets.items():
            by_table[wallets].append(rows.wallet_row(wallet, head) | {"updated_at": latest[key]})
        for command, reply in changes.done.values():
            by_table[commands_table].append(rows.command_row(command, reply))
        database.write(
            connection,
            [
                Rows(events, by_table[events]),
                Rows(transactions, fundings),
                *(
                    Rows(table, by_table[table], replacing=True)
                    for table in (transactions, attempts, wallets)
                ),
                *(Rows(table, by_table[table]) for table in (transfers, resolutions, commands_table, outbox)),
            ],
        )

    def _put_off(self, connection: Connection, changes: Changes) -> None:
        """A payment that was looked at for nothing is due when it was found to be, and not before."""
        looked_at = [
            {"for_user": key.user_id, "for_payment": key.stream, "due": changes.next_at[key]}
            for key in changes.next_at.keys() - changes.payments.keys()
        ]
        if looked_at:
            connection.execute(self._locking.put_off, looked_at)

    # --- besides commands ---------------------------------------------------------------------------------------------

    def take_due(self, now: datetime, limit: int, quiet_seconds: float) -> list[Due]:
        """Due payments that nobody was told of lately; see the port."""
        table = transactions.c
        quiet_since = now - timedelta(seconds=quiet_seconds)
        due = (
            sa.select(table.user_id, table.transaction_id, table.status)
            .where(
                # A lease, or a hint, from far ahead was left by a clock that went wrong: it must silence nobody.
                sa.or_(table.next_at <= now, table.lease_until > now + timedelta(seconds=quiet_seconds * 2)),
                sa.or_(table.hinted_at.is_(None), table.hinted_at <= quiet_since, table.hinted_at > now),
            )
            .order_by(table.next_at)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        try:
            with self._database.writing() as connection:
                found = connection.execute(due).all()
                keys = [(row.user_id, row.transaction_id) for row in found]
                if keys:
                    connection.execute(
                        sa.update(transactions)
                        .where(self._database.among(table.user_id, table.transaction_id))
                        .values(hinted_at=sa.bindparam("hinted", now, type_=INSTANT)),
                        self._database.keys(keys),
                    )
        except DBAPIError as error:
            raise unavailable(error) from error
        return [Due(row.user_id, row.transaction_id, Status(row.status)) for row in found]

    def put_back(self, due: Sequence[Due]) -> None:
        """Forget that these were pointed out; see the port."""
        if not due:
            return
        forget = (
            sa.update(transactions)
            .where(self._database.among(transactions.c.user_id, transactions.c.transaction_id))
            .values(hinted_at=None)
        )
        keys = self._database.keys([(found.user_id, found.transaction_id) for found in due])
        try:
            with self._database.writing() as connection:
                connection.execute(forget, keys)
        except DBAPIError as error:
            raise unavailable(error) from error

    def stamp(self, mode: Mode) -> Mode:
        """Mark the books as test or live; see the port. Asked of the database once: the mark never changes."""
        if self._stamped is None:
            self._stamped = self._stamp(mode)
        return self._stamped

    def mode(self) -> Mode | None:
        """What the books are marked as; see the port. Asked of the database until there is a mark, which never changes."""
        if self._stamped is None:
            try:
                with self._database.reading() as connection:
                    marked = connection.scalar(sa.select(stamp.c.mode))
            except DBAPIError as error:
                raise unavailable(error) from error
            if marked is not None:  # another thread may have marked them meanwhile
                self._stamped = Mode(marked)
        return self._stamped

    def _stamp(self, mode: Mode) -> Mode:
        try:
            with self._database.writing() as connection:
                marked = connection.scalar(sa.select(stamp.c.mode))
                if marked is None:
                    connection.execute(sa.insert(stamp), {"id": 1, "mode": mode.value})
                    marked = mode.value
        except IntegrityError:
            return self._stamp(mode)  # somebody else was first
        except DBAPIError as error:
            raise unavailable(error) from error
        return Mode(marked)

    def close(self) -> None:
        """Give back the connections."""
        self._database.close()


class _Statements:
    """What a list of commands reads, put together once."""

    def __init__(self, database: Database, *, lock: bool) -> None:
        def locked(rows: sa.Select[Any]) -> sa.Select[Any]:
            return rows.with_for_update() if lock else rows

        among = database.among
        table = transactions.c
        self.payments = locked(
            sa.select(table.user_id, table.transaction_id)
            .where(among(table.user_id, table.transaction_id), table.type == "payment")
            .order_by(table.user_id, table.transaction_id)
        )
        self.wallets = locked(
            sa.select(*(wallets.c[name] for name in ("user_id", "currency", "balance_minor", "seq", "hash")))
            .where(among(wallets.c.user_id, wallets.c.currency))
            .order_by(wallets.c.user_id, wallets.c.currency)
        )
        self.owners = (
            sa.select(table.token, table.user_id, table.transaction_id)
            .where(among(table.token))
            .order_by(table.updated_at)
        )
        due: sa.BindParameter[datetime] = sa.bindparam("due", type_=INSTANT)
        self.put_off = (
            sa.update(transactions)
            .where(
                table.user_id == sa.bindparam("for_user"),
                table.transaction_id == sa.bindparam("for_payment"),
                table.next_at.is_distinct_from(due),
            )
            .values(next_at=due)
        )
        done = commands_table.c
        self.remembered = sa.select(
            done.user_id, done.operation, done.key, done.request_hash, done.reply
        ).where(among(done.user_id, done.operation, done.key))
        self.recent = (
            sa.select(
                table.user_id, table.meter, table.biller, table.amount_minor, table.currency, table.created_at
            )
            .where(
                among(table.user_id, table.meter),
                table.created_at > sa.bindparam("since", type_=INSTANT),
                table.status != "reversed",
            )
            .order_by(table.created_at)
        )


class _CommitCutOff(Exception):
    """The connection broke around COMMIT: it may or may not have happened."""


def _growing(first_seconds: float, *, most_seconds: float) -> Iterator[float]:
    """Waits that double, with some chance in each, so that two who collided do not meet again."""
    wait_seconds = first_seconds
    while True:
        yield wait_seconds * random.uniform(1.0, 1.5)  # noqa: S311  nobody gains by guessing it
        wait_seconds = min(2 * wait_seconds, most_seconds)


def _poisoned(error: Exception) -> BillvendError:
    if isinstance(error, BillvendError):
        return error
    reason = first_line(error.orig if isinstance(error, DBAPIError) else error)
    broken = BillvendError(f"The books can't take this ({reason}). Nothing was done.")
    broken.__cause__ = error
    return broken


def _unknown(command: Command) -> OutcomeUnknown:
    return OutcomeUnknown(
        "The connection to the database broke while this was being committed, and it stays away. It may or may not "
        f"have been done: repeat it with the key {command.key}, and it is done at most once.",
        transaction_id=command.transaction_id,
        idempotency_key=command.key,
    )
