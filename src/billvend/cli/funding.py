"""Commands for money from outside: fund-intent, fund-check."""

from typing import Annotated

import typer

from billvend.cli.exits import Exit
from billvend.cli.opening import opened
from billvend.cli.options import Amount, Currency, DatabaseUrl, Json, Key, User, example
from billvend.cli.output import BAD, DOUBT, GOOD, QUIET, Line, show

commands = typer.Typer()


@commands.command("fund-intent", epilog=example("billvend fund-intent ada 5000 --email ada@example.com"))
def fund_intent(
    user: User,
    amount: Amount,
    email: Annotated[str, typer.Option("--email", metavar="E", help="Of whoever pays.")],
    currency: Currency = None,
    key: Key = None,
    as_json: Json = False,
    database_url: DatabaseUrl = None,
) -> Exit:
    """Start a funding by Paystack.

    Prints where the customer pays. The wallet is credited when Paystack says that it was paid.
    """
    from billvend.cli.following import first_interrupt_waits
    from billvend.views import intent_document

    with opened(database_url) as bv, first_interrupt_waits():
        intent = bv.start_funding(user, amount, email=email, currency=currency, key=key)
    done = Line(f"{intent.amount.display} can be paid for the wallet of {intent.user_id}, here:", GOOD)
    before = Line(
        "This key was used for it before, and nothing is announced twice. It can be paid here:", QUIET
    )
    show(
        as_json,
        {**intent_document(intent), "replayed": intent.replayed},
        before if intent.replayed else done,
        Line(intent.authorization_url),
        Line(f"What became of it: billvend fund-check {intent.reference}", QUIET),
    )
    return Exit.DONE


@commands.command("fund-check", epilog=example("billvend fund-check bv-019a0b5c-7d3e-7000-8000-1234567890ab"))
def fund_check(
    reference: Annotated[str, typer.Argument(metavar="REFERENCE", help="As `fund-intent` gave it.")],
    seen: Annotated[
        bool, typer.Option("--seen", help="Its problem has been dealt with: `review` need not show it.")
    ] = False,
    as_json: Json = False,
    database_url: DatabaseUrl = None,
) -> Exit:
    """Ask Paystack what became of a funding, and credit it if it was paid.

    For when Paystack's own news of it did not arrive. Safe to repeat: a reference is credited once for ever.

    Exits 0 when it is credited, 7 while it is not paid, and 8 when what was paid is not what was asked for.
    """
    from billvend.cli.following import first_interrupt_waits
    from billvend.usecases.fund_intent import FundingState
    from billvend.views import settled_document

    with opened(database_url) as bv, first_interrupt_waits():
        settled = bv.see_to_funding(reference) if seen else bv.settle_funding(reference)
    if seen:
        show(as_json, settled_document(settled), Line("It need not be shown any more.", GOOD))
        return Exit.DONE
    status, style = {
        FundingState.CREDITED: (Exit.DONE, GOOD),
        FundingState.NOT_PAID: (Exit.UNFINISHED, DOUBT),
        FundingState.PROBLEM: (Exit.DIFFERENCE, BAD),
    }[settled.state]
    show(as_json, settled_document(settled), Line(settled.detail, style))
    return status
