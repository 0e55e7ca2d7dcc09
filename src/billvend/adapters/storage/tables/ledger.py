"""The journal of events, the ledger and the payments that are folded from it, and the commands that were carried out."""

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
    UniqueConstraint,
    literal,
)

from billvend.adapters.storage.append_only import make_append_only
from billvend.adapters.storage.tables.columns import IDENTIFIER, INSTANT, MINOR, metadata, one_of
from billvend.domain.enums import Proof, Status

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
    # The constraints allow no gap: every event but the first references the one before it.
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
    # of a funding
    Column("source", IDENTIFIER),
    Column("reference", IDENTIFIER),
    # of a payment
    Column("meter", IDENTIFIER),
    Column("biller", Text),
    Column("vend_type", Text),
    Column("phone", Text),
    Column("provider", Text),
    Column("token", Text),
    Column("units", Text),
    Column("lease_until", INSTANT),
    # Of a payment, the end of its stream. Of a funding, its event in the stream of the wallet.
    Column("seq", BigInteger),
    Column("hash", Text),
    # Not folded from events: when a worker should check the payment, and when the last hint was sent.
    Column("next_check_at", INSTANT),
    Column("last_hint_at", INSTANT),
    Column("account", IDENTIFIER),
    Column("open_incidents", SmallInteger, nullable=False, server_default="0"),
    PrimaryKeyConstraint("user_id", "transaction_id"),
    CheckConstraint(one_of("type", ("funding", "payment")), name="transaction_type"),
    CheckConstraint(one_of("status", Status), name="transaction_status"),
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
    # Literals, not parameters: SQLite uses this index only if the query has the same text as the index.
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
    # A payment ends once, and there is no reversal without a proof.
    PrimaryKeyConstraint("user_id", "transaction_id"),
    ForeignKeyConstraint(
        ["user_id", "transaction_id"],
        ["transactions.user_id", "transactions.transaction_id"],
        name="resolution_of_payment",
    ),
    CheckConstraint(
        f"(kind = 'completed' AND proof IS NULL)"
        f" OR (kind = 'reversed' AND proof IS NOT NULL AND {one_of('proof', Proof)})",
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

APPEND_ONLY = (events, transfers, resolutions, commands)
"""Tables whose rows are never changed or removed: triggers reject it. On SQLite they have no row ids, because
`INSERT OR REPLACE` could replace an existing row by its row id with one of another key, and no trigger would see it."""
for _table in APPEND_ONLY:
    make_append_only(_table)
