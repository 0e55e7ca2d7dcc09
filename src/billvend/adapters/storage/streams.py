"""Payments, read from the events table and folded; and the stored results of commands."""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from billvend.adapters.storage.database import Database
from billvend.adapters.storage.tables import commands, events
from billvend.domain.decisions.commands import CommandKey, CommandResult
from billvend.domain.decisions.decider import StoredResult, StreamHead
from billvend.domain.journal import codec
from billvend.domain.journal.events import PaymentEvent, StoredEvent, StreamKey, load_event
from billvend.domain.payment import transitions as payments
from billvend.domain.payment.state import Payment
from billvend.ports.queries import RawEvent

SELECT_EVENTS = sa.select(*(column for column in events.c if column.name != "prev_seq"))


def load_payments(
    connection: Connection, database: Database, keys: Sequence[tuple[str, str]]
) -> dict[StreamKey, tuple[Payment, StreamHead]]:
    """The payments with these keys (user id, transaction id), each with the end of its stream."""
    if not keys:
        return {}
    found = connection.execute(_events_query(database), database.key_parameters(keys))
    return {
        key: folded
        for key, logged in group_by_stream(found)
        if (folded := fold_payment(key, logged)) is not None
    }


@lru_cache(maxsize=8)
def _events_query(database: Database) -> sa.Select[Any]:
    return SELECT_EVENTS.where(database.in_keys(events.c.user_id, events.c.stream)).order_by(
        events.c.user_id, events.c.stream, events.c.seq
    )


def load_results(
    connection: Connection, database: Database, keys: Sequence[CommandKey]
) -> dict[CommandKey, StoredResult]:
    """The stored results of these commands, for those that were done before."""
    found = connection.execute(_results_query(database), database.key_parameters(keys))
    return {
        CommandKey(row.user_id, row.operation, row.key): StoredResult(
            row.request_hash, codec.loads(CommandResult, row.result)
        )
        for row in found
    }


@lru_cache(maxsize=8)
def _results_query(database: Database) -> sa.Select[Any]:
    done = commands.c
    return sa.select(done.user_id, done.operation, done.key, done.request_hash, done.result).where(
        database.in_keys(done.user_id, done.operation, done.key)
    )


def group_by_stream(found: Iterable[sa.Row[Any]]) -> Iterator[tuple[StreamKey, Iterator[RawEvent]]]:
    """Rows of `SELECT_EVENTS`, which must be in the order of streams, grouped by stream."""
    return groupby(map(event_from_row, found), key=itemgetter(0))


def event_from_row(row: Any) -> RawEvent:
    """The event in a row of `SELECT_EVENTS`."""
    return RawEvent(StreamKey(row[0], row[1]), *row[2:])


def event_from_raw(raw: RawEvent) -> StoredEvent:
    """The event, parsed. Raises an error of any type if it is damaged."""
    event = load_event(raw.kind, raw.data)
    return StoredEvent(raw.key, raw.seq, raw.at, event, raw.command_key, raw.data, raw.prev_hash, raw.hash)


def fold_payment(key: StreamKey, logged: Iterable[RawEvent]) -> tuple[Payment, StreamHead] | None:
    """The payment that these events make, with the end of its stream. None without events."""
    payment: Payment | None = None
    head = StreamHead()
    for event in logged:
        payment = payments.evolve(
            payment, key, cast(PaymentEvent, load_event(event.kind, event.data)), event.at
        )
        head = StreamHead(event.seq, event.hash)
    return (payment, head) if payment else None
