"""The version of a database's tables, and the upgrade to the version that this billvend needs."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from billvend.adapters.storage.database import Database
from billvend.adapters.storage.tables import metadata
from billvend.domain.errors import ConfigurationError, Unavailable

HEAD = "0100"
"""The version that this billvend reads and writes. A test compares it with the migrations. Versions sort as text."""
FIRST_RELEASED = "0100"
"""The first released version. Databases of earlier development versions are rejected."""

_alembic_version = sa.Table(
    "alembic_version",
    sa.MetaData(),
    sa.Column("version_num", sa.String(32), nullable=False),
    sa.PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)
"""Alembic's table."""
_ADVISORY_LOCK_ID = 0x62_69_6C_6C
"""Processes that upgrade one PostgreSQL database take turns with it. The number is "bill" in ASCII."""


def current_version(database: Database) -> str | None:
    """The version of a database's tables. None for a database without tables. Raises `Unavailable`."""
    with database.read_transaction() as connection:
        return _version(connection)


def upgrade(database: Database) -> str:
    """Create or change the tables, all in one transaction. Returns the version from before, or "none".

    A new database gets the tables as `tables` defines them. Migrations only change existing tables.
    Raises `Unavailable`, and `ConfigurationError` for tables of another program, of a newer billvend or of a version
    before the first release.
    """
    try:
        with database.write_transaction() as connection:
            if not database.is_sqlite:
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_ADVISORY_LOCK_ID)))
            before = _version(connection)
            if before is None:
                _create(connection)
            elif before != HEAD:
                _reject_unsupported(before)
                _migrate(connection)
    except Unavailable as error:
        if "already exists" in (error.detail or ""):
            raise ConfigurationError(
                f"DATABASE_URL: that database is not billvend's ({error.detail}). Nothing was changed."
            ) from error
        raise
    return before or "none"


def require_head(database: Database) -> None:
    """Check that the tables are of this version. Raises `ConfigurationError` if not, and `Unavailable`."""
    version = current_version(database)
    if version is None:
        raise ConfigurationError("The database has no tables yet. Make them with: billvend db upgrade")
    _reject_unsupported(version)
    if version != HEAD:
        raise ConfigurationError(
            f"The database's tables are of version {version}, this billvend needs {HEAD}. Run: billvend db upgrade"
        )


def _reject_unsupported(version: str) -> None:
    if version > HEAD:
        raise ConfigurationError(
            f"The database's tables are of version {version}, and this billvend knows none after {HEAD}. Nothing was "
            "changed: use the newer billvend that created them."
        )
    if version < FIRST_RELEASED:
        raise ConfigurationError(
            f"The database's tables are of version {version}, from before billvend 0.1.0, and can't be upgraded. Nothing was "
            "changed: set DATABASE_URL to a new database, or use the billvend that created these tables."
        )


def _version(connection: Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    version: Any = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
    return None if version is None else str(version)


def _create(connection: Connection) -> None:
    _alembic_version.create(connection, checkfirst=True)
    metadata.create_all(connection, checkfirst=False)
    connection.execute(_alembic_version.insert().values(version_num=HEAD))


def _migrate(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "billvend.adapters.storage:migrations")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
