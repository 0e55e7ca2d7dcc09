"""How the database finds what billvend asks for: by an index, whatever is on the books already."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from billvend import Bill, Billvend, open_billvend
from billvend.adapters.storage.tables import metadata
from billvend.bench.places import shop
from billvend.domain.words import Status
from billvend.ports.books import Search
from billvend.usecases.pay import Paid

MORE = """
INSERT INTO transactions
    (user_id, transaction_id, type, status, amount_minor, currency, created_at, updated_at, source, reference)
SELECT 'u-' || n, 't-' || n, 'funding', 'completed', 1, 'NGN', now(), now(), 'manual', 'r-' || n
FROM generate_series(1, 5000) n;
ANALYZE transactions
"""
"""In a table of a few rows all ways are equally short."""
ASKS = {"verify_meter": True, "bill_provider_timeout": 0.3}
WORDS = ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH")
"""How statements begin that have a plan."""
GROWING = {
    "attempts", "commands", "deliveries", "events", "funding_intents", "outbox", "resolutions", "transactions",
    "transfers", "wallets",
}  # fmt: skip
"""Tables that grow with what is sold. The others have a handful of rows."""


@contextmanager
def heard(engine: sa.Engine) -> Iterator[dict[str, Any]]:
    """Every statement that is sent meanwhile, each with the values that it was last sent with."""
    statements: dict[str, Any] = {}

    def listen(
        _c: object, _cursor: object, statement: str, values: Any, _context: object, _many: bool
    ) -> None:
        statements[statement] = values[0] if isinstance(values, list) else values

    sa.event.listen(engine, "before_cursor_execute", listen)
    try:
        yield statements
    finally:
        sa.event.remove(engine, "before_cursor_execute", listen)


def a_day(bv: Billvend) -> None:
    """What is done all day, at every door and by every worker."""
    bv.fund("ada", "5000", key="f-1")
    bv.fund("ada", "5000", key="f-1")
    first = bv.pay("ada", "500", meter="12345678901", biller="EKEDC", key="order-1")
    bv.pay("ada", "500", meter="12345678901", biller="EKEDC", key="order-1")
    bv.pay("ada", "300", meter="12345678902", biller="EKEDC")
    doubtful = bv.pay("ada", "200", meter="300000000000", biller="EKEDC", key="order-2")
    declined = bv.pay("ada", "200", meter="600000000001", biller="EKEDC", key="order-3")
    paid = bv.pay_many([Bill("ada", "100", f"{10**10 + n}", "EKEDC", key=f"b-{n}") for n in range(20)])
    assert all(isinstance(each, Paid) for each in paid)
    for payment in (first, declined):
        assert bv.wait(payment.transaction_id, timeout=20).has_ended
    bv.wait(doubtful.transaction_id, timeout=0.5)
    bv.refresh(doubtful.transaction_id)
    bv.nudge(doubtful.transaction_id)
    bv.sweep()
    bv.look_after()
    bv.notify()
    bv.hook("sandbox", b"{}")
    bv.balance("ada")
    for search in (
        Search(user_id="ada"), Search(user_id="ada", kind="payment", before=first.transaction_id),
        Search(user_id="ada", currency="NGN", limit=10), Search(meter="12345678901"), Search(key="order-1"),
        Search(reference=first.attempts[0].reference if first.attempts else "none"),
    ):  # fmt: skip
        bv.search(search)
    bv.payments(Status.IN_DOUBT)
    found = bv.transaction(first.transaction_id)
    bv.events(found)  # type: ignore[arg-type]  # it is a payment
    bv.review()
    bv.webhooks(channel=None)
    bv.health()
    bv.metrics()
    bv.key_of(bv.create_key("till", ["pay"]).secret)


PARTIAL = {
    index.name
    for table in metadata.tables.values()
    for index in table.indexes
    if index.dialect_options["postgresql"]["where"] is not None
}
"""Indexes of what is still to be done: they may be read from beginning to end."""


def scans(plan: dict[str, Any], *, has_end: bool = False) -> Iterator[str]:
    """What a plan of PostgreSQL's reads from beginning to end, of tables that grow."""
    has_end = has_end or plan["Node Type"] == "Limit"
    if plan.get("Relation Name") in GROWING:
        by_index = plan["Node Type"] in ("Index Scan", "Index Only Scan", "Bitmap Heap Scan", "ModifyTable")
        finds = "Index Cond" in plan or "Recheck Cond" in plan or plan["Node Type"] == "ModifyTable"
        first_ones = has_end and "Filter" not in plan
        if not by_index or not (finds or first_ones or plan.get("Index Name") in PARTIAL):
            yield f"{plan['Node Type']} of {plan['Relation Name']}"
    for part in plan.get("Plans", ()):
        yield from scans(part, has_end=has_end)


def test_on_postgresql_nothing_that_grows_is_read_through(postgres_url: str, tmp_path: Path) -> None:
    """Where an index could be used at all, it is found: which way is shorter depends on how full the tables are."""
    found: list[str] = []
    with open_billvend(shop(postgres_url, tmp_path).model_copy(update=ASKS)) as bv:
        engine = bv._parts.books._database.engine  # type: ignore[attr-defined]  # where the statements pass
        with heard(engine) as statements:
            a_day(bv)
        with engine.begin() as connection:
            connection.exec_driver_sql(MORE)
        with engine.connect() as connection:
            for way in ("seqscan", "hashjoin", "mergejoin"):
                connection.exec_driver_sql(f"SET LOCAL enable_{way} = off")
            for statement, values in statements.items():
                if statement.lstrip().upper().startswith(WORDS):
                    explained = connection.exec_driver_sql(
                        f"EXPLAIN (FORMAT JSON) {statement}", values
                    ).scalar()
                    plans = explained if isinstance(explained, list) else json.loads(explained)
                    found += [f"{table}: {statement}" for table in scans(plans[0]["Plan"])]
            connection.rollback()
    assert len(statements) > 25
    assert found == [], "\n\n".join(found)


def test_on_sqlite_nothing_that_grows_is_read_through(tmp_path: Path) -> None:
    settings = shop(f"sqlite:///{tmp_path / 'shop.db'}", tmp_path).model_copy(update=ASKS)
    found: list[str] = []
    with open_billvend(settings) as bv:
        engine = bv._parts.books._database.engine  # type: ignore[attr-defined]  # where the statements pass
        with heard(engine) as statements:
            a_day(bv)
        with engine.connect() as connection:
            for statement, values in statements.items():
                if statement.lstrip().upper().startswith(WORDS):
                    plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)
                    first_ones = "LIMIT" in statement and "WHERE" not in statement
                    found += [
                        f"{row[3]}: {statement}"
                        for row in plan
                        if (words := row[3].split())[0] == "SCAN" and words[1] in GROWING
                        if not (first_ones or words[-1] in PARTIAL)
                    ]
            connection.rollback()
    assert len(statements) > 25
    assert found == [], "\n\n".join(found)


@pytest.mark.parametrize("database", [pytest.param("postgres", marks=pytest.mark.integration), "file"])
def test_a_list_takes_as_many_statements_as_one(
    database: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    is_file = database == "file"
    url = f"sqlite:///{tmp_path / 'shop.db'}" if is_file else request.getfixturevalue("postgres_url")
    counts = []
    with open_billvend(shop(url, tmp_path)) as bv:
        bv.fund("ada", "100000")
        engine = bv._parts.books._database.engine  # type: ignore[attr-defined]  # where the statements pass
        for size in (1, 10, 200):
            sent = 0

            def count(*_: object) -> None:
                nonlocal sent
                sent += 1

            sa.event.listen(engine, "before_cursor_execute", count)
            bv.pay_many([Bill("ada", "1", f"{10**10 + n}", "EKEDC", key=f"{size}-{n}") for n in range(size)])
            bv.pay_many([Bill("ada", "1", f"{10**10 + n}", "EKEDC", key=f"{size}-{n}") for n in range(size)])
            sa.event.remove(engine, "before_cursor_execute", count)
            counts.append(sent)
    assert counts[0] == counts[1] == counts[2] > 0
