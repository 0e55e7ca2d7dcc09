"""Arguments and options that several commands share."""

from typing import Annotated, TypeAlias

import typer

User: TypeAlias = Annotated[str, typer.Argument(metavar="USER", help="The user whose wallet it is.")]
Amount: TypeAlias = Annotated[str, typer.Argument(metavar="AMOUNT", help="In naira: 500 or 500.00.")]
Transaction: TypeAlias = Annotated[
    str, typer.Argument(metavar="TRANSACTION", help="The id of a transaction.")
]

Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON.")]
DatabaseUrl: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--database-url", metavar="URL", help="Use this database instead of DATABASE_URL.", show_default=False
    ),
]
Currency: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--currency",
        metavar="CODE",
        help="The wallet's currency. Default: DEFAULT_CURRENCY.",
        show_default=False,
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
    int, typer.Option("--limit", metavar="N", help="The maximum number of results.", min=1, max=500)
]


def example(*commands: str) -> str:
    """The epilog of a command's help: examples, without line wrapping."""
    return "\b\nExample:\n" + "\n".join(f"  {command}" for command in commands)
