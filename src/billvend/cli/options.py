"""Arguments and options of commands, as the defaults of their parameters. Those here are shared by several commands."""

from typing import Any

import typer


def argument(line: str) -> Any:
    """A positional argument, from its line in the help: its name, a colon and the text."""
    metavar, _, text = line.partition(": ")
    return typer.Argument(..., metavar=metavar, help=text)


def option(line: str, default: object = ..., **more: Any) -> Any:
    """An option, from its line in the help: its names, the name of its value if it has one, a colon and the text.

    Without a default it is required.
    """
    usage, _, text = line.partition(": ")
    names = [word for word in usage.split() if word.startswith("--")]
    metavar = " ".join(usage.split()[len(names) :]) or None
    return typer.Option(default, *names, metavar=metavar, help=text, **more)


def max_items(default: int) -> Any:
    """The option of commands that list."""
    return option("--limit N: The maximum number of results.", default, min=1, max=500)


def example(*commands: str) -> str:
    """The epilog of a command's help: examples, without line wrapping."""
    return "\b\nExample:\n" + "\n".join(f"  {command}" for command in commands)


USER = argument("USER: The user whose wallet it is.")
AMOUNT = argument("AMOUNT: In naira: 500 or 500.00.")
TRANSACTION = argument("TRANSACTION: The id of a transaction.")

JSON = option("--json: Print JSON.", False)
DATABASE_URL = option("--database-url URL: Use this database instead of DATABASE_URL.", None)
CURRENCY = option("--currency CODE: The wallet's currency. Default: DEFAULT_CURRENCY.", None)
IDEMPOTENCY_KEY = option(
    "--idempotency-key --key K: A command repeated with the same key runs only once.", None
)
BILLER = option("--biller CODE: One of `billvend billers`.")
VEND_TYPE = option("--vend-type KIND: prepaid or postpaid.", "prepaid")
