"""The queries on SQLite and PostgreSQL."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from billvend.adapters.storage.audit import audit
from billvend.adapters.storage.database import Database, make_storable, unavailable
from billvend.adapters.storage.streams import (
    SELECT_EVENTS,
    event_from_row,
    fold_payment,
    load_payments,
    load_results,
)
from billvend.adapters.storage.tables import (
    HAS_INCIDENTS,
    IS_OPEN,
    IS_REVERSED,
    attempts,
    events,
    transactions,
    wallets,
)
from billvend.domain.decisions.commands import CommandKey, Pay
from billvend.domain.decisions.customer import DUPLICATE_WINDOW_SECONDS
from billvend.domain.decisions.decider import StoredResult
from billvend.domain.enums import Status
from billvend.domain.journal.events import StreamKey
from billvend.domain.ledger.wallet import Funding, Wallet
from billvend.domain.money import Money
from billvend.domain.outcome import NotFound
from billvend.domain.payment.state import TERMINAL_STATUSES, Payment
from billvend.ports.queries import AuditReport, Backlog, Search, TransactionRecord
from billvend.ports.repositories import Exposure

UNINDEXED_ID: sa.ColumnElement[str] = transactions.c.transaction_id.concat("")
"""Orders by id without the index of ids, for queries that select few rows. Otherwise SQLite walks the whole index and
discards most rows."""


class SqlQueries:
    """See `billvend.ports.queries.Queries`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @contextmanager
    def _read_transaction(self) -> Iterator[Connection]:
        try:
            with self._database.read_transaction() as connection:
                yield connection
        except DBAPIError as error:
            raise unavailable(error) from error

    def balance(self, user_id: str, currency: str) -> tuple[Money, Money] | None:
        """The available and the held balance; see the port."""
        table = transactions.c
        if not _are_storable(user_id, currency):
            return None
        with self._read_transaction() as connection:
            available = connection.scalar(
                sa.select(wallets.c.balance_minor).where(
                    wallets.c.user_id == user_id, wallets.c.currency == currency
                )
            )
            if available is None:
                return None
            held = connection.scalar(
                sa.select(sa.func.coalesce(sa.func.sum(table.amount_minor), 0)).where(
                    table.user_id == user_id, table.currency == currency, IS_OPEN
                )
            )
        return Money(available, currency), Money(int(held or 0), currency)

    def find(self, transaction_id: str, user_id: str | None = None) -> TransactionRecord | None:
        """One transaction with its events; see the port."""
        if not _are_storable(transaction_id, user_id):
            return None
        query = sa.select(transactions).where(transactions.c.transaction_id == transaction_id).limit(1)
        if user_id is not None:
            query = query.where(transactions.c.user_id == user_id)
        with self._read_transaction() as connection:
            row = connection.execute(query).one_or_none()
            if row is None:
                return None
            if row.type != "payment":
                return TransactionRecord(_to_funding(row), None)
            key = StreamKey(row.user_id, row.transaction_id)
            in_order = SELECT_EVENTS.where(events.c.user_id == key.user_id, events.c.stream == key.stream)
            stored = [event_from_row(each) for each in connection.execute(in_order.order_by(events.c.seq))]
        folded = fold_payment(key, stored)
        return folded and TransactionRecord(folded[0], row.next_check_at, stored)

    def stored_results(self, keys: Sequence[CommandKey]) -> Mapping[CommandKey, StoredResult]:
        """The stored results of these commands; see the port."""
        if not keys:
            return {}
        with self._read_transaction() as connection:
            return load_results(connection, self._database, keys)

    def wallet_and_duplicate(self, command: Pay) -> tuple[Wallet | None, datetime | None]:
        """The wallet of a payment, and when an equal bill was last paid; see the port."""
        table, amount = transactions.c, command.amount
        duplicate = sa.select(sa.func.max(table.created_at)).where(
            table.user_id == command.user_id,
            table.meter == command.meter,
            table.biller == command.biller,
            table.amount_minor == amount.amount_minor,
            table.currency == amount.currency,
            table.created_at > command.at - timedelta(seconds=DUPLICATE_WINDOW_SECONDS),
            table.status != Status.REVERSED.value,
        )
        query = sa.select(wallets.c.balance_minor, duplicate.scalar_subquery()).where(
            wallets.c.user_id == command.user_id, wallets.c.currency == amount.currency
        )
        with self._read_transaction() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            return None, None
        return Wallet(command.user_id, Money(row[0], amount.currency)), row[1]

    def payments(self, keys: Sequence[StreamKey]) -> Mapping[StreamKey, Payment]:
        """These payments, in one query; see the port."""
        with self._read_transaction() as connection:
            found = load_payments(connection, self._database, [(key.user_id, key.stream) for key in keys])
        return {key: payment for key, (payment, _) in found.items()}

    def search(self, search: Search) -> list[TransactionRecord]:
        """The transactions that match, newest first; see the port."""
        if not _are_storable(
            search.user_id, search.currency, search.meter, search.reference, search.key, search.before
        ):
            return []
        table = transactions.c
        query = sa.select(transactions)
        order: sa.ColumnElement[str] = table.transaction_id
        for column, value in (
            (table.user_id, search.user_id),
            (table.type, search.kind),
            (table.currency, search.currency),
            (table.meter, search.meter),
            (table.key, search.key),
        ):
            if value is not None:
                query = query.where(column == value)
        if search.statuses:
            query = query.where(table.status.in_([status.value for status in search.statuses]))
            if not TERMINAL_STATUSES.intersection(search.statuses):
                query, order = query.where(IS_OPEN), UNINDEXED_ID
            elif set(search.statuses) == {Status.REVERSED}:
                query = query.where(IS_REVERSED)
        if search.before is not None:
            query = query.where(table.transaction_id < search.before)
        if search.reference is not None:
            sent = sa.select(attempts.c.transaction_id).where(attempts.c.reference == search.reference)
            # Two queries, each with its own index. One condition with OR would read all transactions.
            funded = sa.select(table.transaction_id).where(table.reference == search.reference)
            query = query.where(table.transaction_id.in_(sent.union_all(funded)))
            order = UNINDEXED_ID
        with self._read_transaction() as connection:
            return self._load_records(connection, query.order_by(order.desc()).limit(search.limit))

    def _load_records(self, connection: Connection, query: sa.Select[Any]) -> list[TransactionRecord]:
        found = connection.execute(query).all()
        keys = [(row.user_id, row.transaction_id) for row in found if row.type == "payment"]
        payments = load_payments(connection, self._database, keys)
        return [
            TransactionRecord(payments[StreamKey(row.user_id, row.transaction_id)][0], row.next_check_at)
            if row.type == "payment"
            else TransactionRecord(_to_funding(row), None)
            for row in found
        ]

    def count_due(self, now: datetime) -> int:
        """How many payments are due."""
        query = sa.select(sa.func.count()).where(transactions.c.next_check_at <= now)
        with self._read_transaction() as connection:
            return connection.scalar(query) or 0

    def backlog(self, now: datetime) -> Backlog:
        """The payments that have not ended, and their money; see the port."""
        table = transactions.c
        with self._read_transaction() as connection:
            sums = connection.execute(
                sa.select(table.status, table.currency, sa.func.count(), sa.func.sum(table.amount_minor))
                .where(IS_OPEN)
                .group_by(table.status, table.currency)
            ).all()
            due, oldest = connection.execute(
                sa.select(sa.func.count(), sa.func.min(table.next_check_at)).where(table.next_check_at <= now)
            ).one()
            incidents = connection.scalar(sa.select(sa.func.count()).where(HAS_INCIDENTS))
        counts: dict[Status, int] = {}
        for status, _, count, _ in sums:
            counts[Status(status)] = counts.get(Status(status), 0) + count
        amounts = {
            (Status(status), currency): Money(int(total), currency) for status, currency, _, total in sums
        }
        return Backlog(counts, amounts, due, oldest, incidents or 0)

    def needing_review(self, limit: int) -> list[Payment]:
        """Payments in review, or with open incidents; see the port."""
        table = transactions.c
        ids = sa.select(table.transaction_id)
        waiting = ids.where(IS_OPEN, table.status == Status.IN_REVIEW.value).union_all(
            ids.where(HAS_INCIDENTS)
        )
        query = (
            sa.select(transactions)
            .where(table.transaction_id.in_(waiting))
            .order_by(UNINDEXED_ID)
            .limit(limit)
        )
        with self._read_transaction() as connection:
            records = self._load_records(connection, query)
        return [found.transaction for found in records if isinstance(found.transaction, Payment)]

    def exposures(self, since: datetime) -> list[Exposure]:
        """The money at risk at each provider account; see the port."""
        table = transactions.c
        in_doubt_statuses = [Status.IN_DOUBT.value, Status.IN_REVIEW.value]
        sums = (
            sa.select(table.provider, table.account, sa.func.sum(table.amount_minor))
            .where(IS_OPEN, table.status.in_(in_doubt_statuses), table.account.is_not(None))
            .group_by(table.provider, table.account)
        )
        recent_attempts = sa.select(
            attempts.c.provider,
            attempts.c.account,
            sa.func.count(),
            sa.func.sum(sa.case((attempts.c.answers.endswith(f": {NotFound.__name__}"), 1), else_=0)),
        ).where(attempts.c.started_at >= since, attempts.c.sends > 0)
        with self._read_transaction() as connection:
            in_doubt = {(row[0], row[1]): int(row[2]) for row in connection.execute(sums)}
            counts = {
                (row[0], row[1]): (int(row[2]), int(row[3]))
                for row in connection.execute(
                    recent_attempts.group_by(attempts.c.provider, attempts.c.account)
                )
            }
        return [
            Exposure(*key, in_doubt.get(key, 0), *counts.get(key, (0, 0)))
            for key in in_doubt.keys() | counts.keys()
        ]

    def audit(self) -> AuditReport:
        """Replay every event; see the port."""
        with self._read_transaction() as connection:
            return audit(connection)


def _are_storable(*texts: str | None) -> bool:
    """False for text that no database can store, and that PostgreSQL rejects even in a comparison."""
    return all(text is None or make_storable(text) == text for text in texts)


def _to_funding(row: sa.Row[Any]) -> Funding:
    amount = Money(row.amount_minor, row.currency)
    return Funding(row.user_id, row.transaction_id, amount, row.source, row.reference, row.created_at)
