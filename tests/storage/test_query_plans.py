"""How the database runs billvend's queries: by an index, however full the tables are, and in as few statements as
possible."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from benchmarks.databases import prepare_shop
from billvend import Bill, Billvend, Payment, open_billvend
from billvend.adapters.storage.database import Database
from billvend.adapters.storage.tables import (
    attempts,
    commands,
    delivery_attempts,
    deposits,
    events,
    metadata,
    outbox_messages,
    resolutions,
    transactions,
    transfers,
    wallet_emails,
    wallets,
)
from billvend.config import Settings
from billvend.domain.enums import Status
from billvend.domain.journal.events import StreamKey
from billvend.ports.queries import Search
from billvend.ports.queue import Hint
from billvend.usecases.pay import PaymentResult
from tests.storage.harness import POSTGRES, JournalHarness, expect_executed, listening, recorded_statements
from tests.support.paystack import SECRET, fake_paystack

GROWING = (
    events, transactions, attempts, resolutions, commands, transfers, outbox_messages, delivery_attempts, wallets, deposits,
    wallet_emails,
)  # fmt: skip
"""Tables that grow with sales, in an order that foreign keys allow."""
GROWING_NAMES = {table.name for table in GROWING}
SMALL_TABLES = {"provider_accounts", "api_keys", "disabled_endpoints", "environment"}
"""Tables that stay small. They may be read in any way."""

ALLOWED_FULL_SCANS: Mapping[str, str] = {
    # Words of a statement, and why it may scan a table that grows.
    "FROM events ORDER BY events.user_id, events.stream, events.seq": "the audit replays every event",
    "FROM transfers ORDER BY": "the audit holds every row against the events",
    "FROM transactions WHERE transactions.type = ? ORDER BY transactions.user_id": "the audit",
    "FROM attempts ORDER BY": "the audit",
    "FROM resolutions ORDER BY": "the audit",
    "FROM wallets ORDER BY": "the audit",
}
ALLOWED_SCANS_WITH_LIMIT: Mapping[str, str] = {
    # These read the newest rows first, by an index, until a page is full. The value says why that is soon.
    "FROM transactions WHERE transactions.type = ? ORDER BY transactions.transaction_id DESC": (
        "every wallet that is funded is there to pay from: payments are most of all"
    ),
    "FROM transactions WHERE transactions.type = ? AND transactions.status IN (?) ORDER BY transactions.transaction_id": (
        "most payments are completed; reversed ones, and those that have not ended, have other queries"
    ),
    "FROM deposits ORDER BY deposits.created_at DESC": (
        "the condition belongs to the funding of each deposit, and leaves no deposit out"
    ),
    "FROM outbox_messages WHERE outbox_messages.channel = ? ORDER BY outbox_messages.at DESC": (
        "every channel carries messages of the same events"
    ),
}
PARTIAL = {
    index.name
    for table in metadata.tables.values()
    for index in table.indexes
    if index.dialect_options["sqlite"]["where"] is not None
    if index.name not in ("transactions_by_token", "transactions_by_reference")
}
"""Indexes of work that is open or that failed. They have few rows, which may all be read."""

PLANNED_KEYWORDS = ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH")
"""How statements begin that have a plan."""
METER_CHECK_SETTINGS = {"verify_meter": True, "bill_provider_timeout": 0.3}
NOTIFICATION_SETTINGS = {
    # No server listens there. Delivery attempts fail, and are recorded all the same.
    "enable_webhooks": True,
    "webhook_url": "http://127.0.0.1:9/webhook",
    "webhook_secret": "whsec_" + "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0",
    "webhook_allow_private": True,
    "smtp_url": "smtp://127.0.0.1:9",
}

COPIES = 8_000
"""All plans cost the same on small tables. What the planner prefers here, it prefers even more on larger ones."""
STEP = timedelta(minutes=40)
"""The distance between two copies: years of business, of which the last days are a small part."""
ONE_IN_OPEN = 100
"""One payment in so many has not ended, and so on."""
PLANNING_COST = 25
"""The highest cost that PostgreSQL estimates for planning a statement again."""
MAX_ROWS = 500
"""Rows that one statement of the day may read in one table, which has many times as many. The busiest user has more, too."""


# --- a day, and years of days -----------------------------------------------------------------------------------------


def run_business_day(bv: Billvend, paid_in: Callable[[str], None]) -> Payment:
    """Do everything that the CLI, the API and the workers do in a day; returns a payment that was delivered."""
    bv.fund("ada", "5000", key="f-1")
    bv.fund("ada", "5000", key="f-1")
    first = bv.pay("ada", "500", meter="12345678901", biller="EKEDC", key="order-1")
    bv.pay("ada", "500", meter="12345678901", biller="EKEDC", key="order-1")
    without_key = bv.pay("ada", "300", meter="12345678902", biller="EKEDC")
    doubtful = bv.pay("ada", "200", meter="300000000000", biller="EKEDC", key="order-2")
    silent = bv.pay("ada", "250", meter="300000000000", biller="EKEDC", key="order-3")
    declined = bv.pay("ada", "200", meter="600000000001", biller="EKEDC", key="order-4")
    paid = bv.pay_many([Bill("ada", "100", f"{10**10 + n}", "EKEDC", key=f"b-{n}") for n in range(20)])
    assert all(isinstance(each, PaymentResult) for each in paid)
    bv.preview([bv.build_command(Bill("ada", "100", "12345678903", "EKEDC"))])
    bv.cancel(without_key.transaction_id)
    delivered = bv.wait(first.transaction_id, timeout=20)
    assert delivered.status is Status.COMPLETED
    assert bv.wait(declined.transaction_id, timeout=20).status is Status.REVERSED
    bv.wait(doubtful.transaction_id, timeout=0.5)
    assert bv.wait(silent.transaction_id, timeout=0.5).status is Status.IN_DOUBT
    bv.refresh(doubtful.transaction_id)
    bv.request_requery(doubtful)
    bv.record(doubtful.transaction_id)
    bv.settle(Hint("ada", doubtful.transaction_id))
    bv.handle_provider_webhook("sandbox", b"{}")
    swept = bv.sweep()
    assert swept.due
    _worker_day(bv, paid_in)
    _operator_day(bv, delivered)
    bv.resolve(silent.transaction_id, operator="eve", reason="the company says so", decision="reverse")
    return delivered


def _worker_day(bv: Billvend, paid_in: Callable[[str], None]) -> None:
    bv.refresh_account_status()
    deposit = bv.create_deposit("ada", "100", email="ada@example.com", key="deposit-1")
    bv.create_deposit("ada", "100", email="ada@example.com", key="deposit-1")
    bv.poll_deposits()
    bv.poll_deposits(bv.now() - timedelta(minutes=1))
    paid_in(deposit.reference)
    assert bv.check_deposit(deposit.reference).deposit.transaction_id is not None
    bv.set_email("ada", "ada@example.com")
    assert bv.deliver_notifications()


def _operator_day(bv: Billvend, payment: Payment) -> None:
    newest = payment.transaction_id
    bv.balance("ada")
    bv.history("ada")
    for search in (
        Search(user_id="ada"), Search(user_id="ada", before=newest), Search(user_id="ada", kind="payment"),
        Search(user_id="ada", currency="NGN", limit=10), Search(before=newest),
        Search(meter="12345678901"), Search(meter="12345678901", before=newest), Search(key="order-1"),
        Search(user_id="ada", key="order-1"), Search(reference=payment.attempts[0].reference),
    ):  # fmt: skip
        bv.search(search)
    for status in Status:
        bv.payments(status)
    bv.payments()
    bv.payments(Status.IN_DOUBT, Status.IN_REVIEW)
    bv.transaction(newest)
    bv.events(payment)
    bv.review()
    bv.deposits()
    (entry,) = bv.notification_history(limit=1)
    bv.notification_history(channel=None)
    bv.notification_history(failed=True)
    bv.notification_history(message_id=entry.message_id)
    bv.replay_notification(entry.message_id)
    bv.backlog()
    assert bv.health().status == "ok"
    bv.metrics()
    assert bv.audit().ok
    bv.authenticate(bv.create_api_key("harness", ["pay"]).secret)


def fill(database: Database, payment_id: str, copies: int) -> None:
    """Copy a payment, a funding and all their rows into the years before. An audit would find the copies."""
    for table in GROWING:
        whose = "stream" if "stream" in table.c else "transaction_id"
        condition = table.c.user_id == "ada"
        if table is delivery_attempts:
            message_ids = sa.select(outbox_messages.c.message_id).where(
                outbox_messages.c.transaction_id == payment_id
            )
            condition &= table.c.message_id.in_(message_ids)
        elif whose in table.c:
            condition &= table.c[whose] == payment_id
        with database.write_transaction() as connection:
            models = [dict(row) for row in connection.execute(sa.select(table).where(condition)).mappings()]
            if table is transactions:
                funding = sa.select(table).where(table.c.type == "funding").limit(1)
                models += [dict(row) for row in connection.execute(funding).mappings()]
            assert models, table.name
            rows = [_copy(model, n) for model in models for n in range(copies)]
            database.insert(connection, table, rows)


def _copy(model: Mapping[str, Any], n: int) -> dict[str, Any]:
    """Copied ids sort before those of today. Every tenth belongs to the same user."""
    row = {
        str(name): value for name, value in model.items()
    }  # not SQLAlchemy's names, which JSON does not accept
    for name in ("transaction_id", "stream", "reference", "key", "message_id"):
        if row.get(name) is not None:
            row[name] = f"00{n:06}-{row[name]}"
    for name, value in model.items():
        if name.endswith(("_at", "_until", "_before")) or name == "at":
            row[name] = None if value is None else value - timedelta(days=1) - n * STEP
    wallet = "balance_minor" in row or ("email" in row and "reference" not in row)
    row["user_id"] = f"user-{n}" if wallet or n % 10 else "ada"
    row |= {"meter": f"{10**10 + n}"} if row.get("meter") else {}
    row |= {"token": f"{n:020}"} if row.get("token") else {}
    if n % ONE_IN_OPEN == 0:
        if row.get("type") == "payment":
            row |= {"status": "in_doubt", "next_check_at": row["updated_at"]}
        if "channel" in row:
            row |= {"final_status": None, "ended_at": None, "next_attempt_at": row["at"]}
        if "problem" in row:
            row["problem"] = "another sum came"
    elif "channel" in row:
        row |= {
            "final_status": "delivered",
            "ended_at": row["at"],
            "next_attempt_at": None,
            "lease_until": None,
        }
    return row


@contextmanager
def open_full_billvend(url: str, folder: Path) -> Iterator[tuple[Billvend, Database, Callable[[str], None]]]:
    """A billvend with every optional part configured, its database, and a customer who makes a deposit."""
    with ExitStack() as stack:
        paystack, gateway = stack.enter_context(fake_paystack())
        gateway.close()
        more = {"paystack_secret_key": SECRET, "paystack_api_url": paystack.url, "rate_limit": "0"}
        options = prepare_shop(url, folder).model_dump() | METER_CHECK_SETTINGS | NOTIFICATION_SETTINGS | more
        bv = stack.enter_context(open_billvend(Settings(**options)))
        queries: Any = bv._deps.queries
        yield bv, queries._database, paystack.mark_paid


@contextmanager
def statements_with_values(engine: sa.Engine) -> Iterator[dict[str, Any]]:
    """Every statement that is sent during the block, each with its latest values."""
    found: dict[str, Any] = {}

    def listen(_c: object, _cursor: object, statement: str, values: Any, *_rest: object) -> None:
        if statement.lstrip().upper().startswith(PLANNED_KEYWORDS):
            found[statement] = values[0] if isinstance(values, list) else values

    with listening(engine, "before_cursor_execute", listen):
        yield found


def is_among(statement: str, exceptions: Mapping[str, str]) -> bool:
    plain = re.sub(r"%\(\w+\)s(::VARCHAR( COLLATE \"C\")?)?", "?", statement)
    return any(words in " ".join(plain.split()) for words in exceptions)


# --- plans ------------------------------------------------------------------------------------------------------------


def nodes(plan: dict[str, Any], *, has_end: bool = False) -> Iterator[tuple[dict[str, Any], bool]]:
    """The nodes of a PostgreSQL plan, each with whether it stops when it has enough rows."""
    has_end = has_end or plan["Node Type"] == "Limit"
    yield plan, has_end
    for part in plan.get("Plans", ()):
        yield from nodes(part, has_end=has_end and plan["Node Type"] not in ("Sort", "Aggregate", "Hash"))


def scans(plan: dict[str, Any], *, until_enough: bool) -> Iterator[str]:
    """The growing tables that a plan scans completely."""
    by_index = {"Index Scan", "Index Only Scan", "Bitmap Heap Scan"}
    for node, has_end in nodes(plan):
        if node.get("Relation Name") not in GROWING_NAMES or node["Node Type"] == "ModifyTable":
            continue
        finds = "Index Cond" in node or "Recheck Cond" in node or node.get("Index Name") in PARTIAL
        first_ones = has_end and (until_enough or "Filter" not in node)
        if node["Node Type"] not in by_index or not (finds or first_ones):
            yield f"{node['Node Type']} of {node['Relation Name']}"


def rows_read(plan: dict[str, Any]) -> Iterator[str]:
    """The rows that a plan read, where that is more than the limit."""
    for node, _ in nodes(plan):
        read = sum(
            node.get(name, 0)
            for name in ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Index Recheck")
        )
        if node.get("Relation Name") in GROWING_NAMES and read * node["Actual Loops"] > MAX_ROWS:
            yield f"{read * node['Actual Loops']:,.0f} rows of {node['Relation Name']}"


def with_numbered_parameters(statement: str) -> str:
    """A statement with its parameters as the server names them."""
    places: dict[str, int] = {}

    def place(match: re.Match[str]) -> str:
        return f"${places.setdefault(match[1], len(places) + 1)}"

    return re.sub(r"%\((\w+)\)s", place, statement)


def explain(connection: sa.Connection, options: str, statement: str, values: Any) -> dict[str, Any]:
    with connection.begin_nested() as savepoint:
        explain = f"EXPLAIN ({options}, FORMAT JSON) {statement}"
        found = connection.exec_driver_sql(explain, values).scalar()
        savepoint.rollback()
    plans = found if isinstance(found, list) else json.loads(str(found))
    plan: dict[str, Any] = plans[0]["Plan"]
    return plan


def test_every_table_is_listed_as_growing_or_small() -> None:
    assert set(metadata.tables) == GROWING_NAMES | SMALL_TABLES


def test_postgresql_plans_never_scan_growing_tables(postgres_url: str, tmp_path: Path) -> None:
    """With the plan that the planner chooses, for these values and for any, few rows are read to find the result."""
    found: list[str] = []
    with open_full_billvend(postgres_url, tmp_path) as (bv, database, paid_in):
        with statements_with_values(database.engine) as statement_values:
            payment = run_business_day(bv, paid_in)
        fill(database, payment.transaction_id, COPIES)
        with database.engine.connect() as connection:
            connection.exec_driver_sql("ANALYZE")
            version = connection.dialect.server_version_info or (0,)
            for statement, values in statement_values.items():
                if is_among(statement, ALLOWED_FULL_SCANS):
                    continue
                ways = {"for these values": explain(connection, "COSTS", statement, values)}
                if version >= (16,):
                    # PostgreSQL plans a statement that a connection sends often once for all values, unless that seems
                    # more expensive.
                    plan = explain(connection, "GENERIC_PLAN", with_numbered_parameters(statement), None)
                    if plan["Total Cost"] <= ways["for these values"]["Total Cost"] + PLANNING_COST:
                        ways["for any values"] = plan
                until_enough = is_among(statement, ALLOWED_SCANS_WITH_LIMIT)
                for way, plan in ways.items():
                    found += [
                        f"{scan}, {way}: {statement}" for scan in scans(plan, until_enough=until_enough)
                    ]
                if statement.startswith("SELECT"):  # statements that write begin with WITH
                    plan = explain(connection, "ANALYZE, TIMING OFF", statement, values)
                    found += [f"{read}: {statement}" for read in rows_read(plan)]
            connection.rollback()
    assert len(statement_values) > 60
    assert found == [], "\n\n".join(found)


def test_sqlite_plans_never_scan_growing_tables(tmp_path: Path) -> None:
    """SQLite chooses its plan without knowing how full a table is, so the tables need no rows."""
    found: list[str] = []
    with open_full_billvend(f"sqlite:///{tmp_path / 'shop.db'}", tmp_path) as (bv, database, paid_in):
        with statements_with_values(database.engine) as statement_values:
            run_business_day(bv, paid_in)
        with database.engine.connect() as connection:
            for statement, values in statement_values.items():
                if is_among(statement, ALLOWED_FULL_SCANS):
                    continue
                plan = [
                    row[3].split()
                    for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)
                ]
                has_end = "LIMIT" in statement and ["USE", "TEMP", "B-TREE", "FOR", "ORDER", "BY"] not in plan
                for words in plan:
                    first_ones = has_end and (
                        "WHERE" not in statement or is_among(statement, ALLOWED_SCANS_WITH_LIMIT)
                    )
                    if (
                        words[0] == "SCAN"
                        and words[1] in GROWING_NAMES
                        and not (first_ones or words[-1] in PARTIAL)
                    ):
                        found.append(f"{' '.join(words)}: {statement}")
            connection.rollback()
    assert len(statement_values) > 60
    assert found == [], "\n\n".join(found)


# --- statements -------------------------------------------------------------------------------------------------------


def test_queries_need_constant_number_of_statements(harness: JournalHarness) -> None:
    harness.add_funds(minor=1_000_000)
    counts: list[int] = []
    for size in (1, 10, 100):
        pays = [harness.pay(minor=1) for _ in range(size)]
        expect_executed(harness.execute(*pays))
        with recorded_statements(harness.database) as seen:
            assert len(harness.queries.search(Search(user_id="ada", kind="payment", limit=size))) == size
            assert (
                len(harness.queries.payments([StreamKey("ada", pay.transaction_id) for pay in pays])) == size
            )
        counts.append(len(seen))
    assert counts == [counts[0]] * 3


@pytest.mark.parametrize("database", [POSTGRES, "file"])
def test_pay_many_needs_constant_number_of_statements(
    database: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    is_file = database == "file"
    url = f"sqlite:///{tmp_path / 'shop.db'}" if is_file else request.getfixturevalue("postgres_url")
    counts = []
    with open_billvend(prepare_shop(url, tmp_path)) as bv:
        bv.fund("ada", "100000")
        queries: Any = bv._deps.queries
        for size in (1, 10, 200):
            bills = [Bill("ada", "1", f"{10**10 + n}", "EKEDC", key=f"{size}-{n}") for n in range(size)]
            with recorded_statements(queries._database) as seen:
                bv.pay_many(bills)
                bv.pay_many(bills)
            counts.append(len(seen))
    assert counts[0] == counts[1] == counts[2] > 0
