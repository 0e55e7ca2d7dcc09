"""The e-mail address of a wallet, and which deposits may set it.

Revision ID: 0006
Revises: 0005
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

NAME = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
INSTANT = sa.DateTime(timezone=True).with_variant(sa.String(), "sqlite")


def upgrade() -> None:
    """Add the table and the column. Of older deposits it is unknown who announced them: none of them sets an address."""
    op.add_column(
        "funding_intents",
        sa.Column("email_may_get_tokens", sa.SmallInteger(), nullable=False, server_default="0"),
    )
    op.create_table(
        "wallet_emails",
        sa.Column("user_id", NAME, nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("set_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("user_id"),
    )


def downgrade() -> None:
    """The books are never taken down."""
    raise RuntimeError("books are not taken down: restore a backup instead")
