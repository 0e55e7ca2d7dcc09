"""The command line: parse, one call, render.

    payments.py, deposits.py, queries.py, review.py, service.py, sandbox.py, api_keys.py, webhooks.py, admin.py,
    demo.py         the commands
    options.py      common options                  context.py     what a command gets, and how it is run
    blocks.py       lines, facts and tables         output.py      JSON, a terminal, or plain text
    rendering.py    transactions for people         progress.py    following a payment
    bill_csv.py     files of bills and results      bill_batch.py  a run through such a file
    exits.py        the table of exit statuses      seed.py        examples

Commands import late, so that `billvend --help` is fast.
"""

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from io import TextIOWrapper
from typing import TextIO

import typer
from typer.main import get_command

from billvend.cli import (
    admin,
    api_keys,
    demo,
    deposits,
    payments,
    queries,
    review,
    sandbox,
    service,
    webhooks,
)
from billvend.cli.exits import Exit, failure_of
from billvend.cli.options import example, option
from billvend.cli.output import fail
from billvend.gc_tuning import relax_gc

PROGRAM = "billvend"

app = typer.Typer(
    name=PROGRAM,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=example(
        "billvend demo", "billvend fund ada 5000", "billvend pay ada 500 --meter 12345678901 --biller EKEDC"
    ),
)
for group in (
    payments, deposits, queries, review, service, sandbox, api_keys, webhooks, admin, demo,
):  # fmt: skip
    app.add_typer(group.commands)


@app.callback(invoke_without_command=True)
def billvend(
    context: typer.Context,
    version: bool = option("--version: Show the version and exit.", False),
) -> Exit:
    """Sell prepaid electricity from wallets, and never guess with money."""
    if version:
        sys.stdout.write(f"{PROGRAM} {_version()}\n")
    elif context.invoked_subcommand is None:
        sys.stdout.write(context.get_help() + "\n")
    return Exit.DONE


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line (default: `sys.argv`) and return its exit status. Raises nothing."""
    if arguments is None:  # a process of our own
        relax_gc()
    argv = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in argv
    sys.stdout, sys.stderr = _safe_stream(sys.stdout), _safe_stream(sys.stderr)
    try:
        status = _run(argv)
        sys.stdout.flush()
    except BrokenPipeError:
        _ignore_broken_pipe()
        return Exit.BROKEN_PIPE
    except KeyboardInterrupt:
        return _report_error(as_json, KeyboardInterrupt())
    except Exception as error:  # noqa: BLE001  every error becomes one line
        return _report_error(as_json, error)
    return status


def _run(arguments: list[str]) -> int:
    command = get_command(app)
    if f"_{PROGRAM.upper()}_COMPLETE" in os.environ:  # shell completion
        command(arguments, prog_name=PROGRAM)
    try:
        with command.make_context(PROGRAM, arguments) as context:
            return int(command.invoke(context) or Exit.DONE)
    except typer.Exit as done:
        return done.exit_code


def _report_error(as_json: bool, error: BaseException) -> int:
    failure = failure_of(error)
    try:
        fail(as_json, failure)
        sys.stdout.flush()
    except OSError:
        _ignore_broken_pipe()
    return failure.status


def _safe_stream(stream: TextIO | None) -> TextIO:
    """A closed stream becomes the null device, and characters that its encoding lacks are escaped."""
    if stream is None:
        return open(os.devnull, "w")  # noqa: PTH123  open until the process ends
    if isinstance(stream, TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
    return stream


def _ignore_broken_pipe() -> None:
    """The reader has gone: discard the remaining output, so that Python reports no error at its end."""
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(PROGRAM)
    except PackageNotFoundError:  # run from its sources
        return "(not installed)"
