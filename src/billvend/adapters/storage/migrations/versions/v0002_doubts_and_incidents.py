"""What a person has to see, which account a payment stands with, and how each account is.

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

NAME = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
INSTANT = sa.DateTime(timezone=True).with_variant(sa.String(), "sqlite")


def upgrade() -> None:
    """Add the columns, filled from what is there, and the table of accounts."""
    op.add_column("transactions", sa.Column("account", NAME, nullable=True))
    op.add_column(
        "transactions", sa.Column("open_incidents", sa.SmallInteger(), nullable=False, server_default="0")
    )
    op.execute(
        """
        UPDATE transactions SET account = (
            SELECT latest.account FROM attempts AS latest
            WHERE latest.user_id = transactions.user_id AND latest.transaction_id = transactions.transaction_id
            ORDER BY latest.attempt DESC LIMIT 1
        ) WHERE provider IS NOT NULL
        """
    )
    op.execute(
        """
        UPDATE transactions SET open_incidents = (
            SELECT count(*) FROM events
            WHERE events.user_id = transactions.user_id AND events.stream = transactions.transaction_id
            AND events.type = 'IncidentRaised'
        ) WHERE type = 'payment' AND status IN ('completed', 'reversed')
        """
    )
    token, waiting = sa.text("token IS NOT NULL"), sa.text("open_incidents > 0")
    op.create_index(
        "transactions_by_token", "transactions", ["token"], postgresql_where=token, sqlite_where=token
    )
    op.create_index(
        "transactions_incidents",
        "transactions",
        ["transaction_id"],
        postgresql_where=waiting,
        sqlite_where=waiting,
    )
    op.create_index("attempts_by_start", "attempts", ["started_at"])
    op.create_table(
        "accounts",
        sa.Column("provider", NAME, nullable=False),
        sa.Column("account", NAME, nullable=False),
        sa.Column("closed_because", sa.Text(), nullable=True),
        sa.Column("closed_at", INSTANT, nullable=True),
        sa.Column("distrusted", sa.SmallInteger(), nullable=False),
        sa.Column("float_minor", sa.BigInteger(), nullable=True),
        sa.Column("asked_at", INSTANT, nullable=True),
        sa.PrimaryKeyConstraint("provider", "account"),
    )


def downgrade() -> None:
    """The books are never taken down."""
    raise RuntimeError("books are not taken down: restore a backup instead")
