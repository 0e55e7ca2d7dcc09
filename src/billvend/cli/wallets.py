"""Commands for wallets: wallet email."""

from typing import Annotated

import typer

from billvend.cli.context import billvend_context
from billvend.cli.exits import Exit
from billvend.cli.options import DatabaseUrl, Json, User, example
from billvend.cli.output import GOOD, Line, print_result

commands = typer.Typer()
wallet = typer.Typer(help="Manage wallets.", epilog=example("billvend wallet email ada ada@example.com"))
commands.add_typer(wallet, name="wallet")


@wallet.command(epilog=example("billvend wallet email ada ada@example.com"))
def email(
    user: User,
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="An e-mail address.")],
    as_json: Json = False,
    database_url: DatabaseUrl = None,
) -> Exit:
    """Set the e-mail address of a user.

    Receipts and tokens are sent there. It replaces any other address, and later deposits do not change it.
    """
    with billvend_context(database_url) as bv:
        bv.set_email(user, address)
    document = {"userId": user, "email": address}
    print_result(as_json, document, Line(f"Mail for {user} goes to {address}.", GOOD))
    return Exit.DONE
