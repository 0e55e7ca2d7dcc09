"""Deposits, the environment, provider accounts and API keys. They are not folded from events."""

from sqlalchemy import (
    CheckConstraint,
    Column,
    Index,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    and_,
)

from billvend.adapters.storage.tables.columns import IDENTIFIER, INSTANT, MINOR, metadata, one_of

deposits = Table(
    "deposits",
    metadata,
    Column("user_id", IDENTIFIER, nullable=False),
    Column("reference", IDENTIFIER, nullable=False),
    # The caller's idempotency key, as long as it belongs to this deposit.
    Column("key", IDENTIFIER),
    Column("source", IDENTIFIER, nullable=False),
    Column("amount_minor", MINOR, nullable=False),
    Column("currency", IDENTIFIER, nullable=False),
    Column("email", Text, nullable=False),
    Column("authorization_url", Text),
    Column("created_at", INSTANT, nullable=False),
    # The payment differs from the deposit and was not credited; and when an operator acknowledged that.
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

environment = Table(
    "environment",
    metadata,
    Column("id", SmallInteger, nullable=False),
    Column("mode", Text, nullable=False),
    PrimaryKeyConstraint("id"),
    CheckConstraint("id = 1", name="one_environment"),
    CheckConstraint(one_of("mode", ("test", "live")), name="environment_mode"),
)

provider_accounts = Table(
    "provider_accounts",
    metadata,
    # A few rows. They belong to no user, and no balance depends on them.
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
    # A few rows. They belong to no user.
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
