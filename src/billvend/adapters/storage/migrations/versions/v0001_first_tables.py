"""The first tables.

Revision ID: 0001
Revises:
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

NAME = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
INSTANT = sa.DateTime(timezone=True).with_variant(sa.String(), "sqlite")
APPEND_ONLY = ("events", "transfers", "resolutions", "commands")


def upgrade() -> None:
    """Make the tables, and the triggers that keep the append-only ones so."""
    _tables()
    if op.get_bind().dialect.name == "postgresql":
        _refuse_changes_on_postgresql()
    else:
        _refuse_changes_on_sqlite()


def downgrade() -> None:
    """The books are never taken down."""
    raise RuntimeError("books are not taken down: restore a backup instead")


def _refuse_changes_on_postgresql() -> None:
    op.execute(
        """
        CREATE FUNCTION billvend_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION '% is append-only: % is refused', TG_TABLE_NAME, TG_OP;
        END $$
        """
    )
    for table in APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION billvend_append_only()"
        )
        op.execute(
            f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION billvend_append_only()"
        )


def _refuse_changes_on_sqlite() -> None:
    for table in APPEND_ONLY:
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{table} is append-only: {verb} is refused'); END"
            )
    # INSERT OR REPLACE takes rows away without firing a DELETE trigger, unless the connection asked for that.
    for table, keys in {
        "events": ("user_id", "stream", "seq"),
        "transfers": ("user_id", "stream", "seq", "leg"),
        "resolutions": ("user_id", "transaction_id"),
        "commands": ("user_id", "operation", "key"),
    }.items():
        same = " AND ".join(f"{key} = NEW.{key}" for key in keys)
        op.execute(
            f"CREATE TRIGGER {table}_no_replace BEFORE INSERT ON {table} "
            f"WHEN EXISTS (SELECT 1 FROM {table} WHERE {same}) "
            f"BEGIN SELECT RAISE(ABORT, 'UNIQUE constraint failed: {table} is append-only'); END"
        )


def _tables() -> None:
    op.create_table(
        "commands",
        sa.Column("user_id", NAME, nullable=False),
        sa.Column("operation", NAME, nullable=False),
        sa.Column("key", NAME, nullable=False),
        sa.Column("request_hash", sa.Text(), nullable=False),
        sa.Column("transaction_id", NAME, nullable=False),
        sa.Column("reply", sa.Text(), nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("user_id", "operation", "key"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "events",
        sa.Column("user_id", NAME, nullable=False),
        sa.Column("stream", NAME, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.Column("command_key", sa.Text(), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.Column("prev_seq", sa.BigInteger(), nullable=True),
        sa.Column("prev_hash", sa.Text(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "(seq = 1 AND prev_seq IS NULL AND prev_hash = '') OR (seq > 1 AND prev_seq IS NOT NULL AND prev_seq = seq - 1)",
            name="event_without_gap",
        ),
        sa.ForeignKeyConstraint(
            ["user_id", "stream", "prev_seq"],
            ["events.user_id", "events.stream", "events.seq"],
            name="event_follows_event",
        ),
        sa.PrimaryKeyConstraint("user_id", "stream", "seq"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "stamp",
        sa.Column("id", sa.SmallInteger(), nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.CheckConstraint("mode IN ('test', 'live')", name="stamp_mode"),
        sa.CheckConstraint("id = 1", name="one_stamp"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "transactions",
        sa.Column("user_id", NAME, nullable=False),
        sa.Column("transaction_id", NAME, nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", NAME, nullable=False),
        sa.Column("key", sa.Text(), nullable=True),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("updated_at", INSTANT, nullable=False),
        sa.Column("source", NAME, nullable=True),
        sa.Column("reference", NAME, nullable=True),
        sa.Column("meter", NAME, nullable=True),
        sa.Column("biller", sa.Text(), nullable=True),
        sa.Column("vend_type", sa.Text(), nullable=True),
        sa.Column("phone", sa.Text(), nullable=True),
        sa.Column("provider", sa.Text(), nullable=True),
        sa.Column("token", sa.Text(), nullable=True),
        sa.Column("units", sa.Text(), nullable=True),
        sa.Column("lease_until", INSTANT, nullable=True),
        sa.Column("seq", sa.BigInteger(), nullable=True),
        sa.Column("hash", sa.Text(), nullable=True),
        sa.Column("next_at", INSTANT, nullable=True),
        sa.Column("hinted_at", INSTANT, nullable=True),
        sa.CheckConstraint(
            "status IN ('pending', 'processing', 'in_doubt', 'in_review', 'completed', 'reversing', 'reversed')",
            name="transaction_status",
        ),
        sa.CheckConstraint(
            "type = 'funding' OR (meter IS NOT NULL AND seq IS NOT NULL)", name="payment_is_whole"
        ),
        sa.CheckConstraint("type = 'payment' OR reference IS NOT NULL", name="funding_is_whole"),
        sa.CheckConstraint("type IN ('funding', 'payment')", name="transaction_type"),
        sa.CheckConstraint("amount_minor > 0", name="transaction_amount"),
        sa.PrimaryKeyConstraint("user_id", "transaction_id"),
    )
    op.create_index("funding_reference_once", "transactions", ["user_id", "source", "reference"], unique=True)
    op.create_index("transactions_alike", "transactions", ["user_id", "meter", "created_at"], unique=False)
    op.create_index("transactions_by_id", "transactions", ["transaction_id"], unique=False)
    op.create_index(
        "transactions_by_key",
        "transactions",
        ["key"],
        unique=False,
        postgresql_where=sa.text("key IS NOT NULL"),
    )
    op.create_index(
        "transactions_by_meter",
        "transactions",
        ["meter"],
        unique=False,
        postgresql_where=sa.text("meter IS NOT NULL"),
    )
    op.create_index(
        "transactions_leased",
        "transactions",
        ["lease_until"],
        unique=False,
        postgresql_where=sa.text("lease_until IS NOT NULL"),
        sqlite_where=sa.text("lease_until IS NOT NULL"),
    )
    op.create_index(
        "transactions_due",
        "transactions",
        ["next_at"],
        unique=False,
        postgresql_where=sa.text("next_at IS NOT NULL"),
        sqlite_where=sa.text("next_at IS NOT NULL"),
    )
    op.create_index(
        "transactions_open",
        "transactions",
        ["user_id", "status"],
        unique=False,
        postgresql_where=sa.text("(status NOT IN ('completed', 'reversed'))"),
        sqlite_where=sa.text("(status NOT IN ('completed', 'reversed'))"),
    )
    op.create_table(
        "wallets",
        sa.Column("user_id", NAME, nullable=False),
        sa.Column("currency", NAME, nullable=False),
        sa.Column("balance_minor", sa.BigInteger(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("updated_at", INSTANT, nullable=False),
        sa.CheckConstraint("balance_minor >= 0", name="wallet_never_negative"),
        sa.PrimaryKeyConstraint("user_id", "currency"),
    )
    op.create_table(
        "attempts",
        sa.Column("user_id", NAME, nullable=False),
        sa.Column("transaction_id", NAME, nullable=False),
        sa.Column("attempt", sa.SmallInteger(), nullable=False),
        sa.Column("reference", NAME, nullable=False),
        sa.Column("provider", NAME, nullable=False),
        sa.Column("account", NAME, nullable=False),
        sa.Column("started_at", INSTANT, nullable=False),
        sa.Column("send_before", INSTANT, nullable=False),
        sa.Column("valid_until", INSTANT, nullable=True),
        sa.Column("sends", sa.SmallInteger(), nullable=False),
        sa.Column("requeries", sa.BigInteger(), nullable=False),
        sa.Column("said", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id", "transaction_id"],
            ["transactions.user_id", "transactions.transaction_id"],
            name="attempt_of_payment",
        ),
        sa.PrimaryKeyConstraint("user_id", "transaction_id", "attempt"),
        sa.UniqueConstraint("user_id", "provider", "account", "reference", name="reference_once"),
    )
    op.create_index("attempts_by_reference", "attempts", ["reference"], unique=False)
    op.create_table(
        "resolutions",
        sa.Column("user_id", NAME, nullable=False),
        sa.Column("transaction_id", NAME, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("proof", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("at", INSTANT, nullable=False),
        sa.CheckConstraint(
            "(kind = 'completed' AND proof IS NULL)"
            " OR (kind = 'reversed' AND proof IS NOT NULL AND proof IN"
            " ('declined', 'not_sent', 'not_executed', 'not_found', 'provider_reversed', 'operator'))",
            name="reversal_has_proof",
        ),
        sa.ForeignKeyConstraint(
            ["user_id", "transaction_id"],
            ["transactions.user_id", "transactions.transaction_id"],
            name="resolution_of_payment",
        ),
        sa.PrimaryKeyConstraint("user_id", "transaction_id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "transfers",
        sa.Column("user_id", NAME, nullable=False),
        sa.Column("stream", NAME, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("leg", sa.SmallInteger(), nullable=False),
        sa.Column("transaction_id", NAME, nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", NAME, nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.CheckConstraint("amount_minor > 0", name="transfer_moves_something"),
        sa.CheckConstraint("source <> target", name="transfer_between_accounts"),
        sa.ForeignKeyConstraint(
            ["user_id", "stream", "seq"],
            ["events.user_id", "events.stream", "events.seq"],
            name="transfer_of_event",
        ),
        sa.PrimaryKeyConstraint("user_id", "stream", "seq", "leg"),
        sqlite_with_rowid=False,
    )
