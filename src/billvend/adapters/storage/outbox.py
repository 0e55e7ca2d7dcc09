"""What is to be told to the outside, in the database. The journal writes the rows; here they are taken and answered for."""

from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from billvend.adapters.storage.database import Database, failing_plainly, storable
from billvend.adapters.storage.tables import (
    HAS_FAILED,
    deliveries,
    endpoints,
    funding_intents,
    outbox,
    transactions,
    wallet_emails,
)
from billvend.domain.announcements import Channel
from billvend.ports.outbox import DisabledEndpoint, End, Message, Told, Try

_row = outbox.c


class SqlOutbox:
    """See `billvend.ports.outbox.Outbox`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def take(self, channel: Channel, now: datetime, *, limit: int, lease_seconds: float) -> list[Message]:
        """Take what is due: pushed ahead by the lease, it is due again if nobody reports."""
        return self._take(
            sa.and_(_row.channel == channel.value, _row.next_at <= now), now, limit, lease_seconds
        )

    def take_one(self, message_id: str, now: datetime, *, lease_seconds: float) -> Message | None:
        """Take one message, due or not."""
        if storable(message_id) != message_id:
            return None
        free = sa.or_(_row.lease_until.is_(None), _row.lease_until <= now)
        wanted = sa.and_(_row.message_id == message_id, _row.next_at.is_not(None), free)
        return next(iter(self._take(wanted, now, 1, lease_seconds)), None)

    def _take(
        self, condition: sa.ColumnElement[bool], now: datetime, limit: int, lease_seconds: float
    ) -> list[Message]:
        wanted = sa.select(outbox).where(condition).order_by(_row.next_at).limit(limit)
        lease_until = now + timedelta(seconds=lease_seconds)
        with failing_plainly():
            # Most often nothing is due: then nobody who writes is disturbed.
            with self._database.reading() as connection:
                if connection.execute(wanted.limit(1)).first() is None:
                    return []
            with self._database.writing() as connection:
                found = connection.execute(wanted.with_for_update(skip_locked=True)).all()
                keys = [(row.user_id, row.message_id) for row in found]
                if keys:
                    connection.execute(
                        sa.update(outbox)
                        .where(self._database.among(_row.user_id, _row.message_id))
                        .values(next_at=lease_until, lease_until=lease_until),
                        self._database.keys(keys),
                    )
        return [_message(row, lease_until) for row in found]

    def report(self, message: Message, tried: Try, *, next_at: datetime | None, ended: End | None) -> None:
        """Write down a try; see the port for whose word counts."""
        this = sa.and_(_row.user_id == message.user_id, _row.message_id == message.message_id)
        log = deliveries.c
        count = sa.select(sa.func.count()).where(
            log.user_id == message.user_id, log.message_id == message.message_id
        )
        with failing_plainly(), self._database.writing() as connection:
            row = connection.execute(sa.select(outbox).where(this).with_for_update()).one()
            number = int(connection.scalar(count) or 0) + 1
            self._database.insert(connection, deliveries, [_log_row(message, tried, number)])
            if row.lease_until == message.lease_until or ended is End.DELIVERED:
                connection.execute(
                    sa.update(outbox)
                    .where(this)
                    .values(
                        tries=message.tries + 1,
                        next_at=next_at,
                        lease_until=None,
                        ended=None if ended is None else ended.value,
                        ended_at=None if ended is None else tried.at,
                    )
                )

    def told(
        self,
        *,
        limit: int,
        channel: Channel | None = None,
        failed: bool = False,
        message_id: str | None = None,
    ) -> list[Told]:
        """Messages with their tries, the newest first."""
        query = sa.select(outbox).order_by(_row.at.desc(), _row.message_id).limit(limit)
        if channel is not None:
            query = query.where(_row.channel == channel.value)
        if failed:
            query = query.where(HAS_FAILED)
        if message_id is not None:
            if storable(message_id) != message_id:
                return []
            query = query.where(_row.message_id == message_id)
        with failing_plainly(), self._database.reading() as connection:
            messages = [_message(row, row.lease_until) for row in connection.execute(query)]
            tries: dict[str, list[Try]] = defaultdict(list)
            if messages:
                log = sa.select(deliveries).where(
                    self._database.among(deliveries.c.user_id, deliveries.c.message_id)
                )
                keys = [(message.user_id, message.message_id) for message in messages]
                found = connection.execute(log.order_by(deliveries.c.number), self._database.keys(keys))
                for row in found:
                    tries[row.message_id].append(_try(row))
        return [Told(message, tuple(tries[message.message_id])) for message in messages]

    def replay(self, message_id: str, now: datetime) -> bool:
        """Let a message be due now, as if it had never been tried."""
        if storable(message_id) != message_id:
            return False
        anew = {"next_at": now, "lease_until": None, "tries": 0, "ended": None, "ended_at": None}
        with failing_plainly(), self._database.writing() as connection:
            done = connection.execute(sa.update(outbox).where(_row.message_id == message_id).values(**anew))
        return done.rowcount > 0

    def disable(self, disabled: DisabledEndpoint) -> None:
        """Note that nothing is to be sent there."""
        row = {
            "endpoint": disabled.endpoint,
            "target": storable(disabled.target),
            "disabled_at": disabled.disabled_at,
            "disabled_because": storable(disabled.because),
        }
        with failing_plainly(), self._database.writing() as connection:
            self._database.upsert(connection, endpoints, [row])

    def enable(self, endpoint: str | None = None) -> int:
        """Forget that an endpoint, or any of them, was disabled."""
        forgotten = sa.delete(endpoints)
        if endpoint is not None:
            forgotten = forgotten.where(endpoints.c.endpoint == endpoint)
        with failing_plainly(), self._database.writing() as connection:
            return connection.execute(forgotten).rowcount

    def disabled(self) -> Sequence[DisabledEndpoint]:
        """The endpoints to which nothing is sent."""
        query = sa.select(endpoints).order_by(endpoints.c.disabled_at)
        with failing_plainly(), self._database.reading() as connection:
            return [
                DisabledEndpoint(row.endpoint, row.target, row.disabled_at, row.disabled_because)
                for row in connection.execute(query)
            ]

    def email_of(self, user_id: str, transaction_id: str) -> str | None:
        """Where mail about a transaction goes; see the port."""
        intent, deposit = funding_intents.c, transactions.c
        own = sa.select(wallet_emails.c.email).where(wallet_emails.c.user_id == user_id)
        # Only a deposit has a source and a reference, so this never finds where the token of a payment goes.
        given = (
            sa.select(intent.email)
            .join(
                transactions,
                sa.and_(
                    deposit.user_id == intent.user_id,
                    deposit.source == intent.source,
                    deposit.reference == intent.reference,
                ),
            )
            .where(deposit.user_id == user_id, deposit.transaction_id == transaction_id)
        )
        with failing_plainly(), self._database.reading() as connection:
            found: str | None = connection.scalar(own) or connection.scalar(given)
        return found

    def keep_email(self, user_id: str, email: str, at: datetime) -> None:
        """Keep an address unless there is one: the primary key decides."""
        with failing_plainly(), suppress(IntegrityError), self._database.writing() as connection:
            self._database.insert(connection, wallet_emails, [_email_row(user_id, email, at)])

    def set_email(self, user_id: str, email: str, at: datetime) -> None:
        """Keep an address, in place of any other."""
        with failing_plainly(), self._database.writing() as connection:
            self._database.upsert(connection, wallet_emails, [_email_row(user_id, email, at)])


def _email_row(user_id: str, email: str, at: datetime) -> dict[str, Any]:
    return {"user_id": user_id, "email": email, "set_at": at}


def _message(row: sa.Row[Any], lease_until: datetime | None) -> Message:
    return Message(
        message_id=row.message_id,
        user_id=row.user_id,
        channel=Channel(row.channel),
        transaction_id=row.transaction_id,
        kind=row.kind,
        data=row.data,
        at=row.at,
        tries=row.tries,
        next_at=row.next_at,
        lease_until=lease_until,
        ended=None if row.ended is None else End(row.ended),
        ended_at=row.ended_at,
    )


def _log_row(message: Message, tried: Try, number: int) -> dict[str, Any]:
    return {
        "user_id": message.user_id,
        "message_id": message.message_id,
        "number": number,
        "at": tried.at,
        "target": storable(tried.target),
        "http_status": tried.http_status,
        "latency_ms": tried.latency_ms,
        "detail": storable(tried.detail),
    }


def _try(row: sa.Row[Any]) -> Try:
    return Try(row.at, row.target, row.http_status, row.latency_ms, row.detail, row.number)
