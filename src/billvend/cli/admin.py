"""Commands that administer: config, db."""

import typer

from billvend.cli.context import settings_context
from billvend.cli.exits import Exit
from billvend.cli.options import DatabaseUrl, Json, example
from billvend.cli.output import DOUBT, GOOD, KeyValues, Line, print_result

commands = typer.Typer()
db = typer.Typer(help="Manage the database schema.", epilog=example("billvend db upgrade"))
commands.add_typer(db, name="db")


@commands.command(epilog=example("billvend config"))
def config(as_json: Json = False, database_url: DatabaseUrl = None) -> Exit:
    """Show the settings in force, without their secrets."""
    from billvend.config import redact_settings

    with settings_context(database_url) as settings:
        values = redact_settings(settings)
    rows = [(name, "" if value is None else _format_value(value)) for name, value in values.items()]
    print_result(as_json, values, KeyValues(rows))
    return Exit.DONE


@db.command(epilog=example("billvend db upgrade --database-url postgresql://billvend@db/billvend"))
def upgrade(as_json: Json = False, database_url: DatabaseUrl = None) -> Exit:
    """Create or upgrade the tables.

    Safe to run twice.
    """
    from billvend.bootstrap import upgrade_schema

    with settings_context(database_url) as settings:
        old_version, new_version = upgrade_schema(settings)
    changed_text = (
        f"Upgraded the schema from version {old_version} to {new_version}."
        if old_version
        else f"Created the schema, version {new_version}."
    )
    unchanged_text = f"The schema is at version {new_version} already."
    print_result(
        as_json,
        {"before": old_version, "current": new_version},
        Line(unchanged_text if old_version == new_version else changed_text, GOOD),
    )
    return Exit.DONE


@db.command(epilog=example("billvend db current"))
def current(as_json: Json = False, database_url: DatabaseUrl = None) -> Exit:
    """Show the version of the schema."""
    from billvend.bootstrap import schema_versions

    with settings_context(database_url) as settings:
        version, needed_version = schema_versions(settings)
    if version == needed_version:
        line = Line(f"The schema is at version {version}: up to date.", GOOD)
    else:
        state = f"The schema is at version {version}." if version else "There are no tables."
        line = Line(f"{state} billvend needs version {needed_version}. Run: billvend db upgrade", DOUBT)
    print_result(
        as_json, {"current": version, "needed": needed_version, "upToDate": version == needed_version}, line
    )
    return Exit.DONE


@db.command(epilog=example("billvend db seed"))
def seed(as_json: Json = False, database_url: DatabaseUrl = None) -> Exit:
    """Add example wallets and payments.

    Safe to run twice. Rejected in production, and on a ledger of live money.
    """
    from billvend.bootstrap import open_billvend
    from billvend.cli.rendering import transactions_table
    from billvend.cli.seed import add_examples, require_non_production
    from billvend.presentation import transaction_json

    with settings_context(database_url) as settings:
        require_non_production(settings)
        with open_billvend(settings) as bv:
            examples = add_examples(bv)
    document = {"items": [transaction_json(transaction) for transaction in examples]}
    print_result(
        as_json,
        document,
        Line("Example wallets and payments:", GOOD),
        transactions_table(examples, with_user=True),
    )
    return Exit.DONE


def _format_value(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
