"""Hints in an SQLite file, for one machine without Redis."""

import os
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from time import monotonic

from huey.storage import SqliteStorage

from billvend.adapters.queue.background_sender import TIMEOUT_SECONDS
from billvend.adapters.queue.huey_queue import HueyQueue
from billvend.adapters.queue.huey_storage import storage_name
from billvend.ports.queue import QueueName

READ_TIMEOUT_SECONDS = 5.0
"""How long a worker waits for another process that holds the file's lock."""


class _SqliteHintStorage(SqliteStorage):  # type: ignore[misc]
    _conn: sqlite3.Connection | None

    def __init__(self, queue: QueueName, path: str, *, timeout_seconds: float) -> None:
        self._opened_file_id: tuple[int, int] | None = None
        self._is_closed = False
        # Each connection creates the tables instead: the file may be missing now, or be deleted later.
        super().__init__(storage_name(queue), filename=path, timeout=timeout_seconds, create_tables=False)

    def put(self, messages: Sequence[bytes]) -> int:
        with self.db(commit=True) as cursor:
            cursor.executemany(
                "insert into task (queue, data) values (?, ?)", [(self.name, message) for message in messages]
            )
        return len(messages)

    @property
    def conn(self) -> sqlite3.Connection:
        """The connection to the present file. SQLite itself would go on writing to a deleted file, which no one reads."""
        if self._is_closed:
            raise sqlite3.ProgrammingError("The queue was closed.")
        if self._conn is not None and self._opened_file_id != self._current_file_id():
            self._conn.close()
            self._conn = None
        if self._conn is None:
            self._conn = self._create_connection()
            self._opened_file_id = self._current_file_id()
        return self._conn

    def close(self) -> bool:
        """Close the file for good. Huey's method leaves it open if a thread is just opening it, or opens it later."""
        with self.lock:
            self._is_closed = True
            connection, self._conn = self._conn, None
            if connection is not None:
                connection.close()
        return connection is not None

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


def sqlite_queue(
    path: str | os.PathLike[str],
    *,
    clock: Callable[[], float] = monotonic,
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> HueyQueue:
    """Hints in the file at `path`, which is created when first needed. Its folder must exist."""
    file = os.fspath(path)
    return HueyQueue(
        "SQLite",
        send_storages={
            queue: _SqliteHintStorage(queue, file, timeout_seconds=timeout_seconds) for queue in QueueName
        },
        open_storage=lambda queue: closing(
            _SqliteHintStorage(queue, file, timeout_seconds=READ_TIMEOUT_SECONDS)
        ),
        clock=clock,
        timeout_seconds=timeout_seconds,
    )
