"""What the tables share: the types of their columns, and the metadata that they all belong to."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import BigInteger, DateTime, Dialect, MetaData, String, Text, TypeDecorator
from sqlalchemy.dialects import postgresql

from billvend.domain.journal.codec import format_timestamp


class _TextInstant(TypeDecorator[datetime]):
    """A moment on SQLite: RFC 3339 text in UTC with microseconds, which sorts in the order of time."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> str | None:
        return None if value is None else format_timestamp(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        return None if value is None else datetime.fromisoformat(value).astimezone(UTC)


INSTANT = DateTime(timezone=True).with_variant(_TextInstant(), "sqlite")
IDENTIFIER = Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
"""Text that both databases compare byte by byte, so that rows are locked in the order in which Python sorts their keys."""
MINOR = BigInteger()

metadata = MetaData()


def one_of(column: str, values: Iterable[str]) -> str:
    """The SQL condition that a column has one of these values."""
    return f"{column} IN ({', '.join(repr(str(value)) for value in values)})"
