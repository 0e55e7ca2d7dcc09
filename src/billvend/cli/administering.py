"""Commands that administer: config, db."""

import typer

from billvend.cli.exits import Exit
from billvend.cli.opening import configured
from billvend.cli.options import DatabaseUrl, Json, example
from billvend.cli.output import DOUBT, GOOD, Facts, Line, show

commands = typer.Typer()
db = typer.Typer(help="Look after the database and its tables.", epilog=example("billvend db upgrade"))
commands.add_typer(db, name="db")


@commands.command(epilog=example("billvend config"))
def config(as_json: Json = False, database_url: DatabaseUrl = None) -> Exit:
    """Show the settings in force, without their secrets."""
    from billvend.config import redact_settings

    with configured(database_url) as settings:
        shown = redact_settings(settings)
    rows = [(name, "" if value is None else _written(value)) for name, value in shown.items()]
    show(as_json, shown, Facts(rows))
    return Exit.DONE


@db.command(epilog=example("billvend db upgrade --database-url postgresql://billvend@db/billvend"))
def upgrade(as_json: Json = False, database_url: DatabaseUrl = None) -> Exit:
    """Make or change the tables.

    They come to the version that this billvend needs. Safe to run twice.
    """
    from billvend.bootstrap import upgrade_tables

    with configured(database_url) as settings:
        before, now = upgrade_tables(settings)
    done = (
        f"The tables are of version {now}; they were of version {before}."
        if before
        else f"The tables are made: version {now}."
    )
    same = f"The tables are of version {now} already."
    show(as_json, {"before": before, "current": now}, Line(same if before == now else done, GOOD))
    return Exit.DONE


@db.command(epilog=example("billvend db current"))
def current(as_json: Json = False, database_url: DatabaseUrl = None) -> Exit:
    """Show which version the tables are of."""
    from billvend.bootstrap import table_versions

    with configured(database_url) as settings:
        there, needed = table_versions(settings)
    if there == needed:
        told = Line(f"The tables are of version {there}, as they should be.", GOOD)
    else:
        stand = f"The tables are of version {there}" if there else "There are no tables"
        told = Line(f"{stand}; this billvend needs version {needed}. Run: billvend db upgrade", DOUBT)
    show(as_json, {"current": there, "needed": needed, "upToDate": there == needed}, told)
    return Exit.DONE


@db.command(epilog=example("billvend db seed"))
def seed(as_json: Json = False, database_url: DatabaseUrl = None) -> Exit:
    """Add example wallets and payments.

    Safe to run twice; refused in production, and on books of real money.
    """
    from billvend.bootstrap import open_billvend
    from billvend.cli.screens import transactions_table
    from billvend.cli.seeding import refuse_production, sow
    from billvend.views import transaction_document

    with configured(database_url) as settings:
        refuse_production(settings)
        with open_billvend(settings) as bv:
            sown = sow(bv)
    document = {"items": [transaction_document(transaction) for transaction in sown]}
    show(
        as_json,
        document,
        Line("On the books, for trying things out:", GOOD),
        transactions_table(sown, with_user=True),
    )
    return Exit.DONE


def _written(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
