"""Settings, logs and an open billvend for a command."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # importing them would slow down `billvend --help`
    from billvend.app import Billvend
    from billvend.config import Settings

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


@contextmanager
def billvend_context(database_url: str | None) -> Iterator["Billvend"]:
    """An open billvend for one command."""
    from billvend.adapters.metrics.no_metrics import NoMetrics
    from billvend.bootstrap import open_billvend

    # No scraper reads the metrics of a command that ends.
    with settings_context(database_url) as settings, open_billvend(settings, metrics=NoMetrics()) as bv:
        yield bv
