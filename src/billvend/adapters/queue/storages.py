"""Huey's storages, for hints: `put` stores many at once, and returns how many (always the first ones).

Each outage is an error of the driver. They are safe to use from several threads, and connect to nothing before they are
used.
"""

import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path

from huey.storage import MemoryStorage, RedisStorage, SqliteStorage
from redis import ConnectionPool
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.retry import Retry

from billvend.domain.errors import ConfigurationError

BLOCK_SECONDS = 0.5
"""How long a read of an empty queue lasts. An idle worker needs so long to notice that it should stop."""
MAX_MEMORY_HINTS = 100_000
"""More hints than this are dropped, so that they do not fill the memory: a sweep finds the work."""
_REDIS_OPTIONS = {
    # redis-py's client repeats a command ten times, and redis-py 8 waits longer when the server announces
    # maintenance, which only protocol 3 does. Both would break the promise of 200 ms. Sending the client's name costs
    # two more round trips per connection and has no use here.
    "retry": Retry(NoBackoff(), 0),
    "retry_on_error": [],
    "retry_on_timeout": False,
    "protocol": 2,
    "driver_info": None,
    "decode_responses": False,
    "max_connections": 1024,  # more than there are threads: they are opened only as needed
}


class MemoryHints(MemoryStorage):  # type: ignore[misc]
    """Hints inside of one process. A hint wakes a waiting worker."""

    blocking = True

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._arrival = threading.Condition(self._lock)

    def put(self, messages: Sequence[bytes]) -> int:
        """Store messages, and wake as many workers."""
        with self._arrival:
            accepted = messages[: MAX_MEMORY_HINTS - self.queue_size()]
            for message in accepted:
                self.enqueue(message)
            self._arrival.notify(len(accepted))
        return len(accepted)

    def dequeue(self) -> bytes | None:
        """Remove a message and return it, or None after a while."""
        with self._arrival:
            self._arrival.wait_for(self.queue_size, timeout=BLOCK_SECONDS)
            message: bytes | None = super().dequeue()
        return message


class RedisHints(RedisStorage):  # type: ignore[misc]
    """Hints on Redis 6 or newer, or on another server with its protocol."""

    def __init__(self, name: str, url: str, timeout_seconds: float) -> None:
        """`timeout_seconds` must be longer than `BLOCK_SECONDS` for a reader, or each idle read would look like an outage.

        Raises `ConfigurationError` for an invalid URL. The message does not repeat the URL, which can hold a password.
        """
        try:
            options = parse_url(url) | _REDIS_OPTIONS  # type: ignore[no-untyped-call]
            options |= {"socket_timeout": timeout_seconds, "socket_connect_timeout": timeout_seconds}
            pool = ConnectionPool(**options)
            pool.make_connection()  # connects to nothing, but rejects unknown options
        except (TypeError, ValueError):
            raise ConfigurationError(
                "REDIS_URL is not a URL that Redis understands: redis://[user:password@]host:port/number."
            ) from None
        super().__init__(name, connection_pool=pool)

    def put(self, messages: Sequence[bytes]) -> int:
        """Store messages in one command."""
        self.conn.lpush(self.queue_key, *messages)
        return len(messages)

    def dequeue(self) -> bytes | None:
        """Remove a message and return it, or None after a while. Huey's method takes a server that hangs for an empty one."""
        found = self.conn.brpop([self.queue_key], timeout=BLOCK_SECONDS)
        return found[1] if found else None

    def close(self) -> None:
        """Close the connections."""
        self.pool.disconnect()


class SqliteHints(SqliteStorage):  # type: ignore[misc]
    """Hints in an SQLite file, which is created when first needed, and created again when it was deleted."""

    _conn: sqlite3.Connection | None

    def __init__(self, name: str, path: Path, timeout_seconds: float) -> None:
        self._opened_file_id: tuple[int, int] | None = None
        super().__init__(name, filename=str(path), timeout=timeout_seconds, create_tables=False)

    def put(self, messages: Sequence[bytes]) -> int:
        """Store messages in one transaction."""
        with self.db(commit=True) as cursor:
            cursor.executemany(
                "insert into task (queue, data) values (?, ?)", [(self.name, message) for message in messages]
            )
        return len(messages)

    @property
    def conn(self) -> sqlite3.Connection:
        """The connection to the present file. SQLite itself would go on writing to a deleted file, which no one reads."""
        if self._conn is not None and self._opened_file_id != self._current_file_id():
            self._conn.close()
            self._conn = None
        if self._conn is None:
            self._conn = self._create_connection()
            self._opened_file_id = self._current_file_id()
        return self._conn

    def _create_connection(self) -> sqlite3.Connection:
        # Not Huey's method: it leaves the connection open when the file can't be used.
        connection = sqlite3.connect(
            self.filename, timeout=self._timeout, check_same_thread=False, isolation_level=None
        )
        try:
            self._set_journal_mode(connection)
            # A power cut can lose the last hints. In return, no commit waits for the disk.
            connection.execute("pragma synchronous=normal")
            for statement in self.ddl:
                connection.execute(statement)
        except BaseException:
            connection.close()
            raise
        return connection

    def _current_file_id(self) -> tuple[int, int] | None:
        try:
            status = Path(self.filename).stat()
        except FileNotFoundError:
            return None
        return status.st_dev, status.st_ino


HintStorage = MemoryHints | RedisHints | SqliteHints


def open_storage(place: str | Path | None, name: str, timeout_seconds: float) -> HintStorage:
    """The queue of this name on a Redis server (a URL), in a file (a path), or in memory (None)."""
    match place:
        case None:
            return MemoryHints(name)
        case Path():
            return SqliteHints(name, place, timeout_seconds)
        case _:
            return RedisHints(name, place, timeout_seconds)
