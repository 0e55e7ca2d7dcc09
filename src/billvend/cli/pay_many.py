"""The command that pays many bills: pay-many."""

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from billvend.cli.context import billvend_context
from billvend.cli.exits import Exit
from billvend.cli.options import DatabaseUrl, Json, example
from billvend.cli.output import print_result

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
    from billvend.cli.bill_batch import Batch, DryRun
    from billvend.cli.bill_csv import open_bill_file, open_result_file, result_path_for
    from billvend.cli.progress import defer_sigint
    from billvend.domain.errors import ValidationFailed

    if batch is not None and not batch.strip():
        raise ValidationFailed("The batch has an empty name. Nothing was done.", fields={"batch": "is empty"})
    with open_bill_file(file) as bill_file:
        path = results or result_path_for(file)
        total = bill_file.check(with_keys=batch is None)
        with (
            billvend_context(database_url) as bv,
            defer_sigint() as interrupt,
            closing((DryRun if dry_run else Batch)(bv, batch, interrupt)) as run,
        ):
            with open_result_file(path, bill_path=file) as result_file:
                run.process(bill_file, total, result_file)
            status, document, blocks = run.report(path)
    print_result(as_json, document, *blocks)
    return status
