"""Commands for deposits by Paystack: deposits create, check, list."""

from typing import Annotated

import typer

from billvend.cli.context import billvend_context
from billvend.cli.exits import Exit
from billvend.cli.options import (
    Amount,
    Currency,
    DatabaseUrl,
    IdempotencyKey,
    Json,
    MaxItems,
    User,
    example,
)
from billvend.cli.output import BAD, DOUBT, GOOD, QUIET, Line, Table, print_result

commands = typer.Typer()
deposits = typer.Typer(help="Manage deposits by Paystack.", epilog=example("billvend deposits list"))
commands.add_typer(deposits, name="deposits")


@deposits.command(epilog=example("billvend deposits create ada 5000 --email ada@example.com"))
def create(
    user: User,
    amount: Amount,
    email: Annotated[str, typer.Option("--email", metavar="E", help="The payer's address.")],
    currency: Currency = None,
    key: IdempotencyKey = None,
    as_json: Json = False,
    database_url: DatabaseUrl = None,
) -> Exit:
    """Create a deposit by Paystack.

    Prints the address where the customer pays. The wallet is credited when Paystack confirms the payment.
    """
    from billvend.cli.progress import defer_sigint
    from billvend.presentation import deposit_result_json

    with billvend_context(database_url) as bv, defer_sigint():
        deposit = bv.create_deposit(user, amount, email=email, currency=currency, key=key)
    created_line = Line(
        f"Created a deposit of {deposit.amount.display} for the wallet of {deposit.user_id}. Pay here:", GOOD
    )
    repeated_line = Line("This key was used before: this is the same deposit. Pay here:", QUIET)
    print_result(
        as_json,
        {**deposit_result_json(deposit), "replayed": deposit.replayed},
        repeated_line if deposit.replayed else created_line,
        Line(deposit.authorization_url),
        Line(f"Check it with: billvend deposits check {deposit.reference}", QUIET),
    )
    return Exit.DONE


@deposits.command(epilog=example("billvend deposits check bv-019a0b5c-7d3e-7000-8000-1234567890ab"))
def check(
    reference: Annotated[
        str, typer.Argument(metavar="REFERENCE", help="As printed by billvend deposits create.")
    ],
    acknowledge: Annotated[
        bool, typer.Option("--acknowledge", help="Close its problem: billvend review no longer lists it.")
    ] = False,
    as_json: Json = False,
    database_url: DatabaseUrl = None,
) -> Exit:
    """Ask Paystack about a deposit, and credit it if it was paid.

    Use it when Paystack's webhook did not arrive. Safe to repeat: a deposit is credited once.

    Exits 0 when it is credited, 7 while it is not paid, and 8 when the payment differs from the deposit.
    """
    from billvend.cli.progress import defer_sigint
    from billvend.presentation import deposit_check_json
    from billvend.usecases.deposits import DepositStatus

    with billvend_context(database_url) as bv, defer_sigint():
        result = bv.acknowledge_deposit(reference) if acknowledge else bv.check_deposit(reference)
    if acknowledge:
        print_result(as_json, deposit_check_json(result), Line("The problem is acknowledged.", GOOD))
        return Exit.DONE
    status, style = {
        DepositStatus.CREDITED: (Exit.DONE, GOOD),
        DepositStatus.NOT_PAID: (Exit.UNFINISHED, DOUBT),
        DepositStatus.PROBLEM: (Exit.DIFFERENCE, BAD),
    }[result.status]
    print_result(as_json, deposit_check_json(result), Line(result.detail, style))
    return status


@deposits.command("list", epilog=example("billvend deposits list --limit 50"))
def list_deposits(limit: MaxItems = 20, as_json: Json = False, database_url: DatabaseUrl = None) -> Exit:
    """List deposits, newest first.

    Shows what the database has. To ask Paystack about one, use billvend deposits check.
    """
    from billvend.cli.rendering import format_time
    from billvend.presentation import deposit_check_json

    with billvend_context(database_url) as bv:
        newest = bv.deposits(limit)
    rows = [
        (
            format_time(check.deposit.created_at),
            check.deposit.reference,
            check.deposit.user_id,
            check.deposit.amount.display,
            check.status.value.replace("_", " "),
            check.detail,
        )
        for check in newest
    ]
    table = Table(("Created (UTC)", "Reference", "User", "Amount", "Status", "Detail"), rows)
    document = {"items": [deposit_check_json(check) for check in newest]}
    print_result(as_json, document, table if rows else Line("No deposits yet.", QUIET))
    return Exit.DONE
