"""Indexes for what was found only by reading a table through: references, announced fundings, what went wrong.

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the indexes. Some books of version 0003 have a part of them already."""
    op.create_index("funding_intents_by_time", "funding_intents", ["created_at"], if_not_exists=True)
    _create_partial("transactions_by_reference", "transactions", "reference", "reference IS NOT NULL")
    _create_partial("transactions_reversed", "transactions", "transaction_id", "status = 'reversed'")
    _create_partial("outbox_failed", "outbox", "at", "ended = 'gave_up' OR ended IS NULL AND tries > 0")


def _create_partial(name: str, table: str, column: str, condition: str) -> None:
    where = sa.text(condition)
    op.create_index(
        name, table, [column], if_not_exists=True, postgresql_where=where, sqlite_where=where
    )  # fmt: skip


def downgrade() -> None:
    """The books are never taken down."""
    raise RuntimeError("books are not taken down: restore a backup instead")
