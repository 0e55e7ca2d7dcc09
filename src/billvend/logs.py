"""Logs: one line an event on stderr, as JSON or for people. They never contain tokens or secrets.

    {"timestamp": "2026-11-22T12:00:00.000Z", "level": "info", "message": "Bill payment completed",
     "context": {"userId": "ada", "transactionId": "...", "amount": "500.00", "provider": "EKEDC"}}

All code logs with the standard library: `logger.info("...", extra={"context": {...}})`.
"""

import json
import logging
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Final, TextIO

MASK: Final = "***"

_TOKEN = re.compile(r"(?<![\w-])\d{4}([ -]?)\d{4}\1\d{4}\1\d{4}\1\d{4}(?![\w-])")
"""Twenty digits, without separators or in groups of four. No id has this form."""

_SECRET = re.compile(r"\b(bv_[0-9a-f]{12}_|sk_(?:live|test)_|whsec_)[\w+/=-]+")
"""A secret of an API key, of Paystack or of a webhook. Its prefix says what it is, and may be shown."""

_TOKEN_NAME = re.compile(r"(?i)token|^kct[12]$")


@contextmanager
def log_to_stderr(level: str, line_format: str | None = None) -> Iterator[None]:
    """Log from `level` (LOG_LEVEL) on, in a format (LOG_FORMAT): `json`, `console`, or None (console on a terminal).

    Other libraries are logged from `warning` on. The end of the context restores everything.
    """
    min_level = logging.getLevelNamesMapping()[level.upper()]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_LineFormatter(sys.stderr, line_format))
    root, billvend_logger = logging.getLogger(), logging.getLogger("billvend")
    previous_levels = root.level, billvend_logger.level
    root.setLevel(max(min_level, logging.WARNING))
    billvend_logger.setLevel(min_level)
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(previous_levels[0])
        billvend_logger.setLevel(previous_levels[1])


def mask_secrets(value: Any) -> Any:
    """The value with every token and secret masked. They are found by their form, and by the name of their field."""
    match value:
        case str():
            return _SECRET.sub(rf"\1{MASK}", _TOKEN.sub(MASK, value))
        case Mapping():
            return {
                name: MASK if entry is not None and _TOKEN_NAME.search(str(name)) else mask_secrets(entry)
                for name, entry in value.items()
            }
        case list() | tuple():
            return [mask_secrets(entry) for entry in value]
        case _:
            return value


class _LineFormatter(logging.Formatter):
    """One line in the public format, or in that of structlog for people."""

    def __init__(self, stream: TextIO, line_format: str | None) -> None:
        super().__init__()
        self._is_for_people = line_format == "console" or (line_format is None and stream.isatty())
        self._colours = stream.isatty()

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {
            "timestamp": at.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "message": mask_secrets(record.getMessage()),
            "context": mask_secrets(getattr(record, "context", {})),
        }
        if record.exc_info:
            line["exception"] = mask_secrets(self.formatException(record.exc_info))
        if not self._is_for_people:
            return json.dumps(line, default=str)
        return str(self._console(None, "", {**line.pop("context"), "event": line.pop("message"), **line}))

    @cached_property
    def _console(self) -> Any:
        import structlog.dev

        return structlog.dev.ConsoleRenderer(
            colors=self._colours, exception_formatter=structlog.dev.plain_traceback
        )
