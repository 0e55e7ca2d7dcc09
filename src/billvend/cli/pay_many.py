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
            help="CSV with the columns user, amount, meter, biller and optionally vend_type, phone, key.",
        ),
    ],
    batch: Annotated[
        str | None,
        typer.Option(
            "--batch",
            metavar="NAME",
            help="The name of the batch. Rows without a key get one from it: the same row is paid once.",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check all rows and show the totals. Nothing is paid.")
    ] = False,
    results: Annotated[
        Path | None,
        typer.Option(
            "--results",
            metavar="PATH",
            help="Where to write the results. Default: FILE.results.csv.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
    database_url: DatabaseUrl = None,
) -> Exit:
    """Pay many bills, one in each row of a file.

    Rows are independent: a rejected row does not stop the others. Workers buy the electricity of accepted rows.

    Safe to interrupt and to run again with the same batch: only missing rows are processed, even if the file was sorted
    or extended.

    Exits 0 when every row was accepted, now or earlier, else 2. A dry run also exits 2 when a wallet has too little
    money.
    """
    from billvend.cli.bill_batch import Batch, DryRun
    from billvend.cli.bill_csv import open_bill_file, open_result_file, result_path_for
    from billvend.cli.progress import defer_sigint
    from billvend.domain.errors import ValidationFailed

    if batch is not None and not batch.strip():
        raise ValidationFailed(
            "The name of the batch is empty. Nothing was done.", fields={"batch": "is empty"}
        )
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
