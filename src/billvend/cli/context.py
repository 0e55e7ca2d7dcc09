"""What commands begin with: settings, logs, and an open billvend."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # each costs more time than `billvend --help` may take
    from billvend.app import Billvend
    from billvend.config import Settings

logger = logging.getLogger("billvend.cli")


@contextmanager
def settings_context(
    database_url: str | None, *, as_service: bool = False, **overrides: object
) -> Iterator["Settings"]:
    """The settings in force, with what the command line says otherwise, and logs as they ask for.

    A command that a person waits for tells them all that they need, so it logs errors alone, unless LOG_LEVEL is
    `debug`: then it shows as well where it failed.
    """
    from billvend.config import load_settings
    from billvend.logs import log_to_stderr

    settings = load_settings(database_url, **overrides)
    is_verbose = as_service or settings.log_level == "debug"
    with log_to_stderr(settings.log_level if is_verbose else "error", settings.log_format):
        try:
            yield settings
        except Exception:
            logger.debug("It failed here", exc_info=True)
            raise


@contextmanager
def billvend_context(database_url: str | None) -> Iterator["Billvend"]:
    """An open billvend for one command."""
    from billvend.bootstrap import open_billvend
    from billvend.ports.telemetry import NullMetrics

    # Nobody asks a command that ends what it counted.
    with settings_context(database_url) as settings, open_billvend(settings, metrics=NullMetrics()) as bv:
        yield bv
