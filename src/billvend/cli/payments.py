"""Commands that move money: fund, pay, cancel, pay-many."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from billvend.cli.blocks import Block, Line, good, quiet
from billvend.cli.context import Session, command
from billvend.cli.exits import Exit, exit_of
from billvend.cli.options import (
    AMOUNT,
    BILLER,
    CURRENCY,
    IDEMPOTENCY_KEY,
    TRANSACTION,
    USER,
    VEND_TYPE,
    argument,
    option,
)
from billvend.cli.output import Output, print_blocks, result

if TYPE_CHECKING:
    from billvend.domain.meter_lookup import MeterFound
    from billvend.domain.payment.state import Payment

MAX_WAIT_SECONDS = 86_400

commands = typer.Typer()


@command(commands, "billvend fund ada 5000 --idempotency-key till-7-0001")
def fund(
    session: Session,
    user: str = USER,
    amount: str = AMOUNT,
    currency: str | None = CURRENCY,
    key: str | None = IDEMPOTENCY_KEY,
    source: str = option("--source NAME: Where the money comes from.", "manual"),
) -> Output:
    """Add money to a wallet.

    Creates the wallet if it is new.
    """
    from billvend.cli.progress import defer_sigint
    from billvend.presentation.operator_models import FundingResultResponse

    with defer_sigint():
        funded = session.bv.fund(user, amount, currency=currency, key=key, source=source)
    balance = funded.balance.display
    if funded.replayed:
        used = "This key was used before: nothing was added now."
        line = quiet(f"{used} The balance was {balance} then.")
    else:
        added = f"Added {funded.amount.display} to the wallet of {funded.user_id}"
        line = good(f"{added}: the balance is {balance}.")
    transaction = Line(f"Transaction {funded.transaction_id}")
    return result(FundingResultResponse.model_validate(funded), line, transaction)


@command(commands, "billvend pay ada 500 --meter 12345678901 --biller EKEDC --idempotency-key order-42")
def pay(
    session: Session,
    user: str = USER,
    amount: str = AMOUNT,
    meter: str = option("--meter NUMBER: 10 to 16 digits."),
    biller: str = BILLER,
    vend_type: str = VEND_TYPE,
    phone: str | None = option("--phone NUMBER: The customer's phone number.", None),
    key: str | None = IDEMPOTENCY_KEY,
    allow_duplicate: bool = option(
        "--allow-duplicate: Pay although the same bill was paid seconds ago.", False
    ),
    no_wait: bool = option("--no-wait: Return once it is accepted. A worker does the rest.", False),
    wait: float = option("--wait SECONDS: How long to wait for the result.", 60, min=0, max=MAX_WAIT_SECONDS),
) -> Exit:
    """Buy electricity, and wait for the result.

    The money is held first, then captured or released exactly once.

    Exits 0 when it was delivered, 6 when it was reversed, and 7 when the wait ran out. Then the money stays held and the
    payment continues.
    """
    from billvend.cli.progress import after_acceptance, defer_sigint, wait_with_progress
    from billvend.presentation.transaction_models import TransactionDetailResponse
    from billvend.usecases.pay import Bill

    bill = Bill(user, amount, meter, biller, vend_type, phone, key, allow_duplicate)
    with defer_sigint() as interrupt:
        bv = session.bv
        accepted = bv.accept(bill)
        payment = accepted.payment
        with after_acceptance(payment):
            if accepted.replayed and not session.as_json:
                print_blocks(quiet("This key was used before: nothing is paid twice."))
            if not no_wait:
                payment = wait_with_progress(bv, payment, wait, interrupt, quiet=session.as_json)
            next_check_at = bv.next_check_at(payment)

            def document() -> object:
                shown = TransactionDetailResponse.with_events(
                    payment, bv.events(payment), next_check_at
                ).to_json()
                return {**shown, "replayed": accepted.replayed}

            def text() -> Iterable[Block]:
                if interrupt.is_requested and not (no_wait or payment.has_ended):
                    continues = "The payment continues. Its money stays held."
                    return [Line(f"{continues} See: billvend show {payment.transaction_id}")]
                return _summary(payment, next_check_at, accepted.meter)

            session.print(Output(document, text))
    return Exit.DONE if no_wait else exit_of(payment.status)


def _summary(
    payment: "Payment", next_check_at: datetime | None, meter: "MeterFound | None"
) -> Iterator[Block]:
    from billvend.cli.rendering import render_payment_summary

    yield from render_payment_summary(payment, next_check_at)
    if not payment.has_ended:
        yield quiet(f"See: billvend show {payment.transaction_id}")
    if meter is not None:
        owner = ", ".join(filter(None, (meter.customer_name, meter.address)))
        yield quiet(f"Customer of the meter: {owner}.")


@command(commands, "billvend cancel 019a0b5c-7d3e-7000-8000-1234567890ab")
def cancel(session: Session, transaction: str = TRANSACTION) -> Output:
    """Cancel a payment that was not sent yet."""
    from billvend.cli.rendering import payment_output

    return payment_output(session.bv, session.bv.cancel(transaction))


@command(
    commands,
    "billvend pay-many october.csv --batch october --dry-run",
    "billvend pay-many october.csv --batch october",
    name="pay-many",
)
def pay_many(
    session: Session,
    file: Path = argument(
        "FILE: CSV with the columns user, amount, meter, biller and optionally vend_type, phone, key."
    ),
    batch: str | None = option(
        "--batch NAME: The name of the batch. Rows without a key get one from it: the same row is paid once.",
        None,
    ),
    dry_run: bool = option("--dry-run: Check all rows and show the totals. Nothing is paid.", False),
    results: Path | None = option(
        "--results PATH: Where to write the results. Default: FILE.results.csv.", None
    ),
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
            with open_result_file(path, bill_path=file) as write_results:
                run.process(bill_file, total, write_results)
            return run.output(path)
