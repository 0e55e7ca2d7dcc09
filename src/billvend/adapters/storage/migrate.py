"""Bringing a database's tables to the version that this billvend needs."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from billvend.adapters.storage.database import Database, first_line, unavailable
from billvend.domain.errors import BadSetting

HEAD = "0006"
"""The version that this billvend reads and writes; a test holds it against the migrations. Versions sort as text."""

_LOCK = 0x62_69_6C_6C  # "bill": two processes that upgrade one PostgreSQL database take turns


def current(database: Database) -> str | None:
    """The version of a database's tables; None for a database without any. Raises `Unavailable`."""
    try:
        with database.reading() as connection:
            return _version(connection)
    except DBAPIError as error:
        raise unavailable(error) from error


def upgrade(database: Database) -> str:
    """Make or change the tables, all in one transaction; returns the version that was there before, or "none".

    Raises `BadSetting` for tables of a newer billvend or of somebody else, and `Unavailable`.
    """
    try:
        with database.writing() as connection:
            if not database.is_sqlite:
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
            before = _version(connection)
            if before is not None and before > HEAD:
                raise _too_new(before)
            if before != HEAD:
                _run(connection)
    except DBAPIError as error:
        if "already exists" in first_line(error.orig):
            raise BadSetting(
                f"DATABASE_URL: that database is not billvend's ({first_line(error.orig)}). Nothing was changed."
            ) from error
        raise unavailable(error) from error
    return before or "none"


def require_head(database: Database) -> None:
    """Refuse a database whose tables are not of this version; raises `BadSetting`."""
    version = current(database)
    if version is None:
        raise BadSetting("The database has no tables yet. Make them with: billvend db upgrade")
    if version > HEAD:
        raise _too_new(version)
    if version != HEAD:
        raise BadSetting(
            f"The database's tables are of version {version}, this billvend needs {HEAD}. Run: billvend db upgrade"
        )


def _too_new(version: str) -> BadSetting:
    return BadSetting(
        f"The database's tables are of version {version}, and this billvend knows none after {HEAD}. Nothing was "
        "changed: use the newer billvend that made them."
    )


def _version(connection: Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    version: Any = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
    return None if version is None else str(version)


def _run(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "billvend.adapters.storage:migrations")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
