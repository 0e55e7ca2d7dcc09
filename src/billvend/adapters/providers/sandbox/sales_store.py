"""The sales store: a file with what the sandbox really sold. Tests compare billvend's ledger with it.

Every change is durable before the answer, so it survives a SIGKILL of the process. Threads may share a `SalesStore`.
Processes may share a file, each through a `SalesStore` of its own.
"""

# ruff: noqa: S608  every part of the SQL is a constant of this module

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from datetime import datetime
from os import PathLike
from pathlib import Path
from threading import RLock
from typing import Final
from uuid import uuid4

from billvend.adapters.providers.sandbox.faults import FaultPlan, PlanScope, SandboxFault
from billvend.adapters.providers.sandbox.sale import SaleRecord, SaleStatus
from billvend.domain.enums import VendType
from billvend.domain.errors import Unavailable
from billvend.domain.journal.codec import format_timestamp

_SCHEMA: Final = """
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS store (
    singleton INTEGER PRIMARY KEY CHECK (singleton = 1), id TEXT NOT NULL, float_deposit_minor INTEGER
);
CREATE TABLE IF NOT EXISTS sale (
    reference TEXT PRIMARY KEY, meter TEXT NOT NULL, biller TEXT NOT NULL,
    vend_type TEXT NOT NULL, amount_minor INTEGER NOT NULL, currency TEXT NOT NULL, received_at TEXT NOT NULL,
    status TEXT NOT NULL, code TEXT NOT NULL, reason TEXT NOT NULL,
    token TEXT, units TEXT, cost_minor INTEGER, receipt TEXT NOT NULL, provider_reference TEXT, vended_at TEXT,
    vends INTEGER NOT NULL, sends INTEGER NOT NULL, requeries INTEGER NOT NULL,
    fault TEXT NOT NULL, fault_requeries INTEGER
);
CREATE INDEX IF NOT EXISTS sale_by_meter ON sale (meter);
CREATE TABLE IF NOT EXISTS fault_plan (
    id INTEGER PRIMARY KEY, scope TEXT NOT NULL, target TEXT NOT NULL, for_verification INTEGER NOT NULL,
    fault TEXT NOT NULL, requeries INTEGER, minimum_minor INTEGER, times_left INTEGER
);
INSERT OR IGNORE INTO store (singleton, id) VALUES (1, '{id}');
COMMIT;
"""
_COLUMNS: Final = [column.name for column in fields(SaleRecord)]
_UPSERT: Final = (
    f"INSERT INTO sale ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"
    f" ON CONFLICT (reference) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in _COLUMNS)}"
)
_SPENT_MINOR: Final = (
    "(SELECT coalesce(sum(coalesce(cost_minor, amount_minor)), 0) FROM sale"
    " WHERE status IN ('vended', 'pending'))"
)
_MATCHING_PLAN: Final = (
    "SELECT id FROM fault_plan WHERE for_verification = ?"
    " AND ((scope = 'reference' AND target = ?) OR (scope = 'meter' AND target = ?) OR (scope = 'next' AND ?))"
    " ORDER BY CASE scope WHEN 'reference' THEN 1 WHEN 'meter' THEN 2 ELSE 3 END, id LIMIT 1"
)
_PLAN_COLUMNS: Final = "fault, requeries, minimum_minor, scope, target, times_left"


class SalesStore:
    """The sales in one file. The first use creates it.

    Every method raises `Unavailable` if the file cannot be opened or created, and `sqlite3.Error` if it fails later or
    stays busy for `busy_seconds`.
    """

    def __init__(self, path: str | PathLike[str], *, busy_seconds: float = 30.0) -> None:
        self.path = Path(path)
        self._busy_seconds = busy_seconds
        self._lock = RLock()
        self._connection: sqlite3.Connection | None = None

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """No other thread or process writes within this block. Its changes are on disk when it ends.

        If the block raises, nothing has changed. A transaction within another one belongs to it.
        """
        with self._lock:
            connection = self._connect()
            if connection.in_transaction:
                yield
                return
            connection.execute("BEGIN IMMEDIATE")
            with connection:
                yield

    @property
    def account(self) -> str:
        """The fingerprint of this file, a random id from its creation. Another file is another account."""
        return f"sandbox-{self._execute('SELECT id FROM store')[0]['id']}"

    # --- sales ---

    def find(self, reference: str) -> SaleRecord | None:
        """The record of a reference, even if every request was refused."""
        rows = self._execute("SELECT * FROM sale WHERE reference = ?", reference)
        return _to_record(rows[0]) if rows else None

    def records(self) -> list[SaleRecord]:
        """Every reference in the order of arrival, even if every request was refused."""
        return [_to_record(row) for row in self._execute("SELECT * FROM sale ORDER BY rowid")]

    def sales(self) -> list[SaleRecord]:
        """The sales in the order of arrival, without reversed ones."""
        return [record for record in self.records() if record.status is SaleStatus.VENDED]

    def sale_count(self, reference: str) -> int:
        """How often a reference was sold, including a reversed sale. More than 1 is a bug of the sandbox."""
        record = self.find(reference)
        return record.vends if record else 0

    def has_recent_sale(self, meter: str, biller: str, since: datetime) -> bool:
        """Whether a reference was accepted for this meter and biller after `since`."""
        matching = "meter = ? AND biller = ? AND received_at > ? AND status <> 'refused'"
        return bool(
            self._execute(
                f"SELECT 1 FROM sale WHERE {matching} LIMIT 1", meter, biller, format_timestamp(since)
            )
        )

    def save(self, record: SaleRecord) -> None:
        """Store or replace the record of a reference."""
        row = {name: getattr(record, name) for name in _COLUMNS}
        row["received_at"] = format_timestamp(record.received_at)
        row["vended_at"] = record.vended_at and format_timestamp(record.vended_at)
        row["receipt"] = json.dumps(dict(record.receipt))
        self._execute(_UPSERT, *row.values())

    def reverse_sale(self, reference: str) -> SaleRecord:
        """Reverse a sale and return the money to our float. Idempotent. Raises `LookupError` if nothing was sold."""
        rows = self._execute(
            "UPDATE sale SET status = 'taken_back' WHERE reference = ? AND vends > 0 RETURNING *", reference
        )
        if not rows:
            raise LookupError(f"nothing was vended under {reference}")
        return _to_record(rows[0])

    # --- planned faults ---

    def add_plan(self, plan: FaultPlan) -> None:
        """Plan a fault. It replaces the earlier plan for the same meter or reference."""
        fault, for_verification = plan.fault, plan.fault.is_for_verification
        with self.transaction():
            self._execute(
                "DELETE FROM fault_plan WHERE scope <> 'next' AND (scope, target, for_verification) = (?, ?, ?)",
                plan.scope, plan.target, for_verification,
            )  # fmt: skip
            self._execute(
                f"INSERT INTO fault_plan (for_verification, {_PLAN_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)",
                for_verification, fault.name, fault.requeries, fault.minimum_minor, plan.scope, plan.target,
                plan.times_left,
            )  # fmt: skip

    def list_plans(self) -> list[FaultPlan]:
        """The plans that still strike, the oldest first."""
        return [
            FaultPlan(_to_fault(row), PlanScope(row["scope"]), row["target"], row["times_left"])
            for row in self._execute(f"SELECT {_PLAN_COLUMNS} FROM fault_plan ORDER BY id")
        ]

    def clear_plans(self) -> int:
        """Delete all plans. Returns how many there were."""
        return len(self._execute("DELETE FROM fault_plan RETURNING id"))

    def planned_fault(self, *, reference: str = "", meter: str = "") -> SandboxFault | None:
        """The fault of sends that is planned for a reference, else for a meter. The plan does not change."""
        rows = self._execute(
            f"SELECT * FROM fault_plan WHERE id = ({_MATCHING_PLAN})", False, reference, meter, False
        )
        return _to_fault(rows[0]) if rows else None

    def next_fault(
        self, *, meter: str, reference: str = "", for_verification: bool = False
    ) -> SandboxFault | None:
        """The fault that strikes now: planned for the reference, else for the meter, else for the next call.

        Counts it, and deletes a plan that has struck often enough.
        """
        with self.transaction():
            rows = self._execute(
                f"UPDATE fault_plan SET times_left = times_left - 1 WHERE id = ({_MATCHING_PLAN}) RETURNING *",
                for_verification, reference, meter, True,
            )  # fmt: skip
            self._execute("DELETE FROM fault_plan WHERE times_left <= 0")
        return _to_fault(rows[0]) if rows else None

    # --- our float ---

    def float_minor(self) -> int | None:
        """The rest of our float, in minor units: the deposit less sold and pending sales. None is without limit."""
        rest: int | None = self._execute(f"SELECT float_deposit_minor - {_SPENT_MINOR} AS rest FROM store")[
            0
        ]["rest"]
        return rest

    def set_float_minor(self, remaining_minor: int | None) -> None:
        """Set the rest of our float, in minor units. None is without limit, as in a new file."""
        self._execute(f"UPDATE store SET float_deposit_minor = ? + {_SPENT_MINOR}", remaining_minor)

    # --- the file ---

    def close(self) -> None:
        """Close the file. The next use opens it again."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _execute(self, sql: str, *values: object) -> list[sqlite3.Row]:
        with self._lock:
            return self._connect().execute(sql, values).fetchall()

    def _connect(self) -> sqlite3.Connection:
        if self._connection is None:
            try:
                self._connection = _open(self.path, self._busy_seconds)
            except sqlite3.Error as error:
                message = f"The sandbox's sales store {self.path} can't be opened: {error}. Nothing was sold."
                raise Unavailable(message) from error
        return self._connection


def _open(path: Path, busy_seconds: float) -> sqlite3.Connection:
    """A connection to the file, for one thread at a time. Creates the file if there is none."""
    connection = sqlite3.connect(path, timeout=busy_seconds, isolation_level=None, check_same_thread=False)
    try:
        connection.row_factory = sqlite3.Row
        _enable_wal(connection, busy_seconds)
        connection.execute("PRAGMA synchronous = FULL")
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'fault_plan'").fetchall():
            connection.executescript(_SCHEMA.format(id=uuid4().hex))
    except BaseException:
        connection.close()
        raise
    return connection


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


def _to_fault(row: sqlite3.Row) -> SandboxFault:
    return SandboxFault(row["fault"], row["requeries"], row["minimum_minor"])


def _to_record(row: sqlite3.Row) -> SaleRecord:
    columns = dict(row)
    columns["received_at"] = datetime.fromisoformat(row["received_at"])
    columns["vended_at"] = row["vended_at"] and datetime.fromisoformat(row["vended_at"])
    columns["receipt"] = json.loads(row["receipt"])
    columns["vend_type"] = VendType(row["vend_type"])
    columns["status"] = SaleStatus(row["status"])
    return SaleRecord(**columns)
