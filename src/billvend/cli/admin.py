"""Commands that administer: config, db."""

import typer

from billvend.cli.blocks import KeyValues, doubt, good, table
from billvend.cli.context import Session, command
from billvend.cli.options import example
from billvend.cli.output import Output, result

commands = typer.Typer()
db = typer.Typer(help="Manage the database schema.", epilog=example("billvend db upgrade"))
commands.add_typer(db, name="db")


@command(commands, "billvend config")
def config(session: Session) -> Output:
    """Show the settings in force, without their secrets."""
    from billvend.config import redact_settings

    def text(value: object) -> str:
        return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)

    values = redact_settings(session.settings)
    return result(values, KeyValues([(name, text(value)) for name, value in values.items()]))


@command(db, "billvend db upgrade --database-url postgresql://billvend@db/billvend")
def upgrade(session: Session) -> Output:
    """Create or upgrade the tables.

    Safe to run twice.
    """
    from billvend.bootstrap import upgrade_schema

    before, current = upgrade_schema(session.settings)
    if before == current:
        text = f"The schema is at version {current} already."
    elif before:
        text = f"Upgraded the schema from version {before} to {current}."
    else:
        text = f"Created the schema, version {current}."
    return result({"before": before, "current": current}, good(text))


@command(db, "billvend db current")
def current(session: Session) -> Output:
    """Show the version of the schema."""
    from billvend.bootstrap import schema_versions

    current, needed = schema_versions(session.settings)
    document = {"current": current, "needed": needed, "upToDate": current == needed}
    if current == needed:
        return result(document, good(f"The schema is at version {current}: up to date."))
    state = f"The schema is at version {current}." if current else "There are no tables."
    return result(document, doubt(f"{state} billvend needs version {needed}. Run: billvend db upgrade"))


@command(db, "billvend db seed")
def seed(session: Session) -> Output:
    """Add example wallets and payments.

    Safe to run twice. Rejected in production, and on a ledger of live money.
    """
    from billvend.cli.queries import TRANSACTION_COLUMNS
    from billvend.cli.seed import add_examples, require_non_production
    from billvend.presentation.transaction_models import TransactionResponse

    require_non_production(session.settings)
    items = [TransactionResponse.of(transaction).to_json() for transaction in add_examples(session.bv)]
    title = good("Example wallets and payments:")
    return result({"items": items}, title, table(items, TRANSACTION_COLUMNS))
