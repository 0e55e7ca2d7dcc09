"""Commands that move money: fund, pay, cancel."""

from typing import Annotated

import typer

from billvend.cli.context import billvend_context
from billvend.cli.exits import Exit, exit_of
from billvend.cli.options import (
    Amount,
    Currency,
    DatabaseUrl,
    IdempotencyKey,
    Json,
    Transaction,
    User,
    example,
)
from billvend.cli.output import GOOD, QUIET, Block, Line, print_blocks, print_result

MAX_WAIT_SECONDS = 86_400

commands = typer.Typer()


@commands.command(epilog=example("billvend fund ada 5000 --idempotency-key till-7-0001"))
def fund(
    user: User,
    amount: Amount,
    currency: Currency = None,
    key: IdempotencyKey = None,
    source: Annotated[
        str, typer.Option("--source", metavar="NAME", help="Where the money comes from.")
    ] = "manual",
    as_json: Json = False,
    database_url: DatabaseUrl = None,
) -> Exit:
    """Add money to a wallet.

    Creates the wallet if it is new.
    """
    from billvend.cli.progress import defer_sigint
    from billvend.presentation import funding_result_json

    with billvend_context(database_url) as bv, defer_sigint():
        result = bv.fund(user, amount, currency=currency, key=key, source=source)
    added_text = f"Added {result.amount.display} to the wallet of {result.user_id}: the balance is {result.balance.display}."
    repeated_text = (
        f"This key was used before: nothing was added now. The balance was {result.balance.display} then."
    )
    line = Line(repeated_text, QUIET) if result.replayed else Line(added_text, GOOD)
    print_result(as_json, funding_result_json(result), line, Line(f"Transaction {result.transaction_id}"))
    return Exit.DONE


@commands.command(
    epilog=example("billvend pay ada 500 --meter 12345678901 --biller EKEDC --idempotency-key order-42")
)
def pay(
    user: User,
    amount: Amount,
    meter: Annotated[str, typer.Option("--meter", metavar="NUMBER", help="10 to 16 digits.")],
    biller: Annotated[str, typer.Option("--biller", metavar="CODE", help="One of `billvend billers`.")],
    vend_type: Annotated[
        str, typer.Option("--vend-type", metavar="KIND", help="prepaid or postpaid.")
    ] = "prepaid",
    phone: Annotated[
        str | None,
        typer.Option("--phone", metavar="NUMBER", help="The customer's phone number.", show_default=False),
    ] = None,
    key: IdempotencyKey = None,
    allow_duplicate: Annotated[
        bool, typer.Option("--allow-duplicate", help="Pay although the same bill was paid seconds ago.")
    ] = False,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Return once it is accepted. A worker does the rest.")
    ] = False,
    wait: Annotated[
        float,
        typer.Option(
            "--wait", metavar="SECONDS", help="How long to wait for the result.", min=0, max=MAX_WAIT_SECONDS
        ),
    ] = 60,
    as_json: Json = False,
    database_url: DatabaseUrl = None,
) -> Exit:
    """Buy electricity, and wait for the result.

    The money is held first, then captured or released exactly once.

    Exits 0 when it was delivered, 6 when it was reversed, and 7 when the wait ran out. Then the money stays held and the
    payment continues.
    """
    from billvend.cli.progress import WaitResult, after_acceptance, defer_sigint, wait_with_progress
    from billvend.cli.rendering import render_payment_summary
    from billvend.presentation import payment_json
    from billvend.usecases.pay import Bill

    bill = Bill(user, amount, meter, biller, vend_type, phone, key, allow_duplicate)
    with billvend_context(database_url) as bv, defer_sigint() as interrupt:
        result = bv.accept(bill)
        with after_acceptance(result.payment):
            wait_result = WaitResult(result.payment, was_interrupted=False)
            if result.replayed and not as_json:
                print_blocks(Line("This key was used before: nothing is paid twice.", QUIET))
            if not no_wait:
                wait_result = wait_with_progress(bv, result.payment, wait, interrupt, quiet=as_json)
            payment = wait_result.payment
            next_check_at = bv.next_check_at(payment)
            document = payment_json(payment, bv.events(payment), next_check_at) if as_json else {}
            show_text = f"See: billvend show {payment.transaction_id}"
            blocks: list[Block]
            if wait_result.was_interrupted:
                blocks = [Line(f"The payment continues. Its money stays held. {show_text}")]
            else:
                blocks = [
                    *render_payment_summary(payment, next_check_at),
                    *([] if payment.has_ended else [Line(show_text, QUIET)]),
                ]
            if result.meter is not None and not wait_result.was_interrupted:
                owner = ", ".join(filter(None, (result.meter.customer_name, result.meter.address)))
                blocks.append(Line(f"Customer of the meter: {owner}.", QUIET))
            print_result(as_json, {**document, "replayed": result.replayed}, *blocks)
    return Exit.DONE if no_wait else exit_of(payment.status)


@commands.command(epilog=example("billvend cancel 019a0b5c-7d3e-7000-8000-1234567890ab"))
def cancel(transaction: Transaction, as_json: Json = False, database_url: DatabaseUrl = None) -> Exit:
    """Cancel a payment that was not sent yet."""
    from billvend.cli.rendering import render_payment_summary
    from billvend.presentation import payment_json

    with billvend_context(database_url) as bv:
        payment = bv.cancel(transaction)
        document = payment_json(payment, bv.events(payment))
    print_result(as_json, document, *render_payment_summary(payment, None))
    return Exit.DONE
