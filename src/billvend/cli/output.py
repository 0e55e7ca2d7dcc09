"""The output of commands: JSON for programs, tables and colours for a terminal, plain text for a pipe.

A command passes both the document and the same as blocks. Only this module decides which of them is printed.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, TypeAlias

from billvend.cli.exits import Failure

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True, slots=True)
class Line:
    """A sentence."""

    text: str
    style: str = ""
    """A style of Rich, for terminals with colours."""


@dataclass(frozen=True, slots=True)
class KeyValues:
    """Names and values, one pair a line."""

    rows: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under headings."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]


Block: TypeAlias = Line | KeyValues | Table

COLUMN_GAP = 2
"""Blanks between columns."""

GOOD, BAD, DOUBT, QUIET = "bold green", "bold red", "bold yellow", "dim"


def print_result(as_json: bool, document: object, *blocks: Block) -> None:
    """Print the result of a command, as JSON or as blocks."""
    if as_json:
        indent = 2 if is_terminal(sys.stdout) else None
        sys.stdout.write(json.dumps(document, indent=indent) + "\n")
    else:
        print_blocks(*blocks)


def print_blocks(*blocks: Block, to: IO[str] | None = None) -> None:
    """Print blocks to a terminal or a pipe. Default: stdout."""
    stream = to or sys.stdout
    if is_terminal(stream):
        _render(terminal(stream), blocks)
    else:
        stream.writelines(f"{line}\n" for block in blocks for line in _plain_lines(block))
        stream.flush()


def fail(as_json: bool, failure: Failure) -> None:
    """Print an error in one line on stderr. With `--json` also as a document on stdout."""
    message = sanitize(" ".join(failure.message.split()))
    if as_json:
        error: dict[str, object] = {"code": failure.code, "message": message}
        error |= {"fields": failure.fields} if failure.fields else {}
        sys.stdout.write(json.dumps({"error": {**error, **failure.extra_members}}) + "\n")
    sys.stderr.write(f"Error: {message}\n")


def is_terminal(stream: IO[str] | None) -> bool:
    """Whether the stream is a terminal."""
    return stream is not None and stream.isatty()


def terminal(stream: IO[str] | None = None) -> "Console":
    """The terminal on stdout, or on another stream. Text is printed literally, never as markup."""
    from rich.console import Console

    return Console(file=stream or sys.stdout, markup=False, highlight=False, emoji=False)


def sanitize(text: str) -> str:
    """Text without line breaks and control characters, so that foreign text cannot control the terminal."""
    return "".join(
        character if character.isprintable() else " " if character.isspace() else "?" for character in text
    )


def _plain_lines(block: Block) -> list[str]:
    match block:
        case Line(text):
            return [sanitize(text)]
        case KeyValues(rows):
            width = max((len(name) for name, _ in rows), default=0)
            return [f"{name:{width}}  {sanitize(value)}".rstrip() for name, value in rows]
        case Table(headings, rows):
            lines = [list(headings), *([sanitize(cell) for cell in row] for row in rows)]
            widths = [max(len(line[column]) for line in lines) for column in range(len(headings))]
            return [
                "  ".join(f"{cell:{width}}" for cell, width in zip(line, widths, strict=True)).rstrip()
                for line in lines
            ]


def _render(console: "Console", blocks: Sequence[Block]) -> None:
    from rich.table import Table as Grid
    from rich.text import Text

    for block in blocks:
        match block:
            case Line(text, style):
                console.print(Text(sanitize(text), style=style), soft_wrap=True)
            case KeyValues(rows):
                facts = Grid.grid(padding=(0, COLUMN_GAP, 0, 0))
                facts.add_column(style="cyan", no_wrap=True)
                facts.add_column(overflow="fold")
                for name, value in rows:
                    facts.add_row(name, Text(sanitize(value)))
                console.print(facts)
            case Table(headings, rows):
                grid = Grid(box=None, padding=(0, COLUMN_GAP, 0, 0), header_style="bold cyan")
                unwrapped = _unwrapped_columns(block, console.width)
                for column, heading in enumerate(headings):
                    grid.add_column(heading, overflow="fold", no_wrap=column in unwrapped)
                for row in rows:
                    grid.add_row(*(Text(sanitize(cell)) for cell in row))
                console.print(grid)


def _unwrapped_columns(table: Table, width: int) -> set[int]:
    """The columns of single words (ids, meters), which are not wrapped while wrapping the others is enough.

    On a terminal that is too narrow for that, all columns are wrapped. Nothing is cut off.
    """
    columns = [
        [heading, *(row[column] for row in table.rows)] for column, heading in enumerate(table.headings)
    ]
    min_widths = [max(len(word) for cell in cells for word in cell.split()) for cells in columns]
    if sum(min_widths) + COLUMN_GAP * len(columns) > width:
        return set()
    return {column for column, cells in enumerate(columns) if not any(" " in cell for cell in cells[1:])}
