"""The command that pays many bills: pay-many."""

from pathlib import Path
from typing import Annotated

import typer

from billvend.cli.context import Session, command
from billvend.cli.options import argument, option
from billvend.cli.output import Output

commands = typer.Typer()


@command(
    commands,
    "billvend pay-many october.csv --batch october --dry-run",
    "billvend pay-many october.csv --batch october",
    name="pay-many",
)
def pay_many(
    session: Session,
    file: Annotated[
        Path,
        argument(
            "FILE", "CSV with the columns user, amount, meter, biller and optionally vend_type, phone, key."
        ),
    ],
    batch: Annotated[
        str | None,
        option(
            "--batch NAME",
            "The name of the batch. Rows without a key get one from it: the same row is paid once.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, option("--dry-run", "Check all rows and show the totals. Nothing is paid.")
    ] = False,
    results: Annotated[
        Path | None, option("--results PATH", "Where to write the results. Default: FILE.results.csv.")
    ] = None,
) -> Output:
    """Pay many bills, one in each row of a file.

    Rows are independent: a rejected row does not stop the others. Workers buy the electricity of accepted rows.

    Safe to interrupt and to run again with the same batch: only missing rows are processed, even if the file was sorted
    or extended.

    Exits 0 when every row was accepted, now or earlier, else 2. A dry run also exits 2 when a wallet has too little
    money.
    """
    from billvend.cli.bill_batch import Batch
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
        bv = session.bv
        with defer_sigint() as interrupt:
            run = Batch(bv, batch, interrupt, is_dry_run=dry_run)
            with open_result_file(path, bill_path=file) as result_file:
                run.process(bill_file, total, result_file)
            return run.output(path)
