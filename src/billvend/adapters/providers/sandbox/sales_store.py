"""The sales store: a file with what the sandbox really sold. Tests compare billvend's ledger with it.

Every change is durable before the answer, so it survives a SIGKILL of the process. Threads may share a `SalesStore`.
Processes may share a file, each through a `SalesStore` of its own.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from os import PathLike
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from billvend.adapters.providers.sandbox import fault_plans, sqlite_file
from billvend.adapters.providers.sandbox.faults import FaultPlan, SandboxFault
from billvend.adapters.providers.sandbox.sale_record import SaleRecord, SaleStatus
from billvend.domain.errors import Unavailable


class RecordUpdate:
    """The record of one reference during an update, and what influences it."""

    def __init__(self, connection: sqlite3.Connection, reference: str) -> None:
        self._connection = connection
        self._reference = reference
        self.record = sqlite_file.read_record(connection, reference)

    def next_fault(self, meter: str) -> SandboxFault | None:
        """The fault that is planned for this send. The call counts it."""
        return fault_plans.consume_fault(self._connection, reference=self._reference, meter=meter)

    def planned_fault(self) -> SandboxFault | None:
        """The fault that is planned for this reference."""
        return fault_plans.find_fault(self._connection, reference=self._reference)

    def has_recent_sale(self, meter: str, biller: str, since: datetime) -> bool:
        """Whether another reference was accepted for the same meter and biller after `since`."""
        return sqlite_file.has_recent_sale(self._connection, meter, biller, self._reference, since)

    def float_minor(self) -> int | None:
        """The rest of our float, in minor units. None is without limit."""
        return sqlite_file.read_float_minor(self._connection)


class CallCounts(NamedTuple):
    """How often a reference was sent and requeried, including refused and repeated requests."""

    sends: int
    requeries: int


class SalesStore:
    """The sales in one file. The first use creates it.

    Every method raises `Unavailable` if the file cannot be opened or created, and `sqlite3.Error` if it fails later or
    stays busy for `busy_seconds`.
    """

    def __init__(self, path: str | PathLike[str], *, busy_seconds: float = 30.0) -> None:
        self.path = Path(path)
        self._busy_seconds = busy_seconds
        self._lock = Lock()
        self._connection: sqlite3.Connection | None = None

    @property
    def account(self) -> str:
        """The fingerprint of this file, a random id from its creation. Another file is another account."""
        with self._lock:
            return f"sandbox-{sqlite_file.read_id(self._connect())}"

    @contextmanager
    def update(self, reference: str) -> Iterator[RecordUpdate]:
        """The record of a reference, to read and to change. Includes a reference that had only refused requests.

        No other thread or process writes meanwhile. The change is on disk when the block ends. If it raises, nothing
        has changed.
        """
        with self._transaction() as connection:
            update = RecordUpdate(connection, reference)
            before = update.record
            yield update
            if update.record is not None and update.record != before:
                sqlite_file.write_record(connection, update.record)

    def find(self, reference: str) -> SaleRecord | None:
        """The record of a reference. None also if every request was refused."""
        record = self._find_any(reference)
        return None if record is None or record.status is SaleStatus.REFUSED else record

    def records(self) -> list[SaleRecord]:
        """Every known reference, in the order of arrival."""
        with self._lock:
            return sqlite_file.read_known_records(self._connect())

    def sales(self, meter: str | None = None) -> list[SaleRecord]:
        """The sales, of all meters or of one, without reversed ones."""
        sold = [record for record in self.records() if record.status is SaleStatus.VENDED]
        return [record for record in sold if meter in (None, record.meter)]

    def sale_count(self, reference: str) -> int:
        """How often a reference was sold, including a reversed sale. More than 1 is a bug of the sandbox."""
        record = self._find_any(reference)
        return record.vends if record else 0

    def call_counts(self, reference: str) -> CallCounts:
        """How often a reference was sent and requeried."""
        record = self._find_any(reference)
        return CallCounts(record.sends, record.requeries) if record else CallCounts(0, 0)

    def reverse_sale(self, reference: str) -> None:
        """Reverse a sale and return the money to our float. Idempotent. Raises `LookupError` if nothing was sold."""
        with self.update(reference) as update:
            if update.record is None or not update.record.vends:
                raise LookupError(f"nothing was vended under {reference}")
            update.record = replace(update.record, status=SaleStatus.TAKEN_BACK)

    def all_records(self) -> list[SaleRecord]:
        """Every reference, including those that had only refused or lost requests."""
        with self._lock:
            return sqlite_file.read_all_records(self._connect())

    def add_plan(self, plan: FaultPlan) -> None:
        """Plan a fault."""
        with self._transaction() as connection:
            fault_plans.add(connection, plan)

    def list_plans(self) -> list[FaultPlan]:
        """The plans that still strike, the oldest first."""
        with self._lock:
            return fault_plans.list_plans(self._connect())

    def clear_plans(self) -> int:
        """Delete all plans. Returns how many there were."""
        with self._transaction() as connection:
            return fault_plans.clear(connection)

    def next_verification_fault(self, meter: str) -> SandboxFault | None:
        """The fault that is planned for this verification, else for sends to the meter. The latter stays planned."""
        with self._transaction() as connection:
            fault = fault_plans.consume_fault(connection, meter=meter, for_verification=True)
            return fault or fault_plans.find_fault(connection, meter=meter)

    def float_minor(self) -> int | None:
        """The rest of our float, in minor units. None is without limit."""
        with self._lock:
            return sqlite_file.read_float_minor(self._connect())

    def set_float_minor(self, remaining_minor: int | None) -> None:
        """Set the rest of our float, in minor units. None is without limit, as in a new file."""
        with self._transaction() as connection:
            sqlite_file.write_float_minor(connection, remaining_minor)

    def close(self) -> None:
        """Close the file. The next use opens it again."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            connection = self._connect()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                connection.rollback()
                raise

    def _find_any(self, reference: str) -> SaleRecord | None:
        with self._lock:
            return sqlite_file.read_record(self._connect(), reference)

    def _connect(self) -> sqlite3.Connection:
        if self._connection is None:
            try:
                self._connection = sqlite_file.open_connection(self.path, self._busy_seconds)
            except sqlite3.Error as error:
                message = f"The sandbox's sales store {self.path} can't be opened: {error}. Nothing was sold."
                raise Unavailable(message) from error
        return self._connection
