"""The audit: replays every event, and compares everything that is derived from events with the result.

The tables are read side by side, in the order of the streams. So a ledger of any size is audited in constant memory.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import groupby
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from billvend.adapters.storage import rows
from billvend.adapters.storage.streams import SELECT_EVENTS, event_from_raw, group_by_stream
from billvend.adapters.storage.tables import attempts, events, resolutions, transactions, transfers, wallets
from billvend.domain.decisions.decider import StreamHead
from billvend.domain.journal.events import PaymentEvent, StreamKey, WalletEvent, event_hash
from billvend.domain.ledger.transfers import IN_FLIGHT
from billvend.domain.ledger.wallet import Wallet, new_wallet
from billvend.domain.ledger.wallet import evolve as evolve_wallet
from billvend.domain.payment.state import Payment
from billvend.domain.payment.transitions import evolve as evolve_payment
from billvend.ports.queries import AuditReport, RawEvent

PAGE_ROWS = 1_000
"""Rows of one query that are in memory at a time."""
NOT_DERIVED = frozenset({"transactions.next_check_at", "transactions.last_hint_at", "wallets.updated_at"})
"""Columns that hold when a payment is next due, when a hint was last sent, or when a row changed. No money depends on them."""
_WALLET = "wallet:"


def audit(connection: Connection) -> AuditReport:
    """Read the whole database once. The transaction has to see one consistent state."""
    with ExitStack() as open_queries:
        return _Audit(connection.execution_options(yield_per=PAGE_ROWS), open_queries).run()


class _Source:
    """A table that is derived from events. `order` identifies a row, and its first two columns the stream."""

    def __init__(self, table: sa.Table, *order: str, kind: str | None = None) -> None:
        derived = [column.name for column in table.c if f"{table.name}.{column.name}" not in NOT_DERIVED]
        self.name = table.name
        self.order = order
        self.columns = [*order, *(name for name in derived if name not in order)]
        statement = sa.select(*(table.c[name] for name in self.columns))
        if kind is not None:
            statement = statement.where(table.c.type == kind)
        self.statement = statement.order_by(*(table.c[name] for name in order))


_SOURCES = (
    _Source(transfers, "user_id", "stream", "seq", "leg"),
    _Source(transactions, "user_id", "currency", "seq", kind="funding"),
    _Source(wallets, "user_id", "currency"),
    _Source(transactions, "user_id", "transaction_id", kind="payment"),
    _Source(attempts, "user_id", "transaction_id", "attempt"),
    _Source(resolutions, "user_id", "transaction_id"),
)


class _Audit:
    def __init__(self, connection: Connection, open_queries: ExitStack) -> None:
        def query(statement: sa.Select[Any]) -> Iterator[sa.Row[Any]]:
            return iter(open_queries.enter_context(connection.execute(statement)))

        self._report = AuditReport()
        self._events = query(SELECT_EVENTS.order_by(events.c.user_id, events.c.stream, events.c.seq))
        self._tables = [_DerivedTable(self._report, source, query(source.statement)) for source in _SOURCES]
        (
            self._transfers, self._fundings, self._wallets, self._payments, self._attempts, self._resolutions,
        ) = self._tables  # fmt: skip
        self._in_flight: Counter[str] = Counter()
        """By currency: what the transfers of one user leave in flight, without what the user's open payments hold."""

    def run(self) -> AuditReport:
        of_user = groupby(group_by_stream(self._events), key=lambda stream: stream[0].user_id)
        for user_id, streams in of_user:
            for key, stored in streams:
                self._audit_stream(key, stored)
            self._check_in_flight(user_id)
        for table in self._tables:
            table.expect_no_more()
        return self._report

    def _audit_stream(self, key: StreamKey, stored: Iterable[RawEvent]) -> None:
        try:
            state, head = self._replay(key, stored)
        except DBAPIError:
            raise
        except Exception as error:  # noqa: BLE001  a damaged event must not stop the audit
            self._report.add_difference(key, f"its events can't be replayed: {error}")
            return
        if isinstance(state, Wallet):
            self._report.wallets += 1
            self._wallets.expect(rows.wallet_row(state, head))
            return
        self._report.payments += 1
        if not state.has_ended:
            self._in_flight[state.amount.currency] -= state.amount.amount_minor
        self._payments.expect(rows.payment_row(state, head))
        self._attempts.expect(*rows.attempt_rows(state))
        self._resolutions.expect(*rows.resolution_rows(state))

    def _replay(self, key: StreamKey, stored: Iterable[RawEvent]) -> tuple[Wallet | Payment, StreamHead]:
        """Fold the events of a stream. What is derived from each event is compared on the way."""
        state: Wallet | Payment | None = None
        if key.stream.startswith(_WALLET):
            state = new_wallet(key.user_id, key.stream.removeprefix(_WALLET))
        head = StreamHead()
        for raw in stored:
            self._report.events += 1
            self._check_chain(raw, head)
            event = event_from_raw(raw)
            if isinstance(state, Wallet):
                state = evolve_wallet(state, cast(WalletEvent, event.event))
                currency = state.balance.currency
            else:
                state = evolve_payment(state, key, cast(PaymentEvent, event.event), event.at)
                currency = state.amount.currency
            head = StreamHead(event.seq, event.hash)
            self._fundings.expect(*rows.funding_rows(event, currency))
            for transfer in rows.transfer_rows(event, currency):
                self._report.transfers += 1
                into, out_of = transfer["target"] == IN_FLIGHT, transfer["source"] == IN_FLIGHT
                self._in_flight[currency] += transfer["amount_minor"] * (into - out_of)
                self._transfers.expect(transfer)
        return cast(Wallet | Payment, state), head  # a stream has at least one event

    def _check_chain(self, raw: RawEvent, head: StreamHead) -> None:
        if raw.seq != head.seq + 1 or raw.prev_hash != head.hash:
            self._report.add_difference(raw.key, f"event {raw.seq} does not follow event {head.seq}")
        hashed = event_hash(raw.prev_hash, raw.key, raw.seq, raw.at, raw.kind, raw.command_key, raw.data)
        if hashed != raw.hash:
            self._report.add_difference(raw.key, f"event {raw.seq} was changed: its hash does not match")

    def _check_in_flight(self, user_id: str) -> None:
        """Only this finds a payment that is missing with all its rows."""
        for currency, minor in self._in_flight.items():
            if minor:
                self._report.add_difference(
                    StreamKey(user_id, f"{IN_FLIGHT}:{currency}"),
                    f"{minor} minor units more are held than the open payments need",
                )
        self._in_flight.clear()


class _DerivedTable:
    """The rows of a table that is derived from events, read in the order in which the events make them."""

    def __init__(self, report: AuditReport, source: _Source, stored: Iterator[sa.Row[Any]]) -> None:
        self._report = report
        self._name, self._order, self._columns = source.name, source.order, source.columns
        self._rows = stored
        self._row = next(stored, None)

    def expect(self, *expected_rows: rows.RowDict) -> None:
        """Compare the next rows with the expected ones. A column without an expected value must be NULL.

        Rows that come before an expected one are differences.
        """
        for each in expected_rows:
            expected = tuple(map(each.get, self._columns))
            key = self._key(expected)
            while self._row is not None and self._key(self._row) < key:
                self._report_unexpected(self._row)
            if self._row is None or self._key(self._row) != key:
                self._add_difference(expected, "no row where the events make one")
                continue
            if tuple(self._row) != expected:  # most rows are equal: this is the cheap test
                for column, value, expected_value in zip(self._columns, self._row, expected, strict=True):
                    if value != expected_value:
                        description = f"{value!r} where the events say {expected_value!r}"
                        self._add_difference(expected, description, f".{column}")
            self._row = next(self._rows, None)

    def expect_no_more(self) -> None:
        """All rows that are left are differences."""
        while self._row is not None:
            self._report_unexpected(self._row)

    def _key(self, row: Sequence[Any]) -> tuple[Any, ...]:
        # SQLite stores any value in any column. Such a value is a difference, and must not stop the audit.
        places = (place if isinstance(place, int) else 0 for place in row[2 : len(self._order)])
        return (row[0], row[1], *places)

    def _report_unexpected(self, row: Sequence[Any]) -> None:
        self._add_difference(row, "a row that no event makes")
        self._row = next(self._rows, None)

    def _add_difference(self, row: Sequence[Any], description: str, column: str = "") -> None:
        """Report a difference, like `ada t1: transfers, seq 4, leg 0: a row that no event makes`."""
        stream = f"{_WALLET}{row[1]}" if self._order[1] == "currency" else row[1]
        place = "".join(f", {name} {value}" for name, value in zip(self._order[2:], row[2:], strict=False))
        self._report.add_difference(StreamKey(row[0], stream), f"{self._name}{column}{place}: {description}")
