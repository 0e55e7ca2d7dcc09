"""What the repositories share: one transaction for each call, and texts that both databases can store."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from billvend.adapters.storage.database import ColumnValues, Database, make_storable, unavailable


class Repository:
    """The ways in which a small table is read and changed. Every method raises `Unavailable`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def _read(self, query: sa.Select[*tuple[Any, ...]]) -> Sequence[sa.Row[*tuple[Any, ...]]]:
        with self._database.read_transaction() as connection:
            return connection.execute(query).all()

    def _insert(self, table: sa.Table, row: ColumnValues) -> bool:
        """Insert a row. Returns False, and does nothing, if a constraint rejects it."""
        try:
            with self._database.write_transaction() as connection:
                self._database.insert(connection, table, [storable(row)])
        except IntegrityError:
            return False
        return True

    @contextmanager
    def _write(self) -> Iterator[sa.Connection]:
        """A transaction in which a constraint that rejects a row is `Unavailable`, too: nothing was done."""
        try:
            with self._database.write_transaction() as connection:
                yield connection
        except IntegrityError as error:
            raise unavailable(error) from error

    def _upsert(self, table: sa.Table, row: ColumnValues) -> None:
        """Insert a row, or replace the one with its primary key."""
        with self._write() as connection:
            self._database.upsert(connection, table, [storable(row)])

    def _change(self, statement: sa.Update | sa.Delete) -> int:
        """Update or delete rows. Returns how many."""
        with self._write() as connection:
            return connection.execute(statement).rowcount


def storable(row: ColumnValues) -> Mapping[str, Any]:
    """The row, with each text as both databases can store it."""
    return {name: make_storable(value) if isinstance(value, str) else value for name, value in row.items()}
