"""What the database itself rejects, from any client: each promise, and plain SQL that tries to break it."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing

import psycopg
import pytest
import sqlalchemy as sa

from billvend.adapters.storage.database import Database
from billvend.adapters.storage.schema_version import upgrade
from billvend.adapters.storage.tables import APPEND_ONLY, metadata
from billvend.domain.outcome import Declined
from billvend.domain.policy.accounts import Mode
from tests.storage.harness import POSTGRES, SHARED_DATABASES, JournalHarness, delivered
from tests.support import servers

REJECTIONS = (
    *(sqlite3.IntegrityError, sqlite3.OperationalError),
    *(psycopg.errors.IntegrityError, psycopg.errors.RaiseException),
)


@pytest.fixture(scope="module", params=SHARED_DATABASES)
def harness(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[JournalHarness]:
    """A database with a bit of everything in it. No test changes a row: every statement must fail."""
    if request.param == "file":
        url = f"sqlite:///{tmp_path_factory.mktemp('constraints') / 'billvend.db'}"
    else:
        url = servers.new_database(request.getfixturevalue("postgres_server"))
    database = Database(url)
    upgrade(database)
    harness = JournalHarness(database)
    harness.execute(harness.fund("ada", 10_000, key="fund-1"), harness.fund("ben", 10_000, key="fund-2"))
    sold, declined, in_flight = (harness.pay(key=key) for key in ("sold", "declined", "in_flight"))
    harness.execute(sold, declined, in_flight)
    harness.answer(sold, delivered(cost_minor=980))
    harness.answer(declined, Declined("no", about_transaction=True))
    harness.execute(harness.claim(declined))
    harness.claim_work(in_flight)
    harness.journal.bind_environment(Mode.TEST)
    yield harness
    database.close()


def run_raw_sql(harness: JournalHarness, sql: str) -> None:
    """Run SQL through a separate connection without billvend's settings."""
    url = harness.database.url
    if harness.database.is_sqlite:
        with closing(sqlite3.connect(str(url.database))) as connection:
            connection.execute("PRAGMA foreign_keys = ON")
            assert connection.execute("PRAGMA recursive_triggers").fetchone() == (0,)
            with connection:
                connection.execute(sql)
    else:
        with psycopg.connect(
            url.set(drivername="postgresql").render_as_string(hide_password=False)
        ) as connection:
            connection.execute(sql)


def assert_rejected(harness: JournalHarness, sql: str, because: str) -> None:
    before = harness.all_rows()
    with pytest.raises(REJECTIONS, match=because):
        run_raw_sql(harness, sql)
    assert harness.all_rows() == before
    assert harness.audit().ok


EVENT = "user_id, stream, seq, type, at, command_key, data, prev_seq, prev_hash, hash"
LAST = "(SELECT max(seq) FROM events WHERE user_id = 'ada' AND stream = 'wallet:NGN')"
TRANSFER = "user_id, stream, seq, leg, transaction_id, source, target, amount_minor, currency, at"
SOLD = "(SELECT transaction_id FROM transactions WHERE key = 'sold')"
UNDER_WAY = "(SELECT transaction_id FROM transactions WHERE key = 'in_flight')"


def event(*, stream: str = "stream", seq: str, prev_seq: str, prev_hash: str = "hash") -> str:
    """Another event in ada's wallet, copied from the first."""
    return (
        f"INSERT INTO events ({EVENT}) SELECT user_id, {stream}, {seq}, type, at, command_key, data, {prev_seq}, "
        f"{prev_hash}, 'made-up' FROM events WHERE user_id = 'ada' AND stream = 'wallet:NGN' AND seq = 1"
    )


def transfer(**changed: str) -> str:
    """Another transfer, copied from that of ada's funding."""
    columns = [changed.get(name, name) for name in TRANSFER.split(", ")]
    return (
        f"INSERT INTO transfers ({TRANSFER}) SELECT {', '.join(columns)} FROM transfers "
        "WHERE user_id = 'ada' AND stream = 'wallet:NGN' AND seq = 1"
    )


def copied(table: str, where: str, **changed: str) -> str:
    """Another row, copied from an existing one."""
    names = [column.name for column in metadata.tables[table].columns]
    columns = [changed.get(name, name) for name in names]
    return f"INSERT INTO {table} ({', '.join(names)}) SELECT {', '.join(columns)} FROM {table} WHERE {where}"


def resolution(kind: str, proof: str, of: str = UNDER_WAY) -> str:
    return (
        "INSERT INTO resolutions (user_id, transaction_id, kind, proof, at) "
        f"SELECT 'ada', {of}, {kind}, {proof}, at FROM resolutions LIMIT 1"
    )


A_FUNDING, A_PAYMENT = "key = 'fund-1'", "key = 'sold'"
ALREADY_EXISTS = "UNIQUE constraint failed|_pkey"

BROKEN_PROMISES = {
    "a balance is never negative": ("UPDATE wallets SET balance_minor = -1", "wallet_never_negative"),
    "a new balance is never negative": (
        copied("wallets", "user_id = 'ada'", user_id="'cleo'", balance_minor="-1"),
        "wallet_never_negative",
    ),
    "one wallet a user and currency": (copied("wallets", "user_id = 'ada'"), ALREADY_EXISTS),
    "one effect a key": (copied("commands", "key = 'sold'", transaction_id="'another'"), ALREADY_EXISTS),
    "one row a transaction": (copied("transactions", A_PAYMENT), ALREADY_EXISTS),
    "one row an attempt number": (
        copied("attempts", f"transaction_id = {SOLD}", reference="'another'"),
        ALREADY_EXISTS,
    ),
    "one attempt a reference": (
        copied("attempts", f"transaction_id = {SOLD}", attempt="2"),
        "UNIQUE constraint failed: attempts.user_id, attempts.provider|reference_once",
    ),
    "a reference is not moved to another attempt": (
        f"UPDATE attempts SET reference = (SELECT reference FROM attempts WHERE transaction_id = {SOLD})",
        "UNIQUE constraint failed: attempts.user_id, attempts.provider|reference_once",
    ),
    "no attempt of nothing": (
        copied("attempts", f"transaction_id = {SOLD}", transaction_id="'unknown'", reference="'another'"),
        "FOREIGN KEY constraint failed|attempt_of_payment",
    ),
    "a funding reference counts once": (
        copied("transactions", A_FUNDING, transaction_id="'another'"),
        "UNIQUE constraint failed: transactions.user_id, transactions.source|funding_reference_once",
    ),
    "one end a payment": (resolution("'completed'", "NULL", of=SOLD), ALREADY_EXISTS),
    "no other end": (resolution("'reversed'", "'declined'", of=SOLD), ALREADY_EXISTS),
    "no reversal without a proof": (resolution("'reversed'", "NULL"), "reversal_has_proof"),
    "no proof but the known ones": (resolution("'reversed'", "'old_age'"), "reversal_has_proof"),
    "no proof of a completion": (resolution("'completed'", "'declined'"), "reversal_has_proof"),
    "no end but the two": (resolution("'forgotten'", "NULL"), "reversal_has_proof"),
    "no end of nothing": (
        resolution("'completed'", "NULL", of="'unknown'"),
        "FOREIGN KEY constraint failed|resolution_of_payment",
    ),
    "an event has one number": (event(seq="seq", prev_seq="prev_seq", prev_hash="prev_hash"), ALREADY_EXISTS),
    "no gap before an event": (
        event(seq=f"{LAST} + 2", prev_seq=f"{LAST} + 1"),
        "event_follows_event|FOREIGN KEY",
    ),
    "no gap run_raw_sql what it follows": (event(seq=f"{LAST} + 2", prev_seq=LAST), "event_without_gap"),
    "no later event that follows nothing": (event(seq=f"{LAST} + 1", prev_seq="NULL"), "event_without_gap"),
    "no event that follows a later one": (
        event(seq=f"{LAST} + 1", prev_seq=f"{LAST} + 1"),
        "event_without_gap",
    ),
    "no stream without its first event": (
        event(stream="'new'", seq="2", prev_seq="1"),
        "event_follows_event|FOREIGN KEY",
    ),
    "no first event that follows another": (
        event(stream="'new'", seq="1", prev_seq="0"),
        "event_without_gap",
    ),
    "no first event with a chain before it": (
        event(stream="'new'", seq="1", prev_seq="NULL", prev_hash="'x'"),
        "event_without_gap",
    ),
    "no event before the first": (event(stream="'new'", seq="0", prev_seq="NULL"), "event_without_gap"),
    "no transfer of nothing": (transfer(leg="7", amount_minor="0"), "transfer_amount"),
    "no transfer backwards": (transfer(leg="7", amount_minor="-1"), "transfer_amount"),
    "no transfer from an account to itself": (
        transfer(leg="7", source="target"),
        "transfer_between_accounts",
    ),
    "no transfer without its event": (transfer(seq="99"), "FOREIGN KEY constraint failed|transfer_of_event"),
    "a transfer is made once": (transfer(), ALREADY_EXISTS),
    "no status but the known ones": (
        f"UPDATE transactions SET status = 'lost' WHERE {A_PAYMENT}",
        "transaction_status",
    ),
    "no type but the two": (
        f"UPDATE transactions SET type = 'gift', reference = '' WHERE {A_PAYMENT}",
        "transaction_type",
    ),
    "no payment of nothing": ("UPDATE transactions SET amount_minor = 0", "transaction_amount"),
    "no negative payment": ("UPDATE transactions SET amount_minor = -1", "transaction_amount"),
    "no payment without a meter": (
        f"UPDATE transactions SET meter = NULL WHERE {A_PAYMENT}",
        "payment_has_meter_and_seq",
    ),
    "no payment without its stream": (
        f"UPDATE transactions SET seq = NULL WHERE {A_PAYMENT}",
        "payment_has_meter_and_seq",
    ),
    "no funding without a reference": (
        f"UPDATE transactions SET reference = NULL WHERE {A_FUNDING}",
        "funding_has_reference",
    ),
    "no transaction disappears under its attempts": (
        f"DELETE FROM transactions WHERE {A_PAYMENT}",
        "FOREIGN KEY constraint failed|of_payment",
    ),
    "no second environment": ("INSERT INTO environment (id, mode) VALUES (2, 'live')", "one_environment"),
    "no other environment": (
        "INSERT INTO environment (id, mode) VALUES (1, 'live')",
        "UNIQUE constraint failed|environment_pkey",
    ),
    "no environment but the two": ("UPDATE environment SET mode = 'maybe'", "environment_mode"),
}


@pytest.mark.parametrize("promise", BROKEN_PROMISES)
def test_database_rejects_broken_promise(harness: JournalHarness, promise: str) -> None:
    assert_rejected(harness, *BROKEN_PROMISES[promise])


# --- append-only ------------------------------------------------------------------------------------------------------

KEYS = {table.name: [column.name for column in table.primary_key] for table in APPEND_ONLY}
OTHER_KEYS = {
    "events": {"stream": "'new'", "seq": "1", "prev_seq": "NULL", "prev_hash": "''"},
    "transfers": {"leg": "7"},
    "resolutions": {"transaction_id": UNDER_WAY},
    "commands": {"key": "'another'"},
}
"""What makes the key of a copied row another, valid one."""


def _replace_by_row_number(table: str) -> str:
    """A valid row of another key, in the place of an existing one."""
    names = [column.name for column in metadata.tables[table].columns]
    selected = [OTHER_KEYS[table].get(name, name) for name in names]
    return (
        f"INSERT OR REPLACE INTO {table} (rowid, {', '.join(names)}) "
        f"SELECT rowid, {', '.join(selected)} FROM {table} ORDER BY rowid DESC LIMIT 1"
    )


def _upsert(table: str) -> str:
    copy = copied(table, "user_id = 'ada'")
    return f"{copy} ON CONFLICT ({', '.join(KEYS[table])}) DO UPDATE SET at = excluded.at"


def _merge(table: str) -> str:
    same = " AND ".join(f"old.{key} = new.{key}" for key in KEYS[table])
    return f"MERGE INTO {table} old USING {table} new ON {same} WHEN MATCHED THEN DELETE"


ATTACKS: dict[str, Callable[[str], str]] = {
    "update": "UPDATE {} SET at = at".format,
    "delete": "DELETE FROM {}".format,
    "upsert": _upsert,
}
ATTACKS_ON = {
    "file": {
        "replace": lambda table: copied(table, "user_id = 'ada'").replace("INSERT", "INSERT OR REPLACE", 1),
        "replace by row number": _replace_by_row_number,
        "update or replace": "UPDATE OR REPLACE {} SET user_id = 'ben'".format,
        "update or ignore": "UPDATE OR IGNORE {} SET at = 'never'".format,
    },
    "postgres": {"truncate": "TRUNCATE {} CASCADE".format, "merge": _merge},
}


@pytest.mark.parametrize("table", KEYS)
def test_append_only_tables_reject_changes_and_deletions(harness: JournalHarness, table: str) -> None:
    own = ATTACKS_ON["file" if harness.database.is_sqlite else "postgres"]
    for attack in (ATTACKS | own).values():
        assert_rejected(harness, attack(table), "append-only|no column named rowid")


# --- by user ----------------------------------------------------------------------------------------------------------

WITHOUT_USER = {
    "environment": "says of the whole database whether its money is real: one row, for ever",
    "provider_accounts": "says how each provider account is, for everybody: a handful of rows",
    "api_keys": "says who may use the API, for everybody: a handful of rows",
    "disabled_endpoints": "says which webhooks are switched off: a handful of rows",
    "alembic_version": "says of the whole database which version its tables have",
}


def test_every_unique_key_starts_with_the_user(harness: JournalHarness) -> None:
    """So that the tables can be sharded by user, with each write on one shard."""
    inspector = sa.inspect(harness.database.engine)
    tables = set(inspector.get_table_names())
    assert tables == {*metadata.tables, "alembic_version"}
    for table in tables - set(WITHOUT_USER):
        keys = [inspector.get_pk_constraint(table)["constrained_columns"]]
        keys += [unique["column_names"] for unique in inspector.get_unique_constraints(table)]
        keys += [
            [str(name) for name in index["column_names"]]
            for index in inspector.get_indexes(table)
            if index["unique"]
        ]
        assert keys[0]
        assert [key for key in keys if key[0] != "user_id"] == [], table
        for foreign in inspector.get_foreign_keys(table):
            assert foreign["constrained_columns"][0] == foreign["referred_columns"][0] == "user_id"


@pytest.mark.parametrize("harness", [POSTGRES], indirect=True)
def test_names_are_compared_byte_by_byte_on_postgresql(harness: JournalHarness) -> None:
    """The journal locks rows, and the audit reads them, in the order in which Python and SQLite sort names."""
    collations = harness.rows(
        "SELECT table_name, column_name, collation_name FROM information_schema.columns"
        " WHERE table_schema = 'public' AND table_name <> 'alembic_version' AND column_name IN"
        " ('user_id', 'stream', 'transaction_id', 'currency', 'key', 'operation', 'reference', 'provider', 'account')"
    )
    keys = {(table.name, column.name) for table in metadata.sorted_tables for column in table.primary_key}
    other = {(table, column) for table, column, collation in collations if collation != "C"}
    assert len(collations) > 20
    assert other & keys == set()
