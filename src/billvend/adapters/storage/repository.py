"""What the repositories share: one transaction for each call, and texts that both databases can store."""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from billvend.adapters.storage.database import ColumnValues, Database, make_storable, unavailable


class Repository:
    """The ways in which a small table is read and changed. Every method raises `Unavailable`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def _read(self, query: sa.Select[Any]) -> Sequence[sa.Row[Any]]:
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

    def _upsert(self, table: sa.Table, row: ColumnValues) -> None:
        """Insert a row, or replace the one with its primary key."""
        with self._database.write_transaction() as connection:
            self._database.upsert(connection, table, [storable(row)])

    def _change(self, statement: sa.Update | sa.Delete) -> int:
        """Update or delete rows. Returns how many."""
        try:
            with self._database.write_transaction() as connection:
                return connection.execute(statement).rowcount
        except IntegrityError as error:
            raise unavailable(error) from error


def storable(row: ColumnValues) -> Mapping[str, Any]:
    """The row, with each text as both databases can store it."""
    return {name: make_storable(value) if isinstance(value, str) else value for name, value in row.items()}
