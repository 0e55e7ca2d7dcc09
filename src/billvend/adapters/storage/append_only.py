"""Triggers that reject changes and deletions of rows in the append-only tables, on both databases.

They are attached to the tables' definitions, so SQLAlchemy creates them with the tables.
"""

import sqlalchemy as sa

_CREATE_FUNCTION = """
CREATE OR REPLACE FUNCTION billvend_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%% is append-only: %% is refused', TG_TABLE_NAME, TG_OP;
END $$
"""


def make_append_only(table: sa.Table) -> None:
    """Reject UPDATE, DELETE and TRUNCATE of a table, from its creation on."""
    _add_on_postgresql(table, _CREATE_FUNCTION)
    _add_on_postgresql(
        table,
        f"CREATE TRIGGER {table.name}_append_only BEFORE UPDATE OR DELETE ON {table.name} "
        "FOR EACH ROW EXECUTE FUNCTION billvend_append_only()",
    )
    _add_on_postgresql(
        table,
        f"CREATE TRIGGER {table.name}_no_truncate BEFORE TRUNCATE ON {table.name} "
        "FOR EACH STATEMENT EXECUTE FUNCTION billvend_append_only()",
    )
    for verb in ("UPDATE", "DELETE"):
        _add_on_sqlite(
            table,
            f"CREATE TRIGGER {table.name}_no_{verb.lower()} BEFORE {verb} ON {table.name} "
            f"BEGIN SELECT RAISE(ABORT, '{table.name} is append-only: {verb} is refused'); END",
        )
    # INSERT OR REPLACE removes rows and fires no DELETE trigger, unless the connection has recursive_triggers on.
    same_key = " AND ".join(f"{column.name} = NEW.{column.name}" for column in table.primary_key)
    _add_on_sqlite(
        table,
        f"CREATE TRIGGER {table.name}_no_replace BEFORE INSERT ON {table.name} "  # noqa: S608  names of our own tables
        f"WHEN EXISTS (SELECT 1 FROM {table.name} WHERE {same_key}) "
        f"BEGIN SELECT RAISE(ABORT, 'UNIQUE constraint failed: {table.name} is append-only'); END",
    )


def _add_on_postgresql(table: sa.Table, statement: str) -> None:
    _execute_after_create(table, statement, "postgresql")


def _add_on_sqlite(table: sa.Table, statement: str) -> None:
    _execute_after_create(table, statement, "sqlite")


def _execute_after_create(table: sa.Table, statement: str, dialect: str) -> None:
    ddl: sa.ExecutableDDLElement = sa.DDL(statement)  # type: ignore[no-untyped-call]  # SQLAlchemy types it no further
    sa.event.listen(table, "after_create", ddl.execute_if(dialect=dialect))
