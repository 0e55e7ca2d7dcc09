"""The command that pays many bills: pay-many."""

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from billvend.cli.exits import Exit
from billvend.cli.opening import opened
from billvend.cli.options import DatabaseUrl, Json, example
from billvend.cli.output import show

commands = typer.Typer()


@commands.command(
    "pay-many",
    epilog=example(
        "billvend pay-many october.csv --batch october --dry-run",
        "billvend pay-many october.csv --batch october",
    ),
)
def pay_many(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="CSV with the columns user, amount, meter, biller and, as you like, vend_type, phone, key.",
        ),
    ],
    batch: Annotated[
        str | None,
        typer.Option(
            "--batch",
            metavar="NAME",
            help="Gives rows without a key one: under the same name, the same row is paid once.",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check every row and add up. Nothing is paid.")
    ] = False,
    results: Annotated[
        Path | None,
        typer.Option(
            "--results",
            metavar="PATH",
            help="Where to write what came of each row, instead of FILE.results.csv beside it.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
    database_url: DatabaseUrl = None,
) -> Exit:
    """Pay many bills, one in each row of a file.

    Each row is judged alone, and one refusal stops nothing. Workers buy the electricity of what is accepted.

    It may be interrupted or killed, and run again with the same batch: that does only what is missing, also when rows
    were added, removed or put in another order since.

    Exits 0 when every row is accepted, now or before, else 2: the results say why. After a dry run: 2 as well when a
    wallet does not hold enough.
    """
    from billvend.cli.batches import Batch, DryRun
    from billvend.cli.following import first_interrupt_waits
    from billvend.cli.sheets import opened_sheet, results_beside, writing_results
    from billvend.domain.errors import ValidationFailed

    if batch is not None and not batch.strip():
        raise ValidationFailed("The batch has an empty name. Nothing was done.", fields={"batch": "is empty"})
    with opened_sheet(file) as sheet:
        path = results or results_beside(file)
        total = sheet.checked(with_keys=batch is None)
        with (
            opened(database_url) as bv,
            first_interrupt_waits() as interrupt,
            closing((DryRun if dry_run else Batch)(bv, batch, interrupt)) as run,
        ):
            with writing_results(path, of=file) as written:
                run.go_through(sheet, total, written)
            status, document, blocks = run.report(path)
    show(as_json, document, *blocks)
    return status
