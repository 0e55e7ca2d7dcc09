"""The tables of version 0.1.0, as `tables` defines them.

A new database gets its tables from `tables` directly and is marked with the newest version. So this revision is only
the root of the chain. The next one, v0101, changes existing tables, and `tables` in the same commit.

Revision ID: 0100
Revises:
"""

from alembic import op

from billvend.adapters.storage.tables import metadata

revision = "0100"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables, and the triggers of the append-only ones."""
    metadata.create_all(op.get_bind(), checkfirst=False)


def downgrade() -> None:
    """A ledger is never removed."""
    raise RuntimeError("A ledger is never removed: restore a backup instead.")
