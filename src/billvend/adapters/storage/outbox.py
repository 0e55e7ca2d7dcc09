"""The outbox of notifications, in the database. The journal writes the messages. This module takes them and records the
delivery attempts."""

from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from billvend.adapters.storage.database import Database, make_storable, translate_errors
from billvend.adapters.storage.tables import (
    HAS_FAILED,
    delivery_attempts,
    deposits,
    disabled_endpoints,
    outbox_messages,
    transactions,
    wallet_emails,
)
from billvend.domain.notifications import Channel
from billvend.ports.outbox import DeliveryAttempt, DisabledEndpoint, FinalStatus, Message, MessageHistory

_columns = outbox_messages.c


class SqlOutbox:
    """See `billvend.ports.outbox.Outbox`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def take(self, channel: Channel, now: datetime, *, limit: int, lease_seconds: float) -> list[Message]:
        """Take the messages that are due. Without a report they are due again when the lease ends."""
        return self._take_where(
            sa.and_(_columns.channel == channel.value, _columns.next_attempt_at <= now),
            now,
            limit,
            lease_seconds,
        )

    def take_one(self, message_id: str, now: datetime, *, lease_seconds: float) -> Message | None:
        """Take one message, due or not."""
        if make_storable(message_id) != message_id:
            return None
        is_unleased = sa.or_(_columns.lease_until.is_(None), _columns.lease_until <= now)
        condition = sa.and_(
            _columns.message_id == message_id, _columns.next_attempt_at.is_not(None), is_unleased
        )
        return next(iter(self._take_where(condition, now, 1, lease_seconds)), None)

    def _take_where(
        self, condition: sa.ColumnElement[bool], now: datetime, limit: int, lease_seconds: float
    ) -> list[Message]:
        query = sa.select(outbox_messages).where(condition).order_by(_columns.next_attempt_at).limit(limit)
        lease_until = now + timedelta(seconds=lease_seconds)
        with translate_errors():
            # Most often nothing is due. Then no write transaction begins, which would block other writers.
            with self._database.read_transaction() as connection:
                if connection.execute(query.limit(1)).first() is None:
                    return []
            with self._database.write_transaction() as connection:
                found = connection.execute(query.with_for_update(skip_locked=True)).all()
                keys = [(row.user_id, row.message_id) for row in found]
                if keys:
                    connection.execute(
                        sa.update(outbox_messages)
                        .where(self._database.in_keys(_columns.user_id, _columns.message_id))
                        .values(next_attempt_at=lease_until, lease_until=lease_until),
                        self._database.key_parameters(keys),
                    )
        return [_to_message(row, lease_until) for row in found]

    def record_attempt(
        self,
        message: Message,
        attempt: DeliveryAttempt,
        *,
        next_at: datetime | None,
        final_status: FinalStatus | None,
    ) -> None:
        """Store a delivery attempt. The port says which attempts change the message."""
        is_this_message = sa.and_(
            _columns.user_id == message.user_id, _columns.message_id == message.message_id
        )
        log = delivery_attempts.c
        count = sa.select(sa.func.count()).where(
            log.user_id == message.user_id, log.message_id == message.message_id
        )
        with translate_errors(), self._database.write_transaction() as connection:
            row = connection.execute(
                sa.select(outbox_messages).where(is_this_message).with_for_update()
            ).one()
            number = int(connection.scalar(count) or 0) + 1
            self._database.insert(connection, delivery_attempts, [_attempt_row(message, attempt, number)])
            if row.lease_until == message.lease_until or final_status is FinalStatus.DELIVERED:
                connection.execute(
                    sa.update(outbox_messages)
                    .where(is_this_message)
                    .values(
                        attempt_count=message.attempt_count + 1,
                        next_attempt_at=next_at,
                        lease_until=None,
                        final_status=None if final_status is None else final_status.value,
                        ended_at=None if final_status is None else attempt.at,
                    )
                )

    def history(
        self,
        *,
        limit: int,
        channel: Channel | None = None,
        failed: bool = False,
        message_id: str | None = None,
    ) -> list[MessageHistory]:
        """Messages with their delivery attempts, the newest first."""
        query = sa.select(outbox_messages).order_by(_columns.at.desc(), _columns.message_id).limit(limit)
        if channel is not None:
            query = query.where(_columns.channel == channel.value)
        if failed:
            query = query.where(HAS_FAILED)
        if message_id is not None:
            if make_storable(message_id) != message_id:
                return []
            query = query.where(_columns.message_id == message_id)
        with translate_errors(), self._database.read_transaction() as connection:
            messages = [_to_message(row, row.lease_until) for row in connection.execute(query)]
            attempts: dict[str, list[DeliveryAttempt]] = defaultdict(list)
            if messages:
                log = sa.select(delivery_attempts).where(
                    self._database.in_keys(delivery_attempts.c.user_id, delivery_attempts.c.message_id)
                )
                keys = [(message.user_id, message.message_id) for message in messages]
                found = connection.execute(
                    log.order_by(delivery_attempts.c.number), self._database.key_parameters(keys)
                )
                for row in found:
                    attempts[row.message_id].append(_to_attempt(row))
        return [MessageHistory(message, tuple(attempts[message.message_id])) for message in messages]

    def replay(self, message_id: str, now: datetime) -> bool:
        """Make a message due now, as if it had never been tried. Returns whether there is such a message."""
        if make_storable(message_id) != message_id:
            return False
        reset = {
            "next_attempt_at": now,
            "lease_until": None,
            "attempt_count": 0,
            "final_status": None,
            "ended_at": None,
        }
        with translate_errors(), self._database.write_transaction() as connection:
            updated = connection.execute(
                sa.update(outbox_messages).where(_columns.message_id == message_id).values(**reset)
            )
        return updated.rowcount > 0

    def disable(self, disabled: DisabledEndpoint) -> None:
        """Store that nothing more is sent to an endpoint."""
        row = {
            "endpoint": disabled.endpoint,
            "target": make_storable(disabled.target),
            "disabled_at": disabled.disabled_at,
            "reason": make_storable(disabled.reason),
        }
        with translate_errors(), self._database.write_transaction() as connection:
            self._database.upsert(connection, disabled_endpoints, [row])

    def enable(self, endpoint: str | None = None) -> int:
        """Enable an endpoint, or all of them. Returns how many were disabled."""
        deletion = sa.delete(disabled_endpoints)
        if endpoint is not None:
            deletion = deletion.where(disabled_endpoints.c.endpoint == endpoint)
        with translate_errors(), self._database.write_transaction() as connection:
            return connection.execute(deletion).rowcount

    def disabled(self) -> Sequence[DisabledEndpoint]:
        """The disabled endpoints."""
        query = sa.select(disabled_endpoints).order_by(disabled_endpoints.c.disabled_at)
        with translate_errors(), self._database.read_transaction() as connection:
            return [
                DisabledEndpoint(row.endpoint, row.target, row.disabled_at, row.reason)
                for row in connection.execute(query)
            ]

    def email_of(self, user_id: str, transaction_id: str) -> str | None:
        """The address for email about a transaction; see the port."""
        deposit, credit = deposits.c, transactions.c
        of_wallets = sa.select(wallet_emails.c.email).where(wallet_emails.c.user_id == user_id)
        # Only a deposit has a source and a reference, so this never returns the address for a payment's token.
        of_deposit = (
            sa.select(deposit.email)
            .join(
                transactions,
                sa.and_(
                    credit.user_id == deposit.user_id,
                    credit.source == deposit.source,
                    credit.reference == deposit.reference,
                ),
            )
            .where(credit.user_id == user_id, credit.transaction_id == transaction_id)
        )
        with translate_errors(), self._database.read_transaction() as connection:
            found: str | None = connection.scalar(of_wallets) or connection.scalar(of_deposit)
        return found

    def set_email_if_absent(self, user_id: str, email: str, at: datetime) -> None:
        """Store an address unless the user has one: the primary key decides."""
        with translate_errors(), suppress(IntegrityError), self._database.write_transaction() as connection:
            self._database.insert(connection, wallet_emails, [_email_row(user_id, email, at)])

    def set_email(self, user_id: str, email: str, at: datetime) -> None:
        """Store an address, in place of any other."""
        with translate_errors(), self._database.write_transaction() as connection:
            self._database.upsert(connection, wallet_emails, [_email_row(user_id, email, at)])


def _email_row(user_id: str, email: str, at: datetime) -> dict[str, Any]:
    return {"user_id": user_id, "email": email, "set_at": at}


def _to_message(row: sa.Row[Any], lease_until: datetime | None) -> Message:
    return Message(
        message_id=row.message_id,
        user_id=row.user_id,
        channel=Channel(row.channel),
        transaction_id=row.transaction_id,
        kind=row.kind,
        data=row.data,
        at=row.at,
        attempt_count=row.attempt_count,
        next_at=row.next_attempt_at,
        lease_until=lease_until,
        final_status=None if row.final_status is None else FinalStatus(row.final_status),
        ended_at=row.ended_at,
    )


def _attempt_row(message: Message, attempt: DeliveryAttempt, number: int) -> dict[str, Any]:
    return {
        "user_id": message.user_id,
        "message_id": message.message_id,
        "number": number,
        "at": attempt.at,
        "target": make_storable(attempt.target),
        "http_status": attempt.http_status,
        "latency_ms": attempt.latency_ms,
        "detail": make_storable(attempt.detail),
    }


def _to_attempt(row: sa.Row[Any]) -> DeliveryAttempt:
    return DeliveryAttempt(row.at, row.target, row.http_status, row.latency_ms, row.detail, row.number)
