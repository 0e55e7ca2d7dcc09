"""The file that the sandbox's book is kept in: an SQLite database, and the only place that speaks SQL to it."""

import json
import sqlite3
import time
from dataclasses import fields
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any
from uuid import uuid4

from billvend.adapters.provider.sandbox import plans
from billvend.adapters.provider.sandbox.entry import Entry, EntryStatus
from billvend.domain.codec import instant
from billvend.domain.words import VendType

_SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS book (one INTEGER PRIMARY KEY CHECK (one = 1), id TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS entry (
    reference TEXT PRIMARY KEY, account TEXT NOT NULL, meter TEXT NOT NULL, biller TEXT NOT NULL,
    vend_type TEXT NOT NULL, amount_minor INTEGER NOT NULL, currency TEXT NOT NULL, received_at TEXT NOT NULL,
    status TEXT NOT NULL, code TEXT NOT NULL, reason TEXT NOT NULL,
    token TEXT, units TEXT, cost_minor INTEGER, receipt TEXT NOT NULL, provider_reference TEXT, vended_at TEXT,
    vends INTEGER NOT NULL, sends INTEGER NOT NULL, requeries INTEGER NOT NULL,
    fault TEXT NOT NULL DEFAULT '', fault_requeries INTEGER
);
CREATE INDEX IF NOT EXISTS entry_by_meter ON entry (meter);
CREATE TABLE IF NOT EXISTS deposit (one INTEGER PRIMARY KEY CHECK (one = 1), amount_minor INTEGER NOT NULL);
{plans.SCHEMA}
"""
_LATER_COLUMNS = MappingProxyType({"fault": "TEXT NOT NULL DEFAULT ''", "fault_requeries": "INTEGER"})
"""What a book of an earlier version lacks."""
_COLUMNS = [column.name for column in fields(Entry)]
_ALL = f"SELECT {', '.join(_COLUMNS)} FROM entry"  # noqa: S608  the names are our own
_ONE = f"{_ALL} WHERE reference = ?"
_KNOWN = f"{_ALL} WHERE status <> '{EntryStatus.REFUSED}' ORDER BY rowid"
_EVERY = f"{_ALL} ORDER BY rowid"
_SPENT = (
    "SELECT coalesce(sum(coalesce(cost_minor, amount_minor)), 0) FROM entry"  # noqa: S608
    f" WHERE status IN ('{EntryStatus.VENDED}', '{EntryStatus.PENDING}')"
)
_LIKE_IT = (
    "SELECT 1 FROM entry WHERE meter = ? AND biller = ? AND reference <> ? AND received_at > ?"  # noqa: S608
    f" AND status <> '{EntryStatus.REFUSED}' LIMIT 1"
)
_WRITE = (
    f"INSERT INTO entry ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608
    f" ON CONFLICT (reference) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in _COLUMNS)}"
)


def opened(path: Path, busy_seconds: float) -> sqlite3.Connection:
    """A connection to the book in `path`, for any one thread at a time; the book is made where there is none.

    Raises `sqlite3.Error`.
    """
    connection = sqlite3.connect(path, timeout=busy_seconds, isolation_level=None, check_same_thread=False)
    try:
        _write_ahead(connection, busy_seconds)
        connection.execute("PRAGMA synchronous = FULL")
        if connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'plan'").fetchone() == (0,):
            connection.executescript(_SCHEMA)
            connection.execute("INSERT OR IGNORE INTO book VALUES (1, ?)", (uuid4().hex,))
            there = {column[1] for column in connection.execute("PRAGMA table_info(entry)")}
            for name in _LATER_COLUMNS.keys() - there:
                connection.execute(f"ALTER TABLE entry ADD COLUMN {name} {_LATER_COLUMNS[name]}")
            connection.execute("COMMIT")
    except BaseException:
        connection.close()
        raise
    return connection


def identity(connection: sqlite3.Connection) -> str:
    """What was drawn when the file was made."""
    return str(connection.execute("SELECT id FROM book").fetchone()[0])


def read(connection: sqlite3.Connection, reference: str) -> Entry | None:
    """What is there under a reference, refused requests included."""
    columns = connection.execute(_ONE, (reference,)).fetchone()
    return None if columns is None else _entry(columns)


def read_known(connection: sqlite3.Connection) -> list[Entry]:
    """Every reference that is known, in the order in which they first came in."""
    return [_entry(columns) for columns in connection.execute(_KNOWN).fetchall()]


def read_every(connection: sqlite3.Connection) -> list[Entry]:
    """Every reference that came in, refused requests included."""
    return [_entry(columns) for columns in connection.execute(_EVERY).fetchall()]


def has_like(
    connection: sqlite3.Connection, meter: str, biller: str, other_than: str, since: datetime
) -> bool:
    """Whether another reference was taken for the same meter and biller after `since`."""
    return connection.execute(_LIKE_IT, (meter, biller, other_than, instant(since))).fetchone() is not None


def read_float_minor(connection: sqlite3.Connection) -> int | None:
    """What is left of our float: the deposit less what is sold and pending; None where there is no end of it."""
    deposit = connection.execute("SELECT amount_minor FROM deposit").fetchone()
    return None if deposit is None else int(deposit[0] - connection.execute(_SPENT).fetchone()[0])


def write_float_minor(connection: sqlite3.Connection, left_minor: int | None) -> None:
    """Let so much be left of our float from now on; None for no end of it."""
    connection.execute("DELETE FROM deposit")
    if left_minor is not None:
        connection.execute(f"INSERT INTO deposit SELECT 1, ? + ({_SPENT})", (left_minor,))


def write(connection: sqlite3.Connection, entry: Entry) -> None:
    """Put what is known under a reference in place of what was there."""
    row = {name: getattr(entry, name) for name in _COLUMNS}
    row["received_at"] = instant(entry.received_at)
    row["vended_at"] = entry.vended_at and instant(entry.vended_at)
    row["receipt"] = json.dumps(dict(entry.receipt))
    connection.execute(_WRITE, list(row.values()))


def _write_ahead(connection: sqlite3.Connection, busy_seconds: float) -> None:
    """Where several processes make the file at once, SQLite refuses this to all but one, and does not wait."""
    give_up_at = time.monotonic() + busy_seconds
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if not error.sqlite_errorname.startswith("SQLITE_BUSY") or time.monotonic() > give_up_at:
                raise
            time.sleep(0.01)


def _entry(columns: tuple[Any, ...]) -> Entry:
    row = dict(zip(_COLUMNS, columns, strict=True))
    row["received_at"] = datetime.fromisoformat(row["received_at"])
    row["vended_at"] = row["vended_at"] and datetime.fromisoformat(row["vended_at"])
    row["receipt"] = json.loads(row["receipt"])
    row["vend_type"] = VendType(row["vend_type"])
    row["status"] = EntryStatus(row["status"])
    return Entry(**row)
