"""The arguments and options that several commands have in common."""

from typing import Annotated, TypeAlias

import typer

User: TypeAlias = Annotated[str, typer.Argument(metavar="USER", help="Whose wallet.")]
Amount: TypeAlias = Annotated[
    str, typer.Argument(metavar="AMOUNT", help="In naira (major units): 500 or 500.00.")
]
Transaction: TypeAlias = Annotated[
    str, typer.Argument(metavar="TRANSACTION", help="The id of a transaction.")
]

Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print a JSON document instead of text.")]
DatabaseUrl: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--database-url", metavar="URL", help="The books to use instead of DATABASE_URL.", show_default=False
    ),
]
Currency: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--currency", metavar="CODE", help="Of the wallet, instead of DEFAULT_CURRENCY.", show_default=False
    ),
]
IdempotencyKey: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--idempotency-key",
        "--key",
        metavar="K",
        help="A command repeated with the same key runs only once.",
        show_default=False,
    ),
]
MaxItems: TypeAlias = Annotated[
    int, typer.Option("--limit", metavar="N", help="At most so many.", min=1, max=500)
]


def example(*commands: str) -> str:
    """The end of a command's help: how it is used, in lines that are not broken."""
    return "\b\nExample:\n" + "\n".join(f"  {command}" for command in commands)
