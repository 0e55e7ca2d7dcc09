"""Commands for what belongs to a wallet beside money: wallet email."""

from typing import Annotated

import typer

from billvend.cli.context import billvend_context
from billvend.cli.exits import Exit
from billvend.cli.options import DatabaseUrl, Json, User, example
from billvend.cli.output import GOOD, Line, print_result

commands = typer.Typer()
wallet = typer.Typer(
    help="Set where mail about a wallet goes.", epilog=example("billvend wallet email ada ada@example.com")
)
commands.add_typer(wallet, name="wallet")


@wallet.command(epilog=example("billvend wallet email ada ada@example.com"))
def email(
    user: User,
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="An e-mail address.")],
    as_json: Json = False,
    database_url: DatabaseUrl = None,
) -> Exit:
    """Set where mail about a user's wallets goes, tokens included.

    It takes the place of any other address, and no deposit changes it.
    """
    with billvend_context(database_url) as bv:
        bv.set_email(user, address)
    document = {"userId": user, "email": address}
    print_result(as_json, document, Line(f"Mail for {user} goes to {address}.", GOOD))
    return Exit.DONE
