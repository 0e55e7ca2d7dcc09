"""Arguments and options that several commands share."""

from typing import Annotated, Any, TypeAlias

import typer


def argument(metavar: str, text: str) -> Any:
    """A positional argument with its name and description in the help."""
    return typer.Argument(metavar=metavar, help=text)


def option(usage: str, text: str, **more: Any) -> Any:
    """An option with its description. `usage` is what the help shows: its names, and the name of its value if it has one."""
    names = [word for word in usage.split() if word.startswith("--")]
    return typer.Option(*names, metavar=" ".join(usage.split()[len(names) :]) or None, help=text, **more)


def example(*commands: str) -> str:
    """The epilog of a command's help: examples, without line wrapping."""
    return "\b\nExample:\n" + "\n".join(f"  {command}" for command in commands)


User: TypeAlias = Annotated[str, argument("USER", "The user whose wallet it is.")]
Amount: TypeAlias = Annotated[str, argument("AMOUNT", "In naira: 500 or 500.00.")]
Transaction: TypeAlias = Annotated[str, argument("TRANSACTION", "The id of a transaction.")]

Json: TypeAlias = Annotated[bool, option("--json", "Print JSON.")]
DatabaseUrl: TypeAlias = Annotated[
    str | None, option("--database-url URL", "Use this database instead of DATABASE_URL.")
]
Currency: TypeAlias = Annotated[
    str | None, option("--currency CODE", "The wallet's currency. Default: DEFAULT_CURRENCY.")
]
IdempotencyKey: TypeAlias = Annotated[
    str | None, option("--idempotency-key --key K", "A command repeated with the same key runs only once.")
]
MaxItems: TypeAlias = Annotated[int, option("--limit N", "The maximum number of results.", min=1, max=500)]
Biller: TypeAlias = Annotated[str, option("--biller CODE", "One of `billvend billers`.")]
VendType: TypeAlias = Annotated[str, option("--vend-type KIND", "prepaid or postpaid.")]
