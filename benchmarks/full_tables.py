"""Tables as full as after years: copies of one completed payment, made within the database."""

from pathlib import Path
from typing import Any

import sqlalchemy as sa

from benchmarks.databases import prepare_shop
from billvend import open_billvend
from billvend.adapters.storage.tables import (
    attempts,
    commands,
    events,
    resolutions,
    transactions,
    transfers,
    wallets,
)
from billvend.bootstrap import open_database
from billvend.config import Settings

USERS = 1_000
BLOCK_SIZE = 100_000
"""How many payments one statement copies."""
TABLES = (events, transfers, transactions, attempts, resolutions, commands)
"""In an order that foreign keys allow."""


def fill_tables(url: str, folder: Path, payment_count: int) -> None:
    """Copy a payment so many times, spread over `USERS` users, and create as many empty wallets.

    Each copy has all rows of the payment. The copies break the hash chains, so only an audit would reject them.
    """
    with open_billvend(prepare_shop(url, folder)) as bv:
        bv.fund("model", "1000", key="model")
        paid = bv.wait(bv.pay("model", "1", meter="12345678901", biller="EKEDC", key="model").transaction_id)
        assert paid.has_ended
    database = open_database(Settings(database_url=url))
    with database.engine.connect() as connection:
        for start in range(0, payment_count, BLOCK_SIZE):
            for table in TABLES:
                connection.execute(
                    _copy_statement(
                        table, paid.transaction_id, start, min(start + BLOCK_SIZE, payment_count) - 1
                    )
                )
            connection.commit()
        connection.execute(_empty_wallets(payment_count))
        connection.commit()
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM ANALYZE")
        connection.exec_driver_sql("CHECKPOINT")
    database.close()


def _copy_statement(table: sa.Table, transaction_id: str, first: int, last: int) -> sa.Insert:
    numbers = sa.func.generate_series(first, last).table_valued("number").render_derived()
    owner_column = table.c.stream if "stream" in table.c else table.c.transaction_id
    rows = (
        sa.select(*(_copied_column(column, numbers.c.number) for column in table.c))
        .select_from(table.join(numbers, sa.true()))
        .where(table.c.user_id == "model", owner_column == transaction_id)
    )
    return table.insert().from_select([column.name for column in table.c], rows)


def _empty_wallets(count: int) -> sa.Insert:
    numbers = sa.func.generate_series(1, count).table_valued("number").render_derived()
    columns = {
        "user_id": sa.literal("empty-") + sa.cast(numbers.c.number, sa.Text), "currency": sa.literal("NGN"),
        "balance_minor": sa.literal(0), "seq": sa.literal(1), "hash": sa.literal("-"), "updated_at": sa.func.now(),
    }  # fmt: skip
    return wallets.insert().from_select(list(columns), sa.select(*list[Any](columns.values())))


def _copied_column(column: sa.Column[Any], number: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    text = sa.cast(number, sa.Text)
    match column.name:
        case "user_id":
            return sa.literal("filled-") + sa.cast(sa.func.mod(number, USERS), sa.Text)
        case "transaction_id" | "stream" | "reference" | "key":
            return sa.case((column.is_(None), sa.null()), else_=sa.literal("filled-") + text)
        case "meter":
            return sa.cast(number + 10**10, sa.Text)
        case "token":
            return sa.func.lpad(text, 20, "1")
        case _:
            return column
