"""The audit's reading: every stream of events with the rows derived from it, merged from several readings that stand in
the same order, so that books of any size are read in constant memory and in one consistent state."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import groupby, islice
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from billvend.adapters.storage import rows
from billvend.adapters.storage.database import unavailable
from billvend.adapters.storage.read import by_stream
from billvend.adapters.storage.tables import attempts, events, resolutions, transactions, transfers, wallets
from billvend.domain.decide import Head
from billvend.domain.events import StreamKey, WalletFunded, load
from billvend.domain.payment import Payment
from billvend.domain.wallet import Wallet, wallet_stream
from billvend.ports.books import LoggedEvent, LoggedStream, LoggedTransfer

PAGE = 1_000
"""Rows of one reading that are in memory at a time."""
MOST_ORPHANS = 100
"""Rows without events that are named one by one."""
MOST_DIFFERENCES = 100
"""Fundings of one wallet that are named as wrong one by one."""
_NOT_FOLDED = frozenset({"transactions.next_at", "transactions.hinted_at", "wallets.updated_at"})
"""Columns that say when to look again, or when somebody last did: true or not, no money hangs on them."""

_BY_STREAM = ("user_id", "stream")
_BY_PAYMENT = ("user_id", "transaction_id")
_BY_WALLET = ("user_id", "currency")


def audit_reading(connection: Connection) -> Iterator[LoggedStream]:
    """Every stream; consume each before asking for the next. Rows that no stream accounts for come last."""
    with _Readings(connection) as readings:
        derived = _Derived(readings)
        in_order = sa.select(events).order_by(events.c.user_id, events.c.stream, events.c.seq)
        for key, logged in by_stream(readings.of(in_order)):
            rest = derived.rest_of(key)
            yield LoggedStream(key, rest.watching(logged), derived.transfers_of(key), rest.differences)
        for key, complaint in derived.orphans():
            yield LoggedStream(key, (), (), _Complaint(complaint))


class _Readings(ExitStack):
    """Queries that are open at the same time; leaving closes what is still open of them."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self._connection = connection.execution_options(yield_per=PAGE)

    def of(self, query: sa.Select[Any]) -> Iterator[Any]:
        """The rows, fetched a page at a time."""
        return _fetched(self.enter_context(self._connection.execute(query)))


def _fetched(result: sa.CursorResult[Any]) -> Iterator[Any]:
    """Rows are fetched long after the query was sent, wherever they are consumed: so errors are told here."""
    try:
        yield from result
    except DBAPIError as error:
        raise unavailable(error) from error


class _Derived:
    """The tables that are folded from events, read side by side."""

    def __init__(self, readings: _Readings) -> None:
        def table(source: sa.Table, key: tuple[str, ...], *rest: str) -> Iterator[Any]:
            return readings.of(sa.select(source).order_by(*(source.c[name] for name in (*key, *rest))))

        payments = sa.select(transactions).where(transactions.c.type == "payment")
        fundings = sa.select(transactions).where(transactions.c.type == "funding")
        by_payment = [transactions.c[name] for name in _BY_PAYMENT]
        by_wallet = [transactions.c[name] for name in _BY_WALLET]
        self._transfers = _Groups("transfers", table(transfers, _BY_STREAM, "seq", "leg"), _stream)
        self._payments = _Groups("transactions", readings.of(payments.order_by(*by_payment)), _payment)
        self._attempts = _Groups("attempts", table(attempts, _BY_PAYMENT, "attempt"), _payment)
        self._resolutions = _Groups("resolutions", table(resolutions, _BY_PAYMENT), _payment)
        self._wallets = _Groups("wallets", table(wallets, _BY_WALLET), _wallet)
        self._fundings = _Groups(
            "transactions", readings.of(fundings.order_by(*by_wallet, transactions.c.seq)), _wallet
        )

    def transfers_of(self, key: StreamKey) -> Iterator[LoggedTransfer]:
        for row in self._transfers.take(key):
            yield LoggedTransfer(
                row.seq,
                row.leg,
                row.transaction_id,
                row.source,
                row.target,
                row.amount_minor,
                row.currency,
                row.at,
            )

    def rest_of(self, key: StreamKey) -> "_Rest":
        return _Rest(self, key)

    def fundings_of(self, key: StreamKey) -> Iterator[Any]:
        return self._fundings.take(key)

    def differences(self, key: StreamKey, state: Wallet | Payment | None, head: Head) -> list[str]:
        found: list[str] = []
        if isinstance(state, Wallet):
            found += _compared("wallets", self._wallets.take(key), [rows.wallet_row(state, head)])
        elif isinstance(state, Payment):
            found += _compared("transactions", self._payments.take(key), [rows.payment_row(state, head)])
            found += _compared("attempts", self._attempts.take(key), rows.attempt_rows(state))
            found += _compared("resolutions", self._resolutions.take(key), rows.resolution_rows(state))
        return found

    def orphans(self) -> Iterator[tuple[StreamKey, str]]:
        for groups in (
            self._transfers, self._payments, self._attempts, self._resolutions, self._wallets, self._fundings,
        ):  # fmt: skip
            yield from groups.orphans()


class _Rest:
    """What is derived from one stream besides transfers. Fundings are as many as events: they are compared on the way."""

    def __init__(self, derived: _Derived, key: StreamKey) -> None:
        self._derived = derived
        self._key = key
        self._found: list[str] = []

    def watching(self, logged: Iterable[LoggedEvent]) -> Iterator[LoggedEvent]:
        """The events as they are, and a look at each funding in passing."""
        fundings = self._derived.fundings_of(self._key)
        currency = self._key.stream.removeprefix("wallet:")
        for event in logged:
            yield event
            if event.kind == WalletFunded.__name__:
                should = rows.funding_row(event, cast(WalletFunded, load(event.kind, event.data)), currency)
                self._note(_compared("transactions", islice(fundings, 1), [should]))
        self._note([f"transactions: funding {row.transaction_id} that no event makes" for row in fundings])

    def differences(self, state: Wallet | Payment | None, head: Head) -> list[str]:
        """See `LoggedStream.differences`."""
        return [*self._found, *self._derived.differences(self._key, state, head)]

    def _note(self, differences: list[str]) -> None:
        self._found += differences[: MOST_DIFFERENCES - len(self._found)]


class _Complaint:
    """`LoggedStream.differences` of rows that no stream accounts for."""

    def __init__(self, said: str) -> None:
        self._said = said

    def __call__(self, state: Wallet | Payment | None, head: Head) -> list[str]:
        return [self._said]


class _Groups:
    """One reading, cut into groups of equal key, taken in rising order of keys."""

    def __init__(self, name: str, found: Iterable[Any], key: Any) -> None:
        self._name = name
        self._groups = groupby(found, key=key)
        self._next: tuple[StreamKey, Iterator[Any]] | None = next(self._groups, None)
        self._orphans: list[StreamKey] = []

    def take(self, key: StreamKey) -> Iterator[Any]:
        """The rows of a key; rows of smaller keys, which nobody asked for, become orphans."""
        while self._next is not None and _order(self._next[0]) < _order(key):
            self._skip(self._next[0])
        if self._next is not None and self._next[0] == key:
            yield from self._next[1]
            self._next = next(self._groups, None)

    def orphans(self) -> Iterator[tuple[StreamKey, str]]:
        """What was left over; ends the reading."""
        while self._next is not None:
            self._skip(self._next[0])
        for key in self._orphans:
            yield key, f"{self._name}: a row without an event"

    def _skip(self, key: StreamKey) -> None:
        if len(self._orphans) < MOST_ORPHANS:
            self._orphans.append(key)
        self._next = next(self._groups, None)


def _order(key: StreamKey) -> tuple[str, str]:
    return key.user_id, key.stream


def _stream(row: Any) -> StreamKey:
    return StreamKey(row.user_id, row.stream)


def _payment(row: Any) -> StreamKey:
    return StreamKey(row.user_id, row.transaction_id)


def _wallet(row: Any) -> StreamKey:
    return wallet_stream(row.user_id, row.currency)


def _compared(table: str, stored: Iterable[Any], wanted: Iterable[rows.Row]) -> list[str]:
    """How stored rows differ from the wanted ones, column by column; a column that is not wanted is to be empty."""
    stored, wanted = list(stored), list(wanted)
    if len(stored) != len(wanted):
        return [f"{table}: {len(stored)} rows where the events make {len(wanted)}"]
    return [
        f"{table}.{column}: {value!r} where the events say {should.get(column)!r}"
        for row, should in zip(stored, wanted, strict=True)
        for column, value in row._mapping.items()
        if value != should.get(column) and f"{table}.{column}" not in _NOT_FOLDED
    ]
