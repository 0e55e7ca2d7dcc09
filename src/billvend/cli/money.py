"""Commands that move money: fund, pay, cancel."""

from typing import Annotated

import typer

from billvend.cli.exits import Exit, exit_of
from billvend.cli.opening import opened
from billvend.cli.options import Amount, Currency, DatabaseUrl, Json, Key, Transaction, User, example
from billvend.cli.output import GOOD, QUIET, Block, Line, say, show

LONGEST_WAIT_SECONDS = 86_400

commands = typer.Typer()


@commands.command(epilog=example("billvend fund ada 5000 --key till-7-0001"))
def fund(
    user: User,
    amount: Amount,
    currency: Currency = None,
    key: Key = None,
    source: Annotated[
        str, typer.Option("--source", metavar="NAME", help="Who brought the money.")
    ] = "manual",
    as_json: Json = False,
    database_url: DatabaseUrl = None,
) -> Exit:
    """Add money to a wallet.

    Opens the wallet if it is new.
    """
    from billvend.cli.following import first_interrupt_waits
    from billvend.views import funded_document

    with opened(database_url) as bv, first_interrupt_waits():
        funded = bv.fund(user, amount, currency=currency, key=key, source=source)
    done = (
        f"Added {funded.amount.display} to the wallet of {funded.user_id}: it holds {funded.balance.display}."
    )
    before = (
        f"This key was used for it before, and nothing was added now. It held {funded.balance.display} then."
    )
    told = Line(before, QUIET) if funded.replayed else Line(done, GOOD)
    show(as_json, funded_document(funded), told, Line(f"Transaction {funded.transaction_id}"))
    return Exit.DONE


@commands.command(epilog=example("billvend pay ada 500 --meter 12345678901 --biller EKEDC --key order-42"))
def pay(
    user: User,
    amount: Amount,
    meter: Annotated[str, typer.Option("--meter", metavar="NUMBER", help="10 to 16 digits.")],
    biller: Annotated[str, typer.Option("--biller", metavar="CODE", help="One of `billvend billers`.")],
    vend_type: Annotated[
        str, typer.Option("--vend-type", metavar="KIND", help="prepaid or postpaid.")
    ] = "prepaid",
    phone: Annotated[
        str | None, typer.Option("--phone", metavar="NUMBER", help="The customer's.", show_default=False)
    ] = None,
    key: Key = None,
    again: Annotated[
        bool, typer.Option("--again", help="Pay a bill that was just paid: it is no double click.")
    ] = False,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Leave the rest to a worker once it is accepted.")
    ] = False,
    wait: Annotated[
        float,
        typer.Option(
            "--wait", metavar="SECONDS", help="How long to follow it.", min=0, max=LONGEST_WAIT_SECONDS
        ),
    ] = 60,
    as_json: Json = False,
    database_url: DatabaseUrl = None,
) -> Exit:
    """Buy electricity, and follow the payment to its end.

    The money is reserved first, and spent or given back exactly once.

    Exits 0 when it is delivered, 6 when the money is back, and 7 when it has not ended after the wait: then the money
    is reserved, and the payment goes on.
    """
    from billvend.cli.following import Followed, accepted, first_interrupt_waits, follow
    from billvend.cli.screens import outcome
    from billvend.usecases.pay import Bill
    from billvend.views import payment_document

    bill = Bill(user, amount, meter, biller, vend_type, phone, key, again)
    with opened(database_url) as bv, first_interrupt_waits() as interrupt:
        paid = bv.accept(bill)
        with accepted(paid.payment):
            followed = Followed(paid.payment, left=False)
            if paid.replayed and not as_json:
                say(Line("This key was used for it before, and nothing is paid twice.", QUIET))
            if not no_wait:
                followed = follow(bv, paid.payment, wait, interrupt, silently=as_json)
            payment = followed.payment
            next_look_at = bv.next_look_at(payment)
            document = payment_document(payment, bv.events(payment), next_look_at)
            look = f"Look at it with: billvend show {payment.transaction_id}"
            blocks: list[Block]
            if followed.left:
                blocks = [Line(f"The payment goes on, with its money reserved. {look}")]
            else:
                blocks = [
                    *outcome(payment, next_look_at),
                    *([] if payment.has_ended else [Line(look, QUIET)]),
                ]
            if paid.meter is not None and not followed.left:
                whose = ", ".join(filter(None, (paid.meter.customer_name, paid.meter.address)))
                blocks.append(Line(f"The meter is that of {whose}.", QUIET))
            show(as_json, {**document, "replayed": paid.replayed}, *blocks)
    return Exit.DONE if no_wait else exit_of(payment.status)


@commands.command(epilog=example("billvend cancel 019a0b5c-7d3e-7000-8000-1234567890ab"))
def cancel(transaction: Transaction, as_json: Json = False, database_url: DatabaseUrl = None) -> Exit:
    """Give the money back, while nothing was sent."""
    from billvend.cli.screens import outcome
    from billvend.views import payment_document

    with opened(database_url) as bv:
        payment = bv.cancel(transaction)
        document = payment_document(payment, bv.events(payment))
    show(as_json, document, *outcome(payment, None))
    return Exit.DONE
