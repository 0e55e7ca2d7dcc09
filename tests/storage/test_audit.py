"""The audit finds every change that was made to the tables without the journal."""

import random
import re
import tracemalloc

import pytest
import sqlalchemy as sa

from billvend.adapters.storage import tables
from billvend.adapters.storage.rows import changed_rows
from billvend.domain.decisions.commands import Command, Executed, Pay, ProviderCall
from billvend.domain.decisions.decider import Snapshot, decide
from billvend.domain.enums import VendType
from billvend.domain.outcome import Unknown
from billvend.ports.queries import AuditReport
from tests.storage.harness import ANSWERS, NOTHING_DELIVERED, NOW, SHARED_DATABASES, JournalHarness, delivered


def write_history(harness: JournalHarness) -> None:
    """A bit of everything, for two users. Payments are identified by their keys."""
    harness.execute(harness.fund("ada", 10_000, key="fund-1"), harness.fund("ben", 20_000, key="fund-2"))
    harness.execute(
        harness.fund("ada", 30_000, key="fund-3"), harness.fund("ada", 500, key="fund-4", currency="KES")
    )
    sold, declined, in_doubt, fresh = (
        harness.pay(key=key) for key in ("sold", "declined", "in_doubt", "fresh")
    )
    others = harness.pay("ben", key="others")
    harness.execute(sold, declined, in_doubt, fresh, others)
    harness.advance(1)
    harness.answer(sold, delivered(cost_minor=980))
    harness.answer(declined, NOTHING_DELIVERED)
    harness.execute(harness.claim(declined))
    harness.answer(in_doubt, Unknown("no answer"))
    harness.answer(others, delivered("22222222222222222222"))


@pytest.fixture
def harness(harness: JournalHarness) -> JournalHarness:
    write_history(harness)
    assert harness.audit() == AuditReport(events=28, wallets=3, payments=5, transfers=13)
    return harness


on_disk = pytest.mark.parametrize("harness", SHARED_DATABASES, indirect=True)


def tamper(harness: JournalHarness, *statements: str) -> None:
    """Change the tables as the owner of the database can: without triggers and constraints."""
    raw = harness.database.engine.raw_connection()
    cursor = raw.cursor()
    if harness.database.is_sqlite:
        cursor.execute("PRAGMA foreign_keys = OFF")
        cursor.execute("PRAGMA ignore_check_constraints = ON")
        triggers = cursor.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for (trigger,) in triggers:
            cursor.execute(f"DROP TRIGGER {trigger}")
    else:
        cursor.execute("SET LOCAL session_replication_role = replica")
    for statement in statements:
        cursor.execute(statement)
        assert cursor.rowcount > 0, f"nothing to tamper with: {statement}"
    raw.commit()
    cursor.close()
    raw.close()


def found_by_audit(harness: JournalHarness) -> list[str]:
    audit = harness.audit()
    assert audit.ok is (audit.differences == [])
    return audit.differences


# --- one thing wrong --------------------------------------------------------------------------------------------------

SOLD = "(SELECT transaction_id FROM transactions WHERE key = 'sold')"
FRESH = "(SELECT transaction_id FROM transactions WHERE key = 'fresh')"
FUNDING = "user_id = 'ada' AND stream = 'wallet:NGN' AND seq = 1"

EVENTS_CHANGED = {
    "another amount": (
        "UPDATE events SET data = replace(data, '10000', '10001') WHERE " + FUNDING,
        "event 1 was changed",
    ),
    "another token": (
        f"UPDATE events SET data = replace(data, '1234567890', '1234567891') WHERE stream = {SOLD}",
        "was changed: its hash does not match",
    ),
    "another command": ("UPDATE events SET command_key = 'another' WHERE " + FUNDING, "event 1 was changed"),
    "another kind": (f"UPDATE events SET type = 'WalletReleased' WHERE {FUNDING}", "event 1 was changed"),
    "an unknown kind": (f"UPDATE events SET type = 'WalletLost' WHERE {FUNDING}", "can't be replayed"),
    "no JSON": (f"UPDATE events SET data = 'oops' WHERE {FUNDING}", "can't be replayed"),
    "other JSON": (f"UPDATE events SET data = '[]' WHERE {FUNDING}", "can't be replayed"),
    "another user": (f"UPDATE events SET user_id = 'cleo' WHERE stream = {SOLD}", "cleo .*was changed"),
    "the first event deleted": (f"DELETE FROM events WHERE {FUNDING}", "event 2 does not follow event 0"),
    "the last event deleted": (
        f"DELETE FROM events WHERE stream = {SOLD} AND type = 'PaymentCompleted'",
        "resolutions: a row that no event makes",
    ),
    "the last event deleted where there are no transfers": (
        "DELETE FROM events WHERE stream IN (SELECT transaction_id FROM transactions WHERE key = 'in_doubt') AND seq = 4",
        "transactions.status: 'in_doubt' where the events say 'processing'",
    ),
    "an event in the middle deleted": (
        f"DELETE FROM events WHERE stream = {SOLD} AND seq = 2",
        "event 3 does not follow event 1",
    ),
    "all events of a payment deleted": (
        f"DELETE FROM events WHERE stream = {SOLD}",
        "transactions: a row that no event makes",
    ),
    "all events of a wallet deleted": (
        "DELETE FROM events WHERE stream = 'wallet:KES'",
        "ada wallet:KES: wallets: a row that no event makes",
    ),
    "hashes swapped": (
        (
            "UPDATE events SET hash = (SELECT other.hash FROM events other WHERE other.user_id = 'ada'"
            " AND other.stream = 'wallet:NGN' AND other.seq = 3 - events.seq)"
            " WHERE user_id = 'ada' AND stream = 'wallet:NGN' AND seq IN (1, 2)"
        ),
        "event 1 was changed",
    ),
    "a made-up previous hash": (
        f"UPDATE events SET prev_hash = 'made-up' WHERE stream = {SOLD} AND seq = 3",
        "event 3 does not follow event 2",
    ),
}

TRANSFER = "user_id, stream, seq, leg, transaction_id, source, target, amount_minor, currency, at"
ROWS_CHANGED = {
    "a balance": (
        "UPDATE wallets SET balance_minor = balance_minor + 1 WHERE user_id = 'ben'",
        "wallets.balance_minor",
    ),
    "a wallet missing": ("DELETE FROM wallets WHERE currency = 'KES'", "wallets: no row"),
    "a wallet too many": (
        (
            "INSERT INTO wallets SELECT 'cleo', currency, balance_minor, seq, hash, updated_at FROM wallets"
            " WHERE user_id = 'ben'"
        ),
        "cleo wallet:NGN: wallets: a row that no event makes",
    ),
    "a transfer missing": (
        f"DELETE FROM transfers WHERE {FUNDING}",
        "transfers, seq 1, leg 0: no row",
    ),
    "the last transfer missing": (
        f"DELETE FROM transfers WHERE stream = {SOLD}",
        "transfers, seq ., leg 0: no row",
    ),
    "a transfer too many": (
        (
            f"INSERT INTO transfers ({TRANSFER}) SELECT user_id, stream, 4, 7, transaction_id, source, target,"
            f" 5, currency, at FROM transfers WHERE stream = {SOLD} AND leg = 0"
        ),
        "transfers, seq 4, leg 7: a row that no event makes",
    ),
    "transfers of an unknown user": (
        (
            f"INSERT INTO transfers ({TRANSFER}) SELECT 'zoe', stream, seq, leg, transaction_id, source, target,"
            f" 5, currency, at FROM transfers WHERE {FUNDING}"
        ),
        "zoe wallet:NGN: transfers, seq 1, leg 0: a row that no event makes",
    ),
    "a funding missing": ("DELETE FROM transactions WHERE key = 'fund-1'", "ada wallet:NGN: transactions"),
    "the last funding missing": (
        "DELETE FROM transactions WHERE key = 'fund-4'",
        "ada wallet:KES: transactions, seq 1: no row",
    ),
    "a funding too many": (
        (
            "INSERT INTO transactions (user_id, transaction_id, type, status, amount_minor, currency, created_at, updated_at,"
            " reference, seq) SELECT 'ada', 'x', type, status, 5, currency, created_at, updated_at, 'x', 99 FROM transactions"
            " WHERE key = 'fund-1'"
        ),
        "ada wallet:NGN: transactions, seq 99: a row that no event makes",
    ),
    "a funding of an unknown user": (
        "UPDATE transactions SET user_id = 'zoe' WHERE key = 'fund-1'",
        "zoe .*a row that no event makes",
    ),
    "two fundings swapped": (
        "UPDATE transactions SET amount_minor = 40000 - amount_minor WHERE key IN ('fund-1', 'fund-3')",
        "transactions.amount_minor, seq 1: 30000 where the events say 10000",
    ),
    "a payment row missing": ("DELETE FROM transactions WHERE key = 'sold'", "transactions: no row"),
    "a payment row without events": (
        (
            "INSERT INTO transactions (user_id, transaction_id, type, status, amount_minor, currency, created_at, updated_at,"
            " meter, seq) SELECT user_id, 'x', type, status, 5, currency, created_at, updated_at, meter, seq"
            " FROM transactions WHERE key = 'sold'"
        ),
        "ada x: transactions: a row that no event makes",
    ),
    "an attempt missing": (
        f"DELETE FROM attempts WHERE transaction_id = {SOLD}",
        "attempts, attempt 1: no row",
    ),
    "an attempt too many": (
        (
            "INSERT INTO attempts SELECT user_id, transaction_id, 2, 'x', provider, account, started_at, send_before,"
            f" valid_until, sends, requeries, answers FROM attempts WHERE transaction_id = {SOLD}"
        ),
        "attempts, attempt 2: a row that no event makes",
    ),
    "an attempt without a payment": (
        "UPDATE attempts SET transaction_id = 'x'||transaction_id",
        "attempts, attempt 1: a row that no event makes",
    ),
    "a resolution missing": (f"DELETE FROM resolutions WHERE transaction_id = {SOLD}", "resolutions: no row"),
    "a resolution too many": (
        (
            f"INSERT INTO resolutions SELECT user_id, {FRESH}, kind, proof, reason, at FROM resolutions"
            f" WHERE transaction_id = {SOLD}"
        ),
        "resolutions: a row that no event makes",
    ),
    "a resolution of an unknown user": (
        "UPDATE resolutions SET user_id = 'zoe'",
        "zoe .*resolutions: a row that no event makes",
    ),
}


@on_disk
@pytest.mark.parametrize("what", [*EVENTS_CHANGED, *ROWS_CHANGED])
def test_audit_finds_tampering(harness: JournalHarness, what: str) -> None:
    statement, complaint = (EVENTS_CHANGED | ROWS_CHANGED)[what]
    tamper(harness, statement)
    found = found_by_audit(harness)
    assert any(re.search(complaint, each) for each in found), found


NOT_FOLDED = {
    ("transactions", "next_check_at"): "a hint of when to look, not of what is true",
    ("transactions", "last_hint_at"): "a hint",
    ("wallets", "updated_at"): "for people, who look at rows",
}
FOLDED = [
    (table.name, column.name)
    for table in (tables.wallets, tables.transfers, tables.transactions, tables.attempts, tables.resolutions)
    for column in table.columns
    if (table.name, column.name) not in NOT_FOLDED
]


@pytest.mark.parametrize("harness", ["memory"], indirect=True)
@pytest.mark.parametrize(("table", "column"), FOLDED)
def test_audit_checks_every_column(harness: JournalHarness, table: str, column: str) -> None:
    """Change each column of every row in turn, where the constraints of the column allow it."""
    keys = [key.name for key in tables.metadata.tables[table].primary_key]
    rows = harness.rows(f"SELECT {column}, {', '.join(keys)} FROM {table}")
    tamper(harness)
    for before, *key in rows:
        after = _another(before, table, column)
        which = dict(zip(keys, key, strict=True))
        _set(harness, table, column, after, which)
        assert found_by_audit(harness), f"{table}.{column} of {key}: {before!r} became {after!r}"
        _set(harness, table, column, before, which | {column: after} if column in which else which)
    assert found_by_audit(harness) == []


def _another(value: object, table: str, column: str) -> object:
    kind = tables.metadata.tables[table].c[column].type
    if isinstance(kind, sa.DateTime):
        return str(value or NOW.isoformat()).replace("2026", "2027")
    return 1_000 + int(str(value or 0)) if isinstance(kind, sa.Integer) else f"{value or ''}x"


def _set(harness: JournalHarness, table: str, column: str, value: object, which: dict[str, object]) -> None:
    where = " AND ".join(f"{name} = :was_{name}" for name in which)
    was = {f"was_{name}": before for name, before in which.items()}
    harness.run(f"UPDATE {table} SET {column} = :value WHERE {where}", value=value, **was)


@on_disk
def test_audit_finds_payment_deleted_with_all_its_rows(harness: JournalHarness) -> None:
    """Only the hold in the wallet is left of it."""
    of = "(SELECT transaction_id FROM transactions WHERE key = 'fresh')"
    tamper(harness, f"DELETE FROM events WHERE stream = {of}", "DELETE FROM transactions WHERE key = 'fresh'")
    assert found_by_audit(harness) == [
        "ada in_flight:NGN: 1000 minor units more are held than the open payments need"
    ]


def test_audit_lists_first_differences_and_counts_the_rest(harness: JournalHarness) -> None:
    harness.execute(*(harness.fund("cleo", 1) for _ in range(150)))
    harness.execute(*(harness.fund(f"user{number:03}", 1) for number in range(150)))
    tamper(harness, "UPDATE transfers SET amount_minor = 2 WHERE amount_minor = 1")
    audit = harness.audit()
    assert (len(audit.differences), audit.unlisted_differences) == (100, 200)
    assert audit.events == 328


# --- nothing wrong ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_audit_passes_after_random_history(harness: JournalHarness, seed: int) -> None:
    dice = random.Random(seed)  # noqa: S311
    users = ["ada", "ben", "ZOE", "Émile", "😀"]
    harness.execute(*(harness.fund(user, 50_000) for user in users))
    pays = [
        harness.pay(user, dice.randint(1, 9) * 100, vend_type=dice.choice(list(VendType)))
        for user in users * 3
    ]
    harness.execute(*pays)
    open_calls: list[tuple[Pay, ProviderCall]] = []
    for _ in range(40):
        harness.advance(dice.choice([0, 1, 30, 61, 3_600, 90_000]))
        commands: list[Command] = []
        for pay in dice.sample(pays, 4):
            commands += [harness.request_requery(pay)] * (dice.random() < 0.5)
            commands += [harness.claim(pay)]
            commands += [harness.cancel(pay)] * (dice.random() < 0.1)
        for pay, work in dice.sample(open_calls, min(4, len(open_calls))):
            commands.append(harness.report(pay, work, dice.choice(ANSWERS)))
        by_id = {pay.transaction_id: pay for pay in pays}
        open_calls += [
            (by_id[result.result.transaction_id], result.result.provider_call)
            for result in harness.execute(*commands)
            if isinstance(result, Executed) and result.result.provider_call is not None
        ]
    audit = harness.audit()
    assert (audit.differences, audit.unlisted_differences) == ([], 0)
    assert audit.events == harness.rows("SELECT count(*) FROM events")[0][0]
    assert audit.transfers == harness.rows("SELECT count(*) FROM transfers")[0][0]


# --- memory -----------------------------------------------------------------------------------------------------------


@on_disk
def test_audit_of_long_history_uses_little_memory(harness: JournalHarness) -> None:
    """Events, transfers, transactions: thirteen thousand rows. In memory they would take about twenty megabytes."""
    _fill(harness, fundings=2_000, payments=1_500)
    tracemalloc.start()
    try:
        audit = harness.audit()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (audit.differences, audit.events) == ([], 5_028)
    assert peak < 6 << 20, f"{peak >> 10} KiB"


def _fill(harness: JournalHarness, *, fundings: int, payments: int) -> None:
    """A history as the journal would write it, written faster."""
    commands: list[Command] = [harness.fund("cleo", 1_000_000) for _ in range(fundings)]
    commands += [harness.pay("cleo", 100) for _ in range(payments)]
    changes, results = decide(Snapshot(), commands)
    assert len(changes.results) == len(results)
    with harness.database.write_transaction() as connection:
        harness.database.write(connection, changed_rows(Snapshot(), changes, (), None))
