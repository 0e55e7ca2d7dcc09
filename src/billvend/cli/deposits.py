"""Commands for money from outside: fund-intent, fund-check."""

from typing import Annotated

import typer

from billvend.cli.context import billvend_context
from billvend.cli.exits import Exit
from billvend.cli.options import Amount, Currency, DatabaseUrl, IdempotencyKey, Json, User, example
from billvend.cli.output import BAD, DOUBT, GOOD, QUIET, Line, print_result

commands = typer.Typer()


@commands.command("fund-intent", epilog=example("billvend fund-intent ada 5000 --email ada@example.com"))
def create(
    user: User,
    amount: Amount,
    email: Annotated[str, typer.Option("--email", metavar="E", help="Of whoever pays.")],
    currency: Currency = None,
    key: IdempotencyKey = None,
    as_json: Json = False,
    database_url: DatabaseUrl = None,
) -> Exit:
    """Start a funding by Paystack.

    Prints where the customer pays. The wallet is credited when Paystack says that it was paid.
    """
    from billvend.cli.progress import defer_sigint
    from billvend.presentation import deposit_result_json

    with billvend_context(database_url) as bv, defer_sigint():
        deposit = bv.create_deposit(user, amount, email=email, currency=currency, key=key)
    created_line = Line(
        f"{deposit.amount.display} can be paid for the wallet of {deposit.user_id}, here:", GOOD
    )
    repeated_line = Line(
        "This key was used for it before, and nothing is announced twice. It can be paid here:", QUIET
    )
    print_result(
        as_json,
        {**deposit_result_json(deposit), "replayed": deposit.replayed},
        repeated_line if deposit.replayed else created_line,
        Line(deposit.authorization_url),
        Line(f"What became of it: billvend fund-check {deposit.reference}", QUIET),
    )
    return Exit.DONE


@commands.command("fund-check", epilog=example("billvend fund-check bv-019a0b5c-7d3e-7000-8000-1234567890ab"))
def check(
    reference: Annotated[str, typer.Argument(metavar="REFERENCE", help="As `fund-intent` gave it.")],
    acknowledge: Annotated[
        bool, typer.Option("--acknowledge", help="Close its problem: billvend review no longer lists it.")
    ] = False,
    as_json: Json = False,
    database_url: DatabaseUrl = None,
) -> Exit:
    """Ask Paystack what became of a funding, and credit it if it was paid.

    For when Paystack's own news of it did not arrive. Safe to repeat: a reference is credited once for ever.

    Exits 0 when it is credited, 7 while it is not paid, and 8 when what was paid is not what was asked for.
    """
    from billvend.cli.progress import defer_sigint
    from billvend.presentation import deposit_check_json
    from billvend.usecases.deposits import DepositStatus

    with billvend_context(database_url) as bv, defer_sigint():
        result = bv.acknowledge_deposit(reference) if acknowledge else bv.check_deposit(reference)
    if acknowledge:
        print_result(as_json, deposit_check_json(result), Line("It need not be shown any more.", GOOD))
        return Exit.DONE
    status, style = {
        DepositStatus.CREDITED: (Exit.DONE, GOOD),
        DepositStatus.NOT_PAID: (Exit.UNFINISHED, DOUBT),
        DepositStatus.PROBLEM: (Exit.DIFFERENCE, BAD),
    }[result.status]
    print_result(as_json, deposit_check_json(result), Line(result.detail, style))
    return status
