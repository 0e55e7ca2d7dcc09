"""The SQLite file of the sales store, and all of its SQL except for fault plans."""

import json
import sqlite3
import time
from dataclasses import fields
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any
from uuid import uuid4

from billvend.adapters.providers.sandbox import fault_plans
from billvend.adapters.providers.sandbox.sale_record import SaleRecord, SaleStatus
from billvend.domain.enums import VendType
from billvend.domain.journal.codec import format_timestamp

_SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS store (singleton INTEGER PRIMARY KEY CHECK (singleton = 1), id TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS sale (
    reference TEXT PRIMARY KEY, account TEXT NOT NULL, meter TEXT NOT NULL, biller TEXT NOT NULL,
    vend_type TEXT NOT NULL, amount_minor INTEGER NOT NULL, currency TEXT NOT NULL, received_at TEXT NOT NULL,
    status TEXT NOT NULL, code TEXT NOT NULL, reason TEXT NOT NULL,
    token TEXT, units TEXT, cost_minor INTEGER, receipt TEXT NOT NULL, provider_reference TEXT, vended_at TEXT,
    vends INTEGER NOT NULL, sends INTEGER NOT NULL, requeries INTEGER NOT NULL,
    fault TEXT NOT NULL DEFAULT '', fault_requeries INTEGER
);
CREATE INDEX IF NOT EXISTS sale_by_meter ON sale (meter);
CREATE TABLE IF NOT EXISTS float_deposit (singleton INTEGER PRIMARY KEY CHECK (singleton = 1), amount_minor INTEGER NOT NULL);
{fault_plans.SCHEMA}
"""
_ADDED_COLUMNS = MappingProxyType({"fault": "TEXT NOT NULL DEFAULT ''", "fault_requeries": "INTEGER"})
"""The columns that a file of an earlier version lacks."""
_COLUMNS = [column.name for column in fields(SaleRecord)]
_SELECT = f"SELECT {', '.join(_COLUMNS)} FROM sale"  # noqa: S608  the names are our own
_SELECT_ONE = f"{_SELECT} WHERE reference = ?"
_SELECT_KNOWN = f"{_SELECT} WHERE status <> '{SaleStatus.REFUSED}' ORDER BY rowid"
_SELECT_ALL = f"{_SELECT} ORDER BY rowid"
_SELECT_SPENT_MINOR = (
    "SELECT coalesce(sum(coalesce(cost_minor, amount_minor)), 0) FROM sale"  # noqa: S608
    f" WHERE status IN ('{SaleStatus.VENDED}', '{SaleStatus.PENDING}')"
)
_SELECT_RECENT_SALE = (
    "SELECT 1 FROM sale WHERE meter = ? AND biller = ? AND reference <> ? AND received_at > ?"  # noqa: S608
    f" AND status <> '{SaleStatus.REFUSED}' LIMIT 1"
)
_UPSERT = (
    f"INSERT INTO sale ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608
    f" ON CONFLICT (reference) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in _COLUMNS)}"
)


def open_connection(path: Path, busy_seconds: float) -> sqlite3.Connection:
    """A connection to the file, for one thread at a time. Creates the file if there is none.

    Raises `sqlite3.Error`.
    """
    connection = sqlite3.connect(path, timeout=busy_seconds, isolation_level=None, check_same_thread=False)
    try:
        _enable_wal(connection, busy_seconds)
        connection.execute("PRAGMA synchronous = FULL")
        if connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'fault_plan'").fetchone() == (
            0,
        ):
            connection.executescript(_SCHEMA)
            connection.execute("INSERT OR IGNORE INTO store VALUES (1, ?)", (uuid4().hex,))
            existing_columns = {column[1] for column in connection.execute("PRAGMA table_info(sale)")}
            for name in _ADDED_COLUMNS.keys() - existing_columns:
                connection.execute(f"ALTER TABLE sale ADD COLUMN {name} {_ADDED_COLUMNS[name]}")
            connection.execute("COMMIT")
    except BaseException:
        connection.close()
        raise
    return connection


def read_id(connection: sqlite3.Connection) -> str:
    """The random id of the file, from its creation."""
    return str(connection.execute("SELECT id FROM store").fetchone()[0])


def read_record(connection: sqlite3.Connection, reference: str) -> SaleRecord | None:
    """The record of a reference, even if it had only refused requests."""
    columns = connection.execute(_SELECT_ONE, (reference,)).fetchone()
    return None if columns is None else _to_record(columns)


def read_known_records(connection: sqlite3.Connection) -> list[SaleRecord]:
    """Every known reference, in the order of arrival."""
    return [_to_record(columns) for columns in connection.execute(_SELECT_KNOWN).fetchall()]


def read_all_records(connection: sqlite3.Connection) -> list[SaleRecord]:
    """Every reference, including those that had only refused requests."""
    return [_to_record(columns) for columns in connection.execute(_SELECT_ALL).fetchall()]


def has_recent_sale(
    connection: sqlite3.Connection, meter: str, biller: str, except_reference: str, since: datetime
) -> bool:
    """Whether another reference was accepted for the same meter and biller after `since`."""
    return (
        connection.execute(
            _SELECT_RECENT_SALE, (meter, biller, except_reference, format_timestamp(since))
        ).fetchone()
        is not None
    )


def read_float_minor(connection: sqlite3.Connection) -> int | None:
    """The rest of our float, in minor units: the deposit less sold and pending sales. None is without limit."""
    deposit = connection.execute("SELECT amount_minor FROM float_deposit").fetchone()
    return (
        None if deposit is None else int(deposit[0] - connection.execute(_SELECT_SPENT_MINOR).fetchone()[0])
    )


def write_float_minor(connection: sqlite3.Connection, remaining_minor: int | None) -> None:
    """Set the rest of our float, in minor units. None is without limit."""
    connection.execute("DELETE FROM float_deposit")
    if remaining_minor is not None:
        connection.execute(
            f"INSERT INTO float_deposit SELECT 1, ? + ({_SELECT_SPENT_MINOR})", (remaining_minor,)
        )


def write_record(connection: sqlite3.Connection, record: SaleRecord) -> None:
    """Insert or replace the record of a reference."""
    row = {name: getattr(record, name) for name in _COLUMNS}
    row["received_at"] = format_timestamp(record.received_at)
    row["vended_at"] = record.vended_at and format_timestamp(record.vended_at)
    row["receipt"] = json.dumps(dict(record.receipt))
    connection.execute(_UPSERT, list(row.values()))


def _enable_wal(connection: sqlite3.Connection, busy_seconds: float) -> None:
    """Enable WAL. If several processes create the file at once, SQLite rejects all but one without waiting, so retry."""
    give_up_at = time.monotonic() + busy_seconds
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if not error.sqlite_errorname.startswith("SQLITE_BUSY") or time.monotonic() > give_up_at:
                raise
            time.sleep(0.01)


def _to_record(columns: tuple[Any, ...]) -> SaleRecord:
    row = dict(zip(_COLUMNS, columns, strict=True))
    row["received_at"] = datetime.fromisoformat(row["received_at"])
    row["vended_at"] = row["vended_at"] and datetime.fromisoformat(row["vended_at"])
    row["receipt"] = json.loads(row["receipt"])
    row["vend_type"] = VendType(row["vend_type"])
    row["status"] = SaleStatus(row["status"])
    return SaleRecord(**row)
