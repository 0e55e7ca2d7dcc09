"""The sandbox's book: a file that says what it really sold, for us to be held against.

Durable before anything is answered: what the book shows survives a SIGKILL of whoever wrote it. Any number of
threads share one `Book`, and any number of processes one file, each through a `Book` that it made itself.
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

from billvend.adapters.provider.sandbox import file, plans
from billvend.adapters.provider.sandbox.entry import Entry, EntryStatus
from billvend.adapters.provider.sandbox.faults import Fault, Plan
from billvend.domain.errors import Unavailable


class Page:
    """What the book holds under one reference while it is being rewritten, and what bears upon it."""

    def __init__(self, connection: sqlite3.Connection, reference: str) -> None:
        self._connection = connection
        self._reference = reference
        self.entry = file.read(connection, reference)

    def strike(self, meter: str) -> Fault | None:
        """The fault that is planned for this send, which is thereby counted."""
        return plans.strike(self._connection, reference=self._reference, meter=meter)

    def planned(self) -> Fault | None:
        """The fault that is planned for this very reference."""
        return plans.look(self._connection, reference=self._reference)

    def has_like(self, meter: str, biller: str, since: datetime) -> bool:
        """Whether another reference was taken for the same meter and biller after `since`."""
        return file.has_like(self._connection, meter, biller, self._reference, since)

    def float_minor(self) -> int | None:
        """What is left of our float; None where there is no end of it."""
        return file.read_float_minor(self._connection)


class Calls(NamedTuple):
    """How often a reference came in, refused and repeated requests included."""

    sends: int
    requeries: int


class Book:
    """The book in one file, which is made on first use.

    Every method raises `Unavailable` where the file can't be opened or made, and `sqlite3.Error` where it fails later
    or stays busy for `busy_seconds`.
    """

    def __init__(self, path: str | PathLike[str], *, busy_seconds: float = 30.0) -> None:
        self.path = Path(path)
        self._busy_seconds = busy_seconds
        self._lock = Lock()
        self._connection: sqlite3.Connection | None = None

    @property
    def account(self) -> str:
        """The fingerprint of this very file, drawn when it was made: another book is another account."""
        with self._lock:
            return f"sandbox-{file.identity(self._opened())}"

    @contextmanager
    def page(self, reference: str) -> Iterator[Page]:
        """The page of a reference, refused requests included, to read and to change.

        Nobody else writes meanwhile. When the block ends the page is on disk; when it raises, nothing has changed.
        """
        with self._writing() as connection:
            page = Page(connection, reference)
            before = page.entry
            yield page
            if page.entry is not None and page.entry != before:
                file.write(connection, page.entry)

    def find(self, reference: str) -> Entry | None:
        """What is known under a reference; None also where every request was refused."""
        entry = self._any(reference)
        return None if entry is None or entry.status is EntryStatus.REFUSED else entry

    def entries(self) -> list[Entry]:
        """Every known reference, in the order in which they first came in."""
        with self._lock:
            return file.read_known(self._opened())

    def vended(self, meter: str | None = None) -> list[Entry]:
        """What was sold, in all or for a meter; what was taken back later is left out."""
        vended = [entry for entry in self.entries() if entry.status is EntryStatus.VENDED]
        return [entry for entry in vended if meter in (None, entry.meter)]

    def times_vended(self, reference: str) -> int:
        """How often a reference was sold, taken back or not: 0 or 1, or the sandbox has a bug."""
        entry = self._any(reference)
        return entry.vends if entry else 0

    def calls(self, reference: str) -> Calls:
        """How often a reference came in."""
        entry = self._any(reference)
        return Calls(entry.sends, entry.requeries) if entry else Calls(0, 0)

    def take_back(self, reference: str) -> None:
        """Reverse a sale, money back at the provider; twice is once. Raises `LookupError` where nothing was sold."""
        with self.page(reference) as page:
            if page.entry is None or not page.entry.vends:
                raise LookupError(f"nothing was vended under {reference}")
            page.entry = replace(page.entry, status=EntryStatus.TAKEN_BACK)

    def every(self) -> list[Entry]:
        """Every reference that ever came in, those included that only had refused or lost requests."""
        with self._lock:
            return file.read_every(self._opened())

    def plan(self, plan: Plan) -> None:
        """Let a fault strike."""
        with self._writing() as connection:
            plans.add(connection, plan)

    def plans(self) -> list[Plan]:
        """The faults that are still to strike."""
        with self._lock:
            return plans.read(self._opened())

    def clear_plans(self) -> int:
        """Let no fault strike any more; returns how many plans there were."""
        with self._writing() as connection:
            return plans.clear(connection)

    def strike_at_verification(self, meter: str) -> Fault | None:
        """The fault that is planned for this verification, else for the next send to the meter, which stays planned."""
        with self._writing() as connection:
            fault = plans.strike(connection, meter=meter, about_verification=True)
            return fault or plans.look(connection, meter=meter)

    def float_minor(self) -> int | None:
        """What is left of our float; None where there is no end of it."""
        with self._lock:
            return file.read_float_minor(self._opened())

    def set_float(self, left_minor: int | None) -> None:
        """Let so much be left of our float; None for no end of it, as it is in a new book."""
        with self._writing() as connection:
            file.write_float_minor(connection, left_minor)

    def close(self) -> None:
        """Give the file back. The next use opens it again."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            connection = self._opened()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                connection.rollback()
                raise

    def _any(self, reference: str) -> Entry | None:
        with self._lock:
            return file.read(self._opened(), reference)

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            try:
                self._connection = file.opened(self.path, self._busy_seconds)
            except sqlite3.Error as error:
                message = f"The sandbox's book {self.path} can't be opened: {error}. Nothing was done."
                raise Unavailable(message) from error
        return self._connection
