"""One engine for SQLite and PostgreSQL: connections, statements for many rows at once, and the meaning of errors."""

import json
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.pool import ConnectionPoolEntry

from billvend.domain.errors import ConfigurationError, Unavailable

SQLITE_BUSY_TIMEOUT_SECONDS = 15
"""How long a writer waits for another writer before it gives up."""
SQLITE_RETRY_SECONDS = 0.02
CONNECT_TIMEOUT_SECONDS = 5
POOL_SIZE = 16
"""Connections that a process keeps open. As many again are opened at a peak: two for each thread of a busy API process."""
POOL_TIMEOUT_SECONDS = 30
"""How long a thread waits for a free connection."""

ColumnValues = Mapping[str, Any]


class Database:
    """An engine, and the few ways in which billvend uses it."""

    def __init__(self, url: str) -> None:
        self.url = _parse_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.engine = (
            _create_sqlite_engine(self.url) if self.is_sqlite else _create_postgresql_engine(self.url)
        )
        # SQLAlchemy needs longer to build a statement than the database needs to run it.
        self._statement = cache(self._build_statement)

    @contextmanager
    def read_transaction(self) -> Iterator[Connection]:
        """A transaction that sees one consistent state and changes nothing. Raises `Unavailable`."""
        with translate_errors(), self.engine.connect() as connection:
            if not self.is_sqlite:
                connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            with connection.begin():
                yield connection

    @contextmanager
    def write_transaction(self, *, translate: bool = True) -> Iterator[Connection]:
        """A transaction that writes. On SQLite it takes the write lock at once, so that it never has to start again.

        Raises `Unavailable`, and `IntegrityError` for a row that a constraint rejects. Without `translate`, errors within
        the transaction are raised as the database gives them.
        """
        with translate_errors():
            connection = self.engine.connect()
        with (
            connection,
            translate_errors() if translate else nullcontext(),
            connection.execution_options(billvend_writes=True).begin(),
        ):
            yield connection

    def close(self) -> None:
        """Close all connections. One that a thread still uses is closed when the thread returns it."""

        @sa.event.listens_for(self.engine, "checkin")
        def on_checkin(_connection: object, record: ConnectionPoolEntry) -> None:
            record.close()

        self.engine.dispose()

    # --- many rows in one statement -----------------------------------------------------------------------------------

    def insert(self, connection: Connection, table: sa.Table, rows: Sequence[ColumnValues]) -> None:
        """Insert rows in one statement, however many they are."""
        self.write(connection, [TableRows(table, rows)])

    def upsert(self, connection: Connection, table: sa.Table, rows: Sequence[ColumnValues]) -> None:
        """Insert rows, or replace the columns of existing ones, in one statement, however many they are."""
        self.write(connection, [TableRows(table, rows, is_upsert=True)])

    def write(self, connection: Connection, changes: Sequence["TableRows"]) -> None:
        """Write the rows of several tables: one statement on PostgreSQL, one a table on SQLite, in this order."""
        changes = [each for each in changes if each.rows]
        keys = [(each.table, tuple(each.rows[0]), each.is_upsert) for each in changes]
        if self.is_sqlite:
            for each, key in zip(changes, keys, strict=True):
                connection.execute(self._statement(key), list(each.rows))
        elif changes:
            values = {f"rows_{index}": orjson.dumps(each.rows).decode() for index, each in enumerate(changes)}
            connection.execute(self._statement(*keys), values)

    def _build_statement(self, *keys: "_StatementKey") -> sa.Executable:
        if self.is_sqlite:
            statement: sa.Executable = _insert_statement(sqlite.insert, *keys[0])
            return statement
        parts = [
            _insert_statement(postgresql.insert, *key).from_select(key[1], _rows_from_json(index, *key[:2]))
            for index, key in enumerate(keys)
        ]
        return sa.select(sa.literal(1)).add_cte(*(each.cte(f"change_{n}") for n, each in enumerate(parts)))

    def in_keys(self, *columns: sa.Column[Any]) -> sa.ColumnElement[bool]:
        """The condition that the columns are one of the keys that `key_parameters` gives when the statement is executed."""
        keys = sa.bindparam("keys", type_=sa.Text())
        # Without a limit PostgreSQL assumes 100 keys in any list, and reads the whole of a table that is not large yet.
        count = sa.bindparam("keys_count", type_=sa.Integer())
        if self.is_sqlite:
            listed = sa.func.json_each(keys).table_valued("value")
            parts: list[sa.ColumnElement[Any]] = [
                sa.func.json_extract(listed.c.value, f"$[{index}]") for index in range(len(columns))
            ]
        else:
            value = sa.func.json_array_elements(sa.cast(keys, sa.JSON())).column_valued("value")
            parts = [
                value.op("->>", return_type=sa.Text())(sa.literal_column(str(index)))
                for index in range(len(columns))
            ]
        return sa.tuple_(*columns).in_(sa.select(*parts).limit(count))

    @staticmethod
    def key_parameters(keys: Sequence[tuple[str, ...]]) -> dict[str, Any]:
        """The parameters for `in_keys`: two, however many keys there are."""
        return {"keys": json.dumps(keys), "keys_count": len(keys)}


@dataclass(frozen=True, slots=True)
class TableRows:
    """Rows to write into a table, all with the same columns."""

    table: sa.Table
    rows: Sequence[ColumnValues]
    is_upsert: bool = False
    """True: the columns of an existing row are replaced."""


_StatementKey = tuple[sa.Table, tuple[str, ...], bool]
"""What a statement is built from: a table, the columns that are written, and whether existing rows are replaced."""


def _insert_statement(insert: Any, table: sa.Table, names: tuple[str, ...], is_upsert: bool) -> Any:
    """The INSERT of a dialect."""
    statement = insert(table)
    if is_upsert:
        keys = {column.name for column in table.primary_key}
        changed = {name: statement.excluded[name] for name in names if name not in keys}
        statement = statement.on_conflict_do_update(index_elements=list(table.primary_key), set_=changed)
    return statement


def _rows_from_json(index: int, table: sa.Table, names: tuple[str, ...]) -> sa.Select[Any]:
    """The rows from one JSON text. psycopg takes far longer to write an array a column than orjson to write the JSON."""
    text = sa.cast(sa.bindparam(f"rows_{index}", type_=sa.Text()), sa.JSON())
    columns = [sa.column(name, table.c[name].type) for name in names]
    listed = sa.func.json_to_recordset(text).table_valued(*columns).render_derived(with_types=True)
    return sa.select(*(listed.c[name] for name in names))


@contextmanager
def translate_errors() -> Iterator[None]:
    """Raise the database errors of the block as `Unavailable`, except `IntegrityError`."""
    try:
        yield
    except IntegrityError:
        raise
    except DBAPIError as error:
        raise unavailable(error) from error
    except sa.exc.TimeoutError as error:
        raise Unavailable(
            "All connections to the database are in use. Nothing was done: try again."
        ) from error


def unavailable(error: DBAPIError) -> Unavailable:
    """The error for work that the database did not accept. Nothing was done."""
    return Unavailable(
        "The database does not answer.", "Nothing was done: try again.", detail=first_line(error.orig)
    )


def first_line(error: BaseException | None) -> str:
    """The first line of an error's text, or its type if it has no text."""
    message = str(error).strip()
    return message.splitlines()[0] if message else type(error).__name__


def is_unavailable(error: DBAPIError) -> bool:
    """Whether the database caused the error, not the work: it is down, full, shutting down or a read-only standby."""
    is_read_only = getattr(error.orig, "sqlstate", None) == "25006"
    return error.connection_invalidated or is_read_only or isinstance(error, sa.exc.OperationalError)


def make_storable(text: str) -> str:
    """The text as both databases can store it: without NUL and lone surrogates, which no UTF-8 column accepts."""
    return text.replace("\0", "\ufffd").encode(errors="replace").decode()


def is_conflict(error: DBAPIError) -> bool:
    """Whether the same work can be tried again at once: a deadlock, a serialization failure, a busy SQLite file."""
    state = getattr(error.orig, "sqlstate", None) or ""
    busy = "database is locked" in str(error.orig) or "database table is locked" in str(error.orig)
    return state in ("40001", "40P01", "55P03") or busy


def _parse_url(url: str) -> URL:
    try:
        parsed = make_url(url)
    except sa.exc.ArgumentError:
        raise ConfigurationError(
            "DATABASE_URL is not a database URL: use sqlite:///file or postgresql://..."
        ) from None
    if parsed.get_backend_name() == "sqlite":
        return parsed.set(drivername="sqlite+pysqlite")
    if parsed.get_backend_name() in ("postgresql", "postgres"):
        return parsed.set(drivername="postgresql+psycopg")
    raise ConfigurationError(
        "DATABASE_URL names a database that billvend can't use: only sqlite:// and postgresql://."
    )


def _create_sqlite_engine(url: URL) -> Engine:
    in_memory = url.database in (None, "", ":memory:")
    # All threads share the one connection that holds an in-memory database; a file gets connections as needed.
    pool_size, max_overflow = (1, 0) if in_memory else (POOL_SIZE, POOL_SIZE)
    engine = sa.create_engine(
        url,
        connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS, "check_same_thread": False},
        poolclass=sa.pool.QueuePool, pool_size=pool_size, max_overflow=max_overflow, pool_timeout=POOL_TIMEOUT_SECONDS,
    )  # fmt: skip

    @sa.event.listens_for(engine, "connect")
    def on_connect(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # transactions begin below: the driver must not guess
        _enable_wal(connection)
        for pragma in ("synchronous=FULL", "foreign_keys=ON", "recursive_triggers=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @sa.event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("billvend_writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _enable_wal(connection: sqlite3.Connection) -> None:
    """Switch the file to a write-ahead log. It stays so for good.

    When several connections switch a new file at once, SQLite rejects all but one immediately: its busy timeout does
    not apply. So this retries for as long.
    """
    deadline = time.monotonic() + SQLITE_BUSY_TIMEOUT_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        time.sleep(SQLITE_RETRY_SECONDS)


_DURABLE_COMMITS: Final = """
    SELECT set_config('synchronous_commit', 'on', false)
    WHERE current_setting('synchronous_commit') NOT IN ('on', 'remote_apply')
"""
"""A commit that returned is on disk, whatever the server's default is. A stricter default is kept."""


def _create_postgresql_engine(url: URL) -> Engine:
    defaults = {"connect_timeout": str(CONNECT_TIMEOUT_SECONDS), "application_name": "billvend"}
    url = url.update_query_dict({name: value for name, value in defaults.items() if name not in url.query})
    engine = sa.create_engine(
        url,
        isolation_level="READ COMMITTED",  # a read that waited for a lock sees the state that the lock protects
        pool_size=POOL_SIZE,
        max_overflow=POOL_SIZE,
        pool_timeout=POOL_TIMEOUT_SECONDS,
        pool_pre_ping=True,
    )

    @sa.event.listens_for(engine, "connect")
    def on_connect(connection: Any, _record: object) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"SET TIME ZONE 'UTC'; {_DURABLE_COMMITS}")
        connection.commit()

    return engine
