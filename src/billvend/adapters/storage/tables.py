"""The tables: one definition for SQLite and PostgreSQL.

`events` is the truth; every other table is folded from it and written in the same transaction. Every primary key and
every unique constraint starts with the user, so that the schema can be spread over machines by user.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Dialect,
    ForeignKeyConstraint,
    Index,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    and_,
    literal,
    or_,
)
from sqlalchemy.dialects import postgresql

from billvend.adapters.storage.append_only import make_append_only
from billvend.domain.enums import Proof, Status, VendType
from billvend.domain.journal.codec import format_timestamp


class _TextInstant(TypeDecorator[datetime]):
    """A moment on SQLite: RFC 3339 text in UTC with microseconds, which sorts as time does."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> str | None:
        return None if value is None else format_timestamp(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        return None if value is None else datetime.fromisoformat(value).astimezone(UTC)


INSTANT = DateTime(timezone=True).with_variant(_TextInstant(), "sqlite")
IDENTIFIER = Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
"""Text compared byte by byte on both databases, so that rows are locked in the order in which Python sorts names."""
MINOR = BigInteger()

metadata = MetaData()


def _one_of(column: str, values: type[Proof] | type[Status] | type[VendType] | tuple[str, ...]) -> str:
    return f"{column} IN ({', '.join(repr(str(value)) for value in values)})"


wallets = Table(
    "wallets",
    metadata,
    Column("user_id", IDENTIFIER, nullable=False),
    Column("currency", IDENTIFIER, nullable=False),
    Column("balance_minor", MINOR, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("hash", Text, nullable=False),
    Column("updated_at", INSTANT, nullable=False),
    PrimaryKeyConstraint("user_id", "currency"),
    CheckConstraint("balance_minor >= 0", name="wallet_never_negative"),
)

events = Table(
    "events",
    metadata,
    Column("user_id", IDENTIFIER, nullable=False),
    Column("stream", IDENTIFIER, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("type", Text, nullable=False),
    Column("at", INSTANT, nullable=False),
    Column("command_key", Text, nullable=False),
    Column("data", Text, nullable=False),
    Column("prev_seq", BigInteger),
    Column("prev_hash", Text, nullable=False),
    Column("hash", Text, nullable=False),
    PrimaryKeyConstraint("user_id", "stream", "seq"),
    # Gap-free by declaration: every event but the first points at the one before it.
    ForeignKeyConstraint(
        ["user_id", "stream", "prev_seq"],
        ["events.user_id", "events.stream", "events.seq"],
        name="event_follows_event",
    ),
    CheckConstraint(
        "(seq = 1 AND prev_seq IS NULL AND prev_hash = '') OR (seq > 1 AND prev_seq IS NOT NULL AND prev_seq = seq - 1)",
        name="event_without_gap",
    ),
    sqlite_with_rowid=False,
)

transfers = Table(
    "transfers",
    metadata,
    Column("user_id", IDENTIFIER, nullable=False),
    Column("stream", IDENTIFIER, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("leg", SmallInteger, nullable=False),
    Column("transaction_id", IDENTIFIER, nullable=False),
    Column("source", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("amount_minor", MINOR, nullable=False),
    Column("currency", IDENTIFIER, nullable=False),
    Column("at", INSTANT, nullable=False),
    PrimaryKeyConstraint("user_id", "stream", "seq", "leg"),
    ForeignKeyConstraint(
        ["user_id", "stream", "seq"],
        ["events.user_id", "events.stream", "events.seq"],
        name="transfer_of_event",
    ),
    CheckConstraint("amount_minor > 0", name="transfer_amount"),
    CheckConstraint("source <> target", name="transfer_between_accounts"),
    sqlite_with_rowid=False,
)

transactions = Table(
    "transactions",
    metadata,
    Column("user_id", IDENTIFIER, nullable=False),
    Column("transaction_id", IDENTIFIER, nullable=False),
    Column("type", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("amount_minor", MINOR, nullable=False),
    Column("currency", IDENTIFIER, nullable=False),
    Column("key", Text),
    Column("created_at", INSTANT, nullable=False),
    Column("updated_at", INSTANT, nullable=False),
    # a funding
    Column("source", IDENTIFIER),
    Column("reference", IDENTIFIER),
    # a payment
    Column("meter", IDENTIFIER),
    Column("biller", Text),
    Column("vend_type", Text),
    Column("phone", Text),
    Column("provider", Text),
    Column("token", Text),
    Column("units", Text),
    Column("lease_until", INSTANT),
    # A payment's: the end of its stream. A funding's: its event in the stream of the wallet.
    Column("seq", BigInteger),
    Column("hash", Text),
    # Not folded from events: when somebody should look, and when somebody was last told to.
    Column("next_check_at", INSTANT),
    Column("last_hint_at", INSTANT),
    Column("account", IDENTIFIER),
    Column("open_incidents", SmallInteger, nullable=False, server_default="0"),
    PrimaryKeyConstraint("user_id", "transaction_id"),
    CheckConstraint(_one_of("type", ("funding", "payment")), name="transaction_type"),
    CheckConstraint(_one_of("status", Status), name="transaction_status"),
    CheckConstraint("amount_minor > 0", name="transaction_amount"),
    CheckConstraint(
        "type = 'funding' OR (meter IS NOT NULL AND seq IS NOT NULL)", name="payment_has_meter_and_seq"
    ),
    CheckConstraint("type = 'payment' OR reference IS NOT NULL", name="funding_has_reference"),
)
_has_reference = transactions.c.reference.is_not(None)
Index(
    "funding_reference_once",
    transactions.c.user_id,
    transactions.c.source,
    transactions.c.reference,
    unique=True,
    postgresql_where=_has_reference,
    sqlite_where=_has_reference,
)
Index(
    "transactions_by_reference",
    transactions.c.reference,
    postgresql_where=_has_reference,
    sqlite_where=_has_reference,
)
Index("transactions_by_id", transactions.c.transaction_id)
Index("transactions_by_meter", transactions.c.meter, transactions.c.user_id, transactions.c.created_at)
Index("transactions_by_key", transactions.c.key, postgresql_where=transactions.c.key.is_not(None))
_has_next_check = transactions.c.next_check_at.is_not(None)
Index(
    "transactions_due",
    transactions.c.next_check_at,
    postgresql_where=_has_next_check,
    sqlite_where=_has_next_check,
)
_is_leased = transactions.c.lease_until.is_not(None)
Index("transactions_leased", transactions.c.lease_until, postgresql_where=_is_leased, sqlite_where=_is_leased)
IS_OPEN = transactions.c.status.not_in(
    # Written into each statement: SQLite finds rows by this index only where it reads the same words again.
    [literal(status, literal_execute=True) for status in ("completed", "reversed")]
)
Index(
    "transactions_open",
    transactions.c.user_id,
    transactions.c.status,
    postgresql_where=IS_OPEN,
    sqlite_where=IS_OPEN,
)
_has_token = transactions.c.token.is_not(None)
Index("transactions_by_token", transactions.c.token, postgresql_where=_has_token, sqlite_where=_has_token)
IS_REVERSED = transactions.c.status == literal("reversed", literal_execute=True)
Index(
    "transactions_reversed",
    transactions.c.transaction_id,
    postgresql_where=IS_REVERSED,
    sqlite_where=IS_REVERSED,
)
HAS_INCIDENTS = transactions.c.open_incidents > literal(0, literal_execute=True)
Index(
    "transactions_with_incidents",
    transactions.c.transaction_id,
    postgresql_where=HAS_INCIDENTS,
    sqlite_where=HAS_INCIDENTS,
)

attempts = Table(
    "attempts",
    metadata,
    Column("user_id", IDENTIFIER, nullable=False),
    Column("transaction_id", IDENTIFIER, nullable=False),
    Column("attempt", SmallInteger, nullable=False),
    Column("reference", IDENTIFIER, nullable=False),
    Column("provider", IDENTIFIER, nullable=False),
    Column("account", IDENTIFIER, nullable=False),
    Column("started_at", INSTANT, nullable=False),
    Column("send_before", INSTANT, nullable=False),
    Column("valid_until", INSTANT),
    Column("sends", SmallInteger, nullable=False),
    Column("requeries", BigInteger, nullable=False),
    Column("answers", Text, nullable=False),
    PrimaryKeyConstraint("user_id", "transaction_id", "attempt"),
    UniqueConstraint("user_id", "provider", "account", "reference", name="reference_once"),
    ForeignKeyConstraint(
        ["user_id", "transaction_id"],
        ["transactions.user_id", "transactions.transaction_id"],
        name="attempt_of_payment",
    ),
)
Index("attempts_by_reference", attempts.c.reference)
Index("attempts_by_start", attempts.c.started_at)

resolutions = Table(
    "resolutions",
    metadata,
    Column("user_id", IDENTIFIER, nullable=False),
    Column("transaction_id", IDENTIFIER, nullable=False),
    Column("kind", Text, nullable=False),
    Column("proof", Text),
    Column("reason", Text),
    Column("at", INSTANT, nullable=False),
    # One end a payment, and no reversal without a proof.
    PrimaryKeyConstraint("user_id", "transaction_id"),
    ForeignKeyConstraint(
        ["user_id", "transaction_id"],
        ["transactions.user_id", "transactions.transaction_id"],
        name="resolution_of_payment",
    ),
    CheckConstraint(
        f"(kind = 'completed' AND proof IS NULL)"
        f" OR (kind = 'reversed' AND proof IS NOT NULL AND {_one_of('proof', Proof)})",
        name="reversal_has_proof",
    ),
    sqlite_with_rowid=False,
)

commands = Table(
    "commands",
    metadata,
    Column("user_id", IDENTIFIER, nullable=False),
    Column("operation", IDENTIFIER, nullable=False),
    Column("key", IDENTIFIER, nullable=False),
    Column("request_hash", Text, nullable=False),
    Column("transaction_id", IDENTIFIER, nullable=False),
    Column("result", Text, nullable=False),
    Column("at", INSTANT, nullable=False),
    PrimaryKeyConstraint("user_id", "operation", "key"),
    sqlite_with_rowid=False,
)

environment = Table(
    "environment",
    metadata,
    Column("id", SmallInteger, nullable=False),
    Column("mode", Text, nullable=False),
    PrimaryKeyConstraint("id"),
    CheckConstraint("id = 1", name="one_environment"),
    CheckConstraint(_one_of("mode", ("test", "live")), name="environment_mode"),
)

provider_accounts = Table(
    "provider_accounts",
    metadata,
    # Of a provider, not of a user: a handful of rows, not folded from events, and soft.
    Column("provider", IDENTIFIER, nullable=False),
    Column("account", IDENTIFIER, nullable=False),
    Column("suspended_reason", Text),
    Column("suspended_at", INSTANT),
    Column("not_found_ignored", SmallInteger, nullable=False),
    Column("float_minor", MINOR),
    Column("float_checked_at", INSTANT),
    PrimaryKeyConstraint("provider", "account"),
)

api_keys = Table(
    "api_keys",
    metadata,
    # Who may use the API: a handful of rows, of no user.
    Column("key_id", IDENTIFIER, nullable=False),
    Column("name", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("scopes", Text, nullable=False),
    Column("created_at", INSTANT, nullable=False),
    Column("revoked_at", INSTANT),
    Column("last_used_at", INSTANT),
    PrimaryKeyConstraint("key_id"),
)
_is_active = api_keys.c.revoked_at.is_(None)
Index("api_key_name_once", api_keys.c.name, unique=True, postgresql_where=_is_active, sqlite_where=_is_active)

deposits = Table(
    "deposits",
    metadata,
    Column("user_id", IDENTIFIER, nullable=False),
    Column("reference", IDENTIFIER, nullable=False),
    # The caller's idempotency key, while it stands for this intent.
    Column("key", IDENTIFIER),
    Column("source", IDENTIFIER, nullable=False),
    Column("amount_minor", MINOR, nullable=False),
    Column("currency", IDENTIFIER, nullable=False),
    Column("email", Text, nullable=False),
    Column("authorization_url", Text),
    Column("created_at", INSTANT, nullable=False),
    # What a person has to see: money came that is not what was asked for. And when somebody had seen to it.
    Column("problem", Text),
    Column("acknowledged_at", INSTANT),
    Column("email_may_get_tokens", SmallInteger, nullable=False),
    PrimaryKeyConstraint("user_id", "reference"),
    UniqueConstraint("user_id", "key", name="deposit_key_once"),
    CheckConstraint("amount_minor > 0", name="deposit_amount"),
)
Index("deposits_by_reference", deposits.c.reference)
Index("deposits_by_time", deposits.c.created_at)
_has_open_problem = and_(deposits.c.problem.is_not(None), deposits.c.acknowledged_at.is_(None))
Index(
    "deposits_with_problems",
    deposits.c.created_at,
    postgresql_where=_has_open_problem,
    sqlite_where=_has_open_problem,
)

wallet_emails = Table(
    "wallet_emails",
    metadata,
    # Where mail about a user's wallets goes, tokens included. Not folded from events.
    Column("user_id", IDENTIFIER, nullable=False),
    Column("email", Text, nullable=False),
    Column("set_at", INSTANT, nullable=False),
    PrimaryKeyConstraint("user_id"),
)

outbox_messages = Table(
    "outbox_messages",
    metadata,
    # What is to be told to somebody outside, written with the event that it tells of: one row a channel.
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
    # Every try to deliver a message, and what came of it.
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
    # Where nothing is sent any more, because the other side said so. A URL may be a secret, so it is named by its hash.
    Column("endpoint", IDENTIFIER, nullable=False),
    Column("target", Text, nullable=False),
    Column("disabled_at", INSTANT, nullable=False),
    Column("reason", Text, nullable=False),
    PrimaryKeyConstraint("endpoint"),
)

APPEND_ONLY = (events, transfers, resolutions, commands)
"""Tables in which nothing is ever changed or taken away: triggers refuse it. On SQLite they have no row numbers, by which
`INSERT OR REPLACE` could put a row of another key in the place of one that is there without any trigger seeing it."""
for _table in APPEND_ONLY:
    make_append_only(_table)
