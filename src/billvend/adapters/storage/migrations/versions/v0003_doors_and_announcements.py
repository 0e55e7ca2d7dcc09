"""Keys of the API, money announced by a gateway, and what is told to the outside.

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

NAME = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
INSTANT = sa.DateTime(timezone=True).with_variant(sa.String(), "sqlite")


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "api_keys",
        sa.Column("key_id", NAME, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("revoked_at", INSTANT, nullable=True),
        sa.Column("used_at", INSTANT, nullable=True),
        sa.PrimaryKeyConstraint("key_id"),
    )
    in_force = sa.text("revoked_at IS NULL")
    op.create_index(
        "api_key_name_once", "api_keys", ["name"],
        unique=True, postgresql_where=in_force, sqlite_where=in_force,
    )  # fmt: skip
    op.create_table(
        "funding_intents",
        sa.Column("user_id", NAME, nullable=False),
        sa.Column("reference", NAME, nullable=False),
        sa.Column("key", NAME, nullable=True),
        sa.Column("source", NAME, nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", NAME, nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("authorization_url", sa.Text(), nullable=True),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.Column("seen_at", INSTANT, nullable=True),
        sa.PrimaryKeyConstraint("user_id", "reference"),
        sa.UniqueConstraint("user_id", "key", name="intent_key_once"),
        sa.CheckConstraint("amount_minor > 0", name="intent_amount"),
    )
    op.create_index("funding_intents_by_reference", "funding_intents", ["reference"])
    problem = sa.text("problem IS NOT NULL AND seen_at IS NULL")
    op.create_index(
        "funding_intents_problems", "funding_intents", ["created_at"],
        postgresql_where=problem, sqlite_where=problem,
    )  # fmt: skip
    op.create_table(
        "outbox",
        sa.Column("user_id", NAME, nullable=False),
        sa.Column("stream", NAME, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("channel", NAME, nullable=False),
        sa.Column("message_id", NAME, nullable=False),
        sa.Column("transaction_id", NAME, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.Column("next_at", INSTANT, nullable=True),
        sa.Column("lease_until", INSTANT, nullable=True),
        sa.Column("tries", sa.SmallInteger(), nullable=False),
        sa.Column("ended", sa.Text(), nullable=True),
        sa.Column("ended_at", INSTANT, nullable=True),
        sa.PrimaryKeyConstraint("user_id", "stream", "seq", "channel"),
        sa.ForeignKeyConstraint(
            ["user_id", "stream", "seq"],
            ["events.user_id", "events.stream", "events.seq"],
            name="message_of_event",
        ),
        sa.CheckConstraint(
            "ended IS NULL OR ended IN ('delivered', 'gave_up', 'skipped')", name="message_end"
        ),
        sa.CheckConstraint("(ended IS NULL) = (next_at IS NOT NULL)", name="message_is_due_or_ended"),
    )
    op.create_index("outbox_by_message", "outbox", ["message_id"])
    unsent = sa.text("next_at IS NOT NULL")
    op.create_index("outbox_by_time", "outbox", ["at"])
    op.create_index(
        "outbox_due", "outbox", ["channel", "next_at"], postgresql_where=unsent, sqlite_where=unsent
    )
    op.create_table(
        "deliveries",
        sa.Column("user_id", NAME, nullable=False),
        sa.Column("message_id", NAME, nullable=False),
        sa.Column("number", sa.SmallInteger(), nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("http_status", sa.SmallInteger(), nullable=True),
        sa.Column("latency_ms", sa.BigInteger(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "message_id", "number"),
    )
    op.create_table(
        "endpoints",
        sa.Column("endpoint", NAME, nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("disabled_at", INSTANT, nullable=False),
        sa.Column("disabled_because", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("endpoint"),
    )


def downgrade() -> None:
    """The books are never taken down."""
    raise RuntimeError("books are not taken down: restore a backup instead")
