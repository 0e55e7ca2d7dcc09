"""Commands for deposits by Paystack: deposits create, check, list."""

import typer

from billvend.cli.blocks import Columns, Line, bad, doubt, good, money, quiet, short_time, words
from billvend.cli.context import Session, command
from billvend.cli.exits import Exit
from billvend.cli.options import AMOUNT, CURRENCY, IDEMPOTENCY_KEY, USER, argument, example, max_items, option
from billvend.cli.output import Output, listing, result

COLUMNS: Columns = {
    "Created (UTC)": lambda deposit: short_time(deposit["createdAt"]),
    "Reference": "reference",
    "User": "userId",
    "Amount": money,
    "Status": lambda deposit: words(deposit["status"]),
    "Detail": "detail",
}
CHECKED = {
    "credited": (Exit.DONE, good),
    "not_paid": (Exit.UNFINISHED, doubt),
    "problem": (Exit.DIFFERENCE, bad),
}
"""The exit status and the style of each status of a checked deposit."""

commands = typer.Typer()
deposits = typer.Typer(help="Manage deposits by Paystack.", epilog=example("billvend deposits list"))
commands.add_typer(deposits, name="deposits")


@command(deposits, "billvend deposits create ada 5000 --email ada@example.com")
def create(
    session: Session,
    user: str = USER,
    amount: str = AMOUNT,
    email: str = option("--email E: The payer's address."),
    currency: str | None = CURRENCY,
    key: str | None = IDEMPOTENCY_KEY,
) -> Output:
    """Create a deposit by Paystack.

    Prints the address where the customer pays. The wallet is credited when Paystack confirms the payment.
    """
    from billvend.cli.progress import defer_sigint
    from billvend.presentation.models import DepositResponse

    with defer_sigint():
        deposit = session.bv.create_deposit(user, amount, email=email, currency=currency, key=key)
    if deposit.replayed:
        title = quiet("This key was used before: this is the same deposit. Pay here:")
    else:
        what = f"a deposit of {deposit.amount.display} for the wallet of {deposit.user_id}"
        title = good(f"Created {what}. Pay here:")
    return result(
        {**DepositResponse.model_validate(deposit).to_json(), "replayed": deposit.replayed},
        title,
        Line(deposit.authorization_url),
        quiet(f"Check it with: billvend deposits check {deposit.reference}"),
    )


@command(deposits, "billvend deposits check bv-019a0b5c-7d3e-7000-8000-1234567890ab")
def check(
    session: Session,
    reference: str = argument("REFERENCE: As printed by billvend deposits create."),
    acknowledge: bool = option(
        "--acknowledge: Close its problem: billvend review no longer lists it.", False
    ),
) -> Output:
    """Ask Paystack about a deposit, and credit it if it was paid.

    Use it when Paystack's webhook did not arrive. Safe to repeat: a deposit is credited once.

    Exits 0 when it is credited, 7 while it is not paid, and 8 when the payment differs from the deposit.
    """
    from billvend.cli.progress import defer_sigint
    from billvend.presentation.operator_models import DepositCheckResponse

    with defer_sigint():
        bv = session.bv
        checked = bv.acknowledge_deposit(reference) if acknowledge else bv.check_deposit(reference)
    document = DepositCheckResponse.model_validate(checked)
    if acknowledge:
        return result(document, good("The problem is acknowledged."))
    status, style = CHECKED[checked.status]
    return result(document, style(checked.detail), status=status)


@command(deposits, "billvend deposits list --limit 50", name="list")
def list_deposits(session: Session, limit: int = max_items(20)) -> Output:
    """List deposits, newest first.

    Shows what the database has. To ask Paystack about one, use billvend deposits check.
    """
    from billvend.presentation.operator_models import DepositCheckResponse

    return listing(DepositCheckResponse, session.bv.deposits(limit), COLUMNS, empty="No deposits yet.")
