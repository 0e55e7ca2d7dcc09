"""What the audit reads: every stream of events with the rows derived from it.

Several queries in the same order are merged. So a ledger of any size is read in constant memory and in one consistent
state.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import groupby, islice
from operator import itemgetter
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from billvend.adapters.storage import rows
from billvend.adapters.storage.database import unavailable
from billvend.adapters.storage.streams import group_by_stream
from billvend.adapters.storage.tables import attempts, events, resolutions, transactions, transfers, wallets
from billvend.domain.decisions.decider import StreamHead
from billvend.domain.journal.events import StreamKey, WalletFunded, load_event
from billvend.domain.ledger.wallet import Wallet, wallet_stream
from billvend.domain.payment.state import Payment
from billvend.ports.queries import RawEvent, StoredStream, StoredTransfer

PAGE_ROWS = 1_000
"""Rows of one query that are in memory at a time."""
MAX_ORPHANS = 100
"""Rows without events that are reported one by one, a table."""
MAX_DIFFERENCES = 100
"""Wrong fundings of one wallet that are reported one by one."""
_NOT_FOLDED = frozenset({"transactions.next_check_at", "transactions.last_hint_at", "wallets.updated_at"})
"""Columns that hold when a payment is next due, when a hint was last sent, or when a row changed. No money depends on them."""

_BY_STREAM = ("user_id", "stream")
_BY_PAYMENT = ("user_id", "transaction_id")
_BY_WALLET = ("user_id", "currency")

RowKey = tuple[str, str]
"""A stream as its two columns. Cheaper to build and to compare than a `StreamKey`."""


def read_streams(connection: Connection) -> Iterator[StoredStream]:
    """Every stream. Consume each before you ask for the next. Rows that belong to no stream come last."""
    with _AuditQueries(connection) as queries:
        derived = _DerivedTables(queries)
        in_order = sa.select(events).order_by(events.c.user_id, events.c.stream, events.c.seq)
        for key, logged in group_by_stream(queries.rows_of(in_order)):
            comparison = derived.comparison_of(key)
            yield StoredStream(
                key, comparison.compare_fundings(logged), derived.transfers_of(key), comparison.differences
            )
        for key, difference in derived.orphans():
            yield StoredStream(key, (), (), _Difference(difference))


class _AuditQueries(ExitStack):
    """Queries that are open at the same time. Leaving the context closes those that are still open."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self._connection = connection.execution_options(yield_per=PAGE_ROWS)

    def rows_of(self, query: sa.Select[Any]) -> Iterator[Any]:
        """The rows of a query, fetched a page at a time."""
        return _fetch_rows(self.enter_context(self._connection.execute(query)))


def _fetch_rows(result: sa.CursorResult[Any]) -> Iterator[Any]:
    """The rows of a result. Raises `Unavailable`.

    Rows are fetched when they are consumed, long after the query was sent. So database errors are translated here.
    """
    try:
        for page in result.partitions():
            yield from page
    except DBAPIError as error:
        raise unavailable(error) from error


class _DerivedTables:
    """The tables that are folded from events, read side by side."""

    def __init__(self, queries: _AuditQueries) -> None:
        def table(source: sa.Table, *order: str, kind: str | None = None) -> "_GroupedRows":
            """A table in the order of its streams. The first two columns of `order` identify a stream."""
            names = [*order[:2], *(name for name in _folded_columns(source) if name not in order[:2])]
            query = sa.select(*(source.c[name] for name in names))
            if kind is not None:
                query = query.where(source.c.type == kind)
            found = queries.rows_of(query.order_by(*(source.c[name] for name in order)))
            return _GroupedRows(
                source.name, names, found, _wallet_key if order[:2] == _BY_WALLET else itemgetter(0, 1)
            )

        self._transfers = table(transfers, *_BY_STREAM, "seq", "leg")
        self._payments = table(transactions, *_BY_PAYMENT, kind="payment")
        self._attempts = table(attempts, *_BY_PAYMENT, "attempt")
        self._resolutions = table(resolutions, *_BY_PAYMENT)
        self._wallets = table(wallets, *_BY_WALLET)
        self._fundings = table(transactions, *_BY_WALLET, "seq", kind="funding")

    def transfers_of(self, key: StreamKey) -> Iterator[StoredTransfer]:
        for _, _, *columns in self._transfers.pop(key):
            yield StoredTransfer(*columns)

    def comparison_of(self, key: StreamKey) -> "_StreamComparison":
        return _StreamComparison(self, key)

    def fundings_of(self, key: StreamKey) -> Iterator[Any]:
        return self._fundings.pop(key)

    def compare_funding(self, stored: Iterable[Any], expected: rows.RowDict) -> list[str]:
        return self._fundings.compare(stored, [expected])

    def differences(self, key: StreamKey, state: Wallet | Payment | None, head: StreamHead) -> list[str]:
        found: list[str] = []
        if isinstance(state, Wallet):
            found += self._wallets.differences(key, [rows.wallet_row(state, head)])
        elif isinstance(state, Payment):
            found += self._payments.differences(key, [rows.payment_row(state, head)])
            found += self._attempts.differences(key, rows.attempt_rows(state))
            found += self._resolutions.differences(key, rows.resolution_rows(state))
        return found

    def orphans(self) -> Iterator[tuple[StreamKey, str]]:
        for groups in (
            self._transfers, self._payments, self._attempts, self._resolutions, self._wallets, self._fundings,
        ):  # fmt: skip
            yield from groups.orphans()


class _StreamComparison:
    """Compares what is derived from one stream, except its transfers.

    A wallet has as many fundings as events, so they are compared while the events are consumed.
    """

    def __init__(self, derived: _DerivedTables, key: StreamKey) -> None:
        self._derived = derived
        self._key = key
        self._found: list[str] = []

    def compare_fundings(self, logged: Iterable[RawEvent]) -> Iterator[RawEvent]:
        """The events, unchanged. The row of each funding is compared on the way."""
        fundings = self._derived.fundings_of(self._key)
        currency = self._key.stream.removeprefix("wallet:")
        for event in logged:
            yield event
            if event.kind == WalletFunded.__name__:
                expected = rows.funding_row(
                    event, cast(WalletFunded, load_event(event.kind, event.data)), currency
                )
                self._add(self._derived.compare_funding(islice(fundings, 1), expected))
        self._add([f"transactions: funding {row.transaction_id} that no event makes" for row in fundings])

    def differences(self, state: Wallet | Payment | None, head: StreamHead) -> list[str]:
        """See `StoredStream.differences`."""
        return [*self._found, *self._derived.differences(self._key, state, head)]

    def _add(self, differences: list[str]) -> None:
        self._found += differences[: MAX_DIFFERENCES - len(self._found)]


class _Difference:
    """`StoredStream.differences` of rows that belong to no stream."""

    def __init__(self, difference: str) -> None:
        self._difference = difference

    def __call__(self, state: Wallet | Payment | None, head: StreamHead) -> list[str]:
        return [self._difference]


class _GroupedRows:
    """The rows of one query, in groups of one stream each. Groups are taken in ascending order of their streams."""

    def __init__(
        self, table: str, columns: Sequence[str], found: Iterable[Any], key_of: Callable[[Any], RowKey]
    ) -> None:
        self._table = table
        self._columns = columns
        self._groups = groupby(found, key=key_of)
        self._next: tuple[RowKey, Iterator[Any]] | None = next(self._groups, None)
        self._orphans: list[RowKey] = []

    def differences(self, key: StreamKey, expected_rows: Iterable[rows.RowDict]) -> list[str]:
        """How the rows of a stream differ from the expected ones."""
        return self.compare(self.pop(key), expected_rows)

    def compare(self, stored: Iterable[Any], expected_rows: Iterable[rows.RowDict]) -> list[str]:
        """How stored rows differ from the expected ones, column by column. A column without an expected value must be NULL."""
        stored, expected_rows = list(stored), list(expected_rows)
        if len(stored) != len(expected_rows):
            return [f"{self._table}: {len(stored)} rows where the events make {len(expected_rows)}"]
        return [
            f"{self._table}.{column}: {value!r} where the events say {expected.get(column)!r}"
            for row, expected in zip(stored, expected_rows, strict=True)
            if tuple(row)
            != tuple(map(expected.get, self._columns))  # most rows are equal: this is the cheap test
            for column, value in zip(self._columns, row, strict=True)
            if value != expected.get(column)
        ]

    def pop(self, key: StreamKey) -> Iterator[Any]:
        """The rows of a stream. Rows of smaller keys, which no stream has asked for, become orphans."""
        row_key = (key.user_id, key.stream)
        while self._next is not None and self._next[0] < row_key:
            self._skip(self._next[0])
        if self._next is not None and self._next[0] == row_key:
            yield from self._next[1]
            self._next = next(self._groups, None)

    def orphans(self) -> Iterator[tuple[StreamKey, str]]:
        """The rows that belong to no stream. Reads to the end of the query."""
        while self._next is not None:
            self._skip(self._next[0])
        for key in self._orphans:
            yield StreamKey(*key), f"{self._table}: a row without an event"

    def _skip(self, key: RowKey) -> None:
        if len(self._orphans) < MAX_ORPHANS:
            self._orphans.append(key)
        self._next = next(self._groups, None)


def _wallet_key(row: Any) -> RowKey:
    key = wallet_stream(row[0], row[1])
    return key.user_id, key.stream


def _folded_columns(table: sa.Table) -> list[str]:
    """The columns that are folded from events."""
    return [column.name for column in table.c if f"{table.name}.{column.name}" not in _NOT_FOLDED]
