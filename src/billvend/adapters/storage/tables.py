"""The tables: one definition for SQLite and PostgreSQL.

`events` is the truth. What is folded from it is written in the same transaction. Every primary key and every unique
constraint of a user's rows starts with the user, so that the schema can be spread over machines by user.
"""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Index,
    SmallInteger,
    Text,
    UniqueConstraint,
    and_,
    or_,
)

from billvend.adapters.storage.table_parts import (
    IDENTIFIER,
    MINOR,
    index,
    inline,
    key,
    one_of,
    optional,
    references,
    required,
    table,
)
from billvend.adapters.storage.table_parts import INSTANT as INSTANT
from billvend.adapters.storage.table_parts import metadata as metadata
from billvend.domain.enums import Proof, Status

# --- the journal of events, and what is folded from it ----------------------------------------------------------------

wallets = table(
    "wallets",
    *key(IDENTIFIER, "user_id", "currency"),
    *required(MINOR, "balance_minor"),
    *required(BigInteger, "seq"),
    *required(Text, "hash"),
    *required(INSTANT, "updated_at"),
    CheckConstraint("balance_minor >= 0", name="wallet_never_negative"),
)

events = table(
    "events",
    *key(IDENTIFIER, "user_id", "stream"),
    *key(BigInteger, "seq"),
    *required(Text, "type"),
    *required(INSTANT, "at"),
    *required(Text, "command_key", "data"),
    *optional(BigInteger, "prev_seq"),
    *required(Text, "prev_hash", "hash"),
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
    append_only=True,
)

transfers = table(
    "transfers",
    *key(IDENTIFIER, "user_id", "stream"),
    *key(BigInteger, "seq"),
    *key(SmallInteger, "leg"),
    *required(IDENTIFIER, "transaction_id"),
    *required(Text, "source", "target"),
    *required(MINOR, "amount_minor"),
    *required(IDENTIFIER, "currency"),
    *required(INSTANT, "at"),
    references(events, "transfer_of_event"),
    CheckConstraint("amount_minor > 0", name="transfer_amount"),
    CheckConstraint("source <> target", name="transfer_between_accounts"),
    append_only=True,
)

transactions = table(
    "transactions",
    *key(IDENTIFIER, "user_id", "transaction_id"),
    *required(Text, "type", "status"),
    *required(MINOR, "amount_minor"),
    *required(IDENTIFIER, "currency"),
    *optional(Text, "key"),
    *required(INSTANT, "created_at", "updated_at"),
    # of a funding
    *optional(IDENTIFIER, "source", "reference"),
    # of a payment
    *optional(IDENTIFIER, "meter"),
    *optional(Text, "biller", "vend_type", "phone", "provider", "token", "units"),
    *optional(INSTANT, "lease_until"),
    # Of a payment, the end of its stream. Of a funding, its event in the stream of the wallet.
    *optional(BigInteger, "seq"),
    *optional(Text, "hash"),
    # Not folded from events: when a worker should check the payment, and when the last hint was sent.
    *optional(INSTANT, "next_check_at", "last_hint_at"),
    *optional(IDENTIFIER, "account"),
    Column("open_incidents", SmallInteger, nullable=False, server_default="0"),
    CheckConstraint(one_of("type", ("funding", "payment")), name="transaction_type"),
    CheckConstraint(one_of("status", Status), name="transaction_status"),
    CheckConstraint("amount_minor > 0", name="transaction_amount"),
    CheckConstraint(
        "type = 'funding' OR (meter IS NOT NULL AND seq IS NOT NULL)", name="payment_has_meter_and_seq"
    ),
    CheckConstraint("type = 'payment' OR reference IS NOT NULL", name="funding_has_reference"),
)
_columns = transactions.c
_has_reference = _columns.reference.is_not(None)
IS_OPEN = _columns.status.not_in([inline("completed"), inline("reversed")])
IS_REVERSED = _columns.status == inline("reversed")
HAS_INCIDENTS = _columns.open_incidents > inline(0)
index(
    "funding_reference_once", _columns.user_id, _columns.source, _columns.reference,
    where=_has_reference, unique=True,
)  # fmt: skip
index("transactions_by_reference", _columns.reference, where=_has_reference)
index("transactions_by_id", _columns.transaction_id)
index("transactions_by_meter", _columns.meter, _columns.user_id, _columns.created_at)
Index("transactions_by_key", _columns.key, postgresql_where=_columns.key.is_not(None))
index("transactions_due", _columns.next_check_at, where=_columns.next_check_at.is_not(None))
index("transactions_leased", _columns.lease_until, where=_columns.lease_until.is_not(None))
index("transactions_open", _columns.user_id, _columns.status, where=IS_OPEN)
index("transactions_by_token", _columns.token, where=_columns.token.is_not(None))
index("transactions_reversed", _columns.transaction_id, where=IS_REVERSED)
index("transactions_with_incidents", _columns.transaction_id, where=HAS_INCIDENTS)

attempts = table(
    "attempts",
    *key(IDENTIFIER, "user_id", "transaction_id"),
    *key(SmallInteger, "attempt"),
    *required(IDENTIFIER, "reference", "provider", "account"),
    *required(INSTANT, "started_at", "send_before"),
    *optional(INSTANT, "valid_until"),
    *required(SmallInteger, "sends"),
    *required(BigInteger, "requeries"),
    *required(Text, "answers"),
    UniqueConstraint("user_id", "provider", "account", "reference", name="reference_once"),
    references(transactions, "attempt_of_payment"),
)
index("attempts_by_reference", attempts.c.reference)
index("attempts_by_start", attempts.c.started_at)

resolutions = table(
    "resolutions",
    *key(IDENTIFIER, "user_id", "transaction_id"),
    *required(Text, "kind"),
    *optional(Text, "proof", "reason"),
    *required(INSTANT, "at"),
    # A payment ends once, and there is no reversal without a proof.
    references(transactions, "resolution_of_payment"),
    CheckConstraint(
        f"(kind = 'completed' AND proof IS NULL)"
        f" OR (kind = 'reversed' AND proof IS NOT NULL AND {one_of('proof', Proof)})",
        name="reversal_has_proof",
    ),
    append_only=True,
)

commands = table(
    "commands",
    *key(IDENTIFIER, "user_id", "operation", "key"),
    *required(Text, "request_hash"),
    *required(IDENTIFIER, "transaction_id"),
    *required(Text, "result"),
    *required(INSTANT, "at"),
    append_only=True,
)

APPEND_ONLY = (events, transfers, resolutions, commands)

# --- notifications ----------------------------------------------------------------------------------------------------

outbox_messages = table(
    "outbox_messages",
    # Notifications, one row a channel. Each is written in the transaction of its event.
    *key(IDENTIFIER, "user_id", "stream"),
    *key(BigInteger, "seq"),
    *key(IDENTIFIER, "channel"),
    *required(IDENTIFIER, "message_id", "transaction_id"),
    *required(Text, "kind", "data"),
    *required(INSTANT, "at"),
    *optional(INSTANT, "next_attempt_at", "lease_until"),
    *required(SmallInteger, "attempt_count"),
    *optional(Text, "final_status"),
    *optional(INSTANT, "ended_at"),
    references(events, "message_of_event"),
    CheckConstraint(
        "final_status IS NULL OR final_status IN ('delivered', 'gave_up', 'skipped')",
        name="notification_status",
    ),
    CheckConstraint("(final_status IS NULL) = (next_attempt_at IS NOT NULL)", name="message_is_due_or_ended"),
)
_columns = outbox_messages.c
HAS_FAILED = or_(
    _columns.final_status == inline("gave_up"),
    and_(_columns.final_status.is_(None), _columns.attempt_count > inline(0)),
)
index("outbox_messages_by_id", _columns.message_id)
index("outbox_messages_by_time", _columns.at)
index("outbox_messages_failed", _columns.at, where=HAS_FAILED)
index(
    "outbox_messages_due", _columns.channel, _columns.next_attempt_at,
    where=_columns.next_attempt_at.is_not(None),
)  # fmt: skip

delivery_attempts = table(
    "delivery_attempts",
    # Every attempt to deliver a message, and its result.
    *key(IDENTIFIER, "user_id", "message_id"),
    *key(SmallInteger, "number"),
    *required(INSTANT, "at"),
    *required(Text, "target"),
    *optional(SmallInteger, "http_status"),
    *required(BigInteger, "latency_ms"),
    *required(Text, "detail"),
)

disabled_endpoints = table(
    "disabled_endpoints",
    # Endpoints that asked for no more messages. A URL can be a secret, so `endpoint` is its hash.
    *key(IDENTIFIER, "endpoint"),
    *required(Text, "target"),
    *required(INSTANT, "disabled_at"),
    *required(Text, "reason"),
)

wallet_emails = table(
    "wallet_emails",
    # The address for email about a user's wallets, tokens included. Not folded from events.
    *key(IDENTIFIER, "user_id"),
    *required(Text, "email"),
    *required(INSTANT, "set_at"),
)

# --- deposits, the environment, provider accounts and API keys: not folded from events --------------------------------

deposits = table(
    "deposits",
    *key(IDENTIFIER, "user_id", "reference"),
    # The caller's idempotency key, as long as it belongs to this deposit.
    *optional(IDENTIFIER, "key"),
    *required(IDENTIFIER, "source"),
    *required(MINOR, "amount_minor"),
    *required(IDENTIFIER, "currency"),
    *required(Text, "email"),
    *optional(Text, "authorization_url"),
    *required(INSTANT, "created_at"),
    # The payment differs from the deposit and was not credited; and when an operator acknowledged that.
    *optional(Text, "problem"),
    *optional(INSTANT, "acknowledged_at"),
    *required(SmallInteger, "email_may_get_tokens"),
    UniqueConstraint("user_id", "key", name="deposit_key_once"),
    CheckConstraint("amount_minor > 0", name="deposit_amount"),
)
_columns = deposits.c
_has_open_problem = and_(_columns.problem.is_not(None), _columns.acknowledged_at.is_(None))
index("deposits_by_reference", _columns.reference)
index("deposits_by_time", _columns.created_at)
index("deposits_with_problems", _columns.created_at, where=_has_open_problem)

environment = table(
    "environment",
    *key(SmallInteger, "id"),
    *required(Text, "mode"),
    CheckConstraint("id = 1", name="one_environment"),
    CheckConstraint(one_of("mode", ("test", "live")), name="environment_mode"),
)

provider_accounts = table(
    "provider_accounts",
    # A few rows. They belong to no user, and no balance depends on them.
    *key(IDENTIFIER, "provider", "account"),
    *optional(Text, "suspended_reason"),
    *optional(INSTANT, "suspended_at"),
    *required(SmallInteger, "not_found_ignored"),
    *optional(MINOR, "float_minor"),
    *optional(INSTANT, "float_checked_at"),
)

api_keys = table(
    "api_keys",
    # A few rows. They belong to no user.
    *key(IDENTIFIER, "key_id"),
    *required(Text, "name", "digest", "scopes"),
    *required(INSTANT, "created_at"),
    *optional(INSTANT, "revoked_at", "last_used_at"),
)
index("api_key_name_once", api_keys.c.name, where=api_keys.c.revoked_at.is_(None), unique=True)
