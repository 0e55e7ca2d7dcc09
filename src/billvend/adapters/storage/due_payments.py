"""When payments are due: the columns of `transactions` that no event determines."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from billvend.adapters.storage.database import Database
from billvend.adapters.storage.tables import INSTANT, transactions
from billvend.domain.enums import Status
from billvend.domain.journal.events import StreamKey
from billvend.ports.journal import DuePayment

_columns = transactions.c
_new_due: sa.BindParameter[datetime] = sa.bindparam("due", type_=INSTANT)
_POSTPONE = (
    sa.update(transactions)
    .where(
        _columns.user_id == sa.bindparam("for_user"),
        _columns.transaction_id == sa.bindparam("for_payment"),
        _columns.next_check_at.is_distinct_from(_new_due),
    )
    .values(next_check_at=_new_due)
)


def postpone(connection: Connection, next_at: Mapping[StreamKey, datetime | None]) -> None:
    """Store when payments are next due; None for never."""
    if next_at:
        connection.execute(
            _POSTPONE,
            [
                {"for_user": key.user_id, "for_payment": key.stream, "due": due}
                for key, due in next_at.items()
            ],
        )


def take(database: Database, now: datetime, limit: int, hint_interval_seconds: float) -> list[DuePayment]:
    """See `billvend.ports.journal.Journal.take_due_payments`."""
    quiet_since = now - timedelta(seconds=hint_interval_seconds)
    due = (
        sa.select(_columns.user_id, _columns.transaction_id, _columns.status)
        .where(
            # A wrong clock can leave a lease or a hint in the far future. It must not hide the payment.
            sa.or_(
                _columns.next_check_at <= now,
                _columns.lease_until > now + timedelta(seconds=hint_interval_seconds * 2),
            ),
            sa.or_(
                _columns.last_hint_at.is_(None),
                _columns.last_hint_at <= quiet_since,
                _columns.last_hint_at > now,
            ),
        )
        .order_by(_columns.next_check_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    with database.write_transaction() as connection:
        found = [
            DuePayment(row.user_id, row.transaction_id, Status(row.status)) for row in connection.execute(due)
        ]
        _set_last_hint(database, connection, found, now)
    return found


def release(database: Database, due: Sequence[DuePayment]) -> None:
    """See `billvend.ports.journal.Journal.release_due`."""
    if due:
        with database.write_transaction() as connection:
            _set_last_hint(database, connection, due, None)


def _set_last_hint(
    database: Database, connection: Connection, payments: Sequence[DuePayment], at: datetime | None
) -> None:
    if payments:
        connection.execute(
            sa.update(transactions)
            .where(database.in_keys(_columns.user_id, _columns.transaction_id))
            .values(last_hint_at=sa.bindparam("hint_at", at, type_=INSTANT)),
            database.key_parameters([(found.user_id, found.transaction_id) for found in payments]),
        )
