"""The outbox of notifications, in the database. The journal writes the messages. This module takes them and records the
delivery attempts."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from billvend.adapters.storage.database import make_storable
from billvend.adapters.storage.repository import Repository, storable
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
from billvend.ports.repositories import DeliveryAttempt, DisabledEndpoint, FinalStatus, Message

_columns = outbox_messages.c


class SqlOutbox(Repository):
    """See `billvend.ports.repositories.Outbox`."""

    def take(
        self,
        channel: Channel,
        now: datetime,
        *,
        limit: int,
        lease_seconds: float,
        message_id: str | None = None,
    ) -> list[Message]:
        """Take the messages that are due. Without a report they are due again when the lease ends."""
        query = sa.select(outbox_messages).where(
            _columns.channel == channel.value, _columns.next_attempt_at <= now
        )
        if message_id is not None:
            query = query.where(_columns.message_id == make_storable(message_id))
        query = query.order_by(_columns.next_attempt_at).limit(limit)
        if not self._read(query.limit(1)):
            return []  # most often. Then no write transaction begins, which would block other writers
        lease_until = now + timedelta(seconds=lease_seconds)
        with self._write() as connection:
            found = connection.execute(query.with_for_update(skip_locked=True)).all()
            if found:
                leased = (
                    sa.update(outbox_messages)
                    .where(self._database.in_keys(_columns.user_id, _columns.message_id))
                    .values(next_attempt_at=lease_until, lease_until=lease_until)
                )
                keys = [(row.user_id, row.message_id) for row in found]
                connection.execute(leased, self._database.key_parameters(keys))
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
        earlier = sa.select(sa.func.count()).where(
            delivery_attempts.c.user_id == message.user_id,
            delivery_attempts.c.message_id == message.message_id,
        )
        has_ended = final_status is not None
        with self._write() as connection:
            row = connection.execute(
                sa.select(outbox_messages).where(is_this_message).with_for_update()
            ).one()
            number = int(connection.scalar(earlier) or 0) + 1
            logged = {"user_id": message.user_id, "message_id": message.message_id, **asdict(attempt)}
            self._database.insert(connection, delivery_attempts, [storable(logged | {"number": number})])
            if row.lease_until == message.lease_until or final_status is FinalStatus.DELIVERED:
                connection.execute(
                    sa.update(outbox_messages)
                    .where(is_this_message)
                    .values(
                        attempt_count=message.attempt_count + 1,
                        next_attempt_at=next_at,
                        lease_until=None,
                        final_status=final_status,
                        ended_at=attempt.at if has_ended else None,
                    )
                )

    def history(
        self,
        *,
        limit: int,
        channel: Channel | None = None,
        failed: bool = False,
        message_id: str | None = None,
    ) -> list[Message]:
        """Messages with their delivery attempts, the newest first."""
        query = sa.select(outbox_messages).order_by(_columns.at.desc(), _columns.message_id).limit(limit)
        if channel is not None:
            query = query.where(_columns.channel == channel.value)
        if failed:
            query = query.where(HAS_FAILED)
        if message_id is not None:
            query = query.where(_columns.message_id == make_storable(message_id))
        log = delivery_attempts.c
        with self._database.read_transaction() as connection:
            messages = connection.execute(query).all()
            keys = [(row.user_id, row.message_id) for row in messages]
            attempts: dict[str, list[DeliveryAttempt]] = defaultdict(list)
            if keys:
                logged = sa.select(delivery_attempts).where(
                    self._database.in_keys(log.user_id, log.message_id)
                )
                for row in connection.execute(
                    logged.order_by(log.number), self._database.key_parameters(keys)
                ):
                    attempts[row.message_id].append(_to_attempt(row))
        return [_to_message(row, row.lease_until, attempts[row.message_id]) for row in messages]

    def replay(self, message_id: str, now: datetime) -> bool:
        """Make a message due now, as if it had never been tried. Returns whether there is such a message."""
        update = sa.update(outbox_messages).where(_columns.message_id == make_storable(message_id))
        fresh = {"attempt_count": 0, "lease_until": None, "final_status": None, "ended_at": None}
        return self._change(update.values(next_attempt_at=now, **fresh)) > 0

    def disable(self, endpoint: DisabledEndpoint) -> None:
        """Store that nothing more is sent to an endpoint."""
        self._upsert(disabled_endpoints, asdict(endpoint))

    def enable_all(self) -> int:
        """Enable all endpoints. Returns how many were disabled."""
        return self._change(sa.delete(disabled_endpoints))

    def disabled(self) -> list[DisabledEndpoint]:
        """The disabled endpoints."""
        query = sa.select(disabled_endpoints).order_by(disabled_endpoints.c.disabled_at)
        return [
            DisabledEndpoint(row.endpoint, row.target, row.disabled_at, row.reason)
            for row in self._read(query)
        ]

    def email_of(self, user_id: str, transaction_id: str) -> str | None:
        """The address for email about a transaction; see the port."""
        deposit, credit = deposits.c, transactions.c
        of_wallets = sa.select(wallet_emails.c.email).where(wallet_emails.c.user_id == user_id)
        # Only a deposit has a source and a reference, so this never returns the address for a payment's token.
        is_its_credit = sa.and_(
            credit.user_id == deposit.user_id,
            credit.source == deposit.source,
            credit.reference == deposit.reference,
        )
        of_deposit = (
            sa.select(deposit.email)
            .join(transactions, is_its_credit)
            .where(credit.user_id == user_id, credit.transaction_id == transaction_id)
        )
        with self._database.read_transaction() as connection:
            found: str | None = connection.scalar(of_wallets) or connection.scalar(of_deposit)
        return found

    def set_email(self, user_id: str, email: str, at: datetime, *, replace: bool) -> None:
        """Store an address. Without `replace` the primary key keeps the first one."""
        row = {"user_id": user_id, "email": email, "set_at": at}
        if replace:
            self._upsert(wallet_emails, row)
        else:
            self._insert(wallet_emails, row)


def _to_message(
    row: sa.Row[Any], lease_until: datetime | None, attempts: Sequence[DeliveryAttempt] = ()
) -> Message:
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
        attempts=tuple(attempts),
    )


def _to_attempt(row: sa.Row[Any]) -> DeliveryAttempt:
    return DeliveryAttempt(row.at, row.target, row.http_status, row.latency_ms, row.detail, row.number)
