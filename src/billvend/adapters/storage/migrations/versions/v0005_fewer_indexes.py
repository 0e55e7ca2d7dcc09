"""Fewer indexes to write for each payment: one in place of two for its meter, and none for a funding's reference.

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Put narrower indexes in the place of wide ones, in one transaction: no funding gets in twice meanwhile."""
    op.drop_index("transactions_alike", "transactions")
    op.drop_index("transactions_by_meter", "transactions")
    op.create_index("transactions_by_meter", "transactions", ["meter", "user_id", "created_at"])
    funding = sa.text("reference IS NOT NULL")
    op.drop_index("funding_reference_once", "transactions")
    op.create_index(
        "funding_reference_once", "transactions", ["user_id", "source", "reference"], unique=True,
        postgresql_where=funding, sqlite_where=funding,
    )  # fmt: skip


def downgrade() -> None:
    """The books are never taken down."""
    raise RuntimeError("books are not taken down: restore a backup instead")
