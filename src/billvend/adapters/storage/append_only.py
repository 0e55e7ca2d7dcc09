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
    _execute_after_create(table, "postgresql", _CREATE_FUNCTION)
    for name, change, scope in (
        ("append_only", "UPDATE OR DELETE", "ROW"),
        ("no_truncate", "TRUNCATE", "STATEMENT"),
    ):
        _execute_after_create(
            table,
            "postgresql",
            f"CREATE TRIGGER {table.name}_{name} BEFORE {change} ON {table.name} "
            f"FOR EACH {scope} EXECUTE FUNCTION billvend_append_only()",
        )
    # INSERT OR REPLACE removes rows and fires no DELETE trigger, unless the connection has recursive_triggers on.
    same_key = " AND ".join(f"{column.name} = NEW.{column.name}" for column in table.primary_key)
    row_exists = f"WHEN EXISTS (SELECT 1 FROM {table.name} WHERE {same_key}) "  # noqa: S608  names of our own tables
    rejection = f"{table.name} is append-only"
    for name, change, condition, message in (
        ("no_update", "UPDATE", "", f"{rejection}: UPDATE is refused"),
        ("no_delete", "DELETE", "", f"{rejection}: DELETE is refused"),
        ("no_replace", "INSERT", row_exists, f"UNIQUE constraint failed: {rejection}"),
    ):
        _execute_after_create(
            table,
            "sqlite",
            f"CREATE TRIGGER {table.name}_{name} BEFORE {change} ON {table.name} {condition}"
            f"BEGIN SELECT RAISE(ABORT, '{message}'); END",
        )


def _execute_after_create(table: sa.Table, dialect: str, statement: str) -> None:
    ddl: sa.ExecutableDDLElement = sa.DDL(statement)  # type: ignore[no-untyped-call]  # SQLAlchemy types it no further
    sa.event.listen(table, "after_create", ddl.execute_if(dialect=dialect))
