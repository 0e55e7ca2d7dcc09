"""Tables for thousands of tests. Alembic takes a tenth of a second to make them, the database a few thousandths: so in each
process of the tests Alembic is asked once for each kind of database, and its statements are repeated from then on."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from billvend.adapters.storage import migrate

_by_alembic: Callable[[Connection], None] = migrate._run
_statements: dict[str, list[tuple[str, Any]]] = {}
"""What Alembic had carried out, and with which values, by the name of the dialect."""


@contextmanager
def made_as_before() -> Iterator[None]:
    """Inside, tables of a new database are made by the statements of the first time."""
    with _made_by(_repeated):
        yield


@contextmanager
def made_by_alembic() -> Iterator[None]:
    """Inside, tables are made as a user would have them made."""
    with _made_by(_by_alembic):
        yield


@contextmanager
def _made_by(run: Callable[[Connection], None]) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(migrate, "_run", run)
        yield


def _repeated(connection: Connection) -> None:
    kind = connection.dialect.name
    if migrate._version(connection) is not None:
        _by_alembic(connection)
    elif kind in _statements:
        cursor = connection.connection.cursor()
        for statement, values in _statements[kind]:
            cursor.execute(statement, values)
        cursor.close()
    else:
        _statements[kind] = _carried_out(connection)


def _carried_out(connection: Connection) -> list[tuple[str, Any]]:
    """Have Alembic make the tables: what changed the database on the way."""
    noted: list[tuple[str, Any]] = []

    def note(_connection: object, _cursor: object, statement: str, values: Any, *_more: object) -> None:
        if not statement.lstrip().startswith(("SELECT", "PRAGMA")):
            noted.append((statement, values))

    sa.event.listen(connection, "before_cursor_execute", note)
    try:
        _by_alembic(connection)
    finally:
        sa.event.remove(connection, "before_cursor_execute", note)
    return noted
