"""Notifications: the outbox, its delivery attempts, disabled endpoints and email addresses."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Index,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    and_,
    literal,
    or_,
)

from billvend.adapters.storage.tables.columns import IDENTIFIER, INSTANT, metadata

outbox_messages = Table(
    "outbox_messages",
    metadata,
    # Notifications, one row a channel. Each is written in the transaction of its event.
    Column("user_id", IDENTIFIER, nullable=False),
    Column("stream", IDENTIFIER, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("channel", IDENTIFIER, nullable=False),
    Column("message_id", IDENTIFIER, nullable=False),
    Column("transaction_id", IDENTIFIER, nullable=False),
    Column("kind", Text, nullable=False),
    Column("data", Text, nullable=False),
    Column("at", INSTANT, nullable=False),
    Column("next_attempt_at", INSTANT),
    Column("lease_until", INSTANT),
    Column("attempt_count", SmallInteger, nullable=False),
    Column("final_status", Text),
    Column("ended_at", INSTANT),
    PrimaryKeyConstraint("user_id", "stream", "seq", "channel"),
    ForeignKeyConstraint(
        ["user_id", "stream", "seq"],
        ["events.user_id", "events.stream", "events.seq"],
        name="message_of_event",
    ),
    CheckConstraint(
        "final_status IS NULL OR final_status IN ('delivered', 'gave_up', 'skipped')",
        name="notification_status",
    ),
    CheckConstraint("(final_status IS NULL) = (next_attempt_at IS NOT NULL)", name="message_is_due_or_ended"),
)
Index("outbox_messages_by_id", outbox_messages.c.message_id)
Index("outbox_messages_by_time", outbox_messages.c.at)
_has_next_attempt = outbox_messages.c.next_attempt_at.is_not(None)
HAS_FAILED = or_(
    outbox_messages.c.final_status == literal("gave_up", literal_execute=True),
    and_(
        outbox_messages.c.final_status.is_(None),
        outbox_messages.c.attempt_count > literal(0, literal_execute=True),
    ),
)
Index("outbox_messages_failed", outbox_messages.c.at, postgresql_where=HAS_FAILED, sqlite_where=HAS_FAILED)
Index(
    "outbox_messages_due",
    outbox_messages.c.channel,
    outbox_messages.c.next_attempt_at,
    postgresql_where=_has_next_attempt,
    sqlite_where=_has_next_attempt,
)

delivery_attempts = Table(
    "delivery_attempts",
    metadata,
    # Every attempt to deliver a message, and its result.
    Column("user_id", IDENTIFIER, nullable=False),
    Column("message_id", IDENTIFIER, nullable=False),
    Column("number", SmallInteger, nullable=False),
    Column("at", INSTANT, nullable=False),
    Column("target", Text, nullable=False),
    Column("http_status", SmallInteger),
    Column("latency_ms", BigInteger, nullable=False),
    Column("detail", Text, nullable=False),
    PrimaryKeyConstraint("user_id", "message_id", "number"),
)

disabled_endpoints = Table(
    "disabled_endpoints",
    metadata,
    # Endpoints that asked for no more messages. A URL can be a secret, so `endpoint` is its hash.
    Column("endpoint", IDENTIFIER, nullable=False),
    Column("target", Text, nullable=False),
    Column("disabled_at", INSTANT, nullable=False),
    Column("reason", Text, nullable=False),
    PrimaryKeyConstraint("endpoint"),
)

wallet_emails = Table(
    "wallet_emails",
    metadata,
    # The address for email about a user's wallets, tokens included. Not folded from events.
    Column("user_id", IDENTIFIER, nullable=False),
    Column("email", Text, nullable=False),
    Column("set_at", INSTANT, nullable=False),
    PrimaryKeyConstraint("user_id"),
)
