"""What tables are made of: types of columns, and short forms for tables, columns, keys and indexes."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import SchemaItem
from sqlalchemy.types import TypeEngine

from billvend.adapters.storage.append_only import make_append_only
from billvend.domain.journal.codec import format_timestamp


class _TextInstant(sa.TypeDecorator[datetime]):
    """A moment on SQLite: RFC 3339 text in UTC with microseconds, which sorts in the order of time."""

    impl = sa.String
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> str | None:
        return None if value is None else format_timestamp(value)

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> datetime | None:
        return None if value is None else datetime.fromisoformat(value).astimezone(UTC)


INSTANT = sa.DateTime(timezone=True).with_variant(_TextInstant(), "sqlite")
IDENTIFIER = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
"""Text that both databases compare byte by byte, so that rows are locked in the order in which Python sorts their keys."""
MINOR = sa.BigInteger()

metadata = sa.MetaData()
_Kind = TypeEngine[Any] | type[TypeEngine[Any]]


def table(name: str, *parts: SchemaItem, append_only: bool = False) -> sa.Table:
    """Define a table. Of one that is `append_only`, the database rejects changes and deletions of rows.

    Such a table has no row ids on SQLite: `INSERT OR REPLACE` could replace a row by its row id with one of another key,
    and no trigger would see it.
    """
    defined = sa.Table(name, metadata, *parts, sqlite_with_rowid=not append_only)
    if append_only:
        make_append_only(defined)
    return defined


def key(kind: _Kind, *names: str) -> list[sa.Column[Any]]:
    """Columns of one type that belong to the primary key."""
    return [sa.Column(name, kind, primary_key=True) for name in names]


def required(kind: _Kind, *names: str) -> list[sa.Column[Any]]:
    """Columns of one type that always have a value."""
    return [sa.Column(name, kind, nullable=False) for name in names]


def optional(kind: _Kind, *names: str) -> list[sa.Column[Any]]:
    """Columns of one type that may be NULL."""
    return [sa.Column(name, kind) for name in names]


def references(other: sa.Table, name: str) -> sa.ForeignKeyConstraint:
    """A foreign key to the primary key of a table, by the same column names."""
    names = [column.name for column in other.primary_key]
    return sa.ForeignKeyConstraint(names, [f"{other.name}.{each}" for each in names], name=name)


def index(
    name: str, *columns: sa.Column[Any], where: sa.ColumnElement[bool] | None = None, unique: bool = False
) -> None:
    """Add an index of all rows, or of those for which `where` is true."""
    sa.Index(name, *columns, unique=unique, postgresql_where=where, sqlite_where=where)


def inline(value: str | int) -> sa.ColumnElement[Any]:
    """A value that is part of the SQL text. SQLite uses a partial index only if the query has the same text as the index."""
    return sa.literal(value, literal_execute=True)


def one_of(column: str, values: Iterable[str]) -> str:
    """The SQL condition that a column has one of these values."""
    return f"{column} IN ({', '.join(repr(str(value)) for value in values)})"
