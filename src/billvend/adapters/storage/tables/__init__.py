"""The tables: one definition for SQLite and PostgreSQL.

`events` is the truth. What is folded from it is written in the same transaction. Every primary key and every unique
constraint of a user's rows starts with the user, so that the schema can be spread over machines by user.
"""

from billvend.adapters.storage.tables.columns import INSTANT, metadata
from billvend.adapters.storage.tables.ledger import (
    APPEND_ONLY,
    HAS_INCIDENTS,
    IS_OPEN,
    IS_REVERSED,
    attempts,
    commands,
    events,
    resolutions,
    transactions,
    transfers,
    wallets,
)
from billvend.adapters.storage.tables.notifications import (
    HAS_FAILED,
    delivery_attempts,
    disabled_endpoints,
    outbox_messages,
    wallet_emails,
)
from billvend.adapters.storage.tables.service import api_keys, deposits, environment, provider_accounts

__all__ = [
    "APPEND_ONLY",
    "HAS_FAILED",
    "HAS_INCIDENTS",
    "INSTANT",
    "IS_OPEN",
    "IS_REVERSED",
    "api_keys",
    "attempts",
    "commands",
    "delivery_attempts",
    "deposits",
    "disabled_endpoints",
    "environment",
    "events",
    "metadata",
    "outbox_messages",
    "provider_accounts",
    "resolutions",
    "transactions",
    "transfers",
    "wallet_emails",
    "wallets",
]
