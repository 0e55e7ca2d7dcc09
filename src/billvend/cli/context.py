"""What a command works with, its common options, and its output."""

import inspect
import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import typer

from billvend.cli.exits import Exit
from billvend.cli.options import DATABASE_URL, JSON, example
from billvend.cli.output import Output, print_output

if TYPE_CHECKING:  # importing them would slow down `billvend --help`
    from billvend.app import Billvend
    from billvend.config import Settings

Command: TypeAlias = Callable[..., Output | Exit]
"""A function whose first parameter is a session. It returns its output, or its exit status if it has printed that."""

COMMON_OPTIONS = (
    inspect.Parameter("as_json", inspect.Parameter.KEYWORD_ONLY, default=JSON, annotation=bool),
    inspect.Parameter(
        "database_url", inspect.Parameter.KEYWORD_ONLY, default=DATABASE_URL, annotation=str | None
    ),
)

logger = logging.getLogger("billvend.cli")


@contextmanager
def settings_context(
    database_url: str | None, *, as_service: bool = False, **overrides: object
) -> Iterator["Settings"]:
    """Load the settings, with the overrides of the command line, and set up logs.

    A command that prints its result logs only errors, unless LOG_LEVEL is `debug`. Then it also logs the traceback of a
    failure.
    """
    from billvend.config import load_settings
    from billvend.logs import log_to_stderr

    settings = load_settings(database_url, **overrides)
    is_verbose = as_service or settings.log_level == "debug"
    with log_to_stderr(settings.log_level if is_verbose else "error", settings.log_format):
        try:
            yield settings
        except Exception:
            logger.debug("The command failed", exc_info=True)
            raise


class Session:
    """What one command works with. It is opened at its first use, and closed after the output was printed."""

    def __init__(self, resources: ExitStack, database_url: str | None, *, as_json: bool) -> None:
        self.database_url = database_url
        self.as_json = as_json
        self._resources = resources

    @cached_property
    def settings(self) -> "Settings":
        """The settings in force."""
        return self._resources.enter_context(settings_context(self.database_url))

    @cached_property
    def bv(self) -> "Billvend":
        """An open billvend."""
        from billvend.adapters.metrics.no_metrics import NoMetrics
        from billvend.bootstrap import open_billvend

        # No scraper reads the metrics of a command that ends.
        return self._resources.enter_context(open_billvend(self.settings, metrics=NoMetrics()))

    def print(self, output: Output) -> Exit:
        """Print the output of the command, as JSON if it was asked for. Returns its exit status."""
        return print_output(self.as_json, output)


def command(
    group: typer.Typer, *examples: str, name: str | None = None
) -> Callable[[Command], Callable[..., Exit]]:
    """Add a function to a group as a command with the common options, which come last in its help."""

    def register(function: Command) -> Callable[..., Exit]:
        def run(as_json: bool, database_url: str | None, **arguments: Any) -> Exit:
            with ExitStack() as resources:
                session = Session(resources, database_url, as_json=as_json)
                result = function(session, **arguments)
                return session.print(result) if isinstance(result, Output) else result

        _, *own_parameters = inspect.signature(function).parameters.values()
        run.__signature__ = inspect.Signature([*own_parameters, *COMMON_OPTIONS])  # type: ignore[attr-defined]
        run.__name__, run.__doc__ = function.__name__, function.__doc__
        group.command(name, epilog=example(*examples))(run)
        return run

    return register
