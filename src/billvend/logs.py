"""Logs: a line a happening on stderr, as JSON or for people. Tokens and secrets are never in it.

    {"timestamp": "2026-11-22T12:00:00.000Z", "level": "info", "message": "Bill payment completed",
     "context": {"userId": "ada", "transactionId": "...", "amount": "500.00", "provider": "EKEDC"}}

Whoever logs uses the standard library: `logger.info("...", extra={"context": {...}})`.
"""

import logging
import re
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Final, TextIO

HIDDEN: Final = "***"

_TOKEN = re.compile(r"(?<![\w-])\d{4}([ -]?)\d{4}\1\d{4}\1\d{4}\1\d{4}(?![\w-])")
"""Twenty digits, in one piece or in groups of four. No id looks like it."""

_SECRET = re.compile(r"\b(bv_[0-9a-f]{12}_|sk_(?:live|test)_|whsec_)[\w+/=-]+")
"""A secret of a key of the API, of Paystack or of a webhook: its beginning says what it is, and may be seen."""

_TOKEN_NAME = re.compile(r"(?i)token|^kct[12]$")


@contextmanager
def logging_to_stderr(level: str, shape: str | None = None) -> Iterator[None]:
    """Log from `level` (LOG_LEVEL) on, in a shape (LOG_FORMAT): `json`, `console`, or None for what stderr asks for.

    Other libraries are heard from `warning` on. Afterwards everything is as it was.
    """
    least = logging.getLevelNamesMapping()[level.upper()]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines(sys.stderr, shape))
    root, ours = logging.getLogger(), logging.getLogger("billvend")
    before = root.level, ours.level
    root.setLevel(max(least, logging.WARNING))
    ours.setLevel(least)
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(before[0])
        ours.setLevel(before[1])


def masked(value: Any) -> Any:
    """The value with every token and secret in it hidden: by what it looks like, and by the name that it stands under."""
    match value:
        case str():
            return _SECRET.sub(rf"\1{HIDDEN}", _TOKEN.sub(HIDDEN, value))
        case Mapping():
            return {
                name: HIDDEN if entry is not None and _TOKEN_NAME.search(str(name)) else masked(entry)
                for name, entry in value.items()
            }
        case list() | tuple():
            return [masked(entry) for entry in value]
        case _:
            return value


class _Lines(logging.Formatter):
    """Imports structlog with the first line: a command that logs nothing need not wait for it."""

    def __init__(self, stream: TextIO, shape: str | None) -> None:
        super().__init__()
        self._for_people = shape == "console" or (shape is None and stream.isatty())
        self._colours = stream.isatty()

    def format(self, record: logging.LogRecord) -> str:
        return self._formatter.format(record)

    @cached_property
    def _formatter(self) -> logging.Formatter:
        import structlog

        processors: list[Any] = [structlog.processors.format_exc_info, _shaped]
        if self._for_people:
            plain = structlog.dev.plain_traceback
            renderer = structlog.dev.ConsoleRenderer(colors=self._colours, exception_formatter=plain)
            processors += [_flat, renderer]
        else:
            processors.append(structlog.processors.JSONRenderer(default=str))
        about = structlog.stdlib.ExtraAdder(allow=["context"])
        return structlog.stdlib.ProcessorFormatter(processors=processors, foreign_pre_chain=[about])


def _shaped(_logger: object, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The line of the public interface, without a token in it."""
    record: logging.LogRecord = event.pop("_record")
    exception = event.pop("exception", None)
    at = datetime.fromtimestamp(record.created, UTC)
    shape = {
        "timestamp": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": record.levelname.lower(),
        "message": masked(event["event"]),
        "context": masked(event.get("context", {})),
    }
    return shape if exception is None else {**shape, "exception": masked(exception)}


def _flat(_logger: object, _name: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The same as structlog shows it to people."""
    return {**line.pop("context"), "event": line.pop("message"), **line}
